//! One batch: changes applied to the rules, their records, and the answers
//! that wait until the records are durable.
//!
//! Every answer waits, refusals too: a compare that failed may have failed
//! because of a change earlier in the same batch, and nobody may learn of that
//! before it is durable.

use std::time::Duration;

use keyspace::{Applied, Keyspace, Record, auth::Caller};
use kv::{Error, LeaseGranted, LeaseId, Revision, Txn, TxnResponse};
use rt::{Millis, random::Random};

use crate::{
    request::{Asked, Change, Reply},
    vault::Vault,
};

/// Changes in one batch; at a millisecond a sync this is half a million a
/// second, beyond what one actor can apply.
pub(crate) const CHANGES_MAX: usize = 512;

/// Bytes of keys and values after which a batch takes no more changes: a log
/// record of a few megabytes is still written in one go.
const BYTES_MAX: usize = 4 * 1024 * 1024;

/// The note that names the replica which a person has chosen.
pub(crate) const CHOSEN_NOTE: &str = "leader";

#[derive(Default)]
pub(crate) struct Batch {
    pub records: Vec<Record>,
    answers: Vec<Answer>,
    /// The highest compaction in it.
    pub compacted: Option<Revision>,
    /// A person has chosen who is to lead.
    pub chooses_leader: bool,
    bytes: usize,
}

/// Sends the answer, or the error instead.
type Answer = Box<dyn FnOnce(Option<Error>) + Send>;

/// What the rules need beside the changes themselves.
pub(crate) struct Context<'a> {
    pub keyspace: &'a mut Keyspace,
    pub vault: &'a Vault,
    pub random: &'a mut Random,
    pub visible: Revision,
    pub now: Millis,
    /// Puts and grants are refused: the store holds as much as it may, or did
    /// until somebody says that it may go on.
    pub full: bool,
}

// === impl Batch ===

impl Batch {
    pub fn is_full(&self) -> bool {
        self.answers.len() >= CHANGES_MAX || self.bytes >= BYTES_MAX
    }

    /// Of keys and values written.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Nothing has to become durable: the answers can go out.
    pub fn is_durable_already(&self) -> bool {
        self.records.is_empty()
    }

    /// How many wait for it.
    pub fn answers(&self) -> usize {
        self.answers.len()
    }

    /// Answers everyone: with what was computed, or with `error`.
    pub fn answer(self, error: Option<Error>) {
        for answer in self.answers {
            answer(error.clone());
        }
    }

    pub async fn apply(&mut self, asked: Asked, context: &mut Context<'_>) {
        let Asked { caller, change } = asked;
        match change {
            Change::Txn(txn, reply) => {
                let response = self.txn(&caller, &txn, context).await;
                self.hold(reply, response);
            }
            Change::Compact(revision, reply) => {
                let permitted = context.keyspace.auth().check_admin(&caller);
                let response = permitted.and_then(|()| self.compact(revision, context));
                self.hold(reply, response);
            }
            Change::Grant { id, ttl, reply } => {
                let permitted = context.keyspace.auth().check_known(&caller);
                let response = permitted.and_then(|()| self.grant(id, ttl, context));
                self.hold(reply, response);
            }
            Change::Carry { id, ttl, remaining, reply } => {
                let response = self.carry(&caller, id, (ttl, remaining), context);
                self.hold(reply, response);
            }
            Change::Revoke(id, reply) => {
                let permitted = context.keyspace.permit_lease_change(&caller, id);
                let applied = permitted.and_then(|()| context.keyspace.lease_revoke(id));
                let response = applied.map(|applied| {
                    self.record(applied);
                    self.record(context.keyspace.forget_checkpoint(id));
                });
                self.hold(reply, response);
            }
            Change::KeepAlive(id, reply) => {
                let permitted = context.keyspace.permit_lease_change(&caller, id);
                let renewed = permitted.and_then(|()| {
                    let ttl = context.keyspace.lease_keep_alive(id, context.now)?;
                    self.record(context.keyspace.forget_checkpoint(id));
                    Ok(ttl)
                });
                self.hold(reply, renewed);
            }
            Change::LeaseInfo { id, keys, reply } => {
                let permitted = context.keyspace.permit_lease_info(&caller, id, keys);
                let info = || context.keyspace.lease_info(id, keys, context.now);
                self.hold(reply, permitted.and_then(|()| info()));
            }
            Change::Leases(reply) => {
                let permitted = context.keyspace.permit_leases(&caller);
                self.hold(reply, permitted.map(|()| context.keyspace.leases()));
            }
            Change::Order(order, reply) => {
                let applied = context.keyspace.auth_apply(&caller, &order);
                let response = applied.map(|applied| self.record(applied));
                self.hold(reply, response);
            }
            Change::Auth(reply) => {
                let auth = context.keyspace.auth().clone();
                self.hold(reply, Ok(auth));
            }
            Change::Prefer(name, reply) => {
                let applied = context.keyspace.set_note(CHOSEN_NOTE.into(), Some(name.into()));
                self.record(applied);
                self.chooses_leader = true;
                self.hold(reply, Ok(()));
            }
            Change::SetNote { name, value, reply } => {
                let applied = context.keyspace.set_note(name, value);
                self.record(applied);
                self.hold(reply, Ok(()));
            }
        }
    }

    /// Leases whose time is up. Renewals that were waiting come first.
    pub fn expire(&mut self, keyspace: &mut Keyspace, now: Millis) {
        let expired = keyspace.expire(now);
        for id in self.record(expired) {
            self.record(keyspace.forget_checkpoint(id));
            tracing::debug!(lease = %id, "lease expired");
        }
    }

    /// What is left of the next long leases after `after`.
    pub fn checkpoint(
        &mut self,
        keyspace: &mut Keyspace,
        after: Option<LeaseId>,
        now: Millis,
    ) -> Option<LeaseId> {
        let noted = keyspace.lease_checkpoint(after, now);
        self.record(noted)
    }

    pub fn compact(
        &mut self,
        revision: Revision,
        context: &mut Context<'_>,
    ) -> Result<Revision, Error> {
        let applied = context.keyspace.compact(revision, context.visible)?;
        self.compacted = self.compacted.max(Some(revision));
        Ok(self.record(applied))
    }

    async fn txn(
        &mut self,
        caller: &Caller,
        txn: &Txn,
        context: &mut Context<'_>,
    ) -> Result<TxnResponse, Error> {
        context.keyspace.permit_txn(caller, txn)?;
        if context.full && puts(txn) {
            return Err(Error::NoSpace);
        }
        let values = context.vault.txn_values(context.keyspace, txn).await?;
        let applied = context.keyspace.apply(txn, &values)?;
        self.bytes += applied.records.iter().map(size).sum::<usize>();
        Ok(self.record(applied))
    }

    fn grant(
        &mut self,
        id: Option<LeaseId>,
        ttl: Duration,
        context: &mut Context<'_>,
    ) -> Result<LeaseGranted, Error> {
        if context.full {
            return Err(Error::NoSpace);
        }
        loop {
            let chosen = id.unwrap_or_else(|| random_id(context.random));
            match context.keyspace.lease_grant(chosen, ttl, context.now) {
                Ok(applied) => return Ok(self.record(applied)),
                // Our own choice collided, once in 2^63 grants: choose again.
                Err(Error::LeaseExists) if id.is_none() => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Grants it, or changes what is left of it: each asks for its own right.
    fn carry(
        &mut self,
        caller: &Caller,
        id: LeaseId,
        (ttl, remaining): (Duration, Duration),
        context: &mut Context<'_>,
    ) -> Result<(), Error> {
        match context.keyspace.lease_info(id, false, context.now) {
            Ok(_) => context.keyspace.permit_lease_change(caller, id)?,
            Err(_) if context.full => return Err(Error::NoSpace),
            Err(_) => context.keyspace.auth().check_known(caller)?,
        }
        let applied = context.keyspace.lease_carry(id, ttl, remaining, context.now)?;
        self.record(applied);
        Ok(())
    }

    fn record<T>(&mut self, applied: Applied<T>) -> T {
        self.records.extend(applied.records);
        applied.response
    }

    fn hold<T: Send + 'static>(&mut self, reply: Reply<T>, response: Result<T, Error>) {
        self.answers.push(Box::new(move |error| {
            // A caller that has gone away needs no answer.
            let _ = reply.send(match error {
                None => response,
                Some(error) => Err(error),
            });
        }));
    }
}

fn random_id(random: &mut Random) -> LeaseId {
    let positive = random.next_u64() >> 1;
    LeaseId(i64::try_from(positive).expect("63 bits fit").max(1))
}

/// Whether a transaction could make the store larger.
fn puts(txn: &Txn) -> bool {
    txn.success.iter().chain(&txn.failure).any(|op| match op {
        kv::Op::Put(_) => true,
        kv::Op::Txn(txn) => puts(txn),
        kv::Op::Range(_) | kv::Op::Delete(_) => false,
    })
}

/// Of keys and values.
pub(crate) fn size(record: &Record) -> usize {
    match record {
        Record::Txn { changes, .. } => changes
            .iter()
            .map(|change| match change {
                keyspace::Change::Put { key, value, .. } => key.len() + value.len(),
                keyspace::Change::Delete { key } => key.len(),
            })
            .sum(),
        Record::Note { name, value } => name.len() + value.as_ref().map_or(0, |value| value.len()),
        Record::LeaseGranted { .. } | Record::LeaseRevoked { .. } | Record::Compact { .. } => 0,
    }
}
