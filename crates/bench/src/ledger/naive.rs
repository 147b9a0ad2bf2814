//! The same rows, one statement after the other.

use anyhow::{Context, ensure};
use mysql_async::{Conn, prelude::Queryable as _};
use tokio::sync::Mutex;
use topology::UserId;

use super::{Paying, Payments};
use crate::Database;

const TABLES: [&str; 4] = [
    "CREATE TABLE bench_fences (bucket INT PRIMARY KEY, epoch BIGINT NOT NULL, \
     uses BIGINT NOT NULL) ENGINE=InnoDB",
    "CREATE TABLE bench_account (uid VARBINARY(32) PRIMARY KEY, balance BIGINT NOT NULL, \
     version BIGINT NOT NULL) ENGINE=InnoDB",
    "CREATE TABLE bench_clearing (bucket INT NOT NULL, merchant VARBINARY(64) NOT NULL, \
     total BIGINT NOT NULL, PRIMARY KEY (bucket, merchant)) ENGINE=InnoDB",
    "CREATE TABLE bench_payment (uid VARBINARY(32) NOT NULL, idempotency VARBINARY(64) NOT NULL, \
     merchant VARBINARY(64) NOT NULL, amount BIGINT NOT NULL, balance BIGINT NOT NULL, \
     PRIMARY KEY (uid, idempotency)) ENGINE=InnoDB",
];

/// A client whose transaction lost against another tries it again.
const TRIES_MAX: u32 = 50;
const CONFLICTS: [u16; 5] = [1213, 1205, 6002, 6003, 6005];

/// A connection for each client.
pub(super) struct Naive(Vec<Mutex<Conn>>);

// === impl Naive ===

impl Naive {
    pub async fn build(database: &Database, clients: usize) -> anyhow::Result<Naive> {
        let mut conns = Vec::new();
        for _ in 0..clients {
            let mut conn = database.connect().await?;
            conn.query_drop("SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED").await?;
            conns.push(Mutex::new(conn));
        }
        let mut conn = database.connect().await?;
        for table in TABLES {
            conn.query_drop(table).await.context("make a table")?;
        }
        conn.disconnect().await?;
        Ok(Naive(conns))
    }

    pub async fn open(&self, users: &[UserId], balance: u64) -> anyhow::Result<()> {
        let mut conn = self.0.first().context("a client")?.lock().await;
        for user in users {
            let bucket = user.bucket().number();
            for insert in [
                format!("INSERT IGNORE INTO bench_fences VALUES ({bucket}, 1, 0)"),
                format!("INSERT IGNORE INTO bench_clearing VALUES ({bucket}, 'tea', 0)"),
                format!("INSERT INTO bench_account VALUES ('{user}', {balance}, 1)"),
            ] {
                conn.query_drop(insert).await?;
            }
        }
        Ok(())
    }
}

async fn pay(conn: &mut Conn, user: &UserId, key: &str) -> Result<bool, mysql_async::Error> {
    let (bucket, uid) = (user.bucket().number(), user.as_str());
    conn.query_drop("BEGIN").await?;
    conn.query_drop(format!(
        "UPDATE bench_fences SET uses = uses + 1 WHERE bucket = {bucket} AND epoch = 1"
    ))
    .await?;
    let balance: Option<u64> = conn
        .query_first(format!("SELECT balance FROM bench_account WHERE uid = '{uid}' FOR UPDATE"))
        .await?;
    let known: Option<u64> = conn
        .query_first(format!(
            "SELECT 1 FROM bench_payment WHERE uid = '{uid}' AND idempotency = '{key}'"
        ))
        .await?;
    let left = balance.and_then(|balance| balance.checked_sub(1));
    let (Some(left), None) = (left, known) else { return Ok(false) };
    for change in [
        format!(
            "UPDATE bench_account SET balance = {left}, version = version + 1 WHERE uid = '{uid}'"
        ),
        format!(
            "UPDATE bench_clearing SET total = total + 1 WHERE bucket = {bucket} AND merchant = 'tea'"
        ),
        format!("INSERT INTO bench_payment VALUES ('{uid}', '{key}', 'tea', 1, {left})"),
    ] {
        conn.query_drop(change).await?;
    }
    conn.query_drop("COMMIT").await?;
    Ok(true)
}

impl Payments for Naive {
    fn pay<'a>(&'a self, client: usize, user: &'a UserId, key: String) -> Paying<'a> {
        Box::pin(async move {
            let mut conn = self.0[client].lock().await;
            for _ in 0..TRIES_MAX {
                match pay(&mut conn, user, &key).await {
                    Ok(paid) => {
                        ensure!(paid, "the naive account of {user} cannot pay");
                        return Ok(());
                    }
                    Err(mysql_async::Error::Server(error)) if CONFLICTS.contains(&error.code) => {
                        conn.query_drop("ROLLBACK").await?;
                    }
                    Err(error) => return Err(error).context("pay naively"),
                }
            }
            anyhow::bail!("the naive payment kept losing against others")
        })
    }
}
