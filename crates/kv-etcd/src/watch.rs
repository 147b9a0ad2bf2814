//! Watches: the create request, events, and what one response means.

use kv::{
    Error, Event, EventKind, KeyValue, Revision, WatchBatch, WatchFilter, WatchItem, WatchRequest,
};
use pb_etcd::{
    etcdserverpb::{self as pb, watch_create_request::FilterType},
    mvccpb::{self, event::EventType},
};

use crate::{
    range::{
        header_revision, key_range_from_wire, key_range_to_wire, key_value_from_wire,
        key_value_to_wire, revision_from_wire,
    },
    status, to_i64,
};

#[must_use]
pub fn request_to_wire(request: &WatchRequest) -> pb::WatchCreateRequest {
    let (key, range_end) = key_range_to_wire(&request.range);
    let filter = |filter: &WatchFilter| match filter {
        WatchFilter::NoPut => FilterType::Noput.into(),
        WatchFilter::NoDelete => FilterType::Nodelete.into(),
    };
    pb::WatchCreateRequest {
        key,
        range_end,
        start_revision: request.start.map_or(0, |start| to_i64(start.0)),
        progress_notify: request.progress_notify,
        filters: request.filters.iter().map(filter).collect(),
        prev_kv: request.prev_kv,
        watch_id: 0,
        fragment: false,
    }
}

pub fn request_from_wire(create: &pb::WatchCreateRequest) -> Result<WatchRequest, Error> {
    // Only here does etcd read an empty key as the lowest one.
    let lowest = bytes::Bytes::from_static(b"\0");
    let key = if create.key.is_empty() { &lowest } else { &create.key };
    // As etcd: what lies before the first revision is gone.
    let start = u64::try_from(create.start_revision)
        .map_err(|_| Error::Compacted { compacted: Revision::ZERO })?;
    let filters = create.filters.iter().filter_map(|filter| match FilterType::try_from(*filter) {
        Ok(FilterType::Noput) => Some(WatchFilter::NoPut),
        Ok(FilterType::Nodelete) => Some(WatchFilter::NoDelete),
        // As etcd: a filter it does not know filters nothing.
        Err(_) => None,
    });
    Ok(WatchRequest {
        range: key_range_from_wire(key, &create.range_end)?,
        start: (start > 0).then_some(Revision(start)),
        prev_kv: create.prev_kv,
        progress_notify: create.progress_notify,
        filters: filters.collect(),
    })
}

#[must_use]
pub fn event_to_wire(event: Event) -> mvccpb::Event {
    let kind = match event.kind {
        EventKind::Put => EventType::Put,
        EventKind::Delete => EventType::Delete,
    };
    mvccpb::Event {
        r#type: kind.into(),
        kv: Some(key_value_to_wire(event.kv)),
        prev_kv: event.prev_kv.map(key_value_to_wire),
    }
}

fn event_from_wire(event: &mvccpb::Event) -> Result<Event, Error> {
    let kind = match EventType::try_from(event.r#type) {
        Ok(EventType::Put) => EventKind::Put,
        Ok(EventType::Delete) => EventKind::Delete,
        Err(_) => return Err(Error::Other("polis: an event of unknown type".into())),
    };
    let kv: KeyValue = event
        .kv
        .as_ref()
        .map(key_value_from_wire)
        .ok_or_else(|| Error::Other("polis: an event without its key".into()))?;
    Ok(Event { kind, kv, prev_kv: event.prev_kv.as_ref().map(key_value_from_wire) })
}

/// What one response means to its watch.
pub fn item_from_wire(response: &pb::WatchResponse) -> Result<WatchItem, Error> {
    if response.canceled {
        return Err(match response.compact_revision {
            compacted if compacted > 0 => {
                Error::Compacted { compacted: revision_from_wire(compacted) }
            }
            _ => status::from_text(&response.cancel_reason)
                .unwrap_or_else(|| Error::Other(response.cancel_reason.clone())),
        });
    }
    let revision = header_revision(response.header.as_ref());
    if response.created {
        return Ok(WatchItem::Created { revision });
    }
    if response.events.is_empty() {
        return Ok(WatchItem::Progress { revision });
    }
    let events =
        response.events.iter().map(event_from_wire).collect::<Result<Vec<Event>, Error>>()?;
    // A catching-up watch of etcd's gets the newest revision in its headers
    // while older events are still to come; the events themselves do not lie.
    let delivered = events.iter().map(|event| event.kv.mod_revision).max().unwrap_or(revision);
    Ok(WatchItem::Events(WatchBatch { revision: delivered, events }))
}

#[cfg(test)]
mod tests {
    use kv::KeyRange;

    use super::*;

    #[test]
    fn a_watch_request_comes_back_as_it_went() {
        let request = WatchRequest {
            range: KeyRange::prefix("w/"),
            start: Some(Revision(12)),
            prev_kv: true,
            progress_notify: true,
            filters: vec![WatchFilter::NoDelete, WatchFilter::NoPut],
        };
        assert_eq!(request_from_wire(&request_to_wire(&request)), Ok(request));
        let keyless =
            pb::WatchCreateRequest { range_end: b"\0".to_vec().into(), ..Default::default() };
        let all = request_from_wire(&keyless).expect("a watch of everything");
        assert_eq!(all.range, KeyRange::From(b"\0".to_vec().into()));
        let negative =
            pb::WatchCreateRequest { key: "k".into(), start_revision: -1, ..Default::default() };
        assert!(request_from_wire(&negative).is_err());
    }

    #[test]
    fn a_response_is_read_as_what_it_says() {
        let header = Some(pb::ResponseHeader { revision: 40, ..Default::default() });
        let kv = KeyValue {
            key: "k".into(),
            value: kv::Value::new(),
            create_revision: Revision::ZERO,
            mod_revision: Revision(30),
            version: 0,
            lease: None,
        };
        let event = Event { kind: EventKind::Delete, kv: kv.clone(), prev_kv: Some(kv) };
        let base = pb::WatchResponse { header, ..Default::default() };
        let check = |response: pb::WatchResponse, expected| {
            assert_eq!(item_from_wire(&response), expected);
        };
        check(base.clone(), Ok(WatchItem::Progress { revision: Revision(40) }));
        check(
            pb::WatchResponse { created: true, ..base.clone() },
            Ok(WatchItem::Created { revision: Revision(40) }),
        );
        check(
            pb::WatchResponse { events: vec![event_to_wire(event.clone())], ..base.clone() },
            Ok(WatchItem::Events(WatchBatch { revision: Revision(30), events: vec![event] })),
        );
        check(
            pb::WatchResponse { canceled: true, compact_revision: 7, ..base.clone() },
            Err(Error::Compacted { compacted: Revision(7) }),
        );
        check(
            pb::WatchResponse {
                canceled: true,
                cancel_reason: Error::NotLeader.to_string(),
                ..base
            },
            Err(Error::NotLeader),
        );
    }
}
