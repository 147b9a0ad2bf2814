//! Why nobody leads, or why a member is left out.

use crate::{Epoch, Name};

#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    #[error("{text:?} is not {what}")]
    Unreadable { what: &'static str, text: String },
    #[error("{member}: {problem}")]
    Member { member: Name, problem: String },
    #[error("the group was never founded")]
    NotFounded,
    #[error("the group is founded already: {leader} leads since epoch {epoch}")]
    Founded { epoch: Epoch, leader: Name },
    #[error("{leader} leads since epoch {epoch}")]
    Moved { epoch: Epoch, leader: Name },
    #[error("another guardian is at it, on {member}")]
    Busy { member: Name },
    #[error(
        "{} may have acknowledged commits that the others do not have, and must come back first",
        names(members)
    )]
    Missing { members: Vec<Name> },
    #[error("histories do not cover each other: {}", histories.join("; "))]
    Diverged { histories: Vec<String> },
    #[error("{leader} would lead, but nobody in another city would acknowledge to it")]
    Alone { leader: Name },
    #[error("{what} is not known to this group")]
    Unknown { what: String },
}

fn names(members: &[Name]) -> String {
    members.iter().map(Name::as_str).collect::<Vec<_>>().join(", ")
}

// === impl Error ===

impl Error {
    pub fn member(member: &Name, problem: impl Into<String>) -> Error {
        Error::Member { member: member.clone(), problem: problem.into() }
    }
}
