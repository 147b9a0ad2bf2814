//! The tables. Column types are those that every database here has; what a row
//! says stands in `value`, in the same form as in the store (`codec`), so that
//! no collation and no time zone can change it.

use engine::sql::{Arg, Text};
use errors::DATABASE_NEWER;
use std::sync::Arc;

use super::sessions::{Sessions, of_read};
use crate::Error;

/// A release reads its own and the one before.
const SCHEMA_VERSION: u64 = 1;

const NO_SUCH_TABLE: u16 = 1146;

/// `token` is the transaction's that used it last.
const FENCE: &str = "CREATE TABLE IF NOT EXISTS polis_ledger_fence (\
     bucket SMALLINT UNSIGNED NOT NULL PRIMARY KEY, epoch BIGINT UNSIGNED NOT NULL, \
     unit VARBINARY(63) NOT NULL, uses BIGINT UNSIGNED NOT NULL, \
     token BIGINT UNSIGNED NOT NULL) ENGINE=InnoDB";

/// `modified` is the fence's `uses` at the commit that wrote the row.
const ROWS: [&str; 4] = ["account", "clearing", "equity", "payment"];

/// Last, so that whoever finds it finds the others.
const META: &str = "CREATE TABLE IF NOT EXISTS polis_ledger_meta (\
     one TINYINT UNSIGNED NOT NULL PRIMARY KEY, schema_version INT UNSIGNED NOT NULL) \
     ENGINE=InnoDB";

/// Makes the tables, unless they are there.
pub async fn found(sessions: &Sessions) -> Result<(), Error> {
    if is_founded(sessions).await? {
        return Ok(());
    }
    let rows = ROWS.map(|table| {
        format!(
            "CREATE TABLE IF NOT EXISTS polis_ledger_{table} (\
             bucket SMALLINT UNSIGNED NOT NULL, name VARBINARY(200) NOT NULL, \
             modified BIGINT UNSIGNED NOT NULL, value VARBINARY(1024) NOT NULL, \
             PRIMARY KEY (bucket, name)) ENGINE=InnoDB"
        )
    });
    for table in std::iter::once(FENCE).chain(rows.iter().map(String::as_str)).chain([META]) {
        let mut text = Text::default();
        text.say(table, &[]);
        sessions.read(&text).await?;
    }
    let mut text = Text::default();
    text.say(
        "INSERT IGNORE INTO polis_ledger_meta (one, schema_version) VALUES (1, ?)",
        &[Arg::Number(SCHEMA_VERSION)],
    );
    sessions.read(&text).await?;
    match is_founded(sessions).await? {
        true => Ok(()),
        false => Err(Error::store("polis_ledger_meta stays empty")),
    }
}

async fn is_founded(sessions: &Sessions) -> Result<bool, Error> {
    let mut text = Text::default();
    text.say("SELECT schema_version FROM polis_ledger_meta WHERE one = 1", &[]);
    let answer = match sessions.ask(true, &text).await? {
        Err(broke) if broke.code() == Some(NO_SUCH_TABLE) => return Ok(false),
        asked => asked.map_err(|broke| of_read(broke.of_read()))?.pop(),
    };
    let versions: Vec<(u64,)> = match answer {
        Some(answer) => answer.rows().map_err(of_read)?,
        None => Vec::new(),
    };
    match versions.first() {
        Some((version,)) if *version > SCHEMA_VERSION => {
            let problem = format!(
                "the ledger's tables have version {version}, and this release reads {SCHEMA_VERSION}"
            );
            Err(Error::Database(Arc::new(engine::Error::Database {
                code: DATABASE_NEWER,
                problem,
            })))
        }
        found => Ok(found.is_some()),
    }
}
