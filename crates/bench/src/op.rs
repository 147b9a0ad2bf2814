//! What can be measured.

use serde::Serialize;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Op {
    Put,
    /// A transaction: put, if the key does not exist.
    TxnCreate,
    /// One key.
    Range,
    /// A page of a thousand keys.
    #[serde(rename = "range-1000")]
    Range1000,
    Delete,
    /// Events to many watchers of one range.
    WatchFanout,
    KeepAlive,
    /// Resident bytes with many keys.
    Memory,
}

// === impl Op ===

impl Op {
    /// All that are measured unless some are asked for.
    pub const ALL: [Op; 8] = [
        Op::Put,
        Op::TxnCreate,
        Op::Range,
        Op::Range1000,
        Op::Delete,
        Op::WatchFanout,
        Op::KeepAlive,
        Op::Memory,
    ];

    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Op::Put => "put",
            Op::TxnCreate => "txn-create",
            Op::Range => "range",
            Op::Range1000 => "range-1000",
            Op::Delete => "delete",
            Op::WatchFanout => "watch-fanout",
            Op::KeepAlive => "keepalive",
            Op::Memory => "memory",
        }
    }

    /// Has to reach the disk before it is answered.
    pub(crate) fn is_write(self) -> bool {
        matches!(self, Op::Put | Op::TxnCreate | Op::Delete | Op::WatchFanout)
    }
}

impl std::str::FromStr for Op {
    type Err = String;

    fn from_str(text: &str) -> Result<Op, String> {
        let names = || Op::ALL.map(Op::name).join(", ");
        let found = Op::ALL.into_iter().find(|op| op.name() == text);
        found.ok_or_else(|| format!("no such operation; there are {}", names()))
    }
}
