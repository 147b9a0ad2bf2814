//! Sessions, few and kept, and how often a failed transaction is tried again.

use std::{
    ops::{Deref, DerefMut},
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, sleep},
};

use super::{Connection, Database, Failure};
use crate::Error;

/// Each keyspace that writes uses one at a time, and they take turns beyond
/// that; databases are commonly set to 150 connections for all.
const SESSIONS_MAX: usize = 24;

/// A transaction that lost against another meets it again at most a few times;
/// servers that move over need about a second.
const TRIES_MAX: u32 = 8;
const WAIT_FIRST: Duration = Duration::from_millis(5);
const WAIT_MAX: Duration = Duration::from_millis(400);
/// Callers answer somebody who waits.
const TRY_FOR: Duration = Duration::from_secs(4);

pub(super) struct Pool {
    database: Arc<dyn Database>,
    idle: Mutex<Vec<Box<dyn Connection>>>,
    permits: Arc<Semaphore>,
}

/// A session that is closed when dropped, unless it is kept.
pub(super) struct Session {
    connection: Box<dyn Connection>,
    pool: Arc<Pool>,
    _permit: OwnedSemaphorePermit,
}

/// The tries of one call.
pub(super) struct Tries {
    began: Instant,
    failed: u32,
}

// === impl Pool ===

impl Pool {
    pub fn new(database: Arc<dyn Database>) -> Pool {
        Pool { database, idle: Mutex::default(), permits: Arc::new(Semaphore::new(SESSIONS_MAX)) }
    }

    pub async fn session(self: &Arc<Pool>) -> Result<Session, Failure> {
        let permit = self.permits.clone().acquire_owned().await.expect("it is never closed");
        let connection = match self.kept() {
            Some(connection) => connection,
            None => self.database.connect().await?,
        };
        Ok(Session { connection, pool: self.clone(), _permit: permit })
    }

    /// The one that was used last, so that those beyond what is needed age.
    fn kept(&self) -> Option<Box<dyn Connection>> {
        let mut idle = self.idle();
        idle.retain(|connection| connection.is_fit());
        idle.pop()
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Box<dyn Connection>>> {
        self.idle.lock().expect("no holder panics")
    }
}

// === impl Session ===

impl Session {
    /// For after a call that left the session whole.
    pub fn keep(self) {
        if self.connection.is_fit() {
            self.pool.idle().push(self.connection);
        }
    }

    /// For after a call that failed.
    pub fn keep_after(self, failure: &Failure) {
        if matches!(failure, Failure::Conflict(_)) {
            self.keep();
        }
    }
}

impl Deref for Session {
    type Target = dyn Connection;

    fn deref(&self) -> &Self::Target {
        &*self.connection
    }
}

impl DerefMut for Session {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut *self.connection
    }
}

// === impl Tries ===

impl Tries {
    pub fn new() -> Tries {
        Tries { began: Instant::now(), failed: 0 }
    }

    /// Waits until it is time for the next try, or says that there is none.
    pub async fn after(&mut self, failure: Failure) -> Result<(), Error> {
        let error = Error::from(failure);
        self.failed += 1;
        let is_last = self.failed >= TRIES_MAX || self.began.elapsed() >= TRY_FOR;
        if is_last || !matches!(error, Error::Unavailable(_)) {
            return Err(error);
        }
        sleep((WAIT_FIRST * 4u32.pow(self.failed.min(4) - 1)).min(WAIT_MAX)).await;
        Ok(())
    }
}

/// Calls until it is answered: for what only reads, and for what may be done
/// twice.
macro_rules! again {
    ($pool:expr, $session:ident => $call:expr) => {{
        let mut tries = $crate::sql::pool::Tries::new();
        loop {
            let failure = match $pool.session().await {
                Err(failure) => failure,
                Ok(mut $session) => match $call.await {
                    Ok(answer) => {
                        $session.keep();
                        break Ok(answer);
                    }
                    Err(failure) => {
                        $session.keep_after(&failure);
                        failure
                    }
                },
            };
            if let Err(error) = tries.after(failure).await {
                break Err(error);
            }
        }
    }};
}

pub(super) use again;
