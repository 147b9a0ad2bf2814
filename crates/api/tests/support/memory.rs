//! A store in memory: the real rules, nothing durable, one keyspace each.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use api::Keyspaces;
use async_trait::async_trait;
use futures::stream;
use keyspace::{Keyspace, Values, Watch};
use kv::{
    Error, Kv, LeaseGranted, LeaseId, LeaseInfo, RangeRequest, RangeResponse, Revision, Txn,
    TxnResponse, WatchItem, WatchRequest, WatchStream,
};
use rt::{Clock, Millis};
use tokio::sync::watch;

const EVENTS_MAX: usize = 1000;

#[derive(Clone)]
pub struct Memory(Arc<State>);

struct State {
    keyspace: Mutex<Keyspace>,
    reached: watch::Sender<Revision>,
    clock: Clock,
    leases: Mutex<i64>,
}

/// A handle for every name, the same one each time.
pub fn keyspaces() -> Keyspaces {
    let open: Mutex<HashMap<String, Memory>> = Mutex::default();
    Arc::new(move |name| {
        let mut open = open.lock().expect("no panic while held");
        let memory = open.entry(name.to_owned()).or_insert_with(Memory::new).clone();
        Arc::new(memory) as Arc<dyn Kv>
    })
}

impl Memory {
    fn new() -> Memory {
        Memory(Arc::new(State {
            keyspace: Mutex::new(Keyspace::new(keyspace::Config::default())),
            reached: watch::channel(Revision::FIRST).0,
            clock: Clock::real(),
            leases: Mutex::new(0),
        }))
    }

    fn now(&self) -> Millis {
        self.0.clock.now()
    }

    fn with<T>(&self, f: impl FnOnce(&mut Keyspace) -> T) -> T {
        let mut keyspace = self.0.keyspace.lock().expect("no panic while held");
        let result = f(&mut keyspace);
        let revision = keyspace.revision();
        self.0.reached.send_if_modified(|reached| std::mem::replace(reached, revision) != revision);
        result
    }
}

#[async_trait]
impl Kv for Memory {
    async fn range(&self, request: RangeRequest) -> Result<RangeResponse, Error> {
        self.with(|keyspace| keyspace.range(&request, keyspace.revision(), &Values::default()))
    }

    async fn txn(&self, txn: Txn) -> Result<TxnResponse, Error> {
        self.with(|keyspace| Ok(keyspace.apply(&txn, &Values::default())?.response))
    }

    async fn compact(&self, revision: Revision) -> Result<Revision, Error> {
        self.with(|keyspace| {
            let visible = keyspace.revision();
            Ok(keyspace.compact(revision, visible)?.response)
        })
    }

    async fn watch(&self, request: WatchRequest) -> Result<WatchStream, Error> {
        let reached = self.0.reached.subscribe();
        let revision = self.with(|keyspace| keyspace.revision());
        let watch = Watch::new(&request, revision);
        let created = stream::iter([Ok(WatchItem::Created { revision })]);
        let state = (watch, reached, self.clone());
        let events = stream::unfold(Some(state), |state| async move {
            let (mut watch, mut reached, memory) = state?;
            loop {
                let visible = *reached.borrow_and_update();
                let batch = memory.with(|keyspace| {
                    keyspace.poll(&mut watch, visible, EVENTS_MAX, &Values::default())
                });
                match batch {
                    Err(error) => return Some((Err(error), None)),
                    Ok(Some(batch)) => {
                        return Some((
                            Ok(WatchItem::Events(batch)),
                            Some((watch, reached, memory)),
                        ));
                    }
                    Ok(None) if watch.next() <= visible => {}
                    Ok(None) => reached.changed().await.ok()?,
                }
            }
        });
        Ok(Box::pin(futures::StreamExt::chain(created, events)))
    }

    async fn lease_grant(&self, id: Option<LeaseId>, ttl: Duration) -> Result<LeaseGranted, Error> {
        let id = id.unwrap_or_else(|| {
            let mut last = self.0.leases.lock().expect("no panic while held");
            *last += 1;
            LeaseId(*last)
        });
        let now = self.now();
        self.with(|keyspace| Ok(keyspace.lease_grant(id, ttl, now)?.response))
    }

    async fn lease_revoke(&self, id: LeaseId) -> Result<(), Error> {
        self.with(|keyspace| keyspace.lease_revoke(id).map(|_| ()))
    }

    async fn lease_keep_alive(&self, id: LeaseId) -> Result<Duration, Error> {
        let now = self.now();
        self.with(|keyspace| keyspace.lease_keep_alive(id, now))
    }

    async fn lease_info(&self, id: LeaseId, keys: bool) -> Result<LeaseInfo, Error> {
        let now = self.now();
        self.with(|keyspace| keyspace.lease_info(id, keys, now))
    }
}
