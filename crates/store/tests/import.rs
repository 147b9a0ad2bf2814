//! One store's keys into another, while the first is written to.

mod common;

use std::{sync::Arc, time::Duration};

use common::{config, within};
use engine::Memory;
use kv::{DeleteRequest, KeyRange, KeyValue, Kv, PutRequest, RangeRequest};
use rt::Clock;
use store::{
    Config, History, Store,
    import::{Follow, ImportConfig, ImportError, import},
};

struct Side {
    kv: Arc<dyn Kv>,
    _store: Store,
}

async fn side() -> Side {
    let config = Config { history: History::UNLIMITED, ..config() };
    let store =
        Store::build_on(Arc::new(Memory::new()), config, Clock::real()).await.expect("built");
    Side { kv: store.handle("default").expect("a keyspace"), _store: store }
}

fn wanted(follow: Follow, resume: bool) -> ImportConfig {
    ImportConfig { range: KeyRange::prefix(""), resume, follow }
}

async fn all(kv: &Arc<dyn Kv>) -> Vec<KeyValue> {
    within(kv.range(RangeRequest::new(KeyRange::prefix("")))).await.expect("a range").kvs
}

async fn contents(kv: &Arc<dyn Kv>) -> Vec<(Vec<u8>, Vec<u8>, Option<i64>)> {
    let kvs = all(kv).await.into_iter();
    kvs.map(|kv| (kv.key.to_vec(), kv.value.to_vec(), kv.lease.map(|lease| lease.0))).collect()
}

async fn put(kv: &Arc<dyn Kv>, key: &str, value: &str) {
    within(kv.put(PutRequest::new(key.to_owned(), value.to_owned()))).await.expect("a put");
}

async fn fill(kv: &Arc<dyn Kv>) {
    for n in 0..300 {
        put(kv, &format!("k{n:04}"), &"v".repeat(n * 31 % 4000)).await;
    }
    let lease = within(kv.lease_grant(None, Duration::from_secs(900))).await.expect("a lease").id;
    let leased = PutRequest { lease: Some(lease), ..PutRequest::new("leased", "v") };
    within(kv.put(leased)).await.expect("a put");
}

#[tokio::test]
async fn everything_is_copied_with_leases_and_a_target_with_keys_is_refused() {
    let (from, to) = (side().await, side().await);
    fill(&from.kv).await;
    let never = std::future::pending();
    let config = wanted(Follow::No, false);
    let compared =
        within(import(&*from.kv, &*to.kv, &config, never, |_| {})).await.expect("copied");
    assert_eq!(compared.keys, 301);
    assert_eq!(contents(&to.kv).await, contents(&from.kv).await);
    let lease = all(&from.kv).await.last().expect("keys").lease.expect("a lease");
    let info = within(to.kv.lease_info(lease, true)).await.expect("the lease is there");
    assert_eq!(info.granted, Duration::from_secs(900));
    let there = within(from.kv.lease_info(lease, false)).await.expect("it lives");
    assert!(info.remaining >= there.remaining, "it never ends earlier");

    let again = import(&*from.kv, &*to.kv, &config, std::future::pending(), |_| {});
    assert!(matches!(within(again).await, Err(ImportError::NotEmpty(301))));
    // Cut off, and changed on both sides since.
    put(&from.kv, "k0007", "changed").await;
    put(&to.kv, "only here", "x").await;
    let delete = |key: &'static str| DeleteRequest { range: KeyRange::key(key), prev_kv: false };
    within(from.kv.delete(delete("k0100"))).await.expect("a delete");
    within(to.kv.delete(delete("k0200"))).await.expect("a delete");
    let mut written = 0;
    let config = wanted(Follow::No, true);
    let resumed = import(&*from.kv, &*to.kv, &config, std::future::pending(), |progress| {
        written = progress.written;
    });
    assert_eq!(within(resumed).await.expect("resumed").keys, 300);
    assert_eq!(written, 4);
    assert_eq!(contents(&to.kv).await, contents(&from.kv).await);
}

#[tokio::test]
async fn changes_are_followed_while_the_source_is_written_to_and_compacted() {
    let (from, to) = (side().await, side().await);
    fill(&from.kv).await;
    let writing = {
        let kv = from.kv.clone();
        tokio::spawn(async move {
            for n in 0..200 {
                put(&kv, &format!("k{:04}", n * 7 % 400), &format!("new {n}")).await;
                if n % 10 == 0 {
                    let range = KeyRange::Key(format!("k{:04}", n + 3).into());
                    let delete = DeleteRequest { range, prev_kv: false };
                    let (revision, _) = within(kv.delete(delete)).await.expect("a delete");
                    within(kv.compact(revision)).await.expect("compacted");
                }
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        })
    };
    let config = wanted(Follow::UntilStopped, false);
    let stop = async {
        writing.await.expect("no writer panics");
        while contents(&to.kv).await != contents(&from.kv).await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    within(import(&*from.kv, &*to.kv, &config, stop, |_| {})).await.expect("followed");
    assert_eq!(contents(&to.kv).await, contents(&from.kv).await);
}

#[tokio::test]
async fn it_ends_by_itself_once_it_has_caught_up() {
    let (from, to) = (side().await, side().await);
    fill(&from.kv).await;
    let config = wanted(Follow::UntilCaughtUp, false);
    let compared = import(&*from.kv, &*to.kv, &config, std::future::pending(), |_| {});
    assert_eq!(within(compared).await.expect("caught up").keys, 301);
}

#[tokio::test]
async fn a_lease_comes_over_with_what_is_left_of_it() {
    let (clock, hand) = Clock::manual();
    let old = Store::build_on(Arc::new(Memory::new()), config(), clock).await.expect("built");
    let (from, to) = (old.handle("default").expect("a keyspace"), side().await);
    let ttl = Duration::from_secs(900);
    let lease = within(from.lease_grant(None, ttl)).await.expect("a lease").id;
    let leased = PutRequest { lease: Some(lease), ..PutRequest::new("leased", "v") };
    within(from.put(leased)).await.expect("a put");
    hand.advance(600_000);
    let config = wanted(Follow::No, false);
    let never = std::future::pending;
    within(import(&*from, &*to.kv, &config, never(), |_| {})).await.expect("copied");
    let info = within(to.kv.lease_info(lease, true)).await.expect("the lease is there");
    assert_eq!(info.granted, ttl);
    let left = Duration::from_secs(270)..=Duration::from_secs(301);
    assert!(left.contains(&info.remaining), "{info:?}");
    // Once its owner renews it, it has all its time.
    assert_eq!(within(to.kv.lease_keep_alive(lease)).await, Ok(ttl));
}
