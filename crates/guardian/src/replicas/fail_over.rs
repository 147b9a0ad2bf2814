//! Another member leads. Nothing is taken from the old leader before it is
//! clear that somebody may follow it; after that each step is one that the next
//! guardian can begin from, should this one be cut off.

use std::time::Duration;

use futures::future::join_all;

use super::{Replicas, change, epoch_of, stand::Stand, stands};
use crate::{
    Epoch, Error, Leader, Mandate, Name, Outcome,
    node::Node,
    rule::{Ready, choose},
};

/// How long a leader that still answers may take to end its commits. One that
/// cannot is left as it is: without its members it acknowledges none.
const FAREWELL: Duration = Duration::from_secs(1);

/// How long its members may take for what it has committed.
const CATCH_UP_SECONDS: u32 = 3;

impl Replicas {
    pub(super) async fn promote(
        &self,
        seen: Epoch,
        preferred: Option<&Name>,
    ) -> Result<Outcome, Error> {
        let mut nodes = self.locked().await?;
        let before = stands(&mut nodes).await?;
        let old = leader_of(&before, seen)?;
        // As it looks now; it is asked again when nothing moves any more.
        choose(seen, &self.ready(&before, &old)?, preferred)?;

        let mut old_node = take(&mut nodes, &old);
        if let Some(node) = &mut old_node
            && let Err(error) = say_farewell(node, &mut nodes).await
        {
            tracing::warn!(%error, "the old leader does not end its commits");
            old_node = None;
        }
        let turned = join_all(nodes.iter_mut().map(change::turn_away)).await;
        let mut away = Vec::with_capacity(nodes.len());
        for (node, turned) in nodes.into_iter().zip(turned) {
            match turned {
                Ok(()) => away.push(node),
                // It may have more than it shows.
                Err(error) => {
                    tracing::warn!(%error, "a member cannot be taken from its leader");
                }
            }
        }
        let mut nodes = away;
        let chosen = match self.choice(&mut nodes, seen, &old, preferred).await {
            Ok(chosen) => chosen,
            Err(error) => {
                // Unless it is back, they find nobody, which harms nobody.
                for node in old_node.iter_mut() {
                    let _ = change::open(node).await;
                }
                let starts = nodes.iter_mut().map(|node| node.run_all(&["START SLAVE IO_THREAD"]));
                join_all(starts).await;
                return Err(error);
            }
        };
        self.install(nodes, old_node, &chosen, &before).await?;
        tracing::info!(leader = %chosen.leader, epoch = %chosen.epoch, "another member leads");
        Ok(Outcome { leader: Leader { name: chosen.leader, epoch: chosen.epoch } })
    }

    async fn choice(
        &self,
        nodes: &mut Vec<Node>,
        seen: Epoch,
        old: &Name,
        preferred: Option<&Name>,
    ) -> Result<Mandate, Error> {
        let now = stands(nodes).await?;
        // One that could not be taken away still has somebody to acknowledge to.
        let away: Vec<Stand> = now.into_iter().filter(|stand| !stand.is_fetching).collect();
        Ok(choose(seen, &self.ready(&away, old)?, preferred)?.mandate)
    }

    async fn install(
        &self,
        mut nodes: Vec<Node>,
        old: Option<Node>,
        mandate: &Mandate,
        before: &[Stand],
    ) -> Result<(), Error> {
        let known = before.iter().filter_map(|stand| stand.mandate.as_ref());
        let newest = known.max_by_key(|mandate| mandate.epoch).ok_or(Error::NotFounded)?;
        let (seen, acked) = (newest.epoch, &newest.ackers);
        let leader = self.member(&mandate.leader)?;
        let mut crowned = take(&mut nodes, &mandate.leader)
            .ok_or_else(|| Error::member(&mandate.leader, "it fell silent"))?;
        change::crown(&mut crowned).await?;
        let all = Stand::read(&mut crowned).await?.history;
        // One that was fenced has nothing that others lack: it may follow too.
        nodes.extend(old);
        // One that must not acknowledge any more vouches until there is a mandate
        // without it, and is tended then.
        let waits =
            |node: &&mut Node| acked.contains(&node.name) && !mandate.ackers.contains(&node.name);
        let follows = nodes.iter_mut().filter(|node| !waits(node)).map(async |node| {
            let acknowledges = mandate.ackers.contains(&node.name);
            (self.follow(node, leader, &all, acknowledges).await, node.name.clone())
        });
        for (followed, name) in join_all(follows).await {
            if let Err(error) = followed {
                tracing::warn!(%name, %error, "a member does not follow yet");
            }
        }
        change::write_mandate(&mut crowned, mandate, seen.0).await?;
        change::open(&mut crowned).await
    }

    /// Everybody but the old leader.
    fn ready(&self, stands: &[Stand], old: &Name) -> Result<Vec<Ready>, Error> {
        let others = stands.iter().filter(|stand| stand.name != *old);
        let ready = others.map(|stand| {
            Ok(Ready {
                name: stand.name.clone(),
                city: self.member(&stand.name)?.city.clone(),
                history: stand.history.clone(),
                mandate: stand.mandate.clone(),
                vouches: stand.vouches(),
            })
        });
        ready.collect()
    }
}

/// Who leads at epoch `seen`, if nobody does at a later one.
fn leader_of(stands: &[Stand], seen: Epoch) -> Result<Name, Error> {
    let newest = epoch_of(stands);
    let mandates = stands.iter().filter_map(|stand| stand.mandate.as_ref());
    let mandate = mandates.into_iter().find(|mandate| Some(mandate.epoch) == newest);
    let mandate = mandate.ok_or(Error::NotFounded)?;
    match mandate.epoch == seen {
        true => Ok(mandate.leader.clone()),
        false => Err(Error::Moved { epoch: mandate.epoch, leader: mandate.leader.clone() }),
    }
}

/// Ends the commits of a leader that still answers, and lets the others have
/// them all.
async fn say_farewell(old: &mut Node, others: &mut [Node]) -> Result<(), Error> {
    change::fence(old, FAREWELL).await?;
    let last = change::position(old).await?;
    for node in others {
        change::applied(node, &last, CATCH_UP_SECONDS).await?;
    }
    Ok(())
}

fn take(nodes: &mut Vec<Node>, name: &Name) -> Option<Node> {
    let at = nodes.iter().position(|node| node.name == *name)?;
    Some(nodes.remove(at))
}
