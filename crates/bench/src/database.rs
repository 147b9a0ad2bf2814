//! The database under our store, and what it can do at most.
//!
//! The raw loop is the least that a fenced batch takes: over one connection, a
//! row of fences updated, the batch's rows inserted, committed, all in one
//! packet, and then the next. Once with a row for each put, once with one row
//! for all of them, as our store writes its log.

use std::{path::PathBuf, time::Duration};

use anyhow::{Context, bail};
use engine::SqlConfig;
use mysql_async::{Conn, prelude::Queryable as _};
use tokio::time::Instant;

/// What a record takes beside its key and value, as on the embedded log.
const RECORD_BYTES: usize = 64;

const WARM_UP: Duration = Duration::from_millis(300);
const RUN: Duration = Duration::from_millis(1500);

/// Ours, and the store's.
const OWN_TABLES: &str = "SELECT table_name FROM information_schema.tables WHERE table_schema = \
                          DATABASE() AND (table_name LIKE 'polis\\_%' OR table_name LIKE \
                          'bench\\_%')";

/// Where our store is to keep its log; emptied by a run.
#[derive(Clone, Debug)]
pub struct Database {
    /// As `polis store` takes it.
    pub url: String,
    pub password_file: Option<PathBuf>,
    pub config: SqlConfig,
}

/// Puts a second, in groups of as many as there are clients.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Raw {
    pub row_each: f64,
    pub row_for_all: f64,
}

// === impl Database ===

impl Database {
    /// Refuses one that anybody uses, and tells its version.
    pub(crate) async fn check(&self) -> anyhow::Result<String> {
        let mut conn = self.connect().await?;
        let tables: Vec<String> = conn
            .query(
                "SELECT table_name FROM information_schema.tables WHERE table_schema = DATABASE()",
            )
            .await
            .context("list the database's tables")?;
        if let Some(table) = tables.first() {
            bail!(
                "--database: {} holds tables already ({table}): create an empty database for the \
                 run, which writes and removes tables of its own",
                self.config.database
            );
        }
        let version: Option<String> = conn.query_first("SELECT VERSION()").await?;
        conn.disconnect().await?;
        version.context("the database does not tell its version")
    }

    /// Removes what a run has written. Only for one that was empty.
    pub(crate) async fn clear(&self) -> anyhow::Result<()> {
        let mut conn = self.connect().await?;
        let tables: Vec<String> = conn.query(OWN_TABLES).await.context("list our tables")?;
        for table in tables {
            let drop = format!("DROP TABLE IF EXISTS {table}");
            conn.query_drop(drop).await.with_context(|| format!("drop table {table}"))?;
        }
        conn.disconnect().await?;
        Ok(())
    }

    pub(crate) async fn raw(&self, group: usize, value_bytes: usize) -> anyhow::Result<Raw> {
        let mut conn = self.connect().await?;
        let data = "x".repeat(value_bytes + RECORD_BYTES);
        let each = (0..group).map(|_| data.as_str()).collect::<Vec<_>>();
        let row_each = batches_per_second(&mut conn, &each).await? * group as f64;
        let all = data.repeat(group);
        let row_for_all = batches_per_second(&mut conn, &[&all]).await? * group as f64;
        conn.disconnect().await?;
        Ok(Raw { row_each, row_for_all })
    }

    /// The first server that answers, as our store does.
    pub(crate) async fn connect(&self) -> anyhow::Result<Conn> {
        let mut problem = None;
        for endpoint in &self.config.endpoints {
            let opened = Conn::new(self.config.driver_opts(endpoint));
            match tokio::time::timeout(self.config.connect_timeout, opened).await {
                Ok(Ok(conn)) => return Ok(conn),
                Ok(Err(error)) => problem = Some(format!("{endpoint}: {error}")),
                Err(_) => problem = Some(format!("{endpoint}: it does not greet in time")),
            }
        }
        bail!("--database: cannot connect; {}", problem.unwrap_or_default())
    }
}

/// Batches of these rows, one after the other.
async fn batches_per_second(conn: &mut Conn, rows: &[&str]) -> anyhow::Result<f64> {
    for statement in [
        "DROP TABLE IF EXISTS bench_fence, bench_log",
        "CREATE TABLE bench_fence (id INT PRIMARY KEY, seq BIGINT NOT NULL)",
        "CREATE TABLE bench_log (id BIGINT PRIMARY KEY, data LONGBLOB NOT NULL)",
        "INSERT INTO bench_fence VALUES (1, 0)",
    ] {
        conn.query_drop(statement).await.context("prepare the raw loop")?;
    }
    let began = Instant::now();
    let (mut seq, mut id, mut counted) = (0u64, 0u64, None);
    loop {
        let passed = began.elapsed();
        if passed >= WARM_UP && counted.is_none() {
            counted = Some((seq, Instant::now()));
        }
        if let Some((first, since)) = counted
            && since.elapsed() >= RUN
        {
            let rate = (seq - first) as f64 / since.elapsed().as_secs_f64();
            conn.query_drop("DROP TABLE bench_fence, bench_log").await?;
            return Ok(rate);
        }
        let next = seq + 1;
        let mut text = format!(
            "BEGIN; UPDATE bench_fence SET seq = {next} WHERE id = 1 AND seq = {seq}; INSERT INTO \
             bench_log VALUES "
        );
        for (index, row) in rows.iter().enumerate() {
            id += 1;
            let comma = if index == 0 { "" } else { "," };
            text.extend([comma, "(", &id.to_string(), ",'", row, "')"]);
        }
        text.push_str("; COMMIT");
        conn.query_drop(text).await.context("commit a raw batch")?;
        seq = next;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_database_in_use_is_refused_and_one_that_was_empty_is_left_empty() {
        let server = testkit::MariaDb::start();
        let url = server.empty_database("bench");
        let config = SqlConfig::parse(&url).expect("a good URL");
        let database = Database { url, password_file: None, config };
        assert!(database.check().await.expect("it is empty").contains("MariaDB"));
        let raw = database.raw(4, 256).await.expect("it may be written");
        assert!(raw.row_each > 0.0 && raw.row_for_all > 0.0);

        server.query("CREATE TABLE bench.polis_meta (one INT)").expect("a table of a store");
        let refused = database.check().await.expect_err("a store uses it");
        assert!(refused.to_string().contains("polis_meta"), "{refused}");
        database.clear().await.expect("our tables are removed");
        assert!(database.check().await.is_ok());
    }
}
