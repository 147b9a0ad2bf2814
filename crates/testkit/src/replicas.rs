//! MariaDBs that can replicate to each other, as a guardian starts from: each
//! alone, read-only, and told nothing yet of who leads.

use std::ops::Deref;

use crate::{mariadb::MariaDb, query::Failed};

pub struct Replicas(Vec<MariaDb>);

/// What every start of a member says. It takes no writes, fetches nothing and
/// acknowledges nothing until somebody has looked at it, and after a crash it
/// forgets what it had not committed, since others may have gone on without it.
const MEMBER: [&str; 12] = [
    "--log-bin=log",
    "--binlog-format=ROW",
    "--log-slave-updates=ON",
    "--sync-binlog=1",
    "--gtid-strict-mode=ON",
    "--read-only=ON",
    "--skip-slave-start",
    "--init-rpl-role=SLAVE",
    "--rpl-semi-sync-master-enabled=OFF",
    "--rpl-semi-sync-slave-enabled=OFF",
    "--slave-net-timeout=3",
    "--relay-log=relay",
];

// === impl Replicas ===

impl Replicas {
    /// Starts so many, numbered from one.
    #[must_use]
    pub fn start(count: usize) -> Replicas {
        let start = |number: usize| {
            let id = format!("--server-id={}", number + 1);
            let args: Vec<String> = MEMBER.map(str::to_owned).into_iter().chain([id]).collect();
            MariaDb::start_with(&args)
        };
        Replicas((0..count).map(start).collect())
    }

    /// A user that may write in `database` and, unlike root, not in a server
    /// that is read-only.
    pub fn make_user(&self, at: usize, user: &str, database: &str) -> Result<(), Failed> {
        for statement in [
            format!("CREATE DATABASE {database}"),
            format!("CREATE USER '{user}'@'%'"),
            format!("GRANT SELECT, INSERT, UPDATE, DELETE, CREATE ON {database}.* TO '{user}'@'%'"),
        ] {
            self.0[at].query(&statement)?;
        }
        Ok(())
    }
}

impl Deref for Replicas {
    type Target = [MariaDb];

    fn deref(&self) -> &[MariaDb] {
        &self.0
    }
}
