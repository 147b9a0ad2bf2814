//! A store on an engine in memory, and waits that end.
#![allow(dead_code, reason = "each test file uses its part")]

use std::{future::Future, sync::Arc, time::Duration};

use engine::Memory;
use futures::StreamExt as _;
use kv::{KeyspaceName, Kv, WatchBatch, WatchItem, WatchStream};
use rt::Clock;
use store::{Config, Store};

/// Far longer than anything here takes, far shorter than a hung build.
pub const PATIENCE: Duration = Duration::from_secs(120);

pub struct Bench {
    pub engine: Memory,
    pub store: Store,
    pub kv: Arc<dyn Kv>,
}

pub fn config() -> Config {
    let any_port = "127.0.0.1:0".parse().expect("an address");
    Config { insecure: true, ..Config::new("unused", any_port) }
}

pub async fn bench(config: Config) -> Bench {
    bench_at(config, Clock::real()).await
}

pub async fn bench_at(config: Config, clock: Clock) -> Bench {
    let engine = Memory::new();
    let store = Store::build_on(Arc::new(engine.clone()), config, clock).await.expect("built");
    let kv = store.handle("default").expect("a keyspace");
    Bench { engine, store, kv }
}

pub fn default_keyspace() -> KeyspaceName {
    KeyspaceName::default()
}

pub async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.expect("done in time")
}

pub async fn next(watch: &mut WatchStream) -> Result<WatchItem, kv::Error> {
    within(watch.next()).await.expect("the watch goes on")
}

/// The next events; anything else is a failure.
pub async fn next_events(watch: &mut WatchStream) -> WatchBatch {
    match next(watch).await {
        Ok(WatchItem::Events(batch)) => batch,
        other => panic!("expected events, got {other:?}"),
    }
}

pub async fn created(watch: &mut WatchStream) {
    let first = next(watch).await;
    assert!(matches!(first, Ok(WatchItem::Created { .. })), "{first:?}");
}
