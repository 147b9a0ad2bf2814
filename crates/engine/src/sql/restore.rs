//! A database being filled from elsewhere, whole or not at all.
//!
//! A database has no transaction for gigabytes, so a mark stands over all of
//! them: from the first row to the last, the tables say that they are
//! unfinished, and every release refuses to serve such tables. The mark is
//! taken by comparison together with another cluster id, so that of two
//! restores one goes on, and a store that was started on the empty database a
//! moment ago finds that it is not its own any more. A restore that was cut off
//! leaves the mark; a person who knows that it is dead has the next one start
//! over. That one raises every epoch before it removes anything, so what the
//! dead one may still have under way finds itself deposed.

use std::{sync::Arc, time::Duration};

use errors::{DATABASE_TAKEN, DATABASE_UNFINISHED};
use kv::KeyspaceName;
use rt::random::Random;

use super::{
    Mysql, Sql, SqlConfig,
    database::{Database, Founded},
    pool::{Pool, again},
};
use crate::{Board, Engine as _, Epoch, Error, Raised, ReplicaId, Shared as _};

/// Replicas beat four times a second.
const LOOK_FOR_BEATS: Duration = Duration::from_secs(2);

/// Keyspaces that an error names.
const NAMES_MAX: usize = 5;

/// Filled through [`Restoring::engine`]; served by nobody until
/// [`Restoring::finish`].
#[derive(Debug)]
pub struct Restoring {
    sql: Sql,
}

// === impl Restoring ===

impl Restoring {
    /// Of a real database.
    pub async fn connect(config: SqlConfig, start_over: bool) -> Result<Restoring, Error> {
        Restoring::begin(Arc::new(Mysql::new(config)?), start_over).await
    }

    /// Makes the tables, if need be. `start_over` removes what another restore
    /// has left; otherwise that is an error, as is anything a store has left.
    pub async fn begin(database: Arc<dyn Database>, start_over: bool) -> Result<Restoring, Error> {
        let pool = Arc::new(Pool::new(database));
        let mut random = Random::from_entropy();
        let found = again!(pool, session => session.founded())?;
        let before = match found {
            Some(Founded { is_whole: false, .. }) if !start_over => return Err(unfinished()),
            Some(Founded { cluster_id, .. }) => cluster_id,
            None => {
                let candidate = random.next_u64().max(1);
                again!(pool, session => session.found(candidate))?
            }
        };
        let board = again!(pool, session => session.look())?;
        if found.is_none_or(|found| found.is_whole) {
            refuse_what_is_held(&board)?;
            refuse_who_lives(&pool, &board).await?;
        }
        let cluster_id = random.next_u64().max(1);
        let taken = again!(pool, session => session.begin_restore(before, cluster_id))?;
        let ours = Founded { cluster_id, is_whole: false };
        if !taken && again!(pool, session => session.founded())? != Some(ours) {
            let problem = "somebody else began to use it at the same time".to_owned();
            return Err(Error::Database { code: DATABASE_TAKEN, problem });
        }
        let restoring = Restoring { sql: Sql::over(pool, cluster_id) };
        // What is there by now is another restore's, and nobody serves it.
        for head in restoring.sql.look().await?.heads {
            restoring.clear(&head.keyspace, head.epoch).await?;
        }
        Ok(restoring)
    }

    /// Empty; raise its keyspaces' epochs and install.
    #[must_use]
    pub fn engine(&self) -> &Sql {
        &self.sql
    }

    /// Lets stores serve what is there.
    pub async fn finish(self) -> Result<(), Error> {
        let cluster_id = self.sql.cluster_id;
        let pool = &self.sql.pool;
        let finished = again!(pool, session => session.end_restore(cluster_id))?;
        let whole = Founded { cluster_id, is_whole: true };
        if !finished && again!(pool, session => session.founded())? != Some(whole) {
            let problem = "another restore has started over".to_owned();
            return Err(Error::Database { code: DATABASE_TAKEN, problem });
        }
        Ok(())
    }

    /// The head stays, with an epoch that shuts out who wrote before.
    async fn clear(&self, keyspace: &KeyspaceName, mut seen: Epoch) -> Result<(), Error> {
        let me = ReplicaId(Random::from_entropy().next_u64().max(1));
        let epoch = loop {
            match self.sql.raise(keyspace, seen, me).await? {
                Raised::Won(epoch) => break epoch,
                Raised::Lost(standing) => seen = standing,
                Raised::Unknown => {
                    let problem = format!("the claim of keyspace {keyspace} is unknown");
                    return Err(Error::Unavailable(problem));
                }
            }
        };
        let pool = &self.sql.pool;
        while !again!(pool, session => session.clear_some(keyspace, epoch))? {}
        Ok(())
    }
}

/// What whoever opens unfinished tables is told.
pub(super) fn unfinished() -> Error {
    let problem = "a restore into it has not finished".to_owned();
    Error::Database { code: DATABASE_UNFINISHED, problem }
}

fn refuse_what_is_held(board: &Board) -> Result<(), Error> {
    if board.heads.is_empty() {
        return Ok(());
    }
    let mut names: Vec<_> =
        board.heads.iter().take(NAMES_MAX).map(|head| head.keyspace.to_string()).collect();
    names.extend((board.heads.len() > NAMES_MAX).then(|| "…".to_owned()));
    let problem = format!("it holds {} keyspaces: {}", board.heads.len(), names.join(", "));
    Err(Error::Database { code: DATABASE_TAKEN, problem })
}

/// A row that stands still is of one long dead.
async fn refuse_who_lives(pool: &Arc<Pool>, before: &Board) -> Result<(), Error> {
    if before.replicas.is_empty() {
        return Ok(());
    }
    tokio::time::sleep(LOOK_FOR_BEATS).await;
    let board = again!(pool, session => session.look())?;
    match board.replicas.iter().find(|replica| !before.replicas.contains(replica)) {
        None => refuse_what_is_held(&board),
        Some(replica) => {
            let problem = format!("store {} is running on it", replica.name);
            Err(Error::Database { code: DATABASE_TAKEN, problem })
        }
    }
}
