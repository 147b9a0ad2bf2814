//! Watchers get every event once and in order, however slow they are, and
//! slow ones are nobody else's trouble.

mod common;

use std::time::Duration;

use common::{bench, bench_at, config, created, next, next_events, within};
use kv::{
    Error, EventKind, KeyRange, Kv, PutRequest, RangeRequest, Revision, WatchFilter, WatchItem,
    WatchRequest, WatchStream,
};
use rt::Clock;
use store::{Config, History};

fn everything() -> KeyRange {
    KeyRange::prefix("")
}

async fn watch(kv: &dyn Kv, request: WatchRequest) -> WatchStream {
    let mut watch = within(kv.watch(request)).await.expect("a watch");
    created(&mut watch).await;
    watch
}

async fn put(kv: &dyn Kv, key: &str) -> Revision {
    within(kv.put(PutRequest::new(key.to_owned(), "v"))).await.expect("a put").0
}

#[tokio::test]
async fn a_watcher_that_does_not_read_for_long_misses_nothing_and_holds_up_nobody() {
    let bench = bench(config()).await;
    let mut slow = watch(&*bench.kv, WatchRequest::new(everything())).await;
    let mut fast = watch(&*bench.kv, WatchRequest::new(everything())).await;
    let mut last = Revision::FIRST;
    // Several times what a watcher's buffer holds.
    for n in 0..1000 {
        last = put(&*bench.kv, &format!("k{}", n % 7)).await;
        let batch = next_events(&mut fast).await;
        assert_eq!((batch.revision, batch.events.len()), (last, 1));
    }
    let mut seen = Vec::new();
    while seen.last() != Some(&last) {
        let batch = next_events(&mut slow).await;
        seen.extend(batch.events.iter().map(|event| event.kv.mod_revision));
        assert_eq!(batch.revision, *seen.last().expect("a batch has events"));
    }
    assert_eq!(seen, (2..=last.0).map(Revision).collect::<Vec<_>>());
    // And it is as good as new.
    let next = put(&*bench.kv, "again").await;
    assert_eq!(next_events(&mut slow).await.revision, next);
}

#[tokio::test]
async fn a_watcher_slower_than_history_is_told_where_it_may_start() {
    let history = History { revisions_max: 100, ..History::default() };
    let bench = bench(Config { history, ..config() }).await;
    let mut slow = watch(&*bench.kv, WatchRequest::new(everything())).await;
    let begin = RangeRequest::new(everything()).at(Revision(300));
    within(async {
        for n in 0.. {
            put(&*bench.kv, &format!("k{n}")).await;
            // More than its buffer holds, and what comes next is gone.
            if n >= 500 && bench.kv.range(begin.clone()).await.is_err() {
                break;
            }
        }
    })
    .await;
    let mut last = Revision::FIRST;
    let compacted = loop {
        match next(&mut slow).await {
            Ok(WatchItem::Events(batch)) => last = batch.revision,
            Ok(_) => {}
            Err(Error::Compacted { compacted }) => break compacted,
            Err(other) => panic!("{other:?}"),
        }
    };
    assert!(last < compacted, "{last} {compacted}");
    assert!(within(futures::StreamExt::next(&mut slow)).await.is_none());
    let mut again = watch(&*bench.kv, WatchRequest::new(everything()).from(compacted)).await;
    assert_eq!(next_events(&mut again).await.events[0].kv.mod_revision, compacted);
}

#[tokio::test]
async fn a_watch_may_start_in_the_past_or_in_the_future() {
    let bench = bench(config()).await;
    put(&*bench.kv, "a").await;
    put(&*bench.kv, "b").await;
    let mut past = watch(&*bench.kv, WatchRequest::new(everything()).from(Revision(2))).await;
    assert_eq!(next_events(&mut past).await.events.len(), 2);
    let mut future = watch(&*bench.kv, WatchRequest::new(everything()).from(Revision(5))).await;
    put(&*bench.kv, "c").await;
    put(&*bench.kv, "d").await;
    let batch = next_events(&mut future).await;
    assert_eq!(batch.events.iter().map(|e| &e.kv.key[..]).collect::<Vec<_>>(), [b"d"]);
}

#[tokio::test]
async fn filters_and_previous_values_are_honoured() {
    let bench = bench(config()).await;
    put(&*bench.kv, "k").await;
    let deletes = WatchRequest {
        filters: vec![WatchFilter::NoPut],
        prev_kv: true,
        ..WatchRequest::new(KeyRange::key("k"))
    };
    let mut watch = watch(&*bench.kv, deletes).await;
    put(&*bench.kv, "k").await;
    let delete = kv::DeleteRequest { range: KeyRange::key("k"), prev_kv: false };
    within(bench.kv.delete(delete)).await.expect("a delete");
    let batch = next_events(&mut watch).await;
    assert_eq!(batch.events[0].kind, EventKind::Delete);
    let before = batch.events[0].prev_kv.as_ref().expect("what was there");
    assert_eq!((before.version, &before.value[..]), (2, &b"v"[..]));
}

#[tokio::test(start_paused = true)]
async fn progress_comes_after_the_events_it_covers_and_only_when_there_is_some() {
    let (clock, hand) = Clock::manual();
    let every = Duration::from_secs(5);
    let bench = bench_at(Config { progress_every: every, ..config() }, clock).await;
    let asks =
        WatchRequest { progress_notify: true, ..WatchRequest::new(KeyRange::prefix("mine/")) };
    let mut mine = watch(&*bench.kv, asks).await;
    let event = put(&*bench.kv, "mine/1").await;
    let elsewhere = put(&*bench.kv, "yours/1").await;
    hand.advance(5_000);
    assert_eq!(next_events(&mut mine).await.revision, event);
    assert_eq!(next(&mut mine).await, Ok(WatchItem::Progress { revision: elsewhere }));
    // Nothing new: nothing to tell.
    hand.advance(60_000);
    let quiet = tokio::time::timeout(Duration::from_secs(60), futures::StreamExt::next(&mut mine));
    assert!(quiet.await.is_err());
}
