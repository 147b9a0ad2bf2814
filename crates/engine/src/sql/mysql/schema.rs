//! The tables. Column types are those that every database here has: numbers
//! are ours and unsigned, everything else is bytes, so that no collation, no
//! time zone and no sequence can change what is stored.
//!
//! | table | a row for each | written |
//! |---|---|---|
//! | `polis_meta` | database | once |
//! | `polis_keyspace` | keyspace: who may write, how far the log goes | with every batch |
//! | `polis_log` | batch (several parts if it is large) | once, removed when folded |
//! | `polis_mark` | keyspace: how far the log is folded | by folds |
//! | `polis_cell` | live key, lease or note of the base | by folds |
//! | `polis_replica` | `polis store` process | by each its own, while it lives |

use errors::{DATABASE_NEWER, DATABASE_UNFIT};

use super::{
    flavour::Flavour,
    session::Session,
    text::{Arg, Text},
};
use crate::{
    Error,
    sql::{Failure, Founded, restore},
};

/// A release reads its own and the one before.
pub(super) const SCHEMA_VERSION: u64 = 1;

pub(super) const NO_SUCH_TABLE: u16 = 1146;

const TABLES: [&str; 6] = [
    "CREATE TABLE IF NOT EXISTS polis_keyspace (\
     keyspace VARBINARY(63) NOT NULL PRIMARY KEY, epoch BIGINT UNSIGNED NOT NULL, \
     leader BIGINT UNSIGNED NULL, seq BIGINT UNSIGNED NOT NULL, \
     revision BIGINT UNSIGNED NOT NULL) ENGINE=InnoDB",
    "CREATE TABLE IF NOT EXISTS polis_log (\
     keyspace VARBINARY(63) NOT NULL, seq BIGINT UNSIGNED NOT NULL, part INT UNSIGNED NOT NULL, \
     revision BIGINT UNSIGNED NOT NULL, bytes INT UNSIGNED NOT NULL, data LONGBLOB NOT NULL, \
     PRIMARY KEY (keyspace, seq, part)) ENGINE=InnoDB",
    "CREATE TABLE IF NOT EXISTS polis_mark (\
     keyspace VARBINARY(63) NOT NULL PRIMARY KEY, seq BIGINT UNSIGNED NOT NULL, \
     revision BIGINT UNSIGNED NOT NULL, compacted BIGINT UNSIGNED NOT NULL) ENGINE=InnoDB",
    "CREATE TABLE IF NOT EXISTS polis_cell (\
     keyspace VARBINARY(63) NOT NULL, name VARBINARY(600) NOT NULL, \
     bytes INT UNSIGNED NOT NULL, value LONGBLOB NOT NULL, \
     PRIMARY KEY (keyspace, name)) ENGINE=InnoDB",
    "CREATE TABLE IF NOT EXISTS polis_replica (\
     id BIGINT UNSIGNED NOT NULL PRIMARY KEY, name VARBINARY(255) NOT NULL, \
     urls VARBINARY(4096) NOT NULL, beat BIGINT UNSIGNED NOT NULL) ENGINE=InnoDB",
    // Last, so that whoever finds it finds the others.
    "CREATE TABLE IF NOT EXISTS polis_meta (\
     one TINYINT UNSIGNED NOT NULL PRIMARY KEY, cluster_id BIGINT UNSIGNED NOT NULL, \
     schema_version INT UNSIGNED NOT NULL) ENGINE=InnoDB",
];

// === impl Session ===

impl Session {
    /// Returns the cluster id.
    pub(super) async fn found_tables(&mut self, cluster_id: u64) -> Result<u64, Failure> {
        if let Some(standing) = self.meta().await? {
            return Ok(standing);
        }
        for table in TABLES {
            let mut text = Text::default();
            text.say(table, &[]);
            self.ask_much(text).await.map_err(|broke| broke.of_read())?;
        }
        self.check_engines().await?;
        let mut text = Text::default();
        text.say(
            "INSERT IGNORE INTO polis_meta (one, cluster_id, schema_version) VALUES (1, ?, ?)",
            &[Arg::Number(cluster_id), Arg::Number(SCHEMA_VERSION)],
        );
        self.ask_causal(true, text).await.map_err(|broke| broke.of_read())?;
        let standing = self.meta().await?;
        standing.ok_or_else(|| Failure::Unavailable("polis_meta stays empty".to_owned()))
    }

    async fn meta(&mut self) -> Result<Option<u64>, Failure> {
        match self.founded_tables().await? {
            Some(Founded { is_whole: false, .. }) => Err(Failure::Refused(restore::unfinished())),
            founded => Ok(founded.map(|founded| founded.cluster_id)),
        }
    }

    async fn check_engines(&mut self) -> Result<(), Failure> {
        if matches!(self.flavour, Flavour::OceanBase | Flavour::TiDb) {
            // They have one engine, whatever it is called.
            return Ok(());
        }
        let mut text = Text::default();
        text.say(
            "SELECT table_name, engine FROM information_schema.tables WHERE table_schema = \
             DATABASE() AND table_name LIKE 'polis\\_%' AND engine <> 'InnoDB'",
            &[],
        );
        let mut answers = self.ask(text).await.map_err(|broke| broke.of_read())?;
        let others = answers.pop().expect("as many answers as questions").texts();
        match others.first().map(Vec::as_slice) {
            Some([table, engine, ..]) => {
                let problem = format!("table {table} has engine {engine}");
                Err(Failure::Refused(Error::Database { code: DATABASE_UNFIT, problem }))
            }
            _ => Ok(()),
        }
    }
}

pub(super) fn newer(version: u64) -> Failure {
    let problem =
        format!("the tables have version {version}, and this release reads {SCHEMA_VERSION}");
    Failure::Refused(Error::Database { code: DATABASE_NEWER, problem })
}
