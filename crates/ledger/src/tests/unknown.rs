//! Lost answers: tried again where that is safe, said to be unknown otherwise.

use std::time::Duration;

use topology::Epoch;

use super::store::{Fate, Store, books};
use crate::{Error, cancel::Resolve, payment::Payment};

#[tokio::test(start_paused = true)]
async fn a_payment_whose_answer_was_lost_is_made_once() {
    for fate in [Fate::AppliedSilently, Fate::Lost, Fate::Late(0), Fate::Late(9), Fate::Unreachable]
    {
        let store = Store::new();
        let books = books::ready(&store, 100).await;
        store.next(&[fate, fate, Fate::Answered]);
        books.execute(books::order("k1", 60), None, books::soon()).await.expect("paid in the end");
        // Whatever was on its way has arrived by now.
        tokio::time::sleep(Duration::from_secs(1)).await;
        let account = books.account(&books::user(), books::soon()).await.expect("an account");
        assert_eq!(account.balance.minor(), 40, "{fate:?}");
        let audit = books.audit(books::shard(), books::soon()).await.expect("audited");
        assert_eq!((audit.payments, audit.violation_count), (1, 0), "{fate:?}: {audit:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn silence_until_the_deadline_is_an_unknown_outcome() {
    let store = Store::new();
    let books = books::ready(&store, 100).await;
    store.next(&[Fate::Hangs]);
    let unknown = books.execute(books::order("k1", 60), None, books::soon()).await;
    assert!(matches!(unknown, Err(Error::OutcomeUnknown)));
}

#[tokio::test(start_paused = true)]
async fn a_store_that_was_never_reached_is_not_an_unknown_outcome() {
    let store = Store::new();
    let books = books::ready(&store, 100).await;
    store.next(&[Fate::Unreachable; 1000]);
    let refused = books.execute(books::order("k1", 60), None, books::soon()).await;
    assert!(matches!(refused, Err(Error::Store(_) | Error::Deadline)), "{refused:?}");
}

#[tokio::test(start_paused = true)]
async fn one_unknown_among_definite_failures_stays_unknown() {
    let store = Store::new();
    let books = books::ready(&store, 100).await;
    store.next(&[[Fate::Lost].as_slice(), &[Fate::Unreachable; 1000]].concat());
    let unknown = books.execute(books::order("k1", 60), None, books::soon()).await;
    assert!(matches!(unknown, Err(Error::OutcomeUnknown)), "{unknown:?}");
}

#[tokio::test(start_paused = true)]
async fn a_resolved_key_is_final_even_for_a_copy_that_arrives_later() {
    let store = Store::new();
    let books = books::ready(&store, 100).await;
    store.next(&[Fate::Late(2_000)]);
    let short = tokio::time::Instant::now() + Duration::from_millis(1);
    let unknown = books.execute(books::order("k1", 60), None, short).await;
    assert!(matches!(unknown, Err(Error::OutcomeUnknown)));
    let id: crate::PaymentId = "2088001234.k1".parse().expect("an id");
    let resolved = books.execute(Resolve(id.clone()), None, books::soon()).await.expect("resolved");
    assert!(matches!(resolved, Payment::Cancelled(_)));
    for _ in 0..3_000 {
        tokio::task::yield_now().await;
    }
    let late = books.execute(books::order("k1", 60), None, books::soon()).await;
    assert!(matches!(late, Err(Error::PaymentCancelled { .. })));
    let again = books.execute(Resolve(id), None, books::soon()).await.expect("resolved");
    assert_eq!(again, resolved);
    let account = books.account(&books::user(), books::soon()).await.expect("an account");
    assert_eq!(account.balance.minor(), 100);
}

#[tokio::test(start_paused = true)]
async fn resolving_a_payment_that_was_made_returns_it() {
    let store = Store::new();
    let books = books::ready(&store, 100).await;
    let paid = books.execute(books::order("k1", 60), None, books::soon()).await.expect("paid");
    let id = "2088001234.k1".parse().expect("an id");
    let resolved = books.execute(Resolve(id), None, books::soon()).await.expect("resolved");
    assert_eq!(resolved, Payment::Committed(paid.payment));
}

#[tokio::test(start_paused = true)]
async fn a_refusal_from_memory_is_checked_with_the_store_first() {
    let store = Store::new();
    let rz01 = books::ready(&store, 100).await;
    rz01.execute(books::order("k1", 100), None, books::soon()).await.expect("paid");
    // The balance in memory says no; the record in the store says it was paid.
    let again = rz01.execute(books::order("k1", 100), None, books::soon()).await.expect("replayed");
    assert!(again.replayed);
    let refused = rz01.execute(books::order("k2", 1), None, books::soon()).await;
    assert!(matches!(refused, Err(Error::InsufficientFunds { .. })));
    // What another owner did meanwhile is seen, not what is remembered.
    let rz03 = books::of("rz03", &store);
    rz03.raise(books::shard(), Epoch(2), books::soon()).await.expect("raised");
    rz03.execute(Resolve("2088001234.k9".parse().expect("an id")), None, books::soon())
        .await
        .expect("resolved");
    rz01.raise(books::shard(), Epoch(3), books::soon()).await.expect("raised");
    let cancelled = rz01.execute(books::order("k9", 1), None, books::soon()).await;
    assert!(matches!(cancelled, Err(Error::PaymentCancelled { .. })));
}

#[tokio::test(start_paused = true)]
async fn a_lost_answer_before_the_shard_moved_away_is_not_called_misdirected() {
    let store = Store::new();
    let rz01 = books::ready(&store, 100).await;
    let before = store.txns();
    store.next(&[Fate::AppliedSilently]);
    let writer = rz01.clone();
    let paying =
        tokio::spawn(
            async move { writer.execute(books::order("k1", 60), None, books::soon()).await },
        );
    while store.txns() < before + 2 {
        tokio::task::yield_now().await;
    }
    let rz03 = books::of("rz03", &store);
    rz03.raise(books::shard(), Epoch(2), books::soon()).await.expect("raised");
    let unknown = paying.await.expect("no panic");
    assert!(matches!(unknown, Err(Error::OutcomeUnknown)), "{unknown:?}");
    let again = rz03.execute(books::order("k1", 60), None, books::soon()).await.expect("replayed");
    assert!(again.replayed);
}
