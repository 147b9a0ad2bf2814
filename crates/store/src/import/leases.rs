//! The source's leases, made anew in the target under their own ids.
//!
//! A copy has as much of its time left as the original, as long as the original
//! lives: looked at again before either could run out, and once more at the
//! end. So only the source lets keys expire, and what nobody renews after the
//! cut-over ends when it would have ended there. (An etcd as the target gives
//! its copy the whole time with each look.)

use std::{collections::BTreeMap, time::Duration};

use kv::{Error, Kv, LeaseId};
use rt::{Clock, Millis};

use super::ImportError;

/// The source tells whole seconds, rounded down: a copy never ends early.
const ROUNDED: Duration = Duration::from_secs(1);

/// Between two looks at a lease that is about to run out.
const LOOK_EVERY_MIN: Duration = Duration::from_millis(200);

/// After the source did not answer: a part of what is left is spent twice.
const RETRY_EVERY: Duration = Duration::from_secs(1);

pub(super) struct Leases {
    clock: Clock,
    /// When each is to be looked at next; none where it has ended.
    known: BTreeMap<LeaseId, Option<Millis>>,
}

// === impl Leases ===

impl Default for Leases {
    fn default() -> Leases {
        Leases { clock: Clock::real(), known: BTreeMap::new() }
    }
}

impl Leases {
    /// Whether the target has the lease; not if it has ended at the source.
    pub async fn ensure(
        &mut self,
        from: &dyn Kv,
        to: &dyn Kv,
        id: LeaseId,
    ) -> Result<bool, ImportError> {
        if let Some(known) = self.known.get(&id) {
            return Ok(known.is_some());
        }
        let due = self.carry(from, to, id).await?;
        self.known.insert(id, due);
        Ok(due.is_some())
    }

    /// Carries over what is due.
    pub async fn keep_up(&mut self, from: &dyn Kv, to: &dyn Kv) -> Result<(), ImportError> {
        let now = self.clock.now();
        self.carry_all(from, to, |due| due <= now).await
    }

    /// Carries over all of them, so that the target can be left alone.
    pub async fn leave(&mut self, from: &dyn Kv, to: &dyn Kv) -> Result<(), ImportError> {
        self.carry_all(from, to, |_| true).await
    }

    async fn carry_all(
        &mut self,
        from: &dyn Kv,
        to: &dyn Kv,
        is_due: impl Fn(Millis) -> bool,
    ) -> Result<(), ImportError> {
        let living = self.known.iter().filter_map(|(id, due)| Some((*id, (*due)?)));
        let due: Vec<_> = living.filter(|(_, due)| is_due(*due)).map(|(id, _)| id).collect();
        for id in due {
            let next = match self.carry(from, to, id).await {
                Err(ImportError::Source(error)) => {
                    tracing::debug!(%error, lease = %id, "lease not looked at");
                    Some(after(self.clock.now(), RETRY_EVERY))
                }
                carried => carried?,
            };
            self.known.insert(id, next);
        }
        Ok(())
    }

    /// When to look at it again; none if it has ended.
    async fn carry(
        &self,
        from: &dyn Kv,
        to: &dyn Kv,
        id: LeaseId,
    ) -> Result<Option<Millis>, ImportError> {
        let asked = self.clock.now();
        let info = match from.lease_info(id, false).await {
            Ok(info) => info,
            Err(Error::LeaseNotFound) => return Ok(None),
            Err(error) => return Err(ImportError::Source(error)),
        };
        let remaining = info.granted.min(info.remaining + ROUNDED);
        match to.lease_carry(id, info.granted, remaining).await {
            Ok(()) => {}
            // It ran out there just now, in an etcd.
            Err(Error::LeaseNotFound) => return Ok(None),
            Err(error) => return Err(ImportError::Target(error)),
        }
        let every = (info.granted / 3).min(remaining / 2).max(LOOK_EVERY_MIN);
        Ok(Some(after(asked, every)))
    }
}

fn after(now: Millis, wait: Duration) -> Millis {
    now.plus(u64::try_from(wait.as_millis()).unwrap_or(u64::MAX))
}
