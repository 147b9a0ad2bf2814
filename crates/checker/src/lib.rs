//! Says whether what clients saw of a store could have been one etcd.
//!
//! A [`History`] is what clients asked, when, and what they were told; what
//! watchers were sent; and, where it can be had, the log as it was committed.
//! Two checkers look at it, on purpose by different ways:
//!
//! - [`timeline`] believes the revisions: they name one order of all writes,
//!   so it replays that order, and holds every answer, watch item and lease
//!   against it. Linear in the history, and says what is wrong.
//! - [`linear`] believes nothing but the answers: it searches for an order of
//!   each group of keys that explains them.
//!
//! What this crate must never know: the code it judges. It has a model of etcd
//! of its own and shares no type with the store.

pub mod history;
pub mod lease;
pub mod linear;
mod model;
mod standing;
pub mod timeline;
mod violation;
pub mod watch;

pub use history::History;
pub use violation::Violation;

/// Everything that can be said against a history; empty is good.
#[must_use]
pub fn check(history: &History) -> Vec<Violation> {
    let mut violations = Vec::new();
    match timeline::replay(history) {
        Ok(timeline) => {
            violations.extend(timeline.check(history));
            violations.extend(watch::check(history, &timeline));
            violations.extend(lease::check(history, &timeline));
        }
        Err(found) => violations.extend(found),
    }
    violations.extend(standing::check(history));
    violations.extend(linear::check(history));
    violations
}
