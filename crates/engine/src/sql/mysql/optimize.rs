//! Giving back to the file system what was removed from the tables.
//!
//! InnoDB keeps the pages of removed rows for new ones; `OPTIMIZE TABLE` copies
//! a table without them while it is read and written. At its beginning and its
//! end it needs the table for itself for a moment, and everyone queues behind
//! it while it waits for that; so it may wait only for less than a batch may,
//! and fails instead. On Galera it would stop every node until it is done, and
//! OceanBase and TiDB compact by themselves: there it is not for us to do.

use super::{append::statement, flavour::Flavour, session::Session, text::Text};
use crate::sql::Failure;

// === impl Session ===

impl Session {
    pub(super) async fn optimize(&mut self) -> Result<bool, Failure> {
        if !matches!(self.flavour, Flavour::MariaDb | Flavour::Mysql) {
            return Ok(false);
        }
        let mut text = Text::default();
        text.say("SET SESSION lock_wait_timeout = 1", &[]);
        text.say("OPTIMIZE TABLE polis_log, polis_cell", &[]);
        let asked = self.ask_patiently(text).await.map_err(|broke| broke.of_read());
        let restored = self.ask(statement("SET SESSION lock_wait_timeout = 5")).await;
        restored.map_err(|broke| broke.of_read())?;
        let answers = asked?;
        // Table, operation, kind of message, message; an error is one of these.
        let messages = answers.into_iter().flat_map(|answer| answer.texts());
        let failed = messages.into_iter().find_map(|row| match &row[..] {
            [table, _, kind, message] if kind.eq_ignore_ascii_case("error") => {
                Some(format!("{table}: {message}"))
            }
            _ => None,
        });
        match failed {
            Some(problem) => Err(Failure::Unavailable(problem)),
            None => Ok(true),
        }
    }
}
