//! Many payments while their shard moves back and forth between owners that
//! break, stay silent and refuse: what the edge says about a payment must be
//! what happened to it.

mod common;

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use common::*;
use proxy::Limits;
use rt::random::Random;

const UNITS: [&str; 3] = ["rz01", "rz02", "rz03"];
const PAYMENTS: usize = 300;
const MOVES: u64 = 40;

/// The books that all owners share, behind one fence.
struct Books {
    owner: &'static str,
    epoch: u64,
    /// How often a payment was executed, by request id. One with a key is
    /// executed once, however often it comes.
    executed: BTreeMap<String, u32>,
    random: Random,
}

fn handle(books: &Mutex<Books>, unit: &'static str, seen: &Seen) -> Act {
    let mut books = books.lock().expect("no panic");
    if books.owner != unit {
        return fenced(42, books.owner, books.epoch);
    }
    let id = seen.headers["x-request-id"].to_str().expect("text").to_owned();
    let dice = books.random.below(100);
    if dice < 5 {
        return Act::Break;
    }
    let keyed = seen.headers.contains_key("idempotency-key");
    let count = books.executed.entry(id).or_default();
    *count = if keyed { 1 } else { *count + 1 };
    match dice {
        5..10 => Act::Break,
        10..13 => Act::Silent,
        _ => ok(unit),
    }
}

async fn storm(seed: u64) -> BTreeMap<u16, usize> {
    let books = Arc::new(Mutex::new(Books {
        owner: "rz01",
        epoch: 1,
        executed: BTreeMap::new(),
        random: Random::seeded(seed),
    }));
    let mut ledgers = Vec::new();
    for unit in UNITS {
        let books = books.clone();
        ledgers.push(Ledger::start(move |seen| handle(&books, unit, seen)).await);
    }
    let endpoints: Vec<(&str, SocketAddr)> =
        UNITS.into_iter().zip(&ledgers).map(|(unit, ledger)| (unit, ledger.address)).collect();
    let world = World::new(serving("rz01", 1), &endpoints);
    let edge = run(config(&world, Limits { upstream_connections_max: 16, ..limits() }));

    let mover = async {
        let mut random = Random::seeded(seed ^ 1);
        for epoch in 2..2 + MOVES {
            let from = books.lock().expect("no panic").owner;
            let to = UNITS[random.below(3) as usize];
            let planned = random.below(2) == 0;
            world.assign(42, moving(planned.then_some(from), to, epoch));
            tokio::time::sleep(Duration::from_millis(random.below(20))).await;
            {
                let mut books = books.lock().expect("no panic");
                (books.owner, books.epoch) = (to, epoch);
            }
            world.assign(42, serving(to, epoch));
            tokio::time::sleep(Duration::from_millis(random.below(30))).await;
        }
    };
    let users = async {
        let mut random = Random::seeded(seed ^ 2);
        let mut payments = Vec::new();
        for number in 0..PAYMENTS {
            let keyed = random.below(2) == 0;
            let key = if keyed { format!("idempotency-key=k{number}") } else { String::new() };
            let id = format!("r-{number}");
            let text = format!("{PAY_ONCE} x-request-id={id} polis-deadline-ms=2000 {key}");
            let address = edge.address;
            payments.push(tokio::spawn(async move { (id, send(address, &text, "{}").await) }));
            tokio::time::sleep(Duration::from_millis(random.below(8))).await;
        }
        futures::future::join_all(payments).await
    };
    let (answers, ()) = within(async { tokio::join!(users, mover) }).await;

    let books = books.lock().expect("no panic");
    let mut by_status = BTreeMap::new();
    for answer in answers {
        let (id, answer) = answer.expect("no panic");
        let executed = books.executed.get(&id).copied().unwrap_or_default();
        let truth = match answer.status {
            201 => executed == 1,
            // Definitely not executed.
            503 => executed == 0,
            // Unknown: at most once.
            502 | 504 => executed <= 1,
            _ => false,
        };
        assert!(truth, "seed {seed}: {id} was executed {executed} times, the user got {answer:?}");
        *by_status.entry(answer.status).or_default() += 1;
    }
    by_status
}

#[tokio::test]
async fn what_the_edge_says_of_a_payment_is_what_happened_to_it() {
    let mut total: BTreeMap<u16, usize> = BTreeMap::new();
    for seed in 1..=3 {
        for (status, count) in storm(seed).await {
            *total.entry(status).or_default() += count;
        }
    }
    // The storm must have been one, and most must have come through it.
    assert!(total[&201] > 2 * PAYMENTS, "{total:?}");
    assert!(total.contains_key(&502), "{total:?}");
    println!("{total:?}");
}
