//! Raising, losing and handing over.

use topology::Epoch;

use super::store::{Fate, Store, books};
use crate::{Error, raise::Raised};

#[tokio::test(start_paused = true)]
async fn the_usual_payment_costs_one_round_trip() {
    let store = Store::new();
    let books = books::ready(&store, 1_000).await;
    books.execute(books::order("k1", 1), None, books::soon()).await.expect("paid");
    let before = store.txns();
    for n in 2..10 {
        books.execute(books::order(&format!("k{n}"), 1), None, books::soon()).await.expect("paid");
    }
    assert_eq!(store.txns() - before, 8);
    // A replay too: the failed compare brings the record along.
    let paid = books.execute(books::order("k5", 1), None, books::soon()).await.expect("replayed");
    assert!(paid.replayed);
    assert_eq!(store.txns() - before, 9);
}

#[tokio::test(start_paused = true)]
async fn a_raise_is_idempotent_and_never_lowers_a_fence() {
    let store = Store::new();
    let (rz01, rz03) = (books::of("rz01", &store), books::of("rz03", &store));
    let shard = books::shard();
    let raise = async |books: &crate::Books, epoch| {
        books.raise(shard, Epoch(epoch), books::soon()).await.expect("an answer")
    };
    assert!(matches!(raise(&rz01, 3).await, Raised::Ours(_)));
    assert!(matches!(raise(&rz01, 3).await, Raised::Ours(_)));
    assert!(
        matches!(raise(&rz03, 3).await, Raised::Refused(fence) if fence.unit.as_str() == "rz01")
    );
    assert!(matches!(raise(&rz03, 2).await, Raised::Refused(_)));
    assert!(matches!(raise(&rz03, 4).await, Raised::Ours(_)));
    assert!(matches!(raise(&rz01, 3).await, Raised::Refused(fence) if fence.epoch == Epoch(4)));
}

#[tokio::test(start_paused = true)]
async fn a_raise_whose_answer_was_lost_is_raised_once_and_answered() {
    let store = Store::new();
    let books = books::of("rz01", &store);
    store.next(&[Fate::AppliedSilently, Fate::Answered]);
    let raised = books.raise(books::shard(), Epoch(1), books::soon()).await.expect("raised");
    assert!(matches!(raised, Raised::Ours(_)));
}

#[tokio::test(start_paused = true)]
async fn a_raise_that_the_store_kept_refusing_says_so() {
    let store = Store::new();
    let books = books::of("rz01", &store);
    store.next(&[Fate::Unreachable; 8]);
    let refused = books.raise(books::shard(), Epoch(1), books::soon()).await;
    assert!(matches!(refused, Err(Error::Store(kv::Error::Unreachable(_)))), "{refused:?}");
}

#[tokio::test(start_paused = true)]
async fn the_old_owner_is_told_who_owns_the_shard_now() {
    let store = Store::new();
    let rz01 = books::ready(&store, 100).await;
    rz01.execute(books::order("k1", 1), None, books::soon()).await.expect("paid");
    let rz03 = books::of("rz03", &store);
    rz03.raise(books::shard(), Epoch(2), books::soon()).await.expect("raised");
    // rz01 still believes it is the owner; only the compare tells it.
    let refused = rz01.execute(books::order("k2", 1), None, books::soon()).await;
    assert!(
        matches!(refused, Err(Error::Misdirected { fence: Some(f), .. }) if f.epoch == Epoch(2))
    );
    assert!(matches!(
        rz01.account(&books::user(), books::soon()).await,
        Err(Error::Misdirected { .. })
    ));
    // And a proxy that follows the old map is refused without asking the store.
    let before = store.txns();
    assert!(rz01.admit(books::user().bucket(), Some(Epoch(1))).is_err());
    assert!(rz01.admit(books::user().bucket(), Some(Epoch(3))).is_ok());
    assert_eq!(store.txns(), before);
    let paid = rz03.execute(books::order("k2", 1), None, books::soon()).await.expect("paid");
    assert_eq!(paid.payment.debit.balance.minor(), 98);
}

#[tokio::test(start_paused = true)]
async fn a_drained_shard_takes_no_writes_until_it_is_raised_again() {
    let store = Store::new();
    let books = books::ready(&store, 100).await;
    let drained = books.drain(books::shard(), Epoch(2), books::soon()).await.expect("drained");
    assert_eq!((drained.busy, drained.left), (0, 0));
    let refused = books.execute(books::order("k1", 1), None, books::soon()).await;
    assert!(matches!(refused, Err(Error::Moving { .. })));
    books.raise(books::shard(), Epoch(1), books::soon()).await.expect("raised");
    assert!(books.execute(books::order("k1", 1), None, books::soon()).await.is_err(), "same epoch");
    books.raise(books::shard(), Epoch(2), books::soon()).await.expect("raised");
    books.execute(books::order("k1", 1), None, books::soon()).await.expect("paid");
}

#[tokio::test(start_paused = true)]
async fn a_drain_that_comes_late_does_not_close_the_owner_of_a_later_epoch() {
    let store = Store::new();
    let books = books::ready(&store, 100).await;
    books.raise(books::shard(), Epoch(3), books::soon()).await.expect("raised");
    // Of the move that took the shard away before it came back.
    let drained = books.drain(books::shard(), Epoch(2), books::soon()).await.expect("drained");
    assert_eq!((drained.busy, drained.left), (0, 0));
    books.execute(books::order("k1", 1), Some(Epoch(3)), books::soon()).await.expect("paid");
    // So does one of the very move that gave us the shard.
    books.drain(books::shard(), Epoch(3), books::soon()).await.expect("drained");
    books.execute(books::order("k2", 1), Some(Epoch(3)), books::soon()).await.expect("paid");
}

#[tokio::test(start_paused = true)]
async fn a_drained_replica_opens_when_another_one_raised_the_shard() {
    let store = Store::new();
    let (raising, other) = (books::ready(&store, 100).await, books::of("rz01", &store));
    for replica in [&raising, &other] {
        replica.drain(books::shard(), Epoch(2), books::soon()).await.expect("drained");
    }
    let pay = async |key: &str, routed| {
        other.execute(books::order(key, 1), Some(Epoch(routed)), books::soon()).await
    };
    let before = store.txns();
    assert!(matches!(pay("k1", 1).await, Err(Error::Moving { .. })), "by the old map");
    assert!(matches!(pay("k1", 3).await, Err(Error::Moving { .. })), "nobody raised it yet");
    assert_eq!(store.txns(), before, "nothing was tried");
    let rz03 = books::of("rz03", &store);
    rz03.raise(books::shard(), Epoch(2), books::soon()).await.expect("raised");
    raising.raise(books::shard(), Epoch(3), books::soon()).await.expect("raised");
    let paid = pay("k1", 3).await.expect("paid");
    assert_eq!(paid.payment.by.epoch, Epoch(3));
    assert!(matches!(
        pay("k2", 1).await,
        Err(Error::Misdirected { fence: Some(f), .. }) if f.epoch == Epoch(3)
    ));
}

#[tokio::test(start_paused = true)]
async fn a_drain_waits_for_the_write_under_way_and_says_when_it_could_not() {
    let store = Store::new();
    let books = books::ready(&store, 100).await;
    store.next(&[Fate::Hangs]);
    let writer = books.clone();
    let stuck =
        tokio::spawn(
            async move { writer.execute(books::order("k1", 1), None, books::soon()).await },
        );
    while store.txns() < 4 {
        tokio::task::yield_now().await;
    }
    let short = tokio::time::Instant::now() + std::time::Duration::from_millis(100);
    let drained = books.drain(books::shard(), Epoch(2), short).await.expect("an answer");
    assert_eq!((drained.busy, drained.left), (1, 1));
    let drained = books.drain(books::shard(), Epoch(2), books::soon()).await.expect("an answer");
    assert_eq!((drained.busy, drained.left), (1, 0));
    assert!(matches!(stuck.await.expect("no panic"), Err(Error::OutcomeUnknown)));
}

#[tokio::test(start_paused = true)]
async fn a_raise_that_was_overtaken_by_a_higher_one_does_not_lower_the_fence() {
    let store = Store::new();
    let (rz01, rz03) = (books::of("rz01", &store), books::of("rz03", &store));
    store.next(&[Fate::Late(50)]);
    let late =
        tokio::spawn(async move { rz01.raise(books::shard(), Epoch(2), books::soon()).await });
    while store.txns() == 0 {
        tokio::task::yield_now().await;
    }
    let raised = rz03.raise(books::shard(), Epoch(3), books::soon()).await.expect("raised");
    assert!(matches!(raised, Raised::Ours(_)));
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    let refused = late.await.expect("no panic").expect("an answer");
    assert!(matches!(refused, Raised::Refused(fence) if fence.epoch == Epoch(3)));
}
