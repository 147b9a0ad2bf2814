//! Nobody sees what is not durable, and nobody is told that it is.

mod common;

use common::{Bench, bench, config, created, default_keyspace, next_events, within};
use engine::{Engine as _, Fault};
use futures::{FutureExt as _, future::join_all};
use kv::{Compare, Error, KeyRange, Op, PutRequest, RangeRequest, Revision, Txn, WatchRequest};

fn everything() -> KeyRange {
    KeyRange::prefix("")
}

async fn keys(bench: &Bench) -> (Revision, Vec<String>) {
    // Other reads of a shared log wait for the batch under way.
    let all = RangeRequest { serializable: true, ..RangeRequest::new(everything()) };
    let all = within(bench.kv.range(all)).await.expect("a range");
    let name = |kv: kv::KeyValue| String::from_utf8_lossy(&kv.key).into_owned();
    (all.revision, all.kvs.into_iter().map(name).collect())
}

#[tokio::test]
async fn readers_and_watchers_see_a_write_only_once_it_is_durable() {
    let bench = bench(config()).await;
    let mut watch = bench.kv.watch(WatchRequest::new(everything())).await.expect("a watch");
    created(&mut watch).await;

    let held = bench.engine.hold();
    let kv = bench.kv.clone();
    let put = tokio::spawn(async move { kv.put(PutRequest::new("k", "v")).await });
    // A read that is answered after the put was taken in.
    for _ in 0..10 {
        tokio::task::yield_now().await;
        assert_eq!(keys(&bench).await, (Revision::FIRST, vec![]));
    }
    assert!(!put.is_finished());
    assert!(futures::StreamExt::next(&mut watch).now_or_never().is_none());

    drop(held);
    let (revision, _) = within(put).await.expect("no panic").expect("a put");
    assert_eq!(keys(&bench).await, (revision, vec!["k".into()]));
    assert_eq!(next_events(&mut watch).await.revision, revision);
}

#[tokio::test]
async fn what_gathers_during_an_append_becomes_one_batch() {
    let bench = bench(config()).await;
    keys(&bench).await;
    let held = bench.engine.hold();
    let put = |n| {
        let kv = bench.kv.clone();
        async move { kv.put(PutRequest::new(format!("k{n}"), "v")).await }
    };
    let puts = tokio::spawn(join_all((0..100).map(put)));
    for _ in 0..10 {
        tokio::task::yield_now().await;
        keys(&bench).await;
    }
    drop(held);
    let answers = within(puts).await.expect("no panic");
    let mut revisions: Vec<_> = answers.into_iter().map(|put| put.expect("a put").0.0).collect();
    revisions.sort_unstable();
    assert_eq!(revisions, (2..102).collect::<Vec<_>>());
    assert!(bench.engine.metrics().batches <= 2, "{:?}", bench.engine.metrics());
}

#[tokio::test]
async fn a_batch_with_an_unknown_end_is_told_so_and_its_fate_is_settled_by_a_reload() {
    for (fault, survives) in
        [(Fault::UnknownApplied, true), (Fault::UnknownLost, false), (Fault::Deposed, false)]
    {
        let bench = bench(config()).await;
        within(bench.kv.put(PutRequest::new("before", "v"))).await.expect("a put");
        let mut watch = bench.kv.watch(WatchRequest::new(everything())).await.expect("a watch");
        created(&mut watch).await;

        bench.engine.inject(&default_keyspace(), fault);
        let put = within(bench.kv.put(PutRequest::new("during", "v"))).await;
        assert!(matches!(put, Err(Error::Unknown(_))), "{fault:?}: {put:?}");

        // Requests are refused while the log is claimed again, never queued
        // on an old state.
        let after = within(async {
            loop {
                match bench.kv.put(PutRequest::new("after", "v")).await {
                    Ok((revision, _)) => return revision,
                    Err(refused) => assert!(refused.is_definite(), "{refused:?}"),
                }
                tokio::task::yield_now().await;
            }
        })
        .await;
        let expected =
            if survives { vec!["after", "before", "during"] } else { vec!["after", "before"] };
        let (revision, found) = keys(&bench).await;
        assert_eq!(found, expected, "{fault:?}");
        assert_eq!(revision, after, "{fault:?}");

        // The watcher that was there all along saw the same, each once.
        let mut seen = Vec::new();
        while seen.last() != Some(&after) {
            seen.extend(next_events(&mut watch).await.events.iter().map(|e| e.kv.mod_revision));
        }
        let expected: Vec<_> = (3..=after.0).map(Revision).collect();
        assert_eq!(seen, expected, "{fault:?}");
    }
}

#[tokio::test]
async fn even_a_refusal_waits_for_the_change_that_caused_it() {
    let bench = bench(config()).await;
    keys(&bench).await;
    let held = bench.engine.hold();
    let create = || {
        let kv = bench.kv.clone();
        let create = Txn::when(vec![Compare::absent("lock")]).then(vec![Op::put("lock", "mine")]);
        tokio::spawn(async move { kv.txn(create).await })
    };
    let (first, second) = (create(), create());
    for _ in 0..10 {
        tokio::task::yield_now().await;
        keys(&bench).await;
    }
    assert!(!first.is_finished() && !second.is_finished());

    // The first is lost: the second must not have been told that it lost a race.
    bench.engine.inject(&default_keyspace(), Fault::UnknownLost);
    drop(held);
    let answers = [within(first).await.expect("no panic"), within(second).await.expect("no panic")];
    for answer in answers {
        assert!(!matches!(&answer, Ok(response) if !response.succeeded), "{answer:?}");
    }
}
