//! Leases: which keys go when their owner stops saying that it lives.
//!
//! Grants and revocations are durable, renewals are not: after a load every
//! lease has its whole time to live again, so a change of leader can only make
//! a lease longer. Expiry is a question (`expired`) and never an act of its
//! own; whoever asks revokes, and that is what becomes durable.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Bound,
    time::Duration,
};

use bytes::Bytes;
use kv::{Error, LeaseId, LeaseInfo};
use rt::Millis;

/// etcd's `MaxLeaseTTL`, about 285 years.
pub const LEASE_TTL_MAX: Duration = Duration::from_secs(9_000_000_000);

/// Leases that one call may expire, so that ten thousand that lapse together
/// do not hold up everyone's writes; etcd revokes 1000 a second.
pub const LEASES_EXPIRED_AT_ONCE_MAX: usize = 500;

#[derive(Clone, Debug, Default)]
pub(crate) struct Leases {
    by_id: BTreeMap<LeaseId, Lease>,
    by_expiry: BTreeSet<(Millis, LeaseId)>,
}

#[derive(Clone, Debug)]
struct Lease {
    ttl: Duration,
    expires: Millis,
    keys: BTreeSet<Bytes>,
}

// === impl Leases ===

impl Leases {
    pub(crate) fn contains(&self, id: LeaseId) -> bool {
        self.by_id.contains_key(&id)
    }

    pub(crate) fn ids(&self) -> impl Iterator<Item = LeaseId> + '_ {
        self.by_id.keys().copied()
    }

    /// Adds the lease, or gives a known one its time to live anew.
    pub(crate) fn grant(&mut self, id: LeaseId, ttl: Duration, now: Millis) {
        let keys = self.remove(id).unwrap_or_default();
        let expires = now.plus(as_ms(ttl));
        self.by_id.insert(id, Lease { ttl, expires, keys });
        self.by_expiry.insert((expires, id));
    }

    /// Returns the time to live from `now`.
    pub(crate) fn renew(&mut self, id: LeaseId, now: Millis) -> Result<Duration, Error> {
        let lease = self.by_id.get_mut(&id).ok_or(Error::LeaseNotFound)?;
        self.by_expiry.remove(&(lease.expires, id));
        lease.expires = now.plus(as_ms(lease.ttl));
        self.by_expiry.insert((lease.expires, id));
        Ok(lease.ttl)
    }

    /// Forgets the lease and returns its keys.
    pub(crate) fn remove(&mut self, id: LeaseId) -> Option<BTreeSet<Bytes>> {
        let lease = self.by_id.remove(&id)?;
        self.by_expiry.remove(&(lease.expires, id));
        assert_eq!(self.by_id.len(), self.by_expiry.len(), "every lease expires exactly once");
        Some(lease.keys)
    }

    pub(crate) fn keys(&self, id: LeaseId) -> impl Iterator<Item = &Bytes> {
        self.by_id.get(&id).into_iter().flat_map(|lease| &lease.keys)
    }

    pub(crate) fn attach(&mut self, id: LeaseId, key: Bytes) {
        if let Some(lease) = self.by_id.get_mut(&id) {
            lease.keys.insert(key);
        }
    }

    pub(crate) fn detach(&mut self, id: LeaseId, key: &[u8]) {
        if let Some(lease) = self.by_id.get_mut(&id) {
            lease.keys.remove(key);
        }
    }

    pub(crate) fn info(&self, id: LeaseId, keys: bool, now: Millis) -> Result<LeaseInfo, Error> {
        let lease = self.by_id.get(&id).ok_or(Error::LeaseNotFound)?;
        Ok(LeaseInfo {
            id,
            granted: lease.ttl,
            remaining: Duration::from_millis(lease.expires.since(now)),
            keys: if keys { lease.keys.iter().cloned().collect() } else { Vec::new() },
        })
    }

    /// Each lease after `after` by id, with its time to live and what is left.
    pub(crate) fn remaining_after(
        &self,
        after: Option<LeaseId>,
        now: Millis,
    ) -> impl Iterator<Item = (LeaseId, Duration, Duration)> + '_ {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let leases = self.by_id.range((from, Bound::Unbounded));
        leases.map(move |(id, lease)| {
            (*id, lease.ttl, Duration::from_millis(lease.expires.since(now)))
        })
    }

    /// Lets it run out after `remaining`, if that is before its time.
    pub(crate) fn shorten(&mut self, id: LeaseId, remaining: Duration, now: Millis) {
        let Some(lease) = self.by_id.get_mut(&id) else { return };
        let expires = lease.expires.min(now.plus(as_ms(remaining)));
        self.by_expiry.remove(&(lease.expires, id));
        lease.expires = expires;
        self.by_expiry.insert((expires, id));
    }

    /// The lease whose time ran out first.
    pub(crate) fn expired(&self, now: Millis) -> Option<LeaseId> {
        self.by_expiry.first().filter(|(expires, _)| *expires <= now).map(|(_, id)| *id)
    }

    pub(crate) fn next_expiry(&self) -> Option<Millis> {
        self.by_expiry.first().map(|(expires, _)| *expires)
    }
}

fn as_ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
