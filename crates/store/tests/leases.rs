//! Leases expire by the store's own clock, once, and in one revision.

mod common;

use std::time::Duration;

use common::{bench_at, config, created, next_events, within};
use kv::{Error, EventKind, KeyRange, LeaseId, PutRequest, RangeRequest, WatchRequest};
use rt::Clock;

const TTL: Duration = Duration::from_secs(10);

#[tokio::test(start_paused = true)]
async fn a_lease_that_is_not_renewed_takes_its_keys_along_in_one_revision() {
    let (clock, hand) = Clock::manual();
    let bench = bench_at(config(), clock).await;
    let lease = within(bench.kv.lease_grant(None, TTL)).await.expect("a lease");
    for key in ["a", "b"] {
        let put = PutRequest { lease: Some(lease.id), ..PutRequest::new(key, "v") };
        within(bench.kv.put(put)).await.expect("a put");
    }
    let mut watch = bench.kv.watch(WatchRequest::new(KeyRange::prefix(""))).await.expect("a watch");
    created(&mut watch).await;

    hand.advance(9_000);
    assert_eq!(within(bench.kv.lease_keep_alive(lease.id)).await, Ok(TTL));
    hand.advance(9_999);
    let info = within(bench.kv.lease_info(lease.id, true)).await.expect("still there");
    assert_eq!((info.remaining, info.keys.len()), (Duration::from_millis(1), 2));

    hand.advance(1);
    let batch = next_events(&mut watch).await;
    let events: Vec<_> = batch.events.iter().map(|e| (e.kind, e.kv.mod_revision)).collect();
    assert_eq!(events, [(EventKind::Delete, batch.revision); 2]);
    assert_eq!(within(bench.kv.lease_keep_alive(lease.id)).await, Err(Error::LeaseNotFound));
    assert_eq!(within(bench.kv.lease_revoke(lease.id)).await, Err(Error::LeaseNotFound));
}

#[tokio::test(start_paused = true)]
async fn a_renewal_that_waits_is_taken_before_the_expiry_it_prevents() {
    let (clock, hand) = Clock::manual();
    let bench = bench_at(config(), clock).await;
    let lease = within(bench.kv.lease_grant(Some(LeaseId(7)), TTL)).await.expect("a lease");
    // While an append is under way, renewals wait and nothing expires.
    let held = bench.engine.hold();
    let put = bench.kv.put(PutRequest::new("k", "v"));
    let renewal = bench.kv.lease_keep_alive(lease.id);
    tokio::pin!(put, renewal);
    assert!(futures::poll!(&mut put).is_pending());
    within(bench.kv.range(RangeRequest::new(KeyRange::key("k")))).await.expect("a range");
    assert!(futures::poll!(&mut renewal).is_pending());
    hand.advance(60_000);
    drop(held);
    within(put).await.expect("a put");
    assert_eq!(within(renewal).await, Ok(TTL));
    assert!(within(bench.kv.lease_info(lease.id, false)).await.is_ok());
}

#[tokio::test]
async fn a_chosen_id_is_granted_once_and_a_missing_lease_is_refused() {
    let bench = bench_at(config(), Clock::real()).await;
    let chosen = Some(LeaseId(42));
    assert_eq!(within(bench.kv.lease_grant(chosen, TTL)).await.expect("a lease").id, LeaseId(42));
    assert_eq!(within(bench.kv.lease_grant(chosen, TTL)).await, Err(Error::LeaseExists));
    let put = PutRequest { lease: Some(LeaseId(43)), ..PutRequest::new("k", "v") };
    assert_eq!(within(bench.kv.put(put)).await.map(|_| ()), Err(Error::LeaseNotFound));
}

#[tokio::test(start_paused = true)]
async fn a_renewal_that_comes_right_after_a_stall_still_saves_its_lease() {
    let (clock, hand) = Clock::manual();
    let bench = bench_at(config(), clock).await;
    let saved = within(bench.kv.lease_grant(None, TTL)).await.expect("a lease");
    let lost = within(bench.kv.lease_grant(None, TTL)).await.expect("a lease");

    // The process stood still; its first request is somebody else's.
    hand.advance(60_000);
    within(bench.kv.put(PutRequest::new("k", "v"))).await.expect("a put");
    hand.advance(1_999);
    assert_eq!(within(bench.kv.lease_keep_alive(saved.id)).await, Ok(TTL));
    assert!(within(bench.kv.lease_info(lost.id, false)).await.is_ok());

    hand.advance(1);
    within(bench.kv.put(PutRequest::new("k", "v"))).await.expect("a put");
    assert!(within(bench.kv.lease_info(saved.id, false)).await.is_ok());
    assert_eq!(within(bench.kv.lease_keep_alive(lost.id)).await, Err(Error::LeaseNotFound));
}
