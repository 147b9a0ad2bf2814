//! What differs between databases that speak one protocol.

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flavour {
    /// And seekdb.
    OceanBase,
    TiDb,
    MariaDb,
    /// MariaDB or MySQL in a Galera cluster.
    Galera,
    Mysql,
}

// === impl Flavour ===

impl Flavour {
    pub(super) fn of(version: &str, has_wsrep: bool) -> Flavour {
        if version.contains("OceanBase") {
            Flavour::OceanBase
        } else if version.contains("TiDB") {
            Flavour::TiDb
        } else if has_wsrep {
            Flavour::Galera
        } else if version.contains("MariaDB") {
            Flavour::MariaDb
        } else {
            Flavour::Mysql
        }
    }

    /// Statements that make a session what we rely on. Servers get rid of a
    /// transaction whose client is gone within seconds, because it may hold the
    /// head of a keyspace; and of idle sessions later than we do.
    pub(super) fn settings(self) -> &'static [&'static str] {
        const COMMON: &str = "SET SESSION sql_mode = 'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION', \
                              autocommit = 1, wait_timeout = 60";
        const ISOLATION: &str = "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED";
        const NAMES: &str = "SET NAMES utf8mb4";
        match self {
            Flavour::OceanBase => &[
                COMMON,
                ISOLATION,
                NAMES,
                "SET SESSION ob_query_timeout = 10000000, ob_trx_timeout = 3600000000, \
                 ob_trx_idle_timeout = 5000000, ob_trx_lock_timeout = 1000000",
            ],
            Flavour::MariaDb | Flavour::Galera => &[
                COMMON,
                ISOLATION,
                NAMES,
                "SET SESSION innodb_lock_wait_timeout = 1, lock_wait_timeout = 5, \
                 idle_transaction_timeout = 5",
            ],
            Flavour::Mysql | Flavour::TiDb => {
                &[COMMON, ISOLATION, NAMES, "SET SESSION innodb_lock_wait_timeout = 1"]
            }
        }
    }

    /// Whether a server that is not the leader any more may still take sessions
    /// as if it were.
    pub(super) fn may_be_deposed(self) -> bool {
        matches!(self, Flavour::MariaDb | Flavour::Mysql)
    }

    /// How much a session must wait until its node has applied what the cluster
    /// certified (`wsrep_sync_wait`), where there is such a thing.
    pub(super) fn sync_wait(self, causal: bool) -> Option<&'static str> {
        match (self, causal) {
            // Reads, updates and deletes, inserts and replaces.
            (Flavour::Galera, true) => Some("SET SESSION wsrep_sync_wait = 7"),
            (Flavour::Galera, false) => Some("SET SESSION wsrep_sync_wait = 0"),
            _ => None,
        }
    }
}
