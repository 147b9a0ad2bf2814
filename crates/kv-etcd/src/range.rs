//! Key ranges, stored keys and the Range request.

use bytes::Bytes;
use kv::{
    Error, KeyRange, KeyValue, LeaseId, RangeRequest, RangeResponse, Revision, RevisionBounds,
    Sort, SortOrder, SortTarget,
};
use pb_etcd::{
    etcdserverpb::{self as pb, range_request as wire},
    mvccpb,
};

use crate::to_i64;

/// As `range_end`: every key from `key` on. As `key`: the lowest key there is.
const ZERO: &[u8] = b"\0";

/// A range that holds no key, since the wire reads an empty `range_end` as one
/// key and [`ZERO`] as no end.
const NOTHING: &[u8] = b"\x01";

/// `(key, range_end)` as on the wire.
#[must_use]
pub fn key_range_to_wire(range: &KeyRange) -> (Bytes, Bytes) {
    let start = |from: &Bytes| match from.is_empty() {
        true => Bytes::from_static(ZERO),
        false => from.clone(),
    };
    match range {
        KeyRange::Key(key) => (key.clone(), Bytes::new()),
        KeyRange::From(from) => (start(from), Bytes::from_static(ZERO)),
        KeyRange::Span { from, to } if to <= from || to == ZERO => {
            (Bytes::from_static(NOTHING), Bytes::from_static(NOTHING))
        }
        KeyRange::Span { from, to } => (start(from), to.clone()),
    }
}

/// Fails with [`Error::EmptyKey`].
pub fn key_range_from_wire(key: &Bytes, range_end: &Bytes) -> Result<KeyRange, Error> {
    if key.is_empty() {
        return Err(Error::EmptyKey);
    }
    let key = owned(key);
    Ok(match &range_end[..] {
        b"" => KeyRange::Key(key),
        ZERO => KeyRange::From(key),
        _ => KeyRange::Span { from: key, to: owned(range_end) },
    })
}

/// A copy. A slice of a received frame would keep all of the frame alive for
/// as long as one key of it is stored or cached.
#[must_use]
pub fn owned(bytes: &Bytes) -> Bytes {
    Bytes::copy_from_slice(bytes)
}

// === key with value ===

#[must_use]
pub fn key_value_to_wire(kv: KeyValue) -> mvccpb::KeyValue {
    mvccpb::KeyValue {
        key: kv.key,
        create_revision: to_i64(kv.create_revision.0),
        mod_revision: to_i64(kv.mod_revision.0),
        version: to_i64(kv.version),
        value: kv.value,
        lease: kv.lease.map_or(0, |lease| lease.0),
    }
}

#[must_use]
pub fn key_value_from_wire(kv: &mvccpb::KeyValue) -> KeyValue {
    KeyValue {
        key: owned(&kv.key),
        value: owned(&kv.value),
        create_revision: revision_from_wire(kv.create_revision),
        mod_revision: revision_from_wire(kv.mod_revision),
        version: u64::try_from(kv.version).unwrap_or(0),
        lease: lease_from_wire(kv.lease),
    }
}

/// Zero is "no lease"; a negative id is one that no lease has.
#[must_use]
pub fn lease_from_wire(lease: i64) -> Option<LeaseId> {
    (lease != 0).then_some(LeaseId(lease))
}

/// Negative numbers, which no store sends, read as zero.
#[must_use]
pub fn revision_from_wire(revision: i64) -> Revision {
    Revision(u64::try_from(revision).unwrap_or(0))
}

/// Zero and less is "none asked for".
fn asked(number: i64) -> Option<u64> {
    u64::try_from(number).ok().filter(|number| *number > 0)
}

// === Range ===

#[must_use]
pub fn request_to_wire(request: &RangeRequest) -> pb::RangeRequest {
    let (key, range_end) = key_range_to_wire(&request.range);
    let bound = |revision: Option<Revision>| revision.map_or(0, |revision| to_i64(revision.0));
    let (sort_order, sort_target) = sort_to_wire(request.sort);
    pb::RangeRequest {
        key,
        range_end,
        limit: request.limit.map_or(0, to_i64),
        revision: bound(request.revision),
        sort_order: sort_order.into(),
        sort_target: sort_target.into(),
        serializable: request.serializable,
        keys_only: request.keys_only,
        count_only: request.count_only,
        min_mod_revision: bound(request.bounds.min_mod),
        max_mod_revision: bound(request.bounds.max_mod),
        min_create_revision: bound(request.bounds.min_create),
        max_create_revision: bound(request.bounds.max_create),
    }
}

pub fn request_from_wire(request: &pb::RangeRequest) -> Result<RangeRequest, Error> {
    // As etcd: a negative bound is one, and below every revision.
    let bound = |number| (number != 0).then(|| revision_from_wire(number));
    Ok(RangeRequest {
        range: key_range_from_wire(&request.key, &request.range_end)?,
        revision: asked(request.revision).map(Revision),
        limit: asked(request.limit).map(|limit| usize::try_from(limit).unwrap_or(usize::MAX)),
        sort: sort_from_wire(request.sort_order, request.sort_target)?,
        keys_only: request.keys_only,
        count_only: request.count_only,
        serializable: request.serializable,
        bounds: RevisionBounds {
            min_mod: bound(request.min_mod_revision),
            max_mod: bound(request.max_mod_revision),
            min_create: bound(request.min_create_revision),
            max_create: bound(request.max_create_revision),
        },
    })
}

fn sort_to_wire(sort: Option<Sort>) -> (wire::SortOrder, wire::SortTarget) {
    let Some(sort) = sort else {
        return (wire::SortOrder::None, wire::SortTarget::Key);
    };
    let order = match sort.order {
        SortOrder::Ascending => wire::SortOrder::Ascend,
        SortOrder::Descending => wire::SortOrder::Descend,
    };
    let target = match sort.target {
        SortTarget::Key => wire::SortTarget::Key,
        SortTarget::Version => wire::SortTarget::Version,
        SortTarget::Create => wire::SortTarget::Create,
        SortTarget::Mod => wire::SortTarget::Mod,
        SortTarget::Value => wire::SortTarget::Value,
    };
    (order, target)
}

fn sort_from_wire(order: i32, target: i32) -> Result<Option<Sort>, Error> {
    let order = wire::SortOrder::try_from(order).map_err(|_| Error::InvalidSortOption)?;
    let target = wire::SortTarget::try_from(target).map_err(|_| Error::InvalidSortOption)?;
    let target = match target {
        wire::SortTarget::Key => SortTarget::Key,
        wire::SortTarget::Version => SortTarget::Version,
        wire::SortTarget::Create => SortTarget::Create,
        wire::SortTarget::Mod => SortTarget::Mod,
        wire::SortTarget::Value => SortTarget::Value,
    };
    let order = match order {
        wire::SortOrder::Descend => SortOrder::Descending,
        wire::SortOrder::Ascend => SortOrder::Ascending,
        // As etcd: a target without an order sorts upward, and keys are
        // upward already.
        wire::SortOrder::None if target == SortTarget::Key => return Ok(None),
        wire::SortOrder::None => SortOrder::Ascending,
    };
    Ok(Some(Sort { target, order }))
}

#[must_use]
pub fn response_to_wire(
    response: RangeResponse,
    header: Option<pb::ResponseHeader>,
) -> pb::RangeResponse {
    pb::RangeResponse {
        header,
        kvs: response.kvs.into_iter().map(key_value_to_wire).collect(),
        more: response.more,
        count: to_i64(response.count),
    }
}

#[must_use]
pub fn response_from_wire(response: &pb::RangeResponse) -> RangeResponse {
    RangeResponse {
        revision: header_revision(response.header.as_ref()),
        kvs: response.kvs.iter().map(key_value_from_wire).collect(),
        more: response.more,
        count: usize::try_from(response.count).unwrap_or(0),
    }
}

/// Where the store stood; zero when it did not say.
#[must_use]
pub fn header_revision(header: Option<&pb::ResponseHeader>) -> Revision {
    revision_from_wire(header.map_or(0, |header| header.revision))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_range_means_the_same_keys_on_the_other_side() {
        let span = |from: &'static str, to: &'static str| KeyRange::Span {
            from: from.into(),
            to: to.into(),
        };
        let ranges = [
            KeyRange::key("a"),
            KeyRange::prefix("a/"),
            KeyRange::prefix(""),
            KeyRange::From("m".into()),
            span("b", "a"),
            span("", "c"),
            span("", "\0"),
            span("", ""),
            span("\0", "\0"),
        ];
        let keys = ["\0", "\x01", "a", "a/", "a/b", "b", "bb", "m", "z"];
        for range in ranges {
            let (key, end) = key_range_to_wire(&range);
            let back = key_range_from_wire(&key, &end).expect("a range");
            for probe in keys {
                assert_eq!(
                    range.contains(probe.as_bytes()),
                    back.contains(probe.as_bytes()),
                    "{range:?} became {back:?} for key {probe:?}"
                );
            }
        }
        assert_eq!(key_range_from_wire(&Bytes::new(), &Bytes::new()), Err(Error::EmptyKey));
    }

    #[test]
    fn a_full_range_request_comes_back_as_it_went() {
        let request = RangeRequest {
            range: KeyRange::prefix("k"),
            revision: Some(Revision(7)),
            limit: Some(3),
            sort: Some(Sort { target: SortTarget::Mod, order: SortOrder::Descending }),
            keys_only: true,
            count_only: true,
            serializable: true,
            bounds: RevisionBounds {
                min_mod: Some(Revision(1)),
                max_mod: Some(Revision(2)),
                min_create: Some(Revision(3)),
                max_create: Some(Revision(4)),
            },
        };
        assert_eq!(request_from_wire(&request_to_wire(&request)), Ok(request));
        let plain = RangeRequest::new(KeyRange::key("k"));
        assert_eq!(request_from_wire(&request_to_wire(&plain)), Ok(plain));
    }

    #[test]
    fn a_sort_target_without_an_order_sorts_upward_and_nonsense_is_refused() {
        let upward = Sort { target: SortTarget::Value, order: SortOrder::Ascending };
        assert_eq!(sort_from_wire(0, 4), Ok(Some(upward)));
        assert_eq!(sort_from_wire(0, 0), Ok(None));
        assert_eq!(sort_from_wire(9, 0), Err(Error::InvalidSortOption));
    }
}
