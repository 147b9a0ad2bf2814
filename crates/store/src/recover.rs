//! Going on with a database that is not what this replica remembers: the step
//! that only a person can take.

use std::path::Path;

use engine::{Board, Engine as _, Epoch, Seq, Shared as _, Sql, SqlConfig, sql::Seen};
use kv::{KeyspaceName, Revision};

pub use engine::sql::Recovered;

use crate::{Error, Notebook, replica::HighWater, store::HIGH_WATER_FILE};

/// What the database and this replica's memory say of each other.
pub struct Recovery {
    sql: Sql,
    notebook: Notebook,
    high_water: HighWater,
    board: Board,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// Nothing is missing.
    Whole,
    /// The database is another cluster: made anew, the wrong one, or recovered
    /// already.
    OtherCluster { known: u64, found: u64 },
    /// These stand further back than they were seen.
    Older(Vec<Loss>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loss {
    pub keyspace: KeyspaceName,
    pub seen: (Epoch, Seq, Revision),
    pub found: (Epoch, Seq, Revision),
}

// === impl Recovery ===

impl Recovery {
    /// Changes nothing.
    pub async fn examine(data_dir: &Path, database: SqlConfig) -> Result<Recovery, Error> {
        // A folder that is not there has seen nothing, so nothing would be missing.
        std::fs::read_dir(data_dir)
            .map_err(|source| Error::DataFolder { path: data_dir.to_owned(), source })?;
        let sql = Sql::look_into(database).await?.ok_or(Error::NoTables)?;
        Recovery::of(Notebook::File(data_dir.join(HIGH_WATER_FILE)), sql).await
    }

    /// Of a database that is open already.
    pub async fn of(notebook: Notebook, sql: Sql) -> Result<Recovery, Error> {
        let high_water = HighWater::open(notebook.clone())
            .map_err(|source| Error::DataFolder { path: notebook.path(), source })?;
        let board = sql.look().await?;
        Ok(Recovery { sql, notebook, high_water, board })
    }

    #[must_use]
    pub fn finding(&self) -> Finding {
        let (known, found) = (self.high_water.memory().cluster_id, self.sql.cluster_id());
        if known != 0 && known != found {
            return Finding::OtherCluster { known, found };
        }
        let losses: Vec<_> = self.high_water.behind(&self.board).collect();
        match losses.is_empty() {
            true => Finding::Whole,
            false => Finding::Older(losses),
        }
    }

    /// Takes the database as it is for all there is, and forgets what was seen.
    /// Another cluster is only believed from now on; one that lost something
    /// gets another id, so that every replica is asked.
    pub async fn accept(self) -> Result<Option<Recovered>, Error> {
        let recovered = match self.finding() {
            Finding::Whole => return Ok(None),
            Finding::OtherCluster { .. } => None,
            Finding::Older(_) => {
                let seen = self.high_water.memory().marks.iter().map(|(keyspace, mark)| Seen {
                    keyspace: keyspace.clone(),
                    epoch: mark.epoch,
                    seq: mark.seq,
                    revision: mark.revision,
                });
                Some(self.sql.recover(&seen.collect::<Vec<_>>()).await?)
            }
        };
        let forgotten = self.notebook.forget();
        forgotten.map_err(|source| Error::DataFolder { path: self.notebook.path(), source })?;
        Ok(recovered)
    }
}
