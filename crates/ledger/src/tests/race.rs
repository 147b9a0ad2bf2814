//! Two units, one shard, and a fence that is raised back and forth while
//! payments run and answers get lost.
//!
//! The checks read the store's own history: a record is right only if, at the
//! revision that committed it, the fence named its executor.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use kv::{Kv, RangeRequest};
use rt::random::Random;
use topology::{Epoch, UserId};

use super::store::{Store, books};
use crate::{
    Books, Error, PaymentId, cancel::Resolve, fence::Fence, payment::Payment, place, raise::Raised,
};

const USERS: u64 = 4;
const PAYMENTS: u64 = 30;
const RAISES: u64 = 25;
const TRIES_MAX: u32 = 12;

/// What the clients were told.
#[derive(Default)]
struct Told {
    acked: BTreeMap<String, u64>,
    resolved_cancelled: Vec<String>,
}

/// Returns how many records the unit that did not start as the owner made.
async fn run(seed: u64) -> u32 {
    let store = Store::random(seed, 8);
    let units = [books::of("rz01", &store), books::of("rz03", &store)];
    raise_surely(&units[0], Epoch(1)).await;
    let users: Vec<UserId> = (0..USERS).map(user).collect();
    for user in &users {
        open_surely(&units, user).await;
    }
    let told = Arc::new(Mutex::new(Told::default()));
    let mut tasks = Vec::new();
    for (n, user) in users.iter().enumerate() {
        let random = Random::seeded(seed.wrapping_mul(31).wrapping_add(n as u64));
        tasks.push(tokio::spawn(pay_many(units.clone(), user.clone(), random, told.clone())));
    }
    let mover = units.clone();
    tasks.push(tokio::spawn(async move {
        let mut random = Random::seeded(seed ^ 0xfe9ce);
        for n in 0..RAISES {
            for _ in 0..random.below(60) {
                tokio::task::yield_now().await;
            }
            // Doubled and late raises are part of the game.
            let epoch = Epoch(2 + n - random.below(2));
            let _ =
                mover[random.below(2) as usize].raise(books::shard(), epoch, books::soon()).await;
        }
    }));
    for task in tasks {
        task.await.expect("no panic");
    }
    store.calm();
    let told = std::mem::take(&mut *told.lock().expect("no panic"));
    check(seed, &store, &units, &told).await
}

fn user(n: u64) -> UserId {
    // Two users share a bucket's lane now and then; all share the shard.
    format!("{n}88001230").parse().expect("an id")
}

async fn raise_surely(books: &Books, epoch: Epoch) {
    while !matches!(books.raise(books::shard(), epoch, books::soon()).await, Ok(Raised::Ours(_))) {}
}

async fn open_surely(units: &[Books; 2], user: &UserId) {
    while units[0].execute(books::opening(user, 10_000), None, books::soon()).await.is_err() {}
}

async fn pay_many(units: [Books; 2], user: UserId, mut random: Random, told: Arc<Mutex<Told>>) {
    for n in 0..PAYMENTS {
        let (key, amount) = (format!("k{n}"), 1 + random.below(20));
        let mut done = false;
        for _ in 0..TRIES_MAX {
            let owner = &units[random.below(2) as usize];
            match owner.execute(books::order_of(&user, &key, amount), None, books::soon()).await {
                Ok(_) => {
                    told.lock().expect("no panic").acked.insert(format!("{user}.{key}"), amount);
                    done = true;
                    break;
                }
                Err(error) => assert!(passing(&error), "{error}"),
            }
        }
        let id: PaymentId = format!("{user}.{key}").parse().expect("an id");
        while !done {
            let owner = &units[random.below(2) as usize];
            match owner.execute(Resolve(id.clone()), None, books::soon()).await {
                Ok(Payment::Committed(_)) => {
                    told.lock().expect("no panic").acked.insert(id.to_string(), amount);
                    done = true;
                }
                Ok(Payment::Cancelled(_)) => {
                    told.lock().expect("no panic").resolved_cancelled.push(id.to_string());
                    done = true;
                }
                Err(error) => assert!(passing(&error), "{error}"),
            }
        }
    }
}

fn passing(error: &Error) -> bool {
    matches!(
        error,
        Error::Misdirected { .. }
            | Error::OutcomeUnknown
            | Error::Store(_)
            | Error::Deadline
            | Error::Contention
    )
}

async fn check(seed: u64, store: &Store, units: &[Books; 2], told: &Told) -> u32 {
    raise_surely(&units[0], Epoch(1_000)).await;
    let audit = units[0].audit(books::shard(), books::soon()).await.expect("audited");
    assert_eq!(audit.violation_count, 0, "seed {seed}: {:?}", audit.violations);
    assert_eq!(audit.payments, told.acked.len() as u64, "seed {seed}: acked and present differ");
    assert_eq!(audit.cancelled, told.resolved_cancelled.len() as u64, "seed {seed}");
    let (mut scan, _) = units[0].export(books::shard(), None, books::soon()).await.expect("export");
    let mut by_rz03 = 0;
    while let Some(row) = scan.next(units[0].database()).await.expect("a row") {
        let payment = Payment::decode(&row.value).expect("a payment");
        let id = crate::read::payment_id(&row.key).expect("an id");
        if let Payment::Committed(payment) = &payment {
            assert_eq!(
                told.acked.get(&id.to_string()),
                Some(&payment.amount.minor()),
                "seed {seed}"
            );
        }
        let fence = RangeRequest::new(kv::KeyRange::key(place::fence(id.payer.bucket())));
        let fence = store.range(fence.at(row.committed)).await.expect("history is kept");
        let fence = Fence::decode(&fence.kvs[0].value).expect("a fence");
        let by = payment.by();
        let executor = Fence { epoch: by.epoch, unit: by.unit.clone() };
        assert_eq!(fence, executor, "seed {seed}: {id} was committed by a deposed unit");
        by_rz03 += u32::from(by.unit.as_str() == "rz03");
    }
    by_rz03
}

#[tokio::test(start_paused = true)]
async fn whoever_holds_the_fence_pays_and_each_acknowledged_payment_stands_once() {
    let mut by_rz03 = 0;
    for seed in 0..40 {
        by_rz03 += run(seed).await;
    }
    assert!(by_rz03 > 100, "the shard never really moved: {by_rz03}");
}
