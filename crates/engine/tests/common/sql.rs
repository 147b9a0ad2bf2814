//! Real databases for the tests of the SQL engine.

use std::sync::atomic::{AtomicU64, Ordering};

use engine::{Sql, SqlConfig};
use mysql_async::{Conn, Opts, prelude::Queryable as _};

/// A server, by the URL of its root user without a database.
pub struct Server {
    url: String,
}

pub fn servers() -> Vec<Server> {
    let urls = std::env::var("POLIS_TEST_DATABASES").unwrap_or_default();
    urls.split_whitespace().map(|url| Server { url: url.to_owned() }).collect()
}

// === impl Server ===

impl Server {
    /// On a database of its own.
    pub async fn engine(&self) -> Sql {
        open(&self.database().await).await
    }

    /// Makes an empty database and returns its URL.
    pub async fn database(&self) -> String {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("polis_{}_{number}", std::process::id());
        self.query(&format!("DROP DATABASE IF EXISTS {name}")).await;
        self.query(&format!("CREATE DATABASE {name}")).await;
        format!("{}/{name}", self.url)
    }

    /// Holds what the statement locks until the answer is dropped.
    pub async fn hold(&self, sql: &str) -> Conn {
        let opts = Opts::from_url(&self.url).expect("a good URL");
        let mut conn = Conn::new(opts).await.expect("it accepts");
        conn.query_drop("BEGIN").await.expect("it may be asked");
        conn.query_drop(sql).await.expect("it may be asked");
        conn
    }

    pub async fn query(&self, sql: &str) {
        let opts = Opts::from_url(&self.url).expect("a good URL");
        let mut conn = Conn::new(opts).await.expect("it accepts");
        conn.query_drop(sql).await.expect("it may be asked");
        conn.disconnect().await.expect("it says goodbye");
    }
}

pub async fn open(url: &str) -> Sql {
    let config = SqlConfig::parse(url).expect("a good URL");
    Sql::connect(config).await.expect("it opens")
}
