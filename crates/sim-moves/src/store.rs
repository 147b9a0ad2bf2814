//! The store, a process of its own, and every other's road to it.

use std::{pin::Pin, sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use engine::Memory;
use futures::{StreamExt as _, stream};
use kv::{
    Compare, CompareTarget, Error, Kv, LeaseGranted, LeaseId, LeaseInfo, Op, RangeRequest,
    RangeResponse, Revision, Txn, TxnResponse, WatchItem, WatchRequest, WatchStream,
};
use rt::Clock;
use serde_json::Value;
use store::{Config, Store};
use tokio::{sync::mpsc, time::timeout};
use topology::{ShardMap, ShardState};

use crate::{
    Bug,
    layout::{Process, SEATS},
    net::{Face, Life, Net, Times, Trouble},
    witness::Witness,
};

/// Short, so that whoever was away must list again.
const REVISIONS_MAX: u64 = 400;

/// What a client of the store waits for an answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(3);

const MAP_KEY: &[u8] = b"/shardmaps/main";

type Work<T> = Pin<Box<dyn Future<Output = Result<T, Error>> + Send>>;

/// A keyspace as another process reaches it.
#[derive(Clone)]
pub struct Road {
    pub net: Net,
    pub from: Process,
    pub keyspace: Arc<str>,
    pub witness: Witness,
    pub bug: Option<Bug>,
}

/// Serves for as long as the machine runs.
pub async fn serve(net: Net, machine: tokio::runtime::Handle) {
    let any_port = "127.0.0.1:0".parse().expect("an address");
    let mut config = Config::new("unused", any_port);
    config.insecure = true;
    config.history.revisions_max = REVISIONS_MAX;
    let store = Store::build_on(Arc::new(Memory::new()), config, Clock::of_runtime()).await;
    let store = Arc::new(store.expect("a port is free"));
    net.begin_life(Process::Store, Life { machine, face: Face::Store(store) });
    std::future::pending().await
}

// === impl Road ===

impl Road {
    async fn call<T: Send + 'static>(
        &self,
        times: Times,
        work: impl Fn(Arc<dyn Kv>) -> Work<T> + Send + Sync + 'static,
    ) -> Result<T, Error> {
        let keyspace = self.keyspace.clone();
        let asked = self.net.ask(self.from, Process::Store, times, move |face| {
            let Face::Store(store) = face else { return None };
            let kv = store.handle(&keyspace).expect("a valid keyspace");
            Some(work(kv))
        });
        let broken = |why: &str| Error::Unknown(why.to_owned());
        match timeout(ANSWER_TIMEOUT, asked).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(Trouble::Refused)) => Err(Error::Unreachable("nobody answers".into())),
            Ok(Err(Trouble::Lost)) => Err(broken("the connection was lost")),
            Err(_) => Err(broken("no answer in time")),
        }
    }

    /// Makes the mistake that is planted.
    fn spoil(&self, txn: &mut Txn) {
        let compares_key = |compare: &Compare, prefix: &str| matches!(&compare.range, kv::KeyRange::Key(key) if key.starts_with(prefix.as_bytes()));
        match self.bug {
            Some(Bug::NoFence) => txn.compares.retain(|compare| {
                !(compares_key(compare, "/fence/")
                    && matches!(compare.target, CompareTarget::Value(_)))
            }),
            Some(Bug::PaidTwice) => {
                txn.compares.retain(|compare| !compares_key(compare, "/payment/"));
            }
            Some(Bug::OldPicture) => txn.compares.retain(|compare| {
                !matches!(&compare.range, kv::KeyRange::Key(key) if key.ends_with(MAP_KEY))
            }),
            Some(bug @ (Bug::EpochReused | Bug::SplitMoves)) => {
                let spoil = match bug {
                    Bug::EpochReused => with_epochs_reused,
                    _ => with_parts_elsewhere,
                };
                for op in &mut txn.success {
                    if let Op::Put(put) = op
                        && put.key.ends_with(MAP_KEY)
                        && let Some(value) = spoil(&put.value)
                    {
                        put.value = value;
                    }
                }
            }
            _ => {}
        }
    }
}

/// Every intent but a first one takes its epoch a second time.
fn with_epochs_reused(map: &[u8]) -> Option<Bytes> {
    let mut map: Value = serde_json::from_slice(map).ok()?;
    for range in map.pointer_mut("/status/ranges")?.as_array_mut()? {
        if range["state"] == "Moving"
            && let Some(epoch) = range["epoch"].as_u64().filter(|epoch| *epoch > 1)
        {
            range["epoch"] = (epoch - 1).into();
        }
    }
    Some(map.to_string().into())
}

/// Every part that is served is another unit's.
fn with_parts_elsewhere(object: &[u8]) -> Option<Bytes> {
    let mut object: Value = serde_json::from_slice(object).ok()?;
    let mut map: ShardMap = serde_json::from_value(object["status"].clone()).ok()?;
    let parts = map.assignments.iter_mut().filter(|(shard, _)| shard.hundred().is_none());
    for (_, part) in parts {
        if let ShardState::Serving { unit } = &mut part.state {
            let at = SEATS.iter().position(|seat| seat.unit == unit.as_str())?;
            *unit = SEATS[(at + 1) % SEATS.len()].unit();
        }
    }
    object["status"] = serde_json::to_value(map).ok()?;
    Some(object.to_string().into())
}

#[async_trait]
impl Kv for Road {
    async fn range(&self, request: RangeRequest) -> Result<RangeResponse, Error> {
        self.call(Times::Repeated, move |kv| {
            let request = request.clone();
            Box::pin(async move { kv.range(request).await })
        })
        .await
    }

    async fn txn(&self, mut txn: Txn) -> Result<TxnResponse, Error> {
        self.spoil(&mut txn);
        let (from, keyspace) = (self.from, self.keyspace.clone());
        let (witness, net) = (self.witness.clone(), self.net.clone());
        self.call(Times::Once, move |kv| {
            let (txn, keyspace) = (txn.clone(), keyspace.clone());
            let (witness, net) = (witness.clone(), net.clone());
            Box::pin(async move {
                let answer = kv.txn(txn.clone()).await;
                if let Ok(done) = &answer {
                    witness.see(net.now_ms(), from, &keyspace, &txn, done);
                }
                answer
            })
        })
        .await
    }

    async fn compact(&self, revision: Revision) -> Result<Revision, Error> {
        self.call(Times::Once, move |kv| Box::pin(async move { kv.compact(revision).await })).await
    }

    async fn watch(&self, request: WatchRequest) -> Result<WatchStream, Error> {
        let (sender, receiver) = mpsc::unbounded_channel();
        let (net, from) = (self.net.clone(), self.from);
        self.call(Times::Once, move |kv| {
            let outlet = net.outlet((Process::Store, from), sender.clone());
            let request = request.clone();
            Box::pin(async move {
                let mut items = kv.watch(request).await?;
                tokio::spawn(async move {
                    while let Some(item) = items.next().await {
                        if !outlet.push(item) {
                            return;
                        }
                    }
                });
                Ok(())
            })
        })
        .await?;
        Ok(Box::pin(stream::unfold(Some(receiver), |receiver| async {
            let mut receiver: mpsc::UnboundedReceiver<Result<WatchItem, Error>> = receiver?;
            match receiver.recv().await {
                Some(item) => Some((item, Some(receiver))),
                None => Some((Err(Error::Unknown("the connection was lost".into())), None)),
            }
        })))
    }

    async fn lease_grant(&self, id: Option<LeaseId>, ttl: Duration) -> Result<LeaseGranted, Error> {
        self.call(Times::Once, move |kv| Box::pin(async move { kv.lease_grant(id, ttl).await }))
            .await
    }

    async fn lease_revoke(&self, id: LeaseId) -> Result<(), Error> {
        self.call(Times::Once, move |kv| Box::pin(async move { kv.lease_revoke(id).await })).await
    }

    async fn lease_keep_alive(&self, id: LeaseId) -> Result<Duration, Error> {
        self.call(Times::Once, move |kv| Box::pin(async move { kv.lease_keep_alive(id).await }))
            .await
    }

    async fn lease_info(&self, id: LeaseId, keys: bool) -> Result<LeaseInfo, Error> {
        self.call(Times::Once, move |kv| Box::pin(async move { kv.lease_info(id, keys).await }))
            .await
    }
}
