//! Reading a range as of a revision: select, count, prune, sort, cut.

use bytes::Bytes;
use kv::{
    Error, KeyValue, RangeRequest, RangeResponse, Revision, RevisionBounds, Sort, SortOrder,
    SortTarget,
};

use crate::{Handle, check::check_range, history::Version, index::Index, value::Resolve};

/// What a value outside of memory counts for in a page, since its length is
/// not known before it is fetched. Only large ones are outside.
const OUTSIDE_BYTES: usize = 256 * 1024;

/// Which revisions can be read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Readable {
    pub compacted: Revision,
    /// Newest that may be asked for, and what "newest" means.
    pub newest: Revision,
}

/// The part of a range that is read before values are needed.
pub(crate) struct Selection<'a> {
    pub hits: Vec<(&'a Bytes, &'a Version)>,
    pub count: usize,
}

/// `header` is where the keyspace stands for whoever reads.
pub(crate) fn range(
    index: &Index,
    request: &RangeRequest,
    readable: Readable,
    header: Revision,
    values: &impl Resolve,
) -> Result<RangeResponse, Error> {
    check_range(&request.range)?;
    let revision = readable.resolve(request.revision)?;
    let Selection { hits, count } = select(index, request, revision);
    let mut response = RangeResponse { revision: header, count, ..RangeResponse::default() };
    if request.count_only {
        return Ok(response);
    }
    let wants_values =
        !request.keys_only || request.sort.is_some_and(|sort| sort.target == SortTarget::Value);
    let mut kvs: Vec<KeyValue> = hits
        .into_iter()
        .map(|(key, version)| match wants_values {
            true => version.key_value(key, values),
            false => version.key_only(key),
        })
        .collect();
    if let Some(sort) = request.sort {
        sort_by(&mut kvs, sort);
    }
    if let Some(limit) = request.limit.filter(|limit| kvs.len() > *limit) {
        kvs.truncate(limit);
        response.more = true;
    }
    if request.keys_only {
        kvs.iter_mut().for_each(|kv| kv.value = Bytes::new());
    }
    response.kvs = kvs;
    Ok(response)
}

/// Of the same range, one page in key order: it ends after `limit` keys or
/// `bytes_max` of keys and values, but never before it has one. Unlike
/// [`range`] it looks at nothing beyond its end, and so `count` is that of the
/// page. Sorts and bounds are not for pages.
pub(crate) fn page(
    index: &Index,
    request: &RangeRequest,
    bytes_max: usize,
    readable: Readable,
    header: Revision,
    values: &impl Resolve,
) -> Result<RangeResponse, Error> {
    check_range(&request.range)?;
    let revision = readable.resolve(request.revision)?;
    let limit = request.limit.unwrap_or(usize::MAX);
    let mut response = RangeResponse { revision: header, ..RangeResponse::default() };
    let mut bytes = 0;
    for (key, version) in index.range_at(&request.range, revision) {
        let size = match (&version.value, request.keys_only) {
            (_, true) => key.len(),
            (Handle::Inline(value), false) => key.len() + value.len(),
            (Handle::At(_), false) => OUTSIDE_BYTES,
        };
        let is_full = response.count >= limit || bytes + size > bytes_max;
        if is_full && response.count > 0 {
            response.more = true;
            break;
        }
        bytes += size;
        response.count += 1;
        response.kvs.push(match request.keys_only {
            true => version.key_only(key),
            false => version.key_value(key, values),
        });
    }
    Ok(response)
}

/// Counts the whole range, but keeps no more than the answer needs.
fn select<'a>(index: &'a Index, request: &'a RangeRequest, revision: Revision) -> Selection<'a> {
    let is_cut_in_key_order = request.sort.is_none();
    // One more than the limit tells whether there are more.
    let keep_max = match request.limit {
        _ if request.count_only => 0,
        Some(limit) if is_cut_in_key_order => limit.saturating_add(1),
        _ => usize::MAX,
    };
    let mut selection = Selection { hits: Vec::new(), count: 0 };
    for (key, version) in index.range_at(&request.range, revision) {
        selection.count += 1;
        if selection.hits.len() < keep_max && is_within(&request.bounds, version) {
            selection.hits.push((key, version));
        }
    }
    selection
}

fn is_within(bounds: &RevisionBounds, version: &Version) -> bool {
    bounds.min_mod.is_none_or(|min| version.mod_revision >= min)
        && bounds.max_mod.is_none_or(|max| version.mod_revision <= max)
        && bounds.min_create.is_none_or(|min| version.create_revision >= min)
        && bounds.max_create.is_none_or(|max| version.create_revision <= max)
}

/// Equal targets stay in key order, downward too.
fn sort_by(kvs: &mut [KeyValue], sort: Sort) {
    let ascending = |a: &KeyValue, b: &KeyValue| match sort.target {
        SortTarget::Key => a.key.cmp(&b.key),
        SortTarget::Version => a.version.cmp(&b.version),
        SortTarget::Create => a.create_revision.cmp(&b.create_revision),
        SortTarget::Mod => a.mod_revision.cmp(&b.mod_revision),
        SortTarget::Value => a.value.cmp(&b.value),
    };
    match sort.order {
        SortOrder::Ascending => kvs.sort_by(ascending),
        SortOrder::Descending => kvs.sort_by(|a, b| ascending(b, a)),
    }
}

// === impl Readable ===

impl Readable {
    /// The revision to read at.
    pub(crate) fn resolve(self, asked: Option<Revision>) -> Result<Revision, Error> {
        let revision = asked.unwrap_or(self.newest);
        if revision > self.newest {
            return Err(Error::FutureRevision);
        }
        if revision < self.compacted {
            return Err(Error::Compacted { compacted: self.compacted });
        }
        Ok(revision)
    }
}
