//! What a failed statement says about its transaction.

use errors::{DATABASE_ACCESS, DATABASE_UNFIT};
use mysql_async::{Error as DriverError, ServerError};

use super::access;
use crate::{Error, sql::Failure};

/// A packet of statements that was not answered to its end.
#[derive(Debug)]
pub struct Broke {
    /// Statements that were answered well before.
    pub(super) done: usize,
    pub(super) cause: Cause,
}

#[derive(Debug)]
pub(super) enum Cause {
    Server(ServerError),
    /// No more is heard from the server.
    Silence(String),
}

/// Lost against another transaction: deadlock and Galera's certification, lock
/// wait, OceanBase's rollbacks and lock conflicts, TiDB's write conflicts.
const CONFLICTS: [u16; 9] = [1213, 1205, 1020, 6002, 6003, 6004, 6005, 8002, 9007];
const LOCK_WAIT: u16 = 1205;
/// Denied for a database, user, table, column or operation; no such database.
const DENIED: [u16; 8] = [1044, 1045, 1049, 1142, 1143, 1227, 1370, 1698];
/// No such column, another type or engine: these are not our tables.
const UNFIT: [u16; 6] = [1054, 1136, 1286, 1366, 1364, 1665];
/// The one answer to COMMIT that says that it was not done.
const COMMIT_ROLLED_BACK: [u16; 2] = [1213, 6002];

// === impl Broke ===

impl Broke {
    /// The packet held no COMMIT, or only autocommitted what may be done twice.
    #[must_use]
    pub fn of_read(self) -> Failure {
        match self.cause {
            Cause::Server(error) => of_server(&error),
            Cause::Silence(problem) => Failure::Lost(problem),
        }
    }

    /// The packet's COMMIT was the statement at this index.
    #[must_use]
    pub fn of_commit(self, commit_at: usize) -> Failure {
        match self.cause {
            // The server stops at the first error, so COMMIT was not reached.
            Cause::Server(error) if self.done < commit_at => of_server(&error),
            Cause::Server(error)
                if self.done == commit_at && COMMIT_ROLLED_BACK.contains(&error.code) =>
            {
                Failure::Conflict(error.to_string())
            }
            Cause::Server(error) => Failure::Lost(error.to_string()),
            Cause::Silence(problem) => Failure::Lost(problem),
        }
    }

    /// COMMIT had not been sent: without it the server rolls back.
    #[must_use]
    pub fn before_commit(self) -> Failure {
        match self.cause {
            Cause::Server(error) => of_server(&error),
            Cause::Silence(problem) => Failure::Unavailable(problem),
        }
    }

    /// The server's number, if it answered.
    #[must_use]
    pub fn code(&self) -> Option<u16> {
        match &self.cause {
            Cause::Server(error) => Some(error.code),
            Cause::Silence(_) => None,
        }
    }
}

fn of_server(error: &ServerError) -> Failure {
    let problem = format!("{} ({})", error.message, error.code);
    match error.code {
        code if CONFLICTS.contains(&code) => Failure::Conflict(problem),
        code if DENIED.contains(&code) => {
            Failure::Refused(Error::Database { code: DATABASE_ACCESS, problem })
        }
        code if UNFIT.contains(&code) => {
            Failure::Refused(Error::Database { code: DATABASE_UNFIT, problem })
        }
        _ => Failure::Unavailable(problem),
    }
}

pub(super) fn of_connect(error: &DriverError) -> Failure {
    match error {
        DriverError::Server(server) if DENIED.contains(&server.code) => {
            access(format!("{} ({})", server.message, server.code))
        }
        other => Failure::Unavailable(other.to_string()),
    }
}

// === impl Cause ===

impl Cause {
    /// Nothing is heard, or a row stays locked for longer than a commit takes.
    pub(super) fn is_stall(&self) -> bool {
        match self {
            Cause::Server(error) => error.code == LOCK_WAIT,
            Cause::Silence(_) => true,
        }
    }
}

impl From<DriverError> for Cause {
    fn from(error: DriverError) -> Cause {
        match error {
            DriverError::Server(error) => Cause::Server(error),
            other => Cause::Silence(other.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(code: u16) -> Cause {
        Cause::Server(ServerError { code, message: String::new(), state: String::new() })
    }

    #[test]
    fn only_what_certainly_was_not_committed_is_said_to_be() {
        let commit = |done, cause| Broke { done, cause }.of_commit(3);
        assert!(matches!(commit(1, server(1205)), Failure::Conflict(_)));
        assert!(matches!(commit(2, server(1062)), Failure::Unavailable(_)));
        assert!(matches!(commit(1, server(1142)), Failure::Refused(_)));
        assert!(matches!(commit(3, server(1213)), Failure::Conflict(_)));
        for at_commit in [1180, 1205, 4012, 1317, 1142] {
            assert!(matches!(commit(3, server(at_commit)), Failure::Lost(_)), "{at_commit}");
        }
        // What was asked after it says nothing about it.
        assert!(matches!(commit(4, server(1213)), Failure::Lost(_)));
        for done in 0..=3 {
            assert!(matches!(commit(done, Cause::Silence(String::new())), Failure::Lost(_)));
        }
        let unsent = Broke { done: 0, cause: Cause::Silence(String::new()) };
        assert!(matches!(unsent.before_commit(), Failure::Unavailable(_)));
    }
}
