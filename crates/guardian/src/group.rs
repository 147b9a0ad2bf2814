//! What a guardian needs of any database that several servers keep together.

use async_trait::async_trait;

use crate::{Epoch, Error, Name};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leader {
    pub name: Name,
    /// Of the group's own counting: two leaders never have the same.
    pub epoch: Epoch,
}

/// The group as seen now.
#[derive(Clone, Debug, Default)]
pub struct Survey {
    /// Who answers and takes writes under the highest epoch that anybody knows.
    pub leader: Option<Leader>,
    /// The highest epoch that anybody knows, with or without its leader.
    pub epoch: Option<Epoch>,
    /// Those that did not answer, and why.
    pub silent: Vec<(Name, String)>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    pub leader: Leader,
}

/// What was done about one member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tended {
    /// It follows the leader now.
    Joined(Name),
    /// It acknowledges to the leader now.
    Acknowledges(Name),
    /// It took writes under an epoch that is over, and does not any more.
    Deposed(Name),
    /// It has transactions that the leader does not: it must be made anew.
    Errant { member: Name, transactions: Vec<String> },
    /// It could not be brought to follow; said again until somebody has looked.
    Stuck { member: Name, problem: String },
}

/// Calls may be dropped and made again at any point: each begins by looking.
#[async_trait]
pub trait DatabaseGroup: Send + Sync + 'static {
    async fn survey(&self) -> Survey;

    /// Makes another member lead than that of epoch `seen`; of equals, one in
    /// `preferred`, a city. When it returns well the new leader takes writes, has
    /// all that was ever acknowledged, and the old one can acknowledge nothing.
    /// Of several guardians one succeeds.
    async fn fail_over(&self, seen: Epoch, preferred: Option<&Name>) -> Result<Outcome, Error>;

    /// Has members follow `leader` that do not, as far as that is safe.
    async fn tend(&self, leader: &Leader) -> Result<Vec<Tended>, Error>;
}
