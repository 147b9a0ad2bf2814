//! Lists: one revision, whole or in pages, selected.
//!
//! From the mirror where that holds what is asked for; from the store where it
//! does not, where a past revision is asked for, and where the store is in this
//! process and a look into it costs no more.

use std::time::Duration;

use bytes::Bytes;
use kv::{KeyRange, KeyValue, RangeRequest, RangeResponse, Revision};

use super::{Item, Registry, token::Token};
use crate::{
    failure::Failure,
    request::options::{ListOptions, Match},
};

/// Keys fetched at a time: keeps one answer of the store near a megabyte.
const CHUNK: usize = 500;

/// How long a list waits for the mirror before it reads the store.
const PATIENCE: Duration = Duration::from_millis(200);

/// How long a list waits for a version that its caller has seen elsewhere, as
/// kube-apiserver does.
const AHEAD: Duration = Duration::from_secs(3);

/// What was selected, as of `revision`.
#[derive(Debug, Default)]
pub struct Page {
    pub items: Vec<Item>,
    pub revision: u64,
    /// Where the next page starts.
    pub token: Option<String>,
    /// Objects after this page, when nothing was selected by.
    pub remaining: Option<usize>,
}

// === impl Page ===

impl Page {
    fn is_full(&self, options: &ListOptions) -> bool {
        options.limit > 0 && self.items.len() >= options.limit
    }

    /// Says where the next page starts.
    fn end(&mut self, options: &ListOptions, revision: Revision, after: String, left: usize) {
        self.token = Some(Token { revision, after }.encode());
        self.remaining = options.selects_all().then_some(left);
    }
}

// === impl Registry ===

impl Registry {
    pub async fn list(&self, options: &ListOptions) -> Result<Page, Failure> {
        let prefix = self.place.prefix();
        let token = options.token.as_deref().map(|text| {
            Token::decode(text, &prefix)
                .ok_or_else(|| Failure::bad_request("continue key is not valid"))
        });
        let token = token.transpose()?;
        let exact = match (&token, options.version, options.version_match) {
            // Of no revision: whatever is there now, behind its key.
            (Some(token), _, _) if token.revision == Revision(0) => None,
            (Some(token), _, _) => Some(token.revision),
            (None, Some(version), Some(Match::Exact)) => Some(Revision(version)),
            _ => None,
        };
        let range = self.range(options, &prefix, token.as_ref());
        // What must be converted is converted by the page.
        if exact.is_none()
            && token.is_none()
            && self.converter().is_none()
            && let Some(page) = self.list_mirrored(options, &range).await?
        {
            return Ok(page);
        }
        self.list_stored(options, range, exact, token.is_some()).await
    }

    /// From the mirror; none when the store should be read.
    async fn list_mirrored(
        &self,
        options: &ListOptions,
        range: &KeyRange,
    ) -> Result<Option<Page>, Failure> {
        let mirror = self.cluster.mirror();
        let least = match options.version {
            Some(version) => version,
            None if self.cluster.is_near() => return Ok(None),
            None => self.cluster.revision().await?,
        };
        let patience =
            if options.version.is_none_or(|version| version == 0) { PATIENCE } else { AHEAD };
        if !mirror.reach(least, patience).await {
            return match options.version {
                Some(version) if version > 0 && mirror.reached() > 0 => {
                    Err(Failure::version_ahead(version, mirror.reached()))
                }
                _ => Ok(None),
            };
        }
        let (reached, kvs) = mirror.look(&self.resource().prefix(), |collection| {
            let reached = mirror.reached().max(collection.last());
            let kvs: Vec<KeyValue> = match range {
                KeyRange::Key(key) => collection.get(key).cloned().into_iter().collect(),
                _ => collection.range(self.place.prefix().as_bytes()).cloned().collect(),
            };
            (reached, kvs)
        });
        let mut page = Page { revision: reached, ..Page::default() };
        let count = kvs.len();
        for (index, kv) in kvs.into_iter().enumerate() {
            let after = String::from_utf8_lossy(&kv.key).into_owned();
            let kept = self.keep(options, Item::Kept(kv), &mut page)?;
            if kept && page.is_full(options) && index + 1 < count {
                page.end(options, Revision(reached), after, count - index - 1);
                break;
            }
        }
        Ok(Some(page))
    }

    async fn list_stored(
        &self,
        options: &ListOptions,
        mut range: KeyRange,
        exact: Option<Revision>,
        paged: bool,
    ) -> Result<Page, Failure> {
        let mut at = exact;
        let mut page = Page::default();
        loop {
            let wanted = match options.limit {
                0 => CHUNK,
                limit if options.selects_all() => CHUNK.min(limit - page.items.len()),
                _ => CHUNK,
            };
            let mut request = RangeRequest::new(range.clone()).limit(wanted);
            request.revision = at;
            // Version 0 is "anything will do".
            request.serializable = options.version == Some(0) && exact.is_none();
            let response = self.range_of(request, paged).await?;
            if at.is_none() {
                check_not_older(options, &response)?;
            }
            let revision = *at.get_or_insert(response.revision);
            page.revision = revision.0;
            let (fetched, count) = (response.kvs.len(), response.count);
            let last = response.kvs.last().map(|kv| kv.key.clone());
            for (index, item) in self.show(response.kvs).await?.enumerate() {
                let key = item.key();
                let left = index + 1 < fetched || response.more;
                if self.keep(options, item, &mut page)? && page.is_full(options) && left {
                    let after = String::from_utf8_lossy(&key).into_owned();
                    page.end(options, revision, after, count.saturating_sub(index + 1));
                    return Ok(page);
                }
            }
            match last {
                Some(last) if response.more => range = after(&last, &range),
                _ => return Ok(page),
            }
        }
    }

    /// Adds the object if it is selected.
    fn keep(&self, options: &ListOptions, item: Item, page: &mut Page) -> Result<bool, Failure> {
        let selected = item.matches(self.resource(), &options.labels, &options.fields)?;
        if selected {
            page.items.push(item);
        }
        Ok(selected)
    }

    /// The keys to look at: one, when only one name can match.
    fn range(&self, options: &ListOptions, prefix: &str, token: Option<&Token>) -> KeyRange {
        let all = KeyRange::prefix(prefix.to_owned());
        let located = self.place.namespace.is_some() || !self.resource().is_namespaced();
        match (token, options.fields.name()) {
            (Some(token), _) => after(&Bytes::from(token.after.clone()), &all),
            (None, Some(name)) if located && !name.is_empty() => {
                KeyRange::key(self.place.key(name))
            }
            _ => all,
        }
    }

    async fn range_of(&self, request: RangeRequest, paged: bool) -> Result<RangeResponse, Failure> {
        let (asked, asked_range) = (request.revision, request.range.clone());
        match self.kv().range(request).await {
            Ok(response) => Ok(response),
            Err(kv::Error::Compacted { .. }) if paged => {
                let after = request_start(&asked_range);
                let token = Token { revision: Revision(0), after }.encode();
                Err(Failure::expired(
                    "The provided continue parameter is too old to display a consistent list \
                     result. You can start a new list without the continue parameter, or use the \
                     continue token in this response to retrieve the remainder of the results. \
                     Continuing with the provided token results in an inconsistent list - objects \
                     that were created, modified, or deleted between the time the first chunk was \
                     returned and now may show up in the list.",
                )
                .going_on(token))
            }
            Err(kv::Error::FutureRevision) => {
                Err(Failure::version_ahead(asked.unwrap_or_default().0, 0))
            }
            Err(error) => Err(error.into()),
        }
    }
}

/// The key behind which `range` starts, for one that [`after`] made.
fn request_start(range: &KeyRange) -> String {
    let start = range.start();
    String::from_utf8_lossy(start.strip_suffix(b"\0").unwrap_or(start)).into_owned()
}

/// The rest of `range` behind `key`.
pub(crate) fn after(key: &Bytes, range: &KeyRange) -> KeyRange {
    let mut from = key.to_vec();
    from.push(0);
    match range {
        KeyRange::Span { to, .. } => KeyRange::Span { from: from.into(), to: to.clone() },
        KeyRange::Key(_) | KeyRange::From(_) => KeyRange::From(from.into()),
    }
}

/// A client that has seen version N is not shown anything older.
fn check_not_older(options: &ListOptions, response: &RangeResponse) -> Result<(), Failure> {
    match options.version {
        Some(asked) if asked > response.revision.0 => {
            Err(Failure::version_ahead(asked, response.revision.0))
        }
        _ => Ok(()),
    }
}
