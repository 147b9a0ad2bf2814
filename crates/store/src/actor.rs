//! The one task that owns a keyspace.
//!
//! It waits for the first of: the end of the append under way, a request, room
//! in a slow watcher's buffer, a timer. Reads are answered from what is durable
//! (`visible`). Changes queue until no append is under way, are applied
//! together, and their records are appended once; the answers and events go
//! out when the log says that they are durable.
//!
//! When the log refuses a batch or cannot say what became of it, everyone in
//! the batch is told that the outcome is unknown, the keyspace is thrown away,
//! and the task claims the log anew, which settles the batch's fate. Watchers
//! stay: they have only ever seen durable revisions, and go on from there.

use std::{
    collections::VecDeque,
    pin::Pin,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use engine::{Epoch, Outcome, Seq};
use futures::future::OptionFuture;
use keyspace::Keyspace;
use kv::{Error, Revision};
use rt::{Clock, Drain, Millis, backoff::Backoff, random::Random};
use tokio::sync::mpsc;

use crate::{
    History,
    batch::{self, Batch, Context},
    grace::Grace,
    guard::Guard,
    hash,
    hub::{Hub, WatcherId},
    quota::Quota,
    request::{Asked, Request, Watching},
    retention::Retention,
    standing::Standing,
    vault::{Claim, Vault},
};

/// Requests that wait for the actor. More than the streams of all our own
/// processes together; beyond that, refusing is better than queueing.
pub(crate) const REQUESTS_MAX: usize = 4096;

/// Between two claims of the log: at once enough that a passing fault is not
/// noticed, and slow enough that two rivals do not depose each other for ever.
const CLAIM_RETRY_MIN: Duration = Duration::from_millis(50);
const CLAIM_RETRY_MAX: Duration = Duration::from_secs(5);

pub(crate) struct Config {
    pub history: History,
    pub progress_every: Duration,
    pub rules: keyspace::Config,
}

/// What an actor shares with the rest of its store.
pub(crate) struct Shared {
    pub clock: Clock,
    pub standing: Arc<Standing>,
    pub guard: Arc<Guard>,
    pub quota: Arc<Quota>,
}

pub(crate) struct Mailbox {
    pub requests: mpsc::Receiver<Request>,
    pub gone: mpsc::UnboundedReceiver<WatcherId>,
}

/// A keyspace's task, not leading yet.
pub(crate) struct Actor {
    vault: Vault,
    config: Config,
    shared: Shared,
    mailbox: Mailbox,
    hub: Hub,
    random: Random,
    /// Newest durable revision, as clients have seen it; kept across claims.
    visible: Revision,
    /// When watchers that ask for progress hear of it, if one is owed some.
    progress_due: Option<Millis>,
}

/// What a leader has beside that.
struct Leader {
    keyspace: Keyspace,
    epoch: Epoch,
    /// Of the last batch that is durable.
    seq: Seq,
    retention: Retention,
    grace: Grace,
    waiting: VecDeque<Asked>,
    under_way: Option<UnderWay>,
}

/// A batch between its append and the answer of the log.
struct UnderWay {
    batch: Batch,
    append: Pin<Box<dyn Future<Output = Result<Outcome, engine::Error>> + Send>>,
}

/// Why a keyspace cannot be served now.
#[derive(Debug, thiserror::Error)]
enum ClaimError {
    #[error(transparent)]
    Engine(#[from] engine::Error),
    #[error(transparent)]
    Load(#[from] keyspace::LoadError),
    #[error("clients have seen revision {seen}, but the log ends at {found}")]
    Lost { seen: Revision, found: Revision },
}

/// Why a leader stopped leading.
enum End {
    Drained,
    /// The log must be claimed anew.
    Stale,
}

/// What the task was woken by.
enum Event {
    Appended(Result<Outcome, engine::Error>),
    Request(Option<Request>),
    Room(WatcherId),
    Gone(WatcherId),
    ProgressDue,
    LeaseDue,
    Draining,
}

// === impl Actor ===

impl Actor {
    pub fn new(vault: Vault, config: Config, shared: Shared, mailbox: Mailbox) -> Actor {
        Actor {
            vault,
            config,
            shared,
            mailbox,
            hub: Hub::default(),
            random: Random::from_entropy(),
            visible: Revision::FIRST,
            progress_due: None,
        }
    }

    /// Leads until the drain, or until nobody can ask for anything any more.
    pub async fn run(mut self, drain: Drain) {
        while let Some(mut leader) = self.claim(&drain).await {
            match self.lead(&mut leader, &drain).await {
                End::Stale => leader.refuse_waiting(),
                End::Drained => {
                    leader.refuse_waiting();
                    break;
                }
            }
        }
        self.mailbox.requests.close();
        while let Ok(request) = self.mailbox.requests.try_recv() {
            request.refuse(Error::NotLeader);
        }
    }

    /// Claims the log until it is ours. Requests are refused meanwhile, with
    /// an error that says that nothing was done.
    async fn claim(&mut self, drain: &Drain) -> Option<Leader> {
        let seed = self.random.next_u64();
        let mut backoff = Backoff::new(CLAIM_RETRY_MIN, CLAIM_RETRY_MAX, Random::seeded(seed));
        let mut reported = false;
        loop {
            let refusal = match self.try_claim().await {
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

    async fn try_claim(&mut self) -> Result<Option<Leader>, ClaimError> {
        let Claim::Won(loaded) = self.vault.claim().await? else { return Ok(None) };
        let now = self.shared.clock.now();
        let mut retention = Retention::new(self.config.history);
        for record in &loaded.log {
            if let Some(revision) = record.revision() {
                retention.wrote(revision, batch::size(record));
            }
        }
        let keyspace = Keyspace::load(self.config.rules.clone(), loaded.base, loaded.log, now)?;
        if keyspace.revision() < self.visible {
            // Acknowledged writes are missing: nothing may be served from it.
            return Err(ClaimError::Lost { seen: self.visible, found: keyspace.revision() });
        }
        self.visible = keyspace.revision();
        let leader = Leader {
            keyspace,
            epoch: loaded.epoch,
            seq: loaded.seq,
            retention,
            grace: Grace::default(),
            waiting: VecDeque::new(),
            under_way: None,
        };
        tracing::debug!(keyspace = %self.vault.name(), epoch = %leader.epoch, revision = %self.visible, "leading");
        self.note(&leader);
        self.shared.guard.publish(leader.keyspace.auth());
        self.hub.publish(&leader.keyspace, self.visible, &self.vault).await;
        Ok(Some(leader))
    }

    async fn lead(&mut self, leader: &mut Leader, drain: &Drain) -> End {
        loop {
            if drain.is_draining() && leader.under_way.is_none() {
                return End::Drained;
            }
            match self.next_event(leader, drain).await {
                Event::Appended(outcome) => {
                    if let Err(stale) = self.settle(leader, outcome).await {
                        return stale;
                    }
                }
                Event::Request(None) => return End::Drained,
                Event::Request(Some(request)) => self.take(leader, request).await,
                Event::Room(id) => {
                    self.hub.catch_up(id, &leader.keyspace, self.visible, &self.vault).await;
                }
                Event::Gone(id) => self.hub.remove(id),
                Event::ProgressDue => {
                    self.progress_due = None;
                    self.hub.notify_progress(self.visible);
                }
                // The next batch expires it.
                Event::LeaseDue | Event::Draining => {}
            }
            // Whatever woke us, what is there already belongs to the next batch.
            while leader.has_room()
                && let Ok(request) = self.mailbox.requests.try_recv()
            {
                self.take(leader, request).await;
            }
            self.begin(leader).await;
            self.note(leader);
        }
    }

    async fn next_event(&mut self, leader: &mut Leader, drain: &Drain) -> Event {
        let now = self.shared.clock.now();
        if self.progress_due.is_none() && self.hub.owes_progress(self.visible) {
            let wait_ms = u64::try_from(self.config.progress_every.as_millis()).unwrap_or(u64::MAX);
            self.progress_due = Some(now.plus(wait_ms));
        }
        let until = |at: Millis| tokio::time::sleep(Duration::from_millis(at.since(now)));
        let progress: OptionFuture<_> = self.progress_due.map(until).into();
        // A batch under way ends with the next one, which expires what is due.
        let lease = leader.keyspace.next_expiry().filter(|_| leader.under_way.is_none());
        let lease: OptionFuture<_> = lease.map(|due| until(leader.grace.wake(due))).into();
        let accepts = leader.has_room();
        let appended: OptionFuture<_> =
            leader.under_way.as_mut().map(|under_way| &mut under_way.append).into();
        tokio::select! {
            Some(outcome) = appended => Event::Appended(outcome),
            request = self.mailbox.requests.recv(), if accepts => Event::Request(request),
            id = self.hub.room() => Event::Room(id),
            Some(id) = self.mailbox.gone.recv() => Event::Gone(id),
            Some(()) = progress => Event::ProgressDue,
            Some(()) = lease => Event::LeaseDue,
            () = drain.started(), if !drain.is_draining() => Event::Draining,
        }
    }

    /// Answers what can be answered now and queues the rest.
    async fn take(&mut self, leader: &mut Leader, request: Request) {
        // A caller that has gone away needs no answer.
        match request {
            Request::Change(asked) => leader.waiting.push_back(asked),
            Request::Range(request, reply) => {
                let range = self.vault.range(&leader.keyspace, &request, self.visible).await;
                let _ = reply.send(range);
            }
            Request::Page(request, bytes_max, reply) => {
                let keyspace = &leader.keyspace;
                let page = self.vault.page(keyspace, &request, bytes_max, self.visible).await;
                let _ = reply.send(page);
            }
            Request::Hash(revision, reply) => {
                let (keyspace, vault) = (&leader.keyspace, &self.vault);
                let hash = hash::of_keyspace(keyspace, vault, self.visible, revision).await;
                let _ = reply.send(hash);
            }
            Request::Watch(request, reply) => {
                let added =
                    self.hub.add(&request, &leader.keyspace, self.visible, &self.vault).await;
                let _ = reply.send(added.map(|(id, items)| Watching { id, items }));
            }
            Request::Mark(ids, reply) => {
                let marked = self.hub.mark(&ids, self.visible);
                let _ = reply.send(Ok(marked.then_some(self.visible)));
            }
        }
    }

    /// Starts the next batch, if none is under way and there is something to
    /// make durable.
    async fn begin(&mut self, leader: &mut Leader) {
        while leader.under_way.is_none() {
            let now = self.shared.clock.now();
            let mut batch = Batch::default();
            let mut context = Context {
                keyspace: &mut leader.keyspace,
                vault: &self.vault,
                random: &mut self.random,
                visible: self.visible,
                now,
                full: self.shared.quota.is_full(),
            };
            while !batch.is_full()
                && let Some(asked) = leader.waiting.pop_front()
            {
                if !asked.change.is_abandoned() {
                    batch.apply(asked, &mut context).await;
                }
            }
            // A renewal that came in time may be waiting still.
            if leader.waiting.is_empty()
                && self.mailbox.requests.is_empty()
                && let Some(due) = context.keyspace.next_expiry()
                && leader.grace.is_over(due, now)
            {
                batch.expire(context.keyspace, now);
            }
            let compacted = context.keyspace.compacted();
            if let Some(revision) = leader.retention.due(now, self.visible, compacted, context.full)
                && let Err(refused) = batch.compact(revision, &mut context)
            {
                // A client compacted further within this batch.
                tracing::debug!(keyspace = %self.vault.name(), %refused, "no compaction");
            }
            if batch.is_durable_already() {
                batch.answer(None);
                if leader.waiting.is_empty() {
                    return;
                }
                continue;
            }
            let records = std::mem::take(&mut batch.records);
            let append = self.vault.append(leader.epoch, leader.seq.next(), records);
            leader.under_way = Some(UnderWay { batch, append: Box::pin(append) });
        }
    }

    /// The log has answered: so do we.
    async fn settle(
        &mut self,
        leader: &mut Leader,
        outcome: Result<Outcome, engine::Error>,
    ) -> Result<(), End> {
        let UnderWay { batch, .. } =
            leader.under_way.take().expect("only a batch under way is answered by the log");
        let failure = match outcome {
            Ok(Outcome::Committed) => None,
            Ok(open @ (Outcome::Deposed | Outcome::Unknown)) => {
                tracing::warn!(keyspace = %self.vault.name(), outcome = ?open, "batch not known to be durable");
                Some(Error::Unknown(format!("the log answered {open:?}")))
            }
            Err(error) => {
                tracing::error!(keyspace = %self.vault.name(), %error, "batch refused by the log");
                Some(Error::NotLeader)
            }
        };
        if failure.is_some() {
            batch.answer(failure);
            return Err(End::Stale);
        }
        leader.seq = leader.seq.next();
        self.visible = leader.keyspace.revision();
        self.note(leader);
        // Nothing has been applied since: all of it is durable.
        self.shared.guard.publish(leader.keyspace.auth());
        if let Some(revision) = batch.compacted {
            self.vault.fold(leader.epoch, revision, self.shared.quota.clone());
        }
        leader.retention.wrote(self.visible, batch.bytes());
        self.shared.quota.wrote(batch.bytes());
        batch.answer(None);
        leader.keyspace.settle(self.visible);
        self.hub.publish(&leader.keyspace, self.visible, &self.vault).await;
        Ok(())
    }

    /// Tells the rest of the process where we stand.
    fn note(&self, leader: &Leader) {
        let standing = &self.shared.standing;
        standing.set(leader.epoch.0, self.visible, leader.keyspace.compacted());
        standing.keys.store(leader.keyspace.keys() as u64, Relaxed);
        standing.watchers.store(self.hub.len() as u64, Relaxed);
        standing.slow_watchers.store(self.hub.behind() as u64, Relaxed);
    }
}

// === impl Leader ===

impl Leader {
    fn has_room(&self) -> bool {
        self.waiting.len() < batch::CHANGES_MAX
    }

    /// None of these was applied.
    fn refuse_waiting(&mut self) {
        for asked in self.waiting.drain(..) {
            asked.change.refuse(Error::NotLeader);
        }
    }
}

// === impl ClaimError ===

impl ClaimError {
    /// What callers are told meanwhile.
    fn refusal(&self) -> Error {
        match self {
            ClaimError::Engine(engine::Error::Corrupt { .. } | engine::Error::Newer { .. })
            | ClaimError::Load(_)
            | ClaimError::Lost { .. } => Error::Corrupt,
            ClaimError::Engine(_) => Error::NotLeader,
        }
    }
}
