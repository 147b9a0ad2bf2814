//! Whether a caller may do what it asks of a keyspace.
//!
//! A lease is as good as the right to write its keys, since its end deletes
//! them: whoever may not write them all may neither end it, nor keep it alive,
//! nor put another key on it. All of a transaction must be permitted, whichever
//! branch runs, or a compare would tell what may not be read.

use kv::{DeleteRequest, Error, KeyRange, LeaseId, Op, PutRequest, RangeRequest, Txn};

use super::{Auth, Caller, Order};
use crate::{Applied, Keyspace, check::check};

// === impl Keyspace ===

impl Keyspace {
    /// As of the newest change, which may not be durable yet.
    #[must_use]
    pub fn auth(&self) -> &std::sync::Arc<Auth> {
        &self.auth
    }

    /// Carries out an order of someone who may give it.
    pub fn auth_apply(&mut self, caller: &Caller, order: &Order) -> Result<Applied<()>, Error> {
        self.auth.check_admin(caller)?;
        let edits = self.auth.plan(order)?;
        let notes = edits.iter().flat_map(|edit| {
            let (name, value) = edit.note();
            self.set_note(name, value).records
        });
        Ok(Applied { response: (), records: notes.collect() })
    }

    /// What is no transaction at all is refused as that first.
    pub fn permit_txn(&self, caller: &Caller, txn: &Txn) -> Result<(), Error> {
        if self.is_free(caller) {
            return Ok(());
        }
        check(txn, self.config.txn_ops_max)?;
        self.permit_parts(caller, txn)
    }

    /// To renew or revoke it.
    pub fn permit_lease_change(&self, caller: &Caller, id: LeaseId) -> Result<(), Error> {
        if self.is_free(caller) {
            return Ok(());
        }
        self.auth.check_known(caller)?;
        let mut keys = self.leases.keys(id);
        keys.try_for_each(|key| self.auth.check_write(caller, &KeyRange::Key(key.clone())))
    }

    /// To see how long it lives, and its keys, if asked for.
    pub fn permit_lease_info(&self, caller: &Caller, id: LeaseId, keys: bool) -> Result<(), Error> {
        if self.is_free(caller) {
            return Ok(());
        }
        self.auth.check_known(caller)?;
        let mut keys = self.leases.keys(id).filter(|_| keys);
        keys.try_for_each(|key| self.auth.check_read(caller, &KeyRange::Key(key.clone())))
    }

    /// To list them: as etcd, one key of one of them that may not be read
    /// refuses all.
    pub fn permit_leases(&self, caller: &Caller) -> Result<(), Error> {
        if self.is_free(caller) {
            return Ok(());
        }
        self.auth.check_known(caller)?;
        self.leases.ids().try_for_each(|id| self.permit_lease_info(caller, id, true))
    }

    /// Most often so: nothing needs to be looked at.
    fn is_free(&self, caller: &Caller) -> bool {
        !self.auth.is_enabled() || *caller == Caller::Trusted
    }

    fn permit_parts(&self, caller: &Caller, txn: &Txn) -> Result<(), Error> {
        let mut compares = txn.compares.iter();
        compares.try_for_each(|compare| self.auth.check_read(caller, &compare.range))?;
        txn.success.iter().chain(&txn.failure).try_for_each(|op| match op {
            Op::Range(RangeRequest { range, .. }) => self.auth.check_read(caller, range),
            Op::Put(put) => self.permit_put(caller, put),
            Op::Delete(DeleteRequest { range, prev_kv }) => {
                self.auth.check_write(caller, range)?;
                if *prev_kv { self.auth.check_read(caller, range) } else { Ok(()) }
            }
            Op::Txn(nested) => self.permit_parts(caller, nested),
        })
    }

    fn permit_put(&self, caller: &Caller, put: &PutRequest) -> Result<(), Error> {
        let key = KeyRange::Key(put.key.clone());
        self.auth.check_write(caller, &key)?;
        if let Some(id) = put.lease {
            self.permit_lease_change(caller, id)?;
        }
        if put.prev_kv { self.auth.check_read(caller, &key) } else { Ok(()) }
    }
}
