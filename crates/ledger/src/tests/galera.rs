//! Raising a fence against paying, through different nodes of one cluster: a
//! payment of the old owner is there before the raise is answered, or never.

use std::{collections::BTreeSet, sync::Arc};

use engine::SqlConfig;
use testkit::Galera;
use tokio::sync::mpsc;
use topology::{Epoch, UserId};

use super::store::books;
use crate::{Books, Error, OnSql, raise::Raised, read::payment_id};

/// Raises of one run, if the canary is not found earlier.
const ROUNDS: u64 = 15;

const RAISE_TRIES: u32 = 20;

/// Of one shard and different buckets.
fn users() -> Vec<UserId> {
    (1..=4).map(|n| format!("{n}088001234").parse().expect("an id")).collect()
}

async fn database(galera: &Galera, node: usize, name: &str) -> OnSql {
    let url = format!("{}/{name}", galera.node(node).url());
    let config = SqlConfig::parse(&url).expect("a good URL");
    OnSql::connect(config).await.expect("it opens")
}

fn unit(name: &str, database: OnSql) -> Books {
    Books::new(name.parse().expect("a name"), Arc::new(database))
}

/// Asks again, as controllers do: payments that go on through another node are
/// certified first most of the time.
async fn raise(books: &Books, epoch: u64) {
    let mut last = None;
    for _ in 0..RAISE_TRIES {
        match books.raise(books::shard(), Epoch(epoch), books::soon()).await {
            Ok(Raised::Ours(_)) => return,
            other => last = Some(other),
        }
    }
    panic!("epoch {epoch} is never raised: {last:?}");
}

/// The payments that are there for whoever holds the fence now.
async fn present(owner: &Books) -> BTreeSet<String> {
    let (mut scan, _) = owner.export(books::shard(), None, books::soon()).await.expect("ours");
    let mut ids = BTreeSet::new();
    while let Some(row) = scan.next(owner.database()).await.expect("a row") {
        ids.insert(payment_id(&row.key).expect("an id").to_string());
    }
    ids
}

/// Pays until it is refused; tells when it has begun.
async fn pay_on(
    books: Books,
    user: UserId,
    round: u64,
    begun: mpsc::UnboundedSender<()>,
) -> Vec<String> {
    let mut acked = Vec::new();
    for n in 0.. {
        let key = format!("k{round}-{n}");
        let order = books::order_of(&user, &key, 1);
        match books.execute(order, None, books::soon()).await {
            Ok(_) => acked.push(format!("{user}.{key}")),
            Err(Error::Misdirected { .. }) => break,
            // Nothing is claimed about these.
            Err(_) => {}
        }
        let _ = begun.send(());
    }
    acked
}

/// A deposed unit's payments that were acknowledged and not there when the
/// raise that deposed it was answered: of the first raise that had any.
async fn late_payments(paying: Books, raising: Books) -> Vec<String> {
    raise(&paying, 1).await;
    for user in users() {
        paying.execute(books::opening(&user, 100_000), None, books::soon()).await.expect("opened");
    }
    for round in 0..ROUNDS {
        raise(&paying, 2 * round + 1).await;
        let (begun, mut is_begun) = mpsc::unbounded_channel();
        let payers: Vec<_> = users()
            .into_iter()
            .map(|user| tokio::spawn(pay_on(paying.clone(), user, round, begun.clone())))
            .collect();
        for _ in 0..8 {
            is_begun.recv().await.expect("they pay");
        }
        raise(&raising, 2 * round + 2).await;
        let there = present(&raising).await;
        let mut late = Vec::new();
        for payer in payers {
            let acked = payer.await.expect("no panic");
            late.extend(acked.into_iter().filter(|id| !there.contains(id)));
        }
        println!("round {round}: {} there, {} late", there.len(), late.len());
        if !late.is_empty() {
            return late;
        }
    }
    let audit = raising.audit(books::shard(), books::soon()).await.expect("audited");
    assert_eq!(audit.violation_count, 0, "{audit:?}");
    Vec::new()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_a_raise_and_a_payment_through_two_nodes_at_most_one_wins() {
    let galera = Galera::start(3);
    let _ = galera.empty_database("race");
    let paying = unit("rz01", database(&galera, 0, "race").await);
    let raising = unit("rz03", database(&galera, 1, "race").await);
    assert_eq!(late_payments(paying, raising).await, Vec::<String>::new());
    // The canary: the same with a fence that is read and not changed.
    let _ = galera.empty_database("canary");
    let paying = database(&galera, 0, "canary").await.with_fences_only_read();
    let raising = unit("rz03", database(&galera, 1, "canary").await);
    let late = late_payments(unit("rz01", paying), raising).await;
    assert!(!late.is_empty(), "a fence that nothing changes must be found out");
}
