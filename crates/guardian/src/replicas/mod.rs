//! A MariaDB with semi-synchronous replicas as one group.
//!
//! The leader answers a commit once one member in another city has it in its
//! relay log (`AFTER_SYNC`, no time limit, also when nobody is there), so what
//! it cannot get acknowledged nobody sees and nobody was told. A failover takes
//! its acknowledging members away: it needs to reach them all, and not the old
//! leader. See `docs/decisions/0008-who-leads-a-group-of-databases.md`.

mod change;
mod fail_over;
mod found;
mod stand;
mod tend;

use async_trait::async_trait;
use engine::sql::SqlConfig;
use futures::future::join_all;

use self::stand::Stand;
use crate::{
    DatabaseGroup, Epoch, Error, Leader, Member, Name, Outcome, Survey, Tended, node::Node,
};

/// As whom replicas fetch the log.
#[derive(Clone)]
pub struct Replication {
    pub user: String,
    pub password: String,
    /// Over TLS, with the members' own settings of what they trust.
    pub secure: bool,
}

pub struct Replicas {
    members: Vec<Member>,
    login: SqlConfig,
    replication: Replication,
}

// === impl Replicas ===

impl Replicas {
    /// `login` says as whom and how the guardian connects; its endpoints are not
    /// used.
    pub fn new(mut members: Vec<Member>, login: SqlConfig, replication: Replication) -> Replicas {
        // Locks are taken in one order, so that of two guardians one goes on.
        members.sort_by(|a, b| a.name.cmp(&b.name));
        Replicas { members, login, replication }
    }

    fn member(&self, name: &Name) -> Result<&Member, Error> {
        let found = self.members.iter().find(|member| member.name == *name);
        found.ok_or_else(|| Error::Unknown { what: format!("member {name}") })
    }

    /// Sessions with those that answer, by name, and why others do not.
    async fn connect(&self) -> (Vec<Node>, Vec<(Name, String)>) {
        let all = self.members.iter().map(|member| Node::connect(&self.login, member));
        let (mut nodes, mut silent) = (Vec::new(), Vec::new());
        for (member, node) in self.members.iter().zip(join_all(all).await) {
            match node {
                Ok(node) => nodes.push(node),
                Err(error) => silent.push((member.name.clone(), error.to_string())),
            }
        }
        (nodes, silent)
    }

    /// As [`Self::connect`], with the group to ourselves at each of them.
    async fn locked(&self) -> Result<Vec<Node>, Error> {
        let (nodes, _) = self.connect().await;
        let mut locked = Vec::with_capacity(nodes.len());
        for mut node in nodes {
            match node.lock().await {
                Ok(()) => locked.push(node),
                Err(error @ Error::Busy { .. }) => return Err(error),
                // As good as silent.
                Err(error) => tracing::debug!(%error, "a member is left out"),
            }
        }
        Ok(locked)
    }
}

/// What all say of themselves, asked at once; without those that fall silent.
async fn stands(nodes: &mut Vec<Node>) -> Result<Vec<Stand>, Error> {
    let asked = join_all(nodes.iter_mut().map(Stand::read)).await;
    let mut stands = Vec::with_capacity(asked.len());
    let mut kept = Vec::with_capacity(asked.len());
    for (node, stand) in std::mem::take(nodes).into_iter().zip(asked) {
        match stand {
            Ok(stand) => {
                kept.push(node);
                stands.push(stand);
            }
            Err(error @ Error::Unreadable { .. }) => return Err(error),
            Err(error) => tracing::debug!(%error, "a member fell silent"),
        }
    }
    *nodes = kept;
    Ok(stands)
}

/// The highest epoch that anybody knows.
fn epoch_of(stands: &[Stand]) -> Option<Epoch> {
    stands.iter().filter_map(|stand| stand.mandate.as_ref().map(|mandate| mandate.epoch)).max()
}

#[async_trait]
impl DatabaseGroup for Replicas {
    async fn survey(&self) -> Survey {
        let (mut nodes, mut silent) = self.connect().await;
        let stands = match stands(&mut nodes).await {
            Ok(stands) => stands,
            Err(error) => {
                tracing::warn!(%error, "a member's state cannot be read");
                Vec::new()
            }
        };
        for member in &self.members {
            let is_seen = stands.iter().any(|stand| stand.name == member.name);
            if !is_seen && silent.iter().all(|(name, _)| *name != member.name) {
                silent.push((member.name.clone(), "it fell silent".to_owned()));
            }
        }
        let epoch = epoch_of(&stands);
        let leads = stands.iter().find(|stand| stand.leads().is_some() && stand.leads() == epoch);
        let leader = leads.zip(epoch).map(|(s, epoch)| Leader { name: s.name.clone(), epoch });
        Survey { leader, epoch, silent }
    }

    async fn fail_over(&self, seen: Epoch, preferred: Option<&Name>) -> Result<Outcome, Error> {
        self.promote(seen, preferred).await
    }

    async fn tend(&self, leader: &Leader) -> Result<Vec<Tended>, Error> {
        self.look_after(leader).await
    }
}
