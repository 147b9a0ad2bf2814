//! Sessions, few and kept, and what is tried again by rule.
//!
//! Only what certainly was not applied because another transaction was in the
//! way is tried again here: deadlocks, lock waits, Galera's certification. What
//! else fails goes up, where the deadline is known; a packet whose answer was
//! lost goes up as unknown, and its session is never used again.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use engine::sql::{Answer, Broke, Failure, Mysql, Session, Text};
use tokio::{
    sync::{Semaphore, SemaphorePermit},
    time::sleep,
};

use super::packet::{Commit, REFUSALS, Trust};
use crate::Error;

/// Of one process. Five ledgers and a store stay below the 150 connections that
/// databases commonly allow for all.
const SESSIONS_MAX: usize = 16;

/// A transaction that lost against another meets it again at most a few times.
const CONFLICTS_MAX: u32 = 6;
const CONFLICT_WAIT: Duration = Duration::from_millis(2);

pub struct Sessions {
    server: Mysql,
    idle: Mutex<Vec<Session>>,
    permits: Semaphore,
}

/// How a transaction ended.
pub enum Asked {
    Answered(Vec<Answer>),
    /// Its guard did not hold: nothing was changed.
    Refused,
}

// === impl Sessions ===

impl Sessions {
    pub fn new(server: Mysql) -> Sessions {
        Sessions { server, idle: Mutex::default(), permits: Semaphore::new(SESSIONS_MAX) }
    }

    /// What may be done twice. It sees what was committed through any server.
    pub async fn read(&self, text: &Text) -> Result<Vec<Answer>, Error> {
        self.ask(true, text).await?.map_err(|broke| of_read(broke.of_read()))
    }

    /// As [`Self::read`], for what makes tables, which takes a busy server long.
    pub async fn make(&self, text: &Text) -> Result<(), Error> {
        let (mut session, _permit) = self.session().await?;
        let asked = session.ask_much(text.clone()).await;
        self.keep(session);
        asked.map(drop).map_err(|broke| of_read(broke.of_read()))
    }

    /// One transaction with a guard; its COMMIT is the statement at this index.
    pub async fn write(&self, text: &Text, commit_at: usize) -> Result<Asked, Error> {
        let commit = |_| Ok(Commit { text: text.clone(), commit_at, uses_at: commit_at });
        self.write_as(commit).await.map(|(asked, _)| asked)
    }

    /// As [`Self::write`], by a packet for the server that is asked; and where
    /// its number of commits is.
    pub async fn write_as(
        &self,
        packet: impl Fn(Trust) -> Result<Commit, Error>,
    ) -> Result<(Asked, usize), Error> {
        for conflicts in 0..CONFLICTS_MAX {
            let (mut session, permit) = self.session().await?;
            let trust = if session.holds_transactions() { Trust::Held } else { Trust::Watched };
            let Commit { text, commit_at, uses_at } = packet(trust)?;
            let asked = session.ask_causal(false, text).await;
            self.keep(session);
            drop(permit);
            let broke = match asked {
                Ok(answers) => return Ok((Asked::Answered(answers), uses_at)),
                Err(broke) => broke,
            };
            if broke.code().is_some_and(|code| REFUSALS.contains(&code)) {
                return Ok((Asked::Refused, uses_at));
            }
            match broke.of_commit(commit_at) {
                Failure::Conflict(problem) => {
                    tracing::debug!(problem, "another transaction was in the way");
                    sleep(CONFLICT_WAIT * 2_u32.pow(conflicts)).await;
                }
                failure => return Err(of_write(failure)),
            }
        }
        Err(unreachable("other transactions were in the way"))
    }

    /// The outer error comes before anything was sent.
    pub async fn ask(
        &self,
        causal: bool,
        text: &Text,
    ) -> Result<Result<Vec<Answer>, Broke>, Error> {
        let (mut session, _permit) = self.session().await?;
        let asked = session.ask_causal(causal, text.clone()).await;
        self.keep(session);
        Ok(asked)
    }

    fn keep(&self, session: Session) {
        if session.is_fit() {
            self.idle().push(session);
        }
    }

    async fn session(&self) -> Result<(Session, SemaphorePermit<'_>), Error> {
        let permit = self.permits.acquire().await;
        let permit = permit.map_err(|_| Error::store("the sessions are closed"))?;
        let kept = {
            let mut idle = self.idle();
            idle.retain(Session::is_fit);
            // The one that was used last, so that those beyond what is needed age.
            idle.pop()
        };
        match kept {
            Some(session) => Ok((session, permit)),
            None => Ok((self.server.session().await.map_err(of_read)?, permit)),
        }
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Session>> {
        // No code that can panic runs under this lock.
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Of what only reads, and of connecting: nothing was changed.
pub fn of_read(failure: Failure) -> Error {
    match failure {
        Failure::Conflict(problem) | Failure::Unavailable(problem) | Failure::Lost(problem) => {
            unreachable(&problem)
        }
        Failure::Refused(error) => Error::Database(Arc::new(error)),
    }
}

fn of_write(failure: Failure) -> Error {
    match failure {
        Failure::Lost(problem) => Error::Store(kv::Error::Unknown(problem)),
        other => of_read(other),
    }
}

fn unreachable(problem: &str) -> Error {
    Error::Store(kv::Error::Unreachable(problem.to_owned()))
}
