//! Leader election over a Lease, for work that is idempotent but should be done
//! by one (return, scheduling, phases). What must be done by at most one is
//! guarded by fences and compares, not by this.
//!
//! No wall clocks are compared: a candidate takes over after it has seen the
//! lease unchanged for its whole term on its own monotonic clock; the holder
//! counts its term from before it asked, and stops a third earlier.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta},
    jiff::Timestamp,
};
use rt::{Clock, Drain, Millis};
use tokio::sync::watch;

use crate::{Cache, Door, Error, Key, Objects, Scope};

/// What is elected and who we are.
#[derive(Clone, Debug)]
pub struct Election {
    pub namespace: String,
    pub name: String,
    /// Unique to this start of the process.
    pub identity: String,
    /// After so long without a sign the lease is taken over.
    pub term: Duration,
}

/// Whether we lead now. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Leadership {
    leading: watch::Receiver<bool>,
    /// End of our term in milliseconds of `clock`; passes even while the
    /// candidate waits for an answer.
    until: Arc<AtomicU64>,
    clock: Clock,
}

/// What a candidate has seen of the lease, and since when by its own clock.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Sighting {
    resource_version: String,
    since: Millis,
}

/// What to do next.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    /// The lease does not exist.
    Create,
    /// It is ours, free, or its holder gave no sign for a term.
    Take,
    Wait,
}

struct Candidate {
    election: Election,
    leases: Objects<Lease>,
    cache: Cache<Lease>,
    clock: Clock,
    sighting: Option<Sighting>,
    leading: watch::Sender<bool>,
    until: Arc<AtomicU64>,
}

// === impl Leadership ===

impl Leadership {
    #[must_use]
    pub fn leads(&self) -> bool {
        *self.leading.borrow() && self.clock.now() < Millis(self.until.load(Ordering::Acquire))
    }

    /// Waits for a change either way, or forever once the election has ended.
    pub async fn changed(&mut self) {
        if self.leading.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

// === impl Election ===

impl Election {
    /// Stands for election until the drain starts; then gives the lease back,
    /// so that the next leader need not wait.
    #[must_use]
    pub fn start(self, door: &Door, clock: Clock, drain: Drain) -> Leadership {
        let (leading, seen) = watch::channel(false);
        let until = Arc::new(AtomicU64::new(0));
        let leadership = Leadership { leading: seen, until: until.clone(), clock: clock.clone() };
        let leases = door.namespaced(&self.namespace);
        let scope =
            Scope::namespace(&self.namespace).with_fields(&format!("metadata.name={}", self.name));
        let cache = door.watch(scope);
        let sighting = None;
        let candidate =
            Candidate { election: self, leases, cache, clock, sighting, leading, until };
        rt::spawn(rt::TaskKind::Critical, "election", candidate.run(drain));
        leadership
    }

    fn term_ms(&self) -> u64 {
        u64::try_from(self.term.as_millis()).unwrap_or(u64::MAX)
    }

    /// Three tries fit before the holder must stop.
    fn tick(&self) -> Duration {
        self.term / 5
    }
}

// === impl Candidate ===

impl Candidate {
    async fn run(mut self, drain: Drain) {
        self.cache.synced().await;
        let mut ticks = tokio::time::interval(self.election.tick());
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = drain.started() => break,
                _ = ticks.tick() => {}
            }
            self.step().await;
        }
        if *self.leading.borrow() {
            self.leading.send_replace(false);
            // Best effort: without it the others wait for the term to pass.
            let _ = self.write(None).await;
        }
    }

    async fn step(&mut self) {
        let lease = self.seen();
        let asked = self.clock.now();
        self.sighting = look(self.sighting.take(), lease.as_ref(), asked);
        let step = next(&self.election, self.sighting.as_ref(), lease.as_ref(), asked);
        let limit = self.election.tick();
        let written = match step {
            Step::Wait => None,
            Step::Create | Step::Take => {
                let identity = self.election.identity.clone();
                tokio::time::timeout(limit, self.write(Some(identity))).await.ok()
            }
        };
        match written {
            Some(Ok(())) => {
                let until = asked.plus(self.election.term_ms() / 3 * 2);
                self.until.store(until.0, Ordering::Release);
            }
            // Our last renewal stays good for its time, whoever asks next.
            Some(Err(error)) => tracing::debug!(%error, "renew the lease"),
            None => {}
        }
        let ours = self.clock.now() < Millis(self.until.load(Ordering::Acquire));
        let changed = self.leading.send_if_modified(|leading| {
            let changes = *leading != ours;
            *leading = ours;
            changes
        });
        if changed {
            tracing::info!(lease = self.election.name, leads = ours, "leadership changed");
        }
    }

    fn seen(&self) -> Option<Lease> {
        let key = Key::new(&self.election.namespace, &self.election.name);
        self.cache.current().objects.get(&key).map(|lease| Lease::clone(lease))
    }

    async fn write(&self, holder: Option<String>) -> Result<(), Error> {
        let now = MicroTime(Timestamp::now());
        let Some(mut lease) = self.seen() else {
            let metadata = ObjectMeta {
                name: Some(self.election.name.clone()),
                namespace: Some(self.election.namespace.clone()),
                ..ObjectMeta::default()
            };
            let spec = Some(self.spec(&LeaseSpec::default(), holder, now));
            return self.leases.create(&Lease { metadata, spec }).await.map(drop);
        };
        let before = lease.spec.take().unwrap_or_default();
        lease.spec = Some(self.spec(&before, holder, now));
        self.leases.update(&lease).await.map(drop)
    }

    fn spec(&self, before: &LeaseSpec, holder: Option<String>, now: MicroTime) -> LeaseSpec {
        let taken = before.holder_identity != holder;
        let transitions = before.lease_transitions.unwrap_or(0);
        LeaseSpec {
            acquire_time: if taken { Some(now.clone()) } else { before.acquire_time.clone() },
            lease_transitions: Some(transitions.saturating_add(i32::from(taken))),
            lease_duration_seconds: i32::try_from(self.election.term.as_secs().max(1)).ok(),
            holder_identity: holder,
            renew_time: Some(now),
            ..LeaseSpec::default()
        }
    }
}

/// Starts the count anew when the lease has changed in any way.
fn look(last: Option<Sighting>, lease: Option<&Lease>, now: Millis) -> Option<Sighting> {
    let resource_version = lease?.metadata.resource_version.clone().unwrap_or_default();
    match last {
        Some(last) if last.resource_version == resource_version => Some(last),
        _ => Some(Sighting { resource_version, since: now }),
    }
}

fn next(
    election: &Election,
    sighting: Option<&Sighting>,
    lease: Option<&Lease>,
    now: Millis,
) -> Step {
    let (Some(lease), Some(sighting)) = (lease, sighting) else { return Step::Create };
    let holder = lease.spec.as_ref().and_then(|spec| spec.holder_identity.as_deref());
    match holder {
        None | Some("") => Step::Take,
        Some(holder) if holder == election.identity => Step::Take,
        Some(_) if now.since(sighting.since) >= election.term_ms() => Step::Take,
        Some(_) => Step::Wait,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn election() -> Election {
        let (namespace, name) = ("polis-system".into(), "controllers".into());
        let (identity, term) = ("me".into(), Duration::from_millis(5_000));
        Election { namespace, name, identity, term }
    }

    fn lease(version: &str, holder: &str) -> Lease {
        let spec = LeaseSpec { holder_identity: Some(holder.into()), ..LeaseSpec::default() };
        let metadata =
            ObjectMeta { resource_version: Some(version.into()), ..ObjectMeta::default() };
        Lease { metadata, spec: Some(spec) }
    }

    #[test]
    fn a_lease_is_taken_only_after_a_whole_term_without_a_sign() {
        let election = election();
        let held = lease("1", "other");
        let first = look(None, Some(&held), Millis(100));
        let at = |sighting: &Option<Sighting>, lease, now| {
            next(&election, sighting.as_ref(), Some(lease), Millis(now))
        };
        assert_eq!(at(&first, &held, 5_099), Step::Wait);
        assert_eq!(at(&first, &held, 5_100), Step::Take);

        let renewed = lease("2", "other");
        let second = look(first, Some(&renewed), Millis(5_000));
        assert_eq!(at(&second, &renewed, 9_999), Step::Wait);
        assert_eq!(at(&second, &renewed, 10_000), Step::Take);
    }

    #[test]
    fn a_free_lease_or_our_own_is_taken_at_once_and_a_missing_one_created() {
        let election = election();
        for holder in ["", "me"] {
            let held = lease("1", holder);
            let sighting = look(None, Some(&held), Millis(0));
            assert_eq!(next(&election, sighting.as_ref(), Some(&held), Millis(0)), Step::Take);
        }
        assert_eq!(next(&election, None, None, Millis(0)), Step::Create);
    }
}
