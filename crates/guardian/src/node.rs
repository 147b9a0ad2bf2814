//! A session with one server, for statements that people type otherwise.

use std::time::Duration;

use engine::sql::SqlConfig;
use mysql_async::{
    Conn, Error as DriverError, Row,
    prelude::{FromValue, Queryable as _},
};
use tokio::time::timeout;

use crate::{Error, Member, Name};

/// Of a statement that waits for nothing.
pub const SHORT: Duration = Duration::from_secs(2);

/// How long a server keeps what a guardian holds that fell silent between two
/// statements: longer than any wait of ours, so that it is not lost on the way.
const HELD_SECONDS: u32 = 15;

/// Nobody else uses the group at this server while we hold it.
const LOCK: &str = "polis_group";

pub struct Node {
    pub name: Name,
    conn: Conn,
}

// === impl Node ===

impl Node {
    pub async fn connect(login: &SqlConfig, member: &Member) -> Result<Node, Error> {
        let fails = |problem: String| Error::member(&member.name, problem);
        let opened = timeout(login.connect_timeout, Conn::new(login.driver_opts(&member.endpoint)));
        let conn = match opened.await {
            Err(_) => return Err(fails("it does not greet in time".to_owned())),
            Ok(Err(error)) => return Err(fails(error.to_string())),
            Ok(Ok(conn)) => conn,
        };
        Ok(Node { name: member.name.clone(), conn })
    }

    pub async fn rows(&mut self, statement: &str, limit: Duration) -> Result<Vec<Row>, Error> {
        match timeout(limit, self.conn.query(statement)).await {
            Err(_) => Err(self.fails(format!("no answer within {limit:?}"))),
            Ok(Err(error)) => Err(self.fails(error.to_string())),
            Ok(Ok(rows)) => Ok(rows),
        }
    }

    /// As [`Self::rows`]; nothing where the server says that there is no such
    /// table or database.
    pub async fn rows_if_any(&mut self, statement: &str) -> Result<Vec<Row>, Error> {
        const ABSENT: [u16; 2] = [1146, 1049];
        match timeout(SHORT, self.conn.query(statement)).await {
            Ok(Err(DriverError::Server(error))) if ABSENT.contains(&error.code) => Ok(Vec::new()),
            Err(_) => Err(self.fails(format!("no answer within {SHORT:?}"))),
            Ok(Err(error)) => Err(self.fails(error.to_string())),
            Ok(Ok(rows)) => Ok(rows),
        }
    }

    pub async fn run(&mut self, statement: &str, limit: Duration) -> Result<(), Error> {
        self.rows(statement, limit).await.map(drop)
    }

    /// Each in turn, none after one that failed.
    pub async fn run_all(&mut self, statements: &[&str]) -> Result<(), Error> {
        for statement in statements {
            self.run(statement, SHORT).await?;
        }
        Ok(())
    }

    /// Rows that the last statement changed.
    pub fn changed(&self) -> u64 {
        self.conn.affected_rows()
    }

    pub async fn value<T: FromValue>(
        &mut self,
        expression: &str,
        wait: Duration,
    ) -> Result<T, Error> {
        let rows = self.rows(&format!("SELECT {expression}"), wait).await?;
        let value = rows.into_iter().next().and_then(|mut row| row.take_opt::<T, _>(0)?.ok());
        value.ok_or_else(|| self.fails(format!("no value of {expression}")))
    }

    /// Keeps other guardians from this server until the session ends. All that
    /// is done under it is done in this session: whoever lost it can do nothing.
    pub async fn lock(&mut self) -> Result<(), Error> {
        self.run(&format!("SET SESSION wait_timeout = {HELD_SECONDS}"), SHORT).await?;
        let got: Option<u8> = self.value(&format!("GET_LOCK('{LOCK}', 0)"), SHORT).await?;
        match got {
            Some(1) => Ok(()),
            _ => Err(Error::Busy { member: self.name.clone() }),
        }
    }

    pub fn fails(&self, problem: impl Into<String>) -> Error {
        Error::member(&self.name, problem)
    }
}

/// A column of a row, empty where it is NULL.
pub fn column(row: &Row, name: &str) -> String {
    row.get_opt::<Option<String>, _>(name).and_then(Result::ok).flatten().unwrap_or_default()
}
