//! Looks for an order that explains the answers: Wing and Gong's search, with
//! Lowe's memory of configurations that were seen to lead nowhere.
//!
//! Keys that no transaction touches together are judged apart, which keeps the
//! search short (linearizability is local: Herlihy and Wing 1990, section 3.3).
//! An operation of unknown outcome may take effect at any later time or never.
//! Revisions are learnt from answers and otherwise not believed. Reads of a
//! range are judged key by key, since [`crate::timeline`] judges them whole.

mod group;
mod search;

use crate::{Violation, history::History};

/// Configurations that one search looks at before it gives up without a
/// verdict: seconds of work, and far beyond what a history of a few hundred
/// operations with a dozen unknown ones needs.
const STEPS_MAX: usize = 200_000;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    Explained,
    /// How far the search came, at best.
    Unexplained(String),
    /// It was too long.
    Open,
}

/// Only what has certainly no explanation.
pub(crate) fn check(history: &History) -> Vec<Violation> {
    let unexplained = |(keys, verdict)| match verdict {
        Verdict::Unexplained(how_far) => {
            Some(Violation::new("linearizability", format!("{keys}: {how_far}")))
        }
        Verdict::Explained | Verdict::Open => None,
    };
    verdicts(history).into_iter().filter_map(unexplained).collect()
}

/// One for each group of keys.
#[must_use]
pub fn verdicts(history: &History) -> Vec<(String, Verdict)> {
    let judge = |group: group::Group| (group.name(), search::explain(&group, STEPS_MAX));
    group::groups(history).into_iter().map(judge).collect()
}
