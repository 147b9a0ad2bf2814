//! One session: packets of statements asked and answered within a time.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use mysql_async::{
    Conn, Row,
    prelude::{FromRow, Queryable as _},
};
use tokio::time::{Instant, timeout};

use super::{
    failure::{Broke, Cause},
    flavour::Flavour,
    text::Text,
};
use crate::sql::Failure;

/// Servers close sessions that were idle for longer ([`Flavour::settings`]).
const IDLE_MAX: Duration = Duration::from_secs(20);

/// Reads of megabytes, and tables made.
const LONG: Duration = Duration::from_secs(10);

/// A hundred gigabytes on a slow disk.
const REWRITE: Duration = Duration::from_secs(2 * 3600);

/// A session with a real database, made what we rely on.
pub struct Session {
    conn: Conn,
    /// Which endpoint this is, and which one is used now.
    index: usize,
    /// Which one is asked next, should this one fall silent.
    next: usize,
    used: Arc<AtomicUsize>,
    pub(super) flavour: Flavour,
    pub(super) packet_bytes_max: usize,
    /// Reads wait for what other nodes have committed.
    causal: Option<bool>,
    last_used: Instant,
    whole: bool,
    statement_timeout: Duration,
}

/// What one statement led to.
#[derive(Debug, Default)]
pub struct Answer {
    /// Rows that it changed; no meaning for one that reads.
    pub changed: u64,
    pub rows: Vec<Row>,
}

// === impl Session ===

impl Session {
    pub(super) fn new(
        conn: Conn,
        (index, next): (usize, usize),
        used: Arc<AtomicUsize>,
        statement_timeout: Duration,
    ) -> Session {
        Session {
            conn,
            index,
            next,
            used,
            flavour: Flavour::Mysql,
            packet_bytes_max: 0,
            causal: None,
            last_used: Instant::now(),
            whole: true,
            statement_timeout,
        }
    }

    /// Once it is known what the server is.
    pub(super) fn settle(&mut self, flavour: Flavour, packet_bytes_max: usize) {
        self.flavour = flavour;
        self.packet_bytes_max = packet_bytes_max;
    }

    /// Whether it may be used again: whole, of the server that is used now, and not idle for long.
    #[must_use]
    pub fn is_fit(&self) -> bool {
        self.whole && self.index == self.used.load(Relaxed) && self.last_used.elapsed() < IDLE_MAX
    }

    /// Asks everything in one round trip.
    pub async fn ask(&mut self, text: Text) -> Result<Vec<Answer>, Broke> {
        self.ask_within(text, self.statement_timeout).await
    }

    /// Whether a transaction may be gone in the middle of its packet, without a
    /// word.
    pub(super) fn may_take_away(&self) -> bool {
        self.flavour == Flavour::Galera
    }

    /// Whether a packet that loses its transaction stops there: then all that
    /// was answered well was in one.
    #[must_use]
    pub fn holds_transactions(&self) -> bool {
        matches!(self.flavour, Flavour::MariaDb | Flavour::Mysql)
    }

    /// As [`Session::ask`], for much data.
    pub async fn ask_much(&mut self, text: Text) -> Result<Vec<Answer>, Broke> {
        self.ask_within(text, LONG.max(self.statement_timeout)).await
    }

    /// As [`Session::ask`], for what rewrites a table.
    pub async fn ask_patiently(&mut self, text: Text) -> Result<Vec<Answer>, Broke> {
        self.ask_within(text, REWRITE).await
    }

    /// As [`Session::ask`]; if `causal`, it sees what was committed on any node
    /// before.
    pub async fn ask_causal(&mut self, causal: bool, text: Text) -> Result<Vec<Answer>, Broke> {
        self.ask_with(causal, text, self.statement_timeout).await
    }

    /// As [`Session::ask_causal`], for much data.
    pub async fn ask_much_causal(&mut self, text: Text) -> Result<Vec<Answer>, Broke> {
        self.ask_with(true, text, LONG.max(self.statement_timeout)).await
    }

    async fn ask_with(
        &mut self,
        causal: bool,
        rest: Text,
        limit: Duration,
    ) -> Result<Vec<Answer>, Broke> {
        let Some(setting) = self.flavour.sync_wait(causal).filter(|_| self.causal != Some(causal))
        else {
            return self.ask_within(rest, limit).await;
        };
        let mut text = Text::default();
        text.say(setting, &[]);
        text.append(rest);
        match self.ask_within(text, limit).await {
            Ok(mut answers) => {
                self.causal = Some(causal);
                answers.remove(0);
                Ok(answers)
            }
            Err(broke) => {
                self.causal = None;
                Err(Broke { done: broke.done.saturating_sub(1), ..broke })
            }
        }
    }

    async fn ask_within(&mut self, text: Text, limit: Duration) -> Result<Vec<Answer>, Broke> {
        let mut answers = Vec::with_capacity(text.statements());
        // Until the last answer is in, the session's state is not known.
        self.whole = false;
        let asked = timeout(limit, ask(&mut self.conn, text, &mut answers)).await;
        let cause = match asked {
            Ok(Ok(())) => {
                self.whole = true;
                self.last_used = Instant::now();
                return Ok(answers);
            }
            Ok(Err(error)) => Cause::from(error),
            Err(_) => Cause::Silence(format!("no answer within {} ms", limit.as_millis())),
        };
        let done = answers.len();
        if let Cause::Server(_) = cause {
            self.whole = self.roll_back().await;
        }
        if self.flavour.may_be_deposed() && cause.is_stall() {
            // It may lead no more, and greet as if it did, while its commits wait
            // for replicas that follow another. The others are looked at first.
            let _ = self.used.compare_exchange(self.index, self.next, Relaxed, Relaxed);
        }
        Err(Broke { done, cause })
    }

    /// Ends a transaction that an error left open.
    async fn roll_back(&mut self) -> bool {
        let done = timeout(self.statement_timeout, self.conn.query_drop("ROLLBACK")).await;
        matches!(done, Ok(Ok(())))
    }
}

async fn ask(conn: &mut Conn, text: Text, answers: &mut Vec<Answer>) -> mysql_async::Result<()> {
    let statements = text.statements();
    let mut result = conn.query_iter(text.into_bytes()).await?;
    for _ in 0..statements {
        let mut answer = Answer { changed: result.affected_rows(), rows: Vec::new() };
        // The end of one statement's rows is found by reading the next one's
        // first packet, so an error here is the next statement's.
        loop {
            match result.next().await {
                Ok(Some(row)) => answer.rows.push(row),
                Ok(None) => break,
                Err(error) => {
                    answers.push(answer);
                    return Err(error);
                }
            }
        }
        answers.push(answer);
    }
    result.drop_result().await
}

// === impl Answer ===

impl Answer {
    /// The rows as the columns' types.
    pub fn rows<T: FromRow>(self) -> Result<Vec<T>, Failure> {
        super::pages::rows(self)
    }

    #[must_use]
    pub fn texts(self) -> Vec<Vec<String>> {
        let texts = |row: Row| {
            row.unwrap_raw()
                .into_iter()
                .flatten()
                .map(|value| mysql_async::from_value_opt(value).unwrap_or_default())
        };
        self.rows.into_iter().map(|row| texts(row).collect()).collect()
    }
}
