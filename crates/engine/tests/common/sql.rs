//! Real databases for the tests of the SQL engine.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use engine::{Sql, SqlConfig};
use mysql_async::{Conn, Opts, prelude::Queryable as _};
use testkit::{MariaDb, Seekdb};

/// A server that the tests of a process share.
#[derive(Clone, Copy)]
pub struct Server(&'static testkit::Server);

#[must_use]
pub fn servers() -> [Server; 2] {
    [Server(Seekdb::shared()), Server(MariaDb::shared())]
}

// === impl Server ===

impl Server {
    /// On a database of its own.
    pub async fn engine(&self) -> Sql {
        open(&self.database()).await
    }

    /// Makes an empty database and returns its URL.
    #[must_use]
    pub fn database(&self) -> String {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        self.0.empty_database(&format!("polis_{number}"))
    }

    #[must_use]
    pub fn port(&self) -> u16 {
        self.0.port()
    }

    /// Holds what the statement locks until the answer is dropped.
    pub async fn hold(&self, sql: &str) -> Conn {
        let opts = Opts::from_url(&self.0.url()).expect("a good URL");
        let mut conn = Conn::new(opts).await.expect("it accepts");
        conn.query_drop("BEGIN").await.expect("it may be asked");
        conn.query_drop(sql).await.expect("it may be asked");
        conn
    }

    pub fn query(&self, sql: &str) {
        self.0.query(sql).expect("it may be asked");
    }

    /// The first column of the first row.
    #[must_use]
    pub fn answer(&self, sql: &str) -> String {
        let mut rows = self.0.query(sql).expect("it may be asked");
        rows.swap_remove(0).swap_remove(0)
    }
}

/// Waits for a slow server: a test that needs its answer is not about whether
/// it comes soon.
#[must_use]
pub fn patient(config: SqlConfig) -> SqlConfig {
    SqlConfig {
        connect_timeout: Duration::from_secs(20),
        statement_timeout: Duration::from_secs(60),
        ..config
    }
}

/// Folds whenever it is told to; patient, unless the URL has options.
pub async fn open(url: &str) -> Sql {
    let config = SqlConfig::parse(url).expect("a good URL");
    let config = if url.contains('?') { config } else { patient(config) };
    Sql::connect(config).await.expect("it opens").eager()
}
