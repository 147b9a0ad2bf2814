//! The tables. Column types are those that every database here has; what a row
//! says stands in `value`, in the same form as in the store (`codec`), so that
//! no collation and no time zone can change it.

use engine::sql::{Arg, Text};
use errors::DATABASE_NEWER;
use std::sync::Arc;

use super::sessions::{Sessions, of_read};
use crate::Error;

/// A release reads its own and the ones before, which it migrates.
const SCHEMA_VERSION: u64 = 2;

/// What makes of tables of the version before those of this one. Each statement
/// may be run twice, and by several at once, and leaves what the release before
/// reads and writes as it is: so no lock is needed that a dead process could
/// keep. The comparison in [`advance`] says who did it.
const MIGRATIONS: [(u64, &str); 1] = [(
    2,
    "CREATE TABLE IF NOT EXISTS polis_ledger_version (\
     version INT UNSIGNED NOT NULL PRIMARY KEY, by_release VARBINARY(32) NOT NULL) ENGINE=InnoDB",
)];

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

/// Makes the tables, or makes them those of this release.
pub async fn found(sessions: &Sessions) -> Result<(), Error> {
    if version(sessions).await?.is_none() {
        make(sessions).await?;
    }
    let mut found = version(sessions).await?;
    for (to, statement) in MIGRATIONS {
        if found.is_some_and(|found| found < to) {
            advance(sessions, to, statement).await?;
            found = version(sessions).await?;
        }
    }
    match found {
        Some(SCHEMA_VERSION) => Ok(()),
        _ => Err(Error::store("polis_ledger_meta does not keep its version")),
    }
}

async fn advance(sessions: &Sessions, to: u64, statement: &str) -> Result<(), Error> {
    for (statement, args) in [
        (statement, &[][..]),
        (
            "INSERT IGNORE INTO polis_ledger_version (version, by_release) VALUES (?, ?)",
            &[Arg::Number(to), Arg::Bytes(env!("CARGO_PKG_VERSION").as_bytes())][..],
        ),
        (
            "UPDATE polis_ledger_meta SET schema_version = ? WHERE one = 1 AND schema_version = ?",
            &[Arg::Number(to), Arg::Number(to - 1)][..],
        ),
    ] {
        let mut text = Text::default();
        text.say(statement, args);
        sessions.make(&text).await?;
    }
    tracing::info!(version = to, "the ledger's tables were migrated");
    Ok(())
}

/// The tables of the first version.
async fn make(sessions: &Sessions) -> Result<(), Error> {
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
        sessions.make(&text).await?;
    }
    let mut text = Text::default();
    text.say(
        "INSERT IGNORE INTO polis_ledger_meta (one, schema_version) VALUES (1, ?)",
        &[Arg::Number(1)],
    );
    sessions.make(&text).await
}

/// None where no ledger was ever opened.
async fn version(sessions: &Sessions) -> Result<Option<u64>, Error> {
    let mut text = Text::default();
    text.say("SELECT schema_version FROM polis_ledger_meta WHERE one = 1", &[]);
    let answer = match sessions.ask(true, &text).await? {
        Err(broke) if broke.code() == Some(NO_SUCH_TABLE) => return Ok(None),
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
        found => Ok(found.map(|(version,)| *version)),
    }
}
