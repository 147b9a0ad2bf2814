//! Something that no etcd would have done.

use std::fmt;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The rule's name; where etcd's robustness suite has one, its name.
    pub rule: &'static str,
    pub what: String,
}

// === impl Violation ===

impl Violation {
    pub(crate) fn new(rule: &'static str, what: impl Into<String>) -> Violation {
        Violation { rule, what: what.into() }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.rule, self.what)
    }
}
