//! What the actor of one keyspace is told of the others. It changes only when
//! the actor may have to do something.

use std::sync::Arc;

use engine::{Board, Epoch, Head, ReplicaId, Seq};
use kv::KeyspaceName;
use rt::Millis;

use super::{Refusal, silence::Silence};

/// A replica that lives, or leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Peer {
    pub id: ReplicaId,
    pub name: String,
    /// Where clients, and we, reach it.
    pub urls: Vec<String>,
    /// When it was first seen alive, by our clock.
    pub since: Millis,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Lead {
    /// Never claimed, or given back.
    #[default]
    Nobody,
    /// The board names us; whether we do lead, the actor knows.
    Me,
    Other(Arc<Peer>),
    /// Its lease has run out, if it wrote no beat after this one, and so have
    /// those of everyone who led before it.
    Silent {
        id: ReplicaId,
        beat: Option<u64>,
    },
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Situation {
    /// Zero until the board was read for the first time.
    pub me: ReplicaId,
    pub epoch: Epoch,
    /// Stands still while the board names us as the leader: only followers
    /// wake up for it.
    pub seq: Seq,
    pub lead: Lead,
    /// By id; with us.
    pub alive: Arc<[Peer]>,
    /// Nothing of the keyspace may be served.
    pub refusal: Option<Refusal>,
}

// === impl Situation ===

impl Situation {
    /// Of the keyspace whose head this is.
    pub fn of(
        head: Option<&Head>,
        board: &Board,
        me: ReplicaId,
        silence: &Silence,
        alive: &Arc<[Peer]>,
        refusal: Option<Refusal>,
    ) -> Situation {
        let base = Situation { me, alive: alive.clone(), refusal, ..Situation::default() };
        let Some(head) = head else { return base };
        let lead = match head.leader {
            None => Lead::Nobody,
            Some(id) if id == me => Lead::Me,
            Some(id) => match silence.silent(id) {
                Some(beat) if silence.has_stood(&head.keyspace) => Lead::Silent { id, beat },
                _ => Lead::Other(Arc::new(peer(board, id, Millis(0)))),
            },
        };
        let seq = if lead == Lead::Me { Seq::default() } else { head.seq };
        Situation { epoch: head.epoch, seq, lead, ..base }
    }
}

pub(super) fn head<'a>(board: &'a Board, keyspace: &KeyspaceName) -> Option<&'a Head> {
    board.heads.iter().find(|head| head.keyspace == *keyspace)
}

/// As its row says; nameless, if the row is gone.
pub(super) fn peer(board: &Board, id: ReplicaId, since: Millis) -> Peer {
    let row = board.replicas.iter().find(|replica| replica.id == id);
    Peer {
        id,
        name: row.map(|row| row.name.clone()).unwrap_or_default(),
        urls: row.map(|row| row.urls.clone()).unwrap_or_default(),
        since,
    }
}
