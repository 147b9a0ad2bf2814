//! Statements of a test, from blocking and from async code alike.

use std::{fmt, thread, time::Duration};

use mysql_async::{Conn, Opts, OptsBuilder, Row, Value, prelude::Queryable as _};

/// Longer than any statement of a test takes; a server that is paused answers
/// none.
const LIMIT: Duration = Duration::from_secs(60);

/// Why a statement was not answered.
#[derive(Debug)]
pub struct Failed {
    /// The server's number, if it answered.
    pub code: Option<u16>,
    pub message: String,
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

/// Runs a statement on a connection of its own; the rows as text, NULL as
/// `NULL`. `url` is `mysql://USER@HOST:PORT` with or without a database.
pub fn query(url: &str, statement: &str) -> Result<Vec<Vec<String>>, Failed> {
    thread::scope(|scope| {
        // A thread of its own: the caller's may be in a runtime, where no other
        // may be entered.
        let asked = scope.spawn(|| {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("start a runtime");
            runtime.block_on(ask(url, statement))
        });
        asked.join().expect("asking does not panic")
    })
}

/// Drops a database if it exists, and creates it.
pub(crate) fn recreate(url: &str, name: &str) {
    for statement in [format!("DROP DATABASE IF EXISTS {name}"), format!("CREATE DATABASE {name}")]
    {
        if let Err(error) = query(url, &statement) {
            panic!("{statement}: {error}");
        }
    }
}

async fn ask(url: &str, statement: &str) -> Result<Vec<Vec<String>>, Failed> {
    let opts = Opts::from_url(url).map_err(|error| failed(&error))?;
    let opts = OptsBuilder::from_opts(opts)
        // A socket file would go past a proxy.
        .prefer_socket(false)
        .pass(std::env::var("POLIS_TEST_DATABASE_PASSWORD").ok());
    let asked = async {
        let mut conn = Conn::new(opts).await?;
        let rows: Vec<Row> = conn.query(statement).await?;
        conn.disconnect().await?;
        Ok::<_, mysql_async::Error>(rows)
    };
    match tokio::time::timeout(LIMIT, asked).await {
        Err(_) => Err(Failed { code: None, message: format!("no answer within {LIMIT:?}") }),
        Ok(Err(mysql_async::Error::Server(error))) => {
            Err(Failed { code: Some(error.code), message: error.to_string() })
        }
        Ok(Err(error)) => Err(failed(&error)),
        Ok(Ok(rows)) => Ok(rows.into_iter().map(texts).collect()),
    }
}

fn failed(error: &dyn fmt::Display) -> Failed {
    Failed { code: None, message: error.to_string() }
}

fn texts(row: Row) -> Vec<String> {
    let text = |value: &Value| match value {
        Value::NULL => "NULL".to_owned(),
        Value::Bytes(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        other => other.as_sql(true),
    };
    (0..row.len()).filter_map(|column| row.as_ref(column)).map(text).collect()
}
