//! Members that are back, or new, follow the leader; one that has what the
//! leader has not stays outside, and is named with it.

use std::time::Duration;

use super::{Replicas, change, stand::Stand, stands};
use crate::{Error, Leader, Mandate, Member, Name, Tended, node::Node};

/// A member that was deposed ends its commits within this, or never: nobody
/// acknowledges to it any more.
const FENCE_LIMIT: Duration = Duration::from_secs(2);

/// One that is further behind is let in another time.
const CATCH_UP_SECONDS: u32 = 2;

/// What a member needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Need {
    Nothing,
    ToFollow,
    ToAcknowledge,
}

impl Replicas {
    pub(super) async fn look_after(&self, leader: &Leader) -> Result<Vec<Tended>, Error> {
        let at = self.member(&leader.name)?;
        let (mut nodes, _) = self.connect().await;
        let seen = stands(&mut nodes).await?;
        if seen.iter().all(|stand| self.need(stand, at) == Need::Nothing) {
            return Ok(Vec::new());
        }
        drop(nodes);
        let mut nodes = self.locked().await?;
        let mut seen = stands(&mut nodes).await?;
        let found = nodes.iter().position(|node| node.name == leader.name);
        let mut lead = nodes.remove(found.ok_or_else(|| gone(leader))?);
        // Read after the others', which it must not fall behind.
        let own = Stand::read(&mut lead).await?;
        if own.leads() != Some(leader.epoch) {
            return Err(gone(leader));
        }
        seen.retain(|stand| stand.name != leader.name);
        let mut tended = Vec::new();
        for (node, stand) in nodes.iter_mut().zip(&seen) {
            let done = match self.need(stand, at) {
                Need::Nothing => continue,
                Need::ToFollow => self.join(node, stand, &own, at).await,
                Need::ToAcknowledge => self.let_in(node, &mut lead, &own).await,
            };
            match done {
                Ok(done) => tended.extend(done),
                Err(error) => tended
                    .push(Tended::Stuck { member: stand.name.clone(), problem: error.to_string() }),
            }
        }
        Ok(tended)
    }

    fn need(&self, stand: &Stand, leader: &Member) -> Need {
        if stand.name == leader.name {
            return Need::Nothing;
        }
        let city = self.member(&stand.name).map(|member| &member.city);
        if !stand.is_read_only || !stand.follows(leader) {
            Need::ToFollow
        } else if city.is_ok_and(|city| *city != leader.city) && !stand.acknowledges {
            Need::ToAcknowledge
        } else {
            Need::Nothing
        }
    }

    async fn join(
        &self,
        node: &mut Node,
        stand: &Stand,
        own: &Stand,
        leader: &Member,
    ) -> Result<Vec<Tended>, Error> {
        let mut done = Vec::new();
        let mut history = stand.history.clone();
        if !stand.is_read_only {
            if let Err(error) = change::fence(node, FENCE_LIMIT).await {
                return Err(node.fails(format!(
                    "its commits wait for members that have left it; kill it and start it again \
                     ({error})"
                )));
            }
            done.push(Tended::Deposed(stand.name.clone()));
            history = Stand::read(node).await?.history;
        }
        let transactions = own.history.errant(&history);
        if !transactions.is_empty() {
            done.push(Tended::Errant { member: stand.name.clone(), transactions });
            return Ok(done);
        }
        if stand.source.as_ref() == Some(&leader.endpoint) && !stand.problem.is_empty() {
            done.push(Tended::Stuck { member: stand.name.clone(), problem: stand.problem.clone() });
        }
        // It must catch up before its word counts.
        self.follow(node, leader, &own.history, false).await?;
        done.push(Tended::Joined(stand.name.clone()));
        Ok(done)
    }

    /// In this order: the group knows of it, it knows that the group does, it
    /// acknowledges.
    async fn let_in(
        &self,
        node: &mut Node,
        leader: &mut Node,
        own: &Stand,
    ) -> Result<Vec<Tended>, Error> {
        let now = change::position(leader).await?;
        if !change::applied(node, &now, CATCH_UP_SECONDS).await? {
            return Ok(Vec::new());
        }
        let mandate = Stand::read(leader).await?.mandate.or_else(|| own.mandate.clone());
        let mandate = mandate.ok_or(Error::NotFounded)?;
        if !mandate.ackers.contains(&node.name) {
            let ackers = with(&mandate.ackers, &node.name);
            let epoch = mandate.epoch;
            change::write_mandate(leader, &Mandate { ackers, ..mandate }, epoch.0).await?;
            let now = change::position(leader).await?;
            if !change::applied(node, &now, CATCH_UP_SECONDS).await? {
                return Ok(Vec::new());
            }
        }
        // Being at its place is not enough: nothing before may be missing.
        let missing = Stand::read(node).await?.history.errant(&own.history);
        if !missing.is_empty() {
            return Err(node.fails(format!("it has not got {}", missing.join(", "))));
        }
        change::acknowledge(node).await?;
        Ok(vec![Tended::Acknowledges(node.name.clone())])
    }
}

fn with(names: &[Name], name: &Name) -> Vec<Name> {
    let mut names: Vec<Name> = names.iter().chain([name]).cloned().collect();
    names.sort();
    names
}

fn gone(leader: &Leader) -> Error {
    Error::member(&leader.name, format!("it does not lead at epoch {} any more", leader.epoch))
}
