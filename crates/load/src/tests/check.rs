//! The check must see what is wrong, and nothing else.

use serde_json::json;
use topology::Shard;

use super::fake::Estate;
use crate::{Invariant, Outcome, Record, check};

fn record(n: u32, outcome: Outcome) -> Record {
    Record {
        id: format!("2088000000420.run-{n}"),
        shard: Shard::new(42).expect("a shard"),
        amount: 7,
        due_us: 0,
        end_us: 1,
        outcome,
        status: None,
        code: None,
        edge: None,
        unit: None,
        epoch: None,
        failed: Vec::new(),
    }
}

/// Payments 0 acknowledged, 1 refused, 2 unknown and found, 3 unknown and
/// cancelled, with books that agree.
async fn estate() -> (Estate, Vec<crate::EdgeUrl>, Vec<Record>) {
    let (estate, urls) = Estate::start(1).await;
    estate.books(|books| {
        for (n, status) in [(0, "Committed"), (2, "Committed"), (3, "Cancelled")] {
            let id = record(n, Outcome::Acked).id;
            books.payments.insert(id, json!({"status": status, "amount": 7}));
        }
    });
    let records = vec![
        record(0, Outcome::Acked),
        record(1, Outcome::Refused),
        record(2, Outcome::Unknown),
        record(3, Outcome::Unknown),
        record(2, Outcome::ResolvedCommitted),
        record(3, Outcome::ResolvedCancelled),
    ];
    (estate, urls, records)
}

#[tokio::test]
async fn sound_books_pass() {
    let (_estate, urls, records) = estate().await;
    let found = check(&urls, &records).await.expect("checked");
    assert!(found.passed(), "{found:?}");
    assert_eq!((found.acked, found.present, found.unknown_resolved), (1, 1, 2));
    assert_eq!(found.invariants[&7], Invariant::Ok);
    assert_eq!(found.invariants[&10], Invariant::NotApplicable);
}

#[tokio::test]
async fn a_lost_a_changed_and_an_unwanted_payment_are_each_found() {
    let id = |n| record(n, Outcome::Acked).id;
    let (books, urls, records) = estate().await;
    books.books(|books| books.payments.remove(&id(0)));
    let found = check(&urls, &records).await.expect("checked");
    assert_eq!((found.lost, found.passed()), (1, false));
    assert_eq!(found.invariants[&7], Invariant::Violated);

    books.books(|books| books.payments.insert(id(0), json!({"status": "Committed", "amount": 8})));
    let found = check(&urls, &records).await.expect("checked");
    assert_eq!(found.lost, 1, "another amount is another payment");

    let (books, urls, records) = estate().await;
    books.books(|books| books.payments.insert(id(3), json!({"status": "Committed", "amount": 7})));
    let found = check(&urls, &records).await.expect("checked");
    assert_eq!((found.refused_present, found.passed()), (1, false));
}

#[tokio::test]
async fn a_payment_that_no_history_knows_is_found() {
    let (books, urls, records) = estate().await;
    let stranger = record(77, Outcome::Acked).id;
    books.books(|b| b.payments.insert(stranger, json!({"status": "Committed", "amount": 7})));
    let found = check(&urls, &records).await.expect("checked");
    assert_eq!((found.refused_present, found.passed()), (1, false));
    assert!(found.findings[0].contains("run-77"), "{:?}", found.findings);
}

#[tokio::test]
async fn a_list_that_breaks_off_is_read_again_and_not_believed() {
    let (books, urls, records) = estate().await;
    books.books(|books| books.exports_broken = 3);
    let found = check(&urls, &records).await.expect("checked");
    assert!(found.passed(), "{found:?}");
    books.books(|books| books.exports_broken = u64::MAX);
    assert!(check(&urls, &records).await.is_err());
}

#[tokio::test]
async fn a_violation_of_any_shard_fails_the_check() {
    let (books, urls, records) = estate().await;
    let violation =
        json!({"invariant": 4, "bucket": "4242", "what": "entry 3 stands where 4 should"});
    books.books(|books| books.violations.push(violation));
    let found = check(&urls, &records).await.expect("checked");
    assert_eq!((found.doubled, found.passed()), (1, false));
    assert_eq!(found.invariants[&4], Invariant::Violated);
    assert!(found.findings[0].contains("4242"), "{:?}", found.findings);
}
