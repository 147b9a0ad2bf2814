//! Payments against a group, and what of them is there.

use std::{sync::Arc, time::Duration};

use engine::SqlConfig;
use ledger::{Amount, Balance, Books, Mark, OnSql, Open, Order, Pay};
use tokio::{sync::mpsc, time::Instant};
use topology::{Epoch, Extent, UserId};

pub const USERS: u64 = 8;

/// A failover, and some more.
const LONG: Duration = Duration::from_secs(120);

pub fn soon() -> Instant {
    Instant::now() + LONG
}

pub fn user(number: u64) -> UserId {
    format!("2088001{number:03}").parse().expect("an id")
}

/// Books of rz01, with an account for each user.
pub async fn ready(url: &str) -> Books {
    let books = over(url).await;
    for number in 0..USERS {
        let shard = Extent::around(user(number).bucket());
        let _ = books.raise(shard, Epoch(1), soon()).await.expect("raised");
        let open = Open {
            user: user(number),
            currency: "CNY".parse().expect("a currency"),
            opening: Balance::new(1_000_000).expect("a balance"),
            mark: Mark::none(),
        };
        books.execute(open, None, soon()).await.expect("opened");
    }
    books
}

pub async fn over(url: &str) -> Books {
    let config = SqlConfig::parse(url).expect("a good URL");
    let database = OnSql::connect(config).await.expect("it opens");
    Books::new("rz01".parse().expect("a name"), Arc::new(database))
}

pub fn order(payer: &UserId, key: &str) -> Pay {
    Pay(Order {
        id: format!("{payer}.{key}").parse().expect("an id"),
        merchant: "tea".parse().expect("a merchant"),
        amount: Amount::new(1).expect("an amount"),
        currency: "CNY".parse().expect("a currency"),
    })
}

/// Pays for every user, one payment after the other, until nobody listens;
/// tells of each that was acknowledged.
pub fn pay_on(books: &Books) -> mpsc::Receiver<String> {
    let (paid, acknowledged) = mpsc::channel(1024);
    for number in 0..USERS {
        let (books, paid) = (books.clone(), paid.clone());
        tokio::spawn(async move {
            for n in 0.. {
                let (payer, key) = (user(number), format!("k{n}"));
                // What fails is not claimed; what is unknown neither.
                if books.execute(order(&payer, &key), None, soon()).await.is_ok()
                    && paid.send(format!("{payer}.{key}")).await.is_err()
                {
                    return;
                }
            }
        });
    }
    acknowledged
}

pub async fn take(acknowledged: &mut mpsc::Receiver<String>, count: usize) -> Vec<String> {
    let mut taken = Vec::with_capacity(count);
    while taken.len() < count {
        taken.push(acknowledged.recv().await.expect("they pay"));
    }
    taken
}

/// No invariant is violated.
pub async fn audit(books: &Books) {
    let mut shards: Vec<Extent> = (0..USERS).map(|n| Extent::around(user(n).bucket())).collect();
    shards.sort_by_key(|extent| extent.shard);
    shards.dedup();
    for shard in shards {
        let audit = books.audit(shard, soon()).await.expect("audited");
        assert_eq!(audit.violation_count, 0, "{audit:?}");
    }
}
