//! What watchers are told. News of the same changes is one allocation, however
//! many watch them, and is put on the wire's form once.

use std::sync::{Arc, OnceLock};

use bytes::{Bytes, BytesMut};
use kv::{Error, Revision, WatchBatch, WatchItem};
use kv_etcd::watch::event_to_wire;

/// Number of the field `events` in etcd's `WatchResponse`.
const EVENTS_FIELD: u32 = 11;

pub(crate) type NewsResult = Result<News, Error>;

/// As [`WatchItem`], cheap to clone.
#[derive(Clone, Debug)]
pub(crate) enum News {
    Created { revision: Revision },
    Changes(Arc<Changes>),
    Progress { revision: Revision },
}

#[derive(Debug)]
pub(crate) struct Changes {
    pub batch: WatchBatch,
    wire: OnceLock<Bytes>,
}

// === impl News ===

impl News {
    pub fn changes(batch: WatchBatch) -> News {
        News::Changes(Arc::new(Changes { batch, wire: OnceLock::new() }))
    }
}

impl From<News> for WatchItem {
    fn from(news: News) -> WatchItem {
        match news {
            News::Created { revision } => WatchItem::Created { revision },
            News::Changes(changes) => WatchItem::Events(
                Arc::try_unwrap(changes)
                    .map_or_else(|shared| shared.batch.clone(), |own| own.batch),
            ),
            News::Progress { revision } => WatchItem::Progress { revision },
        }
    }
}

// === impl Changes ===

impl Changes {
    /// The events as they stand in a `WatchResponse`.
    pub fn wire(&self) -> &Bytes {
        self.wire.get_or_init(|| {
            let mut wire = BytesMut::new();
            for event in &self.batch.events {
                let event = event_to_wire(event.clone());
                prost::encoding::message::encode(EVENTS_FIELD, &event, &mut wire);
            }
            wire.freeze()
        })
    }
}

#[cfg(test)]
mod tests {
    use kv::{Event, EventKind, KeyValue};
    use pb_etcd::etcdserverpb as pb;
    use prost::Message as _;

    use super::*;

    #[test]
    fn the_wire_form_is_that_of_a_whole_response() {
        let event = |key: &'static str| Event {
            kind: EventKind::Put,
            kv: KeyValue {
                key: Bytes::from_static(key.as_bytes()),
                value: vec![7; 300].into(),
                create_revision: Revision(2),
                mod_revision: Revision(9),
                version: 3,
                lease: None,
            },
            prev_kv: None,
        };
        let events = vec![event("a"), event("b")];
        let whole = pb::WatchResponse {
            events: events.iter().cloned().map(event_to_wire).collect(),
            ..Default::default()
        };
        let news = News::changes(WatchBatch { revision: Revision(9), events });
        let News::Changes(changes) = news else { panic!("it was changes") };
        assert_eq!(changes.wire()[..], whole.encode_to_vec());
    }
}
