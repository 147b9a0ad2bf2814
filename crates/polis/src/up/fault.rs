//! What can be done to an estate on purpose.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Everyone who pays, as a side of a cut.
pub const USERS: &str = "users";
/// The database, as a side of a cut.
pub const STORE: &str = "store";

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Fault {
    /// SIGKILL to all processes of these centers, at once; they stay down.
    Kill { centers: Vec<String> },
    /// SIGSTOP to all processes of these centers.
    Pause { centers: Vec<String> },
    /// Packets of these centers are lost on the way. Nobody is told: no resets.
    Cut(Cut),
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cut {
    pub centers: Vec<String>,
    /// The other side: centers, [`STORE`], [`USERS`]; empty means all others.
    #[serde(default)]
    pub peers: Vec<String>,
    pub direction: Direction,
    /// Of a thousand packets, so many are lost: 1000 is silence.
    pub loss_per_mille: u16,
}

/// Which packets, as the centers that are hit see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    Both,
    /// What they send: they hear the others and are not heard.
    Out,
    /// What is sent to them: they are heard and hear nothing.
    In,
}

// === impl Fault ===

impl Fault {
    /// The centers that are hit.
    #[must_use]
    pub fn centers(&self) -> &[String] {
        match self {
            Fault::Kill { centers } | Fault::Pause { centers } => centers,
            Fault::Cut(cut) => &cut.centers,
        }
    }
}

// === impl Direction ===

impl fmt::Display for Direction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Direction::Both => "both",
            Direction::Out => "out",
            Direction::In => "in",
        })
    }
}
