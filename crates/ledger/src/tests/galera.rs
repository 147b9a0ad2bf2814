//! Raising a fence against paying, through different nodes of one cluster: a
//! payment of the old owner is there before the raise is answered, or never.

use std::{collections::BTreeSet, sync::Arc};

use engine::SqlConfig;
use mysql_async::{Conn, prelude::Queryable as _};
use testkit::Galera;
use tokio::sync::mpsc;
use topology::{Epoch, UserId};

use super::store::books;
use crate::{Books, Error, OnSql, on_sql::Fencing, raise::Raised};

/// Raises of one run, if the canary is not found earlier.
const ROUNDS: u64 = 15;

const RAISE_TRIES: u32 = 20;

/// Of one shard and different buckets.
fn users() -> Vec<UserId> {
    (1..=4).map(|n| format!("{n}088001234").parse().expect("an id")).collect()
}

async fn database(galera: &Galera, node: usize, name: &str, fencing: Fencing) -> OnSql {
    let url = format!("{}/{name}", galera.node(node).url());
    let config = SqlConfig::parse(&url).expect("a good URL");
    OnSql::connect(config).await.expect("it opens").fencing(fencing)
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

/// The payments that a node has by now: at the node that raised, all that came
/// before the raise.
async fn present(node: &mut Conn) -> BTreeSet<String> {
    let names: Vec<Vec<u8>> =
        node.query("SELECT name FROM polis_ledger_payment").await.expect("it may be asked");
    names.into_iter().map(|name| String::from_utf8(name).expect("an id")).collect()
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
async fn late_payments(galera: &Galera, name: &str, fencing: Fencing) -> Vec<String> {
    let _ = galera.empty_database(name);
    let paying = unit("rz01", database(galera, 0, name, fencing).await);
    let raising = unit("rz03", database(galera, 1, name, fencing).await);
    let url = format!("{}/{name}", galera.node(1).url());
    let mut node = Conn::from_url(url).await.expect("it accepts");
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
        let there = present(&mut node).await;
        let mut late = Vec::new();
        for payer in payers {
            let acked = payer.await.expect("no panic");
            late.extend(acked.into_iter().filter(|id| !there.contains(id)));
        }
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
    for (name, fencing) in [("race", Fencing::Changed), ("slow_race", Fencing::Slowly)] {
        let late = late_payments(&galera, name, fencing).await;
        assert_eq!(late, Vec::<String>::new(), "{fencing:?}");
    }
    // The canary: the same with a fence that is read and not changed.
    let late = late_payments(&galera, "canary", Fencing::ReadSlowly).await;
    assert!(!late.is_empty(), "a fence that nothing changes must be found out");
}
