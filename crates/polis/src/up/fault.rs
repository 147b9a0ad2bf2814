//! What can be done to an estate on purpose.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Everyone who pays, as a side of a cut.
pub const USERS: &str = "users";
/// The database, as a side of a cut; and the process that stands for it.
pub const STORE: &str = "store";

/// The process of a center that its other processes are started by.
pub const SERVER: &str = "server";
/// The node of the database that belongs to a center.
pub const DATABASE: &str = "database";

/// One process of a center, written `CENTER/PROGRAM`: [`SERVER`], a program that
/// runs there (`ledger`, `guardian`), or [`DATABASE`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part<'a> {
    pub center: &'a str,
    pub program: &'a str,
}

/// Names are of centers, each with all that is in it, of the store, or of a
/// [`Part`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Fault {
    /// SIGKILL to all their processes, at once; they stay down.
    Kill { names: Vec<String> },
    /// SIGSTOP to all their processes.
    Pause { names: Vec<String> },
    /// Packets of these centers are lost on the way. Nobody is told: no resets.
    Cut(Cut),
    /// Lines of these centers carry so many bits a second, and no more.
    SlowLine { names: Vec<String>, kbit: u32 },
    /// Packets of these centers arrive later, and in order.
    Delay(Delay),
    /// Their processes write to the disk so often a second, and no more.
    SlowDisk { names: Vec<String>, writes: u32 },
    /// The file systems of their folders have no room left.
    FullDisk { names: Vec<String> },
    /// Their wall clocks go wrong by so many seconds, from one look to the next.
    Skew { names: Vec<String>, seconds: i64 },
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

/// Lines that are as long as those between cities far apart.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delay {
    pub centers: Vec<String>,
    /// The other end: centers, [`STORE`], [`USERS`]; empty means all others.
    #[serde(default)]
    pub peers: Vec<String>,
    /// For each packet, in each direction.
    pub each_way_ms: u32,
    /// And up to this much more, by chance.
    #[serde(default)]
    pub jitter_ms: u32,
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

// === impl Part ===

impl<'a> Part<'a> {
    /// None if it names something else.
    #[must_use]
    pub fn of(name: &'a str) -> Option<Part<'a>> {
        let (center, program) = name.split_once('/')?;
        Some(Part { center, program })
    }
}

impl fmt::Display for Part<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.center, self.program)
    }
}

// === impl Fault ===

impl Fault {
    /// The single processes that are hit.
    pub fn parts(&self) -> impl Iterator<Item = Part<'_>> {
        self.names().iter().filter_map(|name| Part::of(name))
    }

    /// The centers or processes that are hit.
    #[must_use]
    pub fn names(&self) -> &[String] {
        match self {
            Fault::Kill { names }
            | Fault::Pause { names }
            | Fault::SlowLine { names, .. }
            | Fault::SlowDisk { names, .. }
            | Fault::FullDisk { names }
            | Fault::Skew { names, .. } => names,
            Fault::Cut(cut) => &cut.centers,
            Fault::Delay(delay) => &delay.centers,
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
