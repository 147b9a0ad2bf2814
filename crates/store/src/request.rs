//! What an actor can be asked.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use keyspace::auth::{Auth, Caller, Order};
use kv::{
    Error, LeaseGranted, LeaseId, LeaseInfo, RangeRequest, RangeResponse, Revision, Txn,
    TxnResponse, WatchRequest,
};
use tokio::sync::{mpsc, oneshot};

use crate::{hub::WatcherId, news::NewsResult};

pub(crate) type Reply<T> = oneshot::Sender<Result<T, Error>>;

pub(crate) enum Request {
    /// Answered at once, from what is durable.
    Range(RangeRequest, Reply<RangeResponse>),
    /// A page of at most so many bytes, likewise.
    Page(RangeRequest, usize, Reply<RangeResponse>),
    Hash(Option<Revision>, Reply<KeyspaceHash>),
    Watch(WatchRequest, Reply<Watching>),
    Mark(Vec<WatcherId>, Reply<Option<Revision>>),
    /// Answered by whoever can answer reads.
    Ping(Reply<()>),
    /// Takes its turn in a batch, and is answered when the batch is durable.
    Change(Asked),
}

/// A change, and who wants it: its rights are judged when its turn comes.
pub(crate) struct Asked {
    pub caller: Caller,
    pub change: Change,
}

/// What may change the keyspace, or must not overtake a change before it.
pub(crate) enum Change {
    Txn(Txn, Reply<TxnResponse>),
    Compact(Revision, Reply<Revision>),
    Grant {
        id: Option<LeaseId>,
        ttl: Duration,
        reply: Reply<LeaseGranted>,
    },
    /// As it stands elsewhere; it may be here already.
    Carry {
        id: LeaseId,
        ttl: Duration,
        remaining: Duration,
        reply: Reply<()>,
    },
    Revoke(LeaseId, Reply<()>),
    KeepAlive(LeaseId, Reply<Duration>),
    LeaseInfo {
        id: LeaseId,
        keys: bool,
        reply: Reply<LeaseInfo>,
    },
    Leases(Reply<Vec<LeaseId>>),
    Order(Order, Reply<()>),
    /// Users and roles, after every change before.
    Auth(Reply<Arc<Auth>>),
    /// Which replica is to lead while it lives, by name.
    Prefer(String, Reply<()>),
    /// For the store itself.
    SetNote {
        name: Bytes,
        value: Option<Bytes>,
        reply: Reply<()>,
    },
}

/// A watcher in place.
pub(crate) struct Watching {
    pub id: WatcherId,
    pub items: mpsc::Receiver<NewsResult>,
}

/// A checksum of everything alive at a revision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct KeyspaceHash {
    pub hash: u32,
    pub revision: Revision,
    pub compacted: Revision,
}

// === impl Request ===

impl Request {
    pub fn is_linearizable_read(&self) -> bool {
        match self {
            Request::Range(range, _) | Request::Page(range, ..) => !range.serializable,
            _ => false,
        }
    }

    /// Refuses with a definite error.
    pub fn refuse(self, error: Error) {
        // A caller that has gone away needs no answer.
        match self {
            Request::Range(_, reply) => drop(reply.send(Err(error))),
            Request::Page(_, _, reply) => drop(reply.send(Err(error))),
            Request::Hash(_, reply) => drop(reply.send(Err(error))),
            Request::Watch(_, reply) => drop(reply.send(Err(error))),
            Request::Mark(_, reply) => drop(reply.send(Err(error))),
            Request::Ping(reply) => drop(reply.send(Err(error))),
            Request::Change(asked) => asked.change.refuse(error),
        }
    }
}

// === impl Change ===

impl Change {
    pub fn refuse(self, error: Error) {
        match self {
            Change::Txn(_, reply) => drop(reply.send(Err(error))),
            Change::Compact(_, reply) => drop(reply.send(Err(error))),
            Change::Grant { reply, .. } => drop(reply.send(Err(error))),
            Change::Carry { reply, .. } => drop(reply.send(Err(error))),
            Change::Revoke(_, reply) => drop(reply.send(Err(error))),
            Change::KeepAlive(_, reply) => drop(reply.send(Err(error))),
            Change::LeaseInfo { reply, .. } => drop(reply.send(Err(error))),
            Change::Leases(reply) => drop(reply.send(Err(error))),
            Change::Order(_, reply) => drop(reply.send(Err(error))),
            Change::Auth(reply) => drop(reply.send(Err(error))),
            Change::Prefer(_, reply) => drop(reply.send(Err(error))),
            Change::SetNote { reply, .. } => drop(reply.send(Err(error))),
        }
    }

    /// Whoever asked has gone: by deadline, or with its connection.
    pub fn is_abandoned(&self) -> bool {
        match self {
            Change::Txn(_, reply) => reply.is_closed(),
            Change::Compact(_, reply) => reply.is_closed(),
            Change::Grant { reply, .. } => reply.is_closed(),
            Change::Carry { reply, .. } => reply.is_closed(),
            Change::Revoke(_, reply) => reply.is_closed(),
            Change::KeepAlive(_, reply) => reply.is_closed(),
            Change::LeaseInfo { reply, .. } => reply.is_closed(),
            Change::Leases(reply) => reply.is_closed(),
            Change::Order(_, reply) => reply.is_closed(),
            Change::Auth(reply) => reply.is_closed(),
            Change::Prefer(_, reply) => reply.is_closed(),
            Change::SetNote { reply, .. } => reply.is_closed(),
        }
    }
}
