//! The source's leases, made anew in the target under their own ids.
//!
//! A copy gets the whole time that the original was granted, as after a change
//! of leader; what is left of it would be all it could ever be renewed to. It
//! is renewed for as long as the original lives, so that only the source lets
//! keys expire. After the cut-over its owner renews it.

use std::{collections::BTreeMap, time::Duration};

use kv::{Error, Kv, LeaseId};
use rt::{Clock, Millis};

use super::ImportError;

pub(super) struct Leases {
    clock: Clock,
    /// When each is to be renewed next; none where it has ended.
    known: BTreeMap<LeaseId, Option<Due>>,
}

#[derive(Clone, Copy)]
struct Due {
    at: Millis,
    every: Duration,
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
        let due = match from.lease_info(id, false).await {
            Ok(info) => {
                match to.lease_grant(Some(id), info.granted).await {
                    Ok(_) | Err(Error::LeaseExists) => {}
                    Err(error) => return Err(ImportError::Target(error)),
                }
                Some(Due::after(self.clock.now(), info.granted))
            }
            Err(Error::LeaseNotFound) => None,
            Err(error) => return Err(ImportError::Source(error)),
        };
        self.known.insert(id, due);
        Ok(due.is_some())
    }

    /// Renews what is due, if it lives at the source.
    pub async fn keep_alive(&mut self, from: &dyn Kv, to: &dyn Kv) -> Result<(), ImportError> {
        let now = self.clock.now();
        for (id, known) in &mut self.known {
            let Some(due) = known.filter(|due| due.at <= now) else { continue };
            match from.lease_info(*id, false).await {
                Ok(_) => {
                    let renewed = to.lease_keep_alive(*id).await;
                    *known = match renewed {
                        Ok(ttl) => Some(Due::after(now, ttl)),
                        Err(Error::LeaseNotFound) => None,
                        Err(error) => return Err(ImportError::Target(error)),
                    };
                }
                Err(Error::LeaseNotFound) => *known = None,
                Err(error) => {
                    // Asked again the next time: a third of it is left twice.
                    tracing::debug!(%error, lease = %id, "lease not renewed");
                    *known = Some(Due { at: now.plus(1000), every: due.every });
                }
            }
        }
        Ok(())
    }
}

// === impl Due ===

impl Due {
    fn after(now: Millis, ttl: Duration) -> Due {
        let every = ttl / 3;
        Due { at: now.plus(u64::try_from(every.as_millis()).unwrap_or(u64::MAX)), every }
    }
}
