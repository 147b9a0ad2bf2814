//! Going on with a database that lost what was acknowledged: the step that a
//! person takes after a restore from a backup or a failover with loss.
//!
//! Revisions that clients have seen must not come back with other contents.
//! So each keyspace jumps: its epoch, seq and revision go well beyond whatever
//! anybody may have seen, its history is forgotten, so that watchers are told
//! to list again, and the cluster has another id, so that replicas that
//! remember the old one refuse to serve a mixture.

use kv::{KeyspaceName, Revision};
use rt::random::Random;

use super::{Sql, pool::again};
use crate::{Engine as _, Epoch, Error, Head, Outcome, Raised, ReplicaId, Seq, Shared as _};

/// Beyond what the replicas remember, because they write it down once a second
/// and not every replica may be asked: years of batches and hours of
/// transactions in one second.
const JUMP: u64 = 1_000_000_000;

/// How far a replica has seen a keyspace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    pub keyspace: KeyspaceName,
    pub epoch: Epoch,
    pub seq: Seq,
    pub revision: Revision,
}

/// What was done, to be shown to the person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recovered {
    pub cluster_id_before: u64,
    pub cluster_id: u64,
    /// Each keyspace as it stood and as it stands.
    pub heads: Vec<(Head, Head)>,
}

// === impl Sql ===

impl Sql {
    /// Accepts what the database holds as all there is. Stop every replica
    /// first; done again, it jumps again.
    pub async fn recover(&self, seen: &[Seen]) -> Result<Recovered, Error> {
        let board = self.look().await?;
        let mut names: Vec<_> = board.heads.iter().map(|head| head.keyspace.clone()).collect();
        names.extend(seen.iter().map(|seen| seen.keyspace.clone()));
        names.sort_unstable();
        names.dedup();
        let mut heads = Vec::new();
        for keyspace in names {
            let seen = seen.iter().find(|seen| seen.keyspace == keyspace);
            heads.push(self.recover_one(&keyspace, seen).await?);
        }
        let before = board.cluster_id;
        let cluster_id = Random::from_entropy().next_u64().max(1);
        let renamed = again!(self.pool, session => session.rename(before, cluster_id))?;
        if !renamed && self.look().await?.cluster_id != cluster_id {
            return Err(Error::Unavailable("another recovery runs at the same time".to_owned()));
        }
        Ok(Recovered { cluster_id_before: before, cluster_id, heads })
    }

    async fn recover_one(
        &self,
        keyspace: &KeyspaceName,
        seen: Option<&Seen>,
    ) -> Result<(Head, Head), Error> {
        let found = self.look().await?.heads.into_iter().find(|head| head.keyspace == *keyspace);
        let before = found.unwrap_or(Head {
            keyspace: keyspace.clone(),
            epoch: Epoch(0),
            leader: None,
            seq: Seq(0),
            revision: Revision::FIRST,
        });
        let busy = || Error::Unavailable(format!("a replica still leads keyspace {keyspace}"));
        // Nobody may add to the log while it is folded.
        let me = ReplicaId(Random::from_entropy().next_u64().max(1));
        let Raised::Won(epoch) = self.raise(keyspace, before.epoch, me).await? else {
            return Err(busy());
        };
        let end = Revision(before.revision.0.saturating_add(1));
        if self.fold(keyspace, epoch, end).await? != Outcome::Committed {
            return Err(busy());
        }
        let (seen_epoch, seen_seq, seen_revision) =
            seen.map_or_else(Default::default, |seen| (seen.epoch, seen.seq, seen.revision));
        let after = Head {
            keyspace: keyspace.clone(),
            epoch: epoch.max(Epoch(seen_epoch.0.saturating_add(1))),
            leader: None,
            seq: Seq(before.seq.max(seen_seq).0.saturating_add(JUMP)),
            revision: Revision(before.revision.max(seen_revision).0.saturating_add(JUMP)),
        };
        match again!(self.pool, session => session.jump(&after))? {
            true => Ok((before, after)),
            false => Err(busy()),
        }
    }
}
