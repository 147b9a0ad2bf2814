//! From an object to a field in it.

use std::fmt;

use super::Step;

#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Path(pub Vec<Step>);

// === impl Path ===

impl Path {
    #[must_use]
    pub fn fields(names: &[&str]) -> Path {
        Path(names.iter().map(|name| Step::field(name)).collect())
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|step| step.fmt(f))
    }
}
