//! What the log must hold so that a keyspace can be built again.

use std::time::Duration;

use bytes::Bytes;
use kv::{LeaseId, Revision, Value};

/// One durable fact. A batch of them becomes durable as a whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// One transaction that wrote something: exactly one revision.
    Txn {
        revision: Revision,
        changes: Vec<Change>,
    },
    LeaseGranted {
        id: LeaseId,
        ttl: Duration,
    },
    /// Its keys went in a `Txn` before it, if it had any.
    LeaseRevoked {
        id: LeaseId,
    },
    /// History before `revision` is forgotten.
    Compact {
        revision: Revision,
    },
    /// Bookkeeping that spends no revision (users, roles, alarms, what is left
    /// of long leases): a name, and what it stands for now; `None` removes it.
    Note {
        name: Bytes,
        value: Option<Bytes>,
    },
}

/// One key changed by a transaction. Absolute, so that it can be replayed over
/// a state that already holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    Put {
        key: Bytes,
        value: Value,
        create_revision: Revision,
        version: u64,
        lease: Option<LeaseId>,
    },
    Delete {
        key: Bytes,
    },
}

// === impl Record ===

impl Record {
    /// The revision this record brings the keyspace to, if it spends one.
    #[must_use]
    pub fn revision(&self) -> Option<Revision> {
        match self {
            Record::Txn { revision, .. } => Some(*revision),
            Record::LeaseGranted { .. }
            | Record::LeaseRevoked { .. }
            | Record::Compact { .. }
            | Record::Note { .. } => None,
        }
    }
}

// === impl Change ===

impl Change {
    #[must_use]
    pub fn key(&self) -> &Bytes {
        match self {
            Change::Put { key, .. } | Change::Delete { key } => key,
        }
    }
}
