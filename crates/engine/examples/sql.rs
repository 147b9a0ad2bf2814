//! What batches cost on a database, beside the least that it could take.
//!
//! `cargo run --release -p polis-engine --example sql -- WHAT` writes batches of
//! 1 to 512 rows (256-byte values) for some seconds each, over one connection
//! and one after the other, as a keyspace's leader does. WHAT is the URL of an
//! empty database, or one of `seekdb`, `mariadb`, `galera` (five nodes), which
//! are started for it from the peers of `cargo xtask peers`. The raw loop sends
//! as many bytes in the simplest transaction there is: one row of fences
//! updated, one row of log inserted; all in one packet of text, and then as
//! prepared statements, one after the other.

#![allow(clippy::disallowed_methods, reason = "a measurement needs real time")]

use std::time::{Duration, Instant};

use engine::{Batch, Engine, Epoch, Outcome, Raised, ReplicaId, Seq, Sql, SqlConfig};
use keyspace::{Change, Record};
use kv::{KeyspaceName, Revision};
use mysql_async::{Conn, Opts, prelude::Queryable as _};

const VALUE_BYTES: usize = 256;
const RUN: Duration = Duration::from_secs(4);
const BATCHES: [u64; 4] = [1, 16, 128, 512];

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let what = std::env::args().nth(1).ok_or("say which: seekdb, mariadb, galera or a URL")?;
    let url = match what.as_str() {
        "seekdb" => testkit::Seekdb::shared().empty_database("measure"),
        "mariadb" => testkit::MariaDb::shared().empty_database("measure"),
        "galera" => testkit::Galera::shared().empty_database("measure"),
        url => url.to_owned(),
    };
    let config = SqlConfig::parse(&url)?;
    let first = config.endpoints[0].to_string();
    let raw_url = format!("mysql://{}@{first}/{}", config.user, config.database);
    let engine = Sql::connect(config).await?;
    let mut raw = Raw::connect(&raw_url).await?;
    println!(
        "rows a batch | engine rows/s | batches/s | p50 ms | p99 ms | raw rows/s | prepared | ratio"
    );
    for rows in BATCHES {
        let (ours, p50, p99) = appends(&engine, rows).await?;
        let ceiling = raw.appends(rows).await?;
        let prepared = raw.prepared_appends(rows).await?;
        println!(
            "{rows:12} | {:13.0} | {ours:9.0} | {p50:6.2} | {p99:6.2} | {:10.0} | {:8.0} | {:.2}",
            ours * rows as f64,
            ceiling * rows as f64,
            prepared * rows as f64,
            ours / ceiling
        );
    }
    Ok(())
}

/// Batches a second, and their times in milliseconds.
async fn appends(engine: &Sql, rows: u64) -> Result<(f64, f64, f64), Box<dyn std::error::Error>> {
    let keyspace = KeyspaceName::new(&format!("measure-{rows}"))?;
    let seen = engine.load(&keyspace).await?;
    let Raised::Won(epoch) = engine.raise(&keyspace, seen.epoch, ReplicaId(7)).await? else {
        return Err("another one leads".into());
    };
    let (mut seq, mut revision) = (seen.seq, Revision(1 + seen.seq.0 * rows));
    let mut times = Vec::new();
    let start = Instant::now();
    while start.elapsed() < RUN {
        seq = seq.next();
        let began = Instant::now();
        let batch = batch(epoch, seq, rows, &mut revision);
        assert_eq!(engine.append(&keyspace, batch).await?, Outcome::Committed);
        times.push(began.elapsed());
    }
    let rate = times.len() as f64 / start.elapsed().as_secs_f64();
    let folded = engine.compact(&keyspace, epoch, revision).await?;
    assert_eq!(folded, Outcome::Committed);
    times.sort_unstable();
    let at = |share: f64| times[(times.len() as f64 * share) as usize].as_secs_f64() * 1e3;
    Ok((rate, at(0.5), at(0.99)))
}

fn batch(epoch: Epoch, seq: Seq, rows: u64, revision: &mut Revision) -> Batch {
    let mut random = rt::random::Random::seeded(seq.0);
    let records = (0..rows).map(|_| {
        *revision = revision.next();
        let value: Vec<u8> =
            (0..VALUE_BYTES / 8).flat_map(|_| random.next_u64().to_le_bytes()).collect();
        let put = Change::Put {
            key: format!("/registry/measure/key-{:08}", revision.0 % 10_000).into(),
            value: value.into(),
            create_revision: *revision,
            version: 1,
            lease: None,
        };
        Record::Txn { revision: *revision, changes: vec![put] }
    });
    Batch { epoch, seq, records: records.collect() }
}

/// The least that a fenced batch takes.
struct Raw(Conn);

// === impl Raw ===

impl Raw {
    async fn connect(url: &str) -> Result<Raw, Box<dyn std::error::Error>> {
        let mut conn = Conn::new(Opts::from_url(url)?).await?;
        conn.query_drop("DROP TABLE IF EXISTS raw_fence, raw_log").await?;
        conn.query_drop("CREATE TABLE raw_fence (id INT PRIMARY KEY, seq BIGINT NOT NULL)").await?;
        conn.query_drop("CREATE TABLE raw_log (seq BIGINT PRIMARY KEY, data LONGBLOB NOT NULL)")
            .await?;
        conn.query_drop("INSERT INTO raw_fence VALUES (1, 0)").await?;
        Ok(Raw(conn))
    }

    async fn appends(&mut self, rows: u64) -> Result<f64, Box<dyn std::error::Error>> {
        self.0.query_drop("UPDATE raw_fence SET seq = 0; DELETE FROM raw_log").await?;
        let data = "x".repeat(rows as usize * (VALUE_BYTES + 50));
        let start = Instant::now();
        let mut seq = 0u64;
        while start.elapsed() < RUN {
            let next = seq + 1;
            self.0
                .query_drop(format!(
                    "BEGIN; UPDATE raw_fence SET seq = {next} WHERE id = 1 AND seq = {seq}; INSERT \
                     INTO raw_log VALUES ({next}, '{data}'); COMMIT"
                ))
                .await?;
            seq = next;
        }
        Ok(seq as f64 / start.elapsed().as_secs_f64())
    }

    async fn prepared_appends(&mut self, rows: u64) -> Result<f64, Box<dyn std::error::Error>> {
        self.0.query_drop("UPDATE raw_fence SET seq = 0; DELETE FROM raw_log").await?;
        let update = self.0.prep("UPDATE raw_fence SET seq = ? WHERE id = 1 AND seq = ?").await?;
        let insert = self.0.prep("INSERT INTO raw_log VALUES (?, ?)").await?;
        let data = vec![b'x'; rows as usize * (VALUE_BYTES + 50)];
        let start = Instant::now();
        let mut seq = 0u64;
        while start.elapsed() < RUN {
            self.0.query_drop("BEGIN").await?;
            self.0.exec_drop(&update, (seq + 1, seq)).await?;
            self.0.exec_drop(&insert, (seq + 1, &data)).await?;
            self.0.query_drop("COMMIT").await?;
            seq += 1;
        }
        Ok(seq as f64 / start.elapsed().as_secs_f64())
    }
}
