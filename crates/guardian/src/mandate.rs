//! Who leads, since which epoch, and whose word a commit may have been
//! acknowledged by. It is a row of the database itself, replicated with all
//! else: whoever has a history knows under whom it was written.

use std::fmt;

use crate::Name;

/// Rises with every leader.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Epoch(pub u64);

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mandate {
    pub epoch: Epoch,
    pub leader: Name,
    /// Members that acknowledge, or did. A member is in it before it does so
    /// for the first time, and leaves it only with the epoch.
    pub ackers: Vec<Name>,
}

// === impl Epoch ===

impl Epoch {
    #[must_use]
    pub fn next(self) -> Epoch {
        Epoch(self.0 + 1)
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
