//! A watch that nobody reads holds up only itself.

mod common;

use std::sync::Arc;

use common::{config, created, within};
use engine::Memory;
use kv::{KeyRange, Kv as _, PutRequest, RangeRequest, WatchRequest};
use kv_etcd::Client;
use rt::Clock;
use store::Store;

#[tokio::test]
async fn requests_go_on_beside_watches_of_the_same_connection_that_nobody_reads() {
    const WATCHES: usize = 16;
    const PUTS: usize = 60;
    let store = Store::build_on(Arc::new(Memory::new()), config(), Clock::real());
    let store = store.await.expect("built");
    let address = store.local_addr();
    let (trigger, drain) = rt::drain::channel();
    let running = tokio::spawn(store.run(drain));

    let client = kv_etcd::Config::new(format!("http://{address}"), None);
    let client = Client::connect(client).expect("a client");
    let watched = client.keyspace("unit-rz01").expect("a keyspace");
    let mut unread = Vec::new();
    for _ in 0..WATCHES {
        let mut watch =
            within(watched.watch(WatchRequest::new(KeyRange::prefix("")))).await.expect("a watch");
        created(&mut watch).await;
        unread.push(watch);
    }
    // Together far more than any connection's window in common use.
    for n in 0..PUTS {
        let put = PutRequest::new(format!("{n}"), vec![0; 64 * 1024]);
        within(watched.put(put)).await.expect("a put");
    }
    let other = client.keyspace("ledger-00").expect("a keyspace");
    within(other.put(PutRequest::new("k", "v"))).await.expect("a put");
    let all = RangeRequest::new(KeyRange::prefix(""));
    assert_eq!(within(watched.range(all)).await.expect("a range").kvs.len(), PUTS);

    drop(unread);
    drop((watched, other, client));
    within(trigger.drain(common::PATIENCE)).await;
    within(running).await.expect("ended");
}
