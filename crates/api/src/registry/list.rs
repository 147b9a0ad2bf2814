//! Lists: one revision, whole or in pages, selected.

use bytes::Bytes;
use kv::{KeyRange, RangeRequest, RangeResponse, Revision};
use serde_json::Value;

use super::{Registry, decode, token::Token};
use crate::{
    failure::Failure,
    request::options::{ListOptions, Match},
};

/// Keys fetched at a time: keeps one answer of the store near a megabyte.
const CHUNK: usize = 500;

/// What was selected, as of `revision`.
#[derive(Debug, Default)]
pub struct Page {
    pub items: Vec<Value>,
    pub revision: u64,
    /// Where the next page starts.
    pub token: Option<String>,
    /// Objects after this page, when nothing was selected by.
    pub remaining: Option<usize>,
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
            (Some(token), _, _) => Some(token.revision),
            (None, Some(version), Some(Match::Exact)) => Some(Revision(version)),
            _ => None,
        };
        let mut range = self.range(options, &prefix, token.as_ref());
        let unselected = options.labels.is_empty() && options.fields.is_empty();
        let mut at = exact;
        let mut page = Page::default();
        loop {
            let wanted = match options.limit {
                0 => CHUNK,
                limit if unselected => CHUNK.min(limit - page.items.len()),
                _ => CHUNK,
            };
            let mut request = RangeRequest::new(range.clone()).limit(wanted);
            request.revision = at;
            // Version 0 is "anything will do".
            request.serializable = options.version == Some(0) && exact.is_none();
            let response = self.fetch(request, token.is_some()).await?;
            if at.is_none() {
                check_not_older(options, &response)?;
            }
            let revision = *at.get_or_insert(response.revision);
            page.revision = revision.0;
            let (fetched, count) = (response.kvs.len(), response.count);
            for (index, kv) in response.kvs.iter().enumerate() {
                let object = decode(self.resource(), kv)?;
                if options.labels.matches(&object) && options.fields.matches(&object) {
                    page.items.push(object);
                }
                let left = index + 1 < fetched || response.more;
                if options.limit > 0 && page.items.len() == options.limit && left {
                    let after = String::from_utf8_lossy(&kv.key).into_owned();
                    page.token = Some(Token { revision, after }.encode());
                    page.remaining = unselected.then(|| count.saturating_sub(index + 1));
                    return Ok(page);
                }
            }
            match response.kvs.last() {
                Some(last) if response.more => range = after(&last.key, &range),
                _ => return Ok(page),
            }
        }
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

    async fn fetch(&self, request: RangeRequest, paged: bool) -> Result<RangeResponse, Failure> {
        let asked = request.revision;
        match self.kv().range(request).await {
            Ok(response) => Ok(response),
            Err(kv::Error::Compacted { .. }) if paged => Err(Failure::expired(
                "The provided continue parameter is too old to display a consistent list result. \
                 You can start a new list without the continue parameter.",
            )),
            Err(kv::Error::FutureRevision) => {
                Err(Failure::version_ahead(asked.unwrap_or_default().0, 0))
            }
            Err(error) => Err(error.into()),
        }
    }
}

/// The rest of `range` behind `key`.
pub(super) fn after(key: &Bytes, range: &KeyRange) -> KeyRange {
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
