//! Codes of the errors that people meet: what happened and what to do next.
//!
//! A code is `PLS` and four digits; the first two name the area. Each area has
//! one file with its table, `polis explain CODE` prints an entry, and
//! `docs/reference/errors.md` is generated from the tables. Codes are never
//! used again for another meaning.

mod agent;
mod api;
mod cli;
mod controllers;
mod ledger;
mod load;
mod proxy;
mod store;

pub use agent::*;
pub use api::*;
pub use cli::*;
pub use controllers::*;
pub use ledger::*;
pub use load::*;
pub use proxy::*;
pub use store::*;

use std::fmt;

/// One error that a person can meet.
#[derive(Debug, PartialEq, Eq)]
pub struct Entry {
    pub code: Code,
    /// What happened, in half a line.
    pub title: &'static str,
    /// Why it happens, in a paragraph.
    pub cause: &'static str,
    /// What to do next, in the imperative.
    pub remedy: &'static str,
}

/// `PLS0042` as a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Code(pub u16);

/// Every entry, by code.
pub fn all() -> impl Iterator<Item = &'static Entry> {
    [
        cli::TABLE,
        store::TABLE,
        api::TABLE,
        controllers::TABLE,
        proxy::TABLE,
        ledger::TABLE,
        agent::TABLE,
        load::TABLE,
    ]
    .into_iter()
    .flatten()
}

/// The entry of `code`, written `PLS0042`, `pls42` or `42`.
#[must_use]
pub fn find(code: &str) -> Option<&'static Entry> {
    let digits = code.trim().trim_start_matches(|c: char| c.is_ascii_alphabetic());
    let number = digits.parse().ok()?;
    all().find(|entry| entry.code == Code(number))
}

// === impl Code ===

impl Code {
    /// The remedy of this code, to be appended to an error's text.
    #[must_use]
    pub fn remedy(self) -> &'static str {
        all().find(|entry| entry.code == self).map_or("", |entry| entry.remedy)
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PLS{:04}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_unique_and_every_entry_says_what_to_do() {
        let mut seen = std::collections::BTreeSet::new();
        for entry in all() {
            assert!(seen.insert(entry.code), "{} is used twice", entry.code);
            assert!(!entry.title.is_empty() && !entry.cause.is_empty() && !entry.remedy.is_empty());
        }
        assert_eq!(find("PLS0001").map(|entry| entry.code), Some(Code(1)));
        assert_eq!(find("nonsense"), None);
    }
}
