//! Claiming the log: from following, or from nothing, to leading.

use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use engine::{Board, Epoch, Raised, Seq, Tail};
use kv::{Error, Revision};
use rt::{Drain, backoff::Backoff, random::Random};

use crate::{
    actor::{Actor, Copy},
    budget::Share,
    leader::Leader,
    reading::{Reading, read},
    replica::{LEASE_MS, Lead, MARGIN_MS, Mark, Refusal, Situation},
    retention::Retention,
};

/// Between two claims of the log: at once enough that a passing fault is not
/// noticed, and slow enough that two rivals do not depose each other for ever.
const CLAIM_RETRY_MIN: Duration = Duration::from_millis(50);
const CLAIM_RETRY_MAX: Duration = Duration::from_secs(5);

/// Loading so many leaves tens of megabytes behind that nothing uses.
const LARGE_KEYS: usize = 50_000;

/// Why a keyspace cannot be served now.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ClaimError {
    #[error(transparent)]
    Engine(#[from] engine::Error),
    #[error(transparent)]
    Load(#[from] keyspace::LoadError),
    #[error(
        "{}: clients have seen revision {seen}, but the log ends at {found}. {}",
        errors::STORE_LOG_SHORT,
        errors::STORE_LOG_SHORT.remedy()
    )]
    Lost { seen: Revision, found: Revision },
    #[error(transparent)]
    Older(Refusal),
    #[error("batch {found} follows batch {before} in the log")]
    Hole { before: Seq, found: Seq },
}

// === impl Actor ===

impl Actor {
    /// Claims a log that nobody else can open, until it is ours. Requests are
    /// refused meanwhile, with an error that says that nothing was done.
    pub(crate) async fn claim_alone(&mut self, drain: &Drain) -> Option<Leader> {
        let mut backoff = self.claim_backoff();
        let mut reported = false;
        loop {
            let refusal = match self.try_claim_alone().await {
                Ok(Some(leader)) => return Some(leader),
                Ok(None) => {
                    tracing::info!(keyspace = %self.vault.name(), "log claimed by another");
                    Error::NotLeader
                }
                Err(error) => {
                    if !std::mem::replace(&mut reported, true) {
                        tracing::error!(keyspace = %self.vault.name(), %error, "cannot serve keyspace");
                    }
                    error.refusal()
                }
            };
            let retry = tokio::time::sleep(backoff.step());
            tokio::pin!(retry);
            loop {
                tokio::select! {
                    () = &mut retry => break,
                    () = drain.started() => return None,
                    request = self.mailbox.requests.recv() => request?.refuse(refusal.clone()),
                    Some(id) = self.mailbox.gone.recv() => self.hub.remove(id),
                }
            }
        }
    }

    pub(crate) fn claim_backoff(&mut self) -> Backoff {
        let seed = self.random.next_u64();
        Backoff::new(CLAIM_RETRY_MIN, CLAIM_RETRY_MAX, Random::seeded(seed))
    }

    async fn try_claim_alone(&mut self) -> Result<Option<Leader>, ClaimError> {
        let Raised::Won(epoch) = self.vault.claim().await? else { return Ok(None) };
        let reading = self.read().await?;
        if reading.epoch != epoch {
            return Ok(None);
        }
        let (mut copy, retention) = self.build(reading)?;
        copy.keyspace.restore_checkpoints(self.commons.clock.now());
        Ok(Some(self.begin_to_lead(copy, epoch, retention).await))
    }

    /// Claims a log that other processes have open too, after `seen` has shown
    /// that we may. `copy` is what we have of it; it is taken when we have won,
    /// and is as good as before otherwise. None: somebody else was first.
    ///
    /// Why no read of whoever led before can be stale once we lead: it answers
    /// from memory within [`LEASE_MS`] from before it sent a beat, and only if
    /// the board that it read after writing that beat still shows its epoch.
    ///
    /// - Its beats that were written after our raise find our epoch.
    /// - Its beats that were written before the look below (which begins after
    ///   our raise) and after `seen`: the look finds the beat changed, and we
    ///   wait for a whole lease from our raise.
    /// - Of the other beats we had seen the last one when its silence began to
    ///   count, and the lease from it was over when the silence was found.
    /// - Whoever led before *that* leader was shut out when its epoch was
    ///   raised, which we saw stand for a whole lease as well.
    ///
    /// A leader that released the keyspace had stopped answering before, and a
    /// keyspace is released only by who did lead it, that is, had waited like
    /// this. Of an epoch of our own that we never came to lead under, we know
    /// less, and wait.
    pub(crate) async fn claim_shared(
        &mut self,
        copy: &mut Option<Copy>,
        seen: &Situation,
    ) -> Result<Option<Leader>, ClaimError> {
        // After the raise nobody writes any more, and the look comes after both:
        // it must show whatever anybody has seen.
        let raise = self.vault.raise(seen.epoch, seen.me);
        let others = self.others.as_ref().expect("only a log that is shared has others");
        let replicas = others.replicas.clone();
        let (raised, known) = tokio::join!(raise, replicas.ask(self.vault.name()));
        let Raised::Won(epoch) = raised? else { return Ok(None) };
        let leases_end = self.commons.clock.now().plus(LEASE_MS + MARGIN_MS);
        let board = self.vault.look().await?;
        let head = board.heads.iter().find(|head| head.keyspace == *self.vault.name());
        let Some(head) = head.filter(|head| head.epoch == epoch) else { return Ok(None) };
        let found = Mark::of(head);
        if found.is_behind(known) {
            return Err(ClaimError::Older(Refusal::Older { known, found }));
        }
        if !self.leases_are_over(seen, &board) {
            let wait_ms = leases_end.since(self.commons.clock.now());
            tracing::info!(keyspace = %self.vault.name(), wait_ms, "waiting for a lease to run out");
            tokio::time::sleep(Duration::from_millis(wait_ms)).await;
        }
        let mut retention = Retention::new(self.config.history);
        loop {
            let Some(known) = copy else {
                let reading = self.read().await?;
                if reading.epoch != epoch {
                    return Ok(None);
                }
                let built = self.build(reading)?;
                (*copy, retention) = (Some(built.0), built.1);
                continue;
            };
            if known.seq > head.seq {
                // Nobody else could write since our raise: it came back older.
                let (seen, found) = (known.keyspace.revision(), head.revision);
                return Err(ClaimError::Lost { seen, found });
            }
            if known.seq == head.seq {
                break;
            }
            match self.vault.tail(known.seq).await? {
                Tail::Batches(batches) if batches.is_empty() => {
                    return Err(ClaimError::Hole { before: known.seq, found: head.seq });
                }
                Tail::Batches(batches) => self.follow_batches(known, batches)?,
                Tail::Folded => *copy = None,
            }
        }
        let mut copy = copy.take().expect("the loop ends with a copy");
        let now = self.commons.clock.now();
        copy.keyspace.renew_leases(now);
        copy.keyspace.restore_checkpoints(now);
        if let Some(others) = &mut self.others {
            others.led = epoch;
        }
        Ok(Some(self.begin_to_lead(copy, epoch, retention).await))
    }

    fn leases_are_over(&self, seen: &Situation, board: &Board) -> bool {
        match &seen.lead {
            Lead::Nobody => true,
            Lead::Me => self.others.as_ref().is_some_and(|others| others.led == seen.epoch),
            Lead::Silent { id, beat } => {
                let row = board.replicas.iter().find(|replica| replica.id == *id);
                row.map(|row| row.beat) == *beat
            }
            Lead::Other(_) => false,
        }
    }

    /// Owns all that it needs, so that the actor can go on meanwhile.
    pub(crate) fn read(
        &self,
    ) -> impl Future<Output = Result<Reading, ClaimError>> + Send + 'static {
        let (vault, rules) = (self.vault.clone(), self.config.rules.clone());
        let (left, now) = (self.commons.budget.left(), self.commons.clock.now());
        async move { read(&vault, rules, left, now).await }
    }

    /// A copy from what the log holds.
    pub(crate) fn build(&self, reading: Reading) -> Result<(Copy, Retention), ClaimError> {
        let Reading { epoch: _, seq, keyspace, wrote } = reading;
        let mut retention = Retention::new(self.config.history);
        for (revision, bytes) in wrote {
            retention.wrote(revision, bytes);
        }
        if keyspace.revision() < self.visible {
            // Acknowledged writes are missing: nothing may be served from it.
            return Err(ClaimError::Lost { seen: self.visible, found: keyspace.revision() });
        }
        let mut copy = Copy { keyspace, seq, share: Share::of(self.commons.budget.clone()) };
        copy.settle(copy.keyspace.revision());
        if copy.keyspace.keys() >= LARGE_KEYS {
            tokio::task::spawn_blocking(rt::heap::trim);
        }
        Ok((copy, retention))
    }

    async fn begin_to_lead(&mut self, copy: Copy, epoch: Epoch, retention: Retention) -> Leader {
        self.visible = copy.keyspace.revision();
        tracing::debug!(keyspace = %self.vault.name(), %epoch, revision = %self.visible, "leading");
        self.note_durable(epoch, &copy.keyspace);
        self.commons.standing.claims.fetch_add(1, Relaxed);
        self.hub.publish(&copy.keyspace, self.visible, &self.vault).await;
        Leader::new(copy, epoch, retention, self.commons.clock.now())
    }
}

// === impl ClaimError ===

impl ClaimError {
    /// What callers are told meanwhile.
    pub fn refusal(&self) -> Error {
        match self {
            ClaimError::Engine(engine::Error::Corrupt { .. } | engine::Error::Newer { .. })
            | ClaimError::Load(_)
            | ClaimError::Lost { .. }
            | ClaimError::Older(_)
            | ClaimError::Hole { .. } => Error::Corrupt,
            ClaimError::Engine(_) => Error::NotLeader,
        }
    }
}
