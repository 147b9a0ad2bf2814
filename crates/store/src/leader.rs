//! Leading a keyspace.
//!
//! The task waits for the first of: the end of the append under way, a request,
//! room in a slow watcher's buffer, a timer, news of the other replicas. Reads
//! are answered from what is durable. Changes queue until no append is under
//! way, are applied together, and their records are appended once; the answers
//! and events go out when the log says that they are durable.
//!
//! When the log refuses a batch or cannot say what became of it, everyone in
//! the batch is told that the outcome is unknown, the keyspace is thrown away,
//! and the log is claimed anew, which settles the batch's fate.

use std::{collections::VecDeque, pin::Pin, time::Duration};

use engine::{Epoch, Outcome};
use futures::future::OptionFuture;
use keyspace::LEASE_CHECKPOINT_EVERY;
use kv::{Error, LeaseId};
use rt::{Drain, Millis};
use tokio::time::Instant;

use crate::{
    actor::{Actor, Copy, End},
    batch::{self, Batch, Context},
    grace::Grace,
    hash,
    hub::WatcherId,
    proof::{At, Held, Looked, Proof},
    replica::preferred,
    request::{Asked, Reply, Request, Watching},
    retention::Retention,
};

/// A read waits no longer than this for the batch under way: a log that takes
/// longer has probably left us, and whoever asks can ask another replica.
const READ_WAIT_MS: u64 = 2000;

/// Where making a batch durable takes this long, the next waits for company:
/// for those who were in the last one and come back with their next change.
/// Otherwise they would take turns with whoever had to wait for that batch, and
/// every batch would be half of what it could be.
const PACE_MIN: Duration = Duration::from_micros(400);

/// Part of that time for which it waits at most.
const COMPANY_WAIT: u32 = 4;

/// Times that it looks. It is not woken at such times, but steps behind all
/// that is ready to run.
const COMPANY_LOOKS_MAX: usize = 1000;

/// What a leader has beside its task.
pub(crate) struct Leader {
    pub copy: Copy,
    pub epoch: Epoch,
    retention: Retention,
    grace: Grace,
    waiting: VecDeque<Asked>,
    /// Reads that may not be stale, asked for while a batch was under way.
    reads: Vec<Request>,
    /// When the first of them has waited long enough.
    reads_due: Option<Millis>,
    under_way: Option<UnderWay>,
    /// Changes that the next batch would have if everyone came back.
    company: usize,
    proof: Proof,
    since: Millis,
    /// When another replica is to lead; and whether that time has come.
    handover_due: Option<Millis>,
    leaves: bool,
    checkpoints: Checkpoints,
}

/// A batch between its append and the answer of the log.
struct UnderWay {
    batch: Batch,
    append: Pin<Box<dyn Future<Output = Result<Outcome, engine::Error>> + Send>>,
}

/// How far the round is that writes down what is left of long leases.
struct Checkpoints {
    due: Millis,
    after: Option<LeaseId>,
}

/// What the task was woken by.
enum Event {
    Appended(Result<Outcome, engine::Error>),
    Looked(Looked),
    Request(Option<Request>),
    Room(WatcherId),
    Gone(WatcherId),
    ProgressDue,
    LeaseDue,
    Situation,
    HandoverDue,
    ReadsDue,
    CheckpointDue,
    CompactionDue,
    Draining,
}

// === impl Actor ===

impl Actor {
    pub(crate) async fn lead(&mut self, leader: &mut Leader, drain: &Drain) -> End {
        if self.is_deposed(leader) {
            return End::Stale;
        }
        self.plan_handover(leader);
        loop {
            if leader.under_way.is_none() {
                if drain.is_draining() {
                    return End::Drained;
                }
                if leader.leaves {
                    return End::HandedOver;
                }
            }
            match self.next_event(leader, drain).await {
                Event::Appended(outcome) => {
                    if let Err(stale) = self.settle(leader, outcome).await {
                        return stale;
                    }
                    leader.reads_due = None;
                    for read in std::mem::take(&mut leader.reads) {
                        self.take(leader, read).await;
                    }
                }
                Event::Looked(Looked::Gone) => return End::Stale,
                Event::Looked(seen) => {
                    let error = (seen == Looked::Unseen).then_some(Error::NotLeader);
                    let at = leader.at();
                    leader.proof.settle(&self.vault, at, error.as_ref());
                }
                Event::Request(None) => return End::Drained,
                Event::Request(Some(request)) => self.take(leader, request).await,
                Event::Room(id) => {
                    let keyspace = &leader.copy.keyspace;
                    self.hub.catch_up(id, keyspace, self.visible, &self.vault).await;
                }
                Event::Gone(id) => self.hub.remove(id),
                Event::ProgressDue => self.notify_progress(),
                Event::Situation => {
                    if self.is_deposed(leader) {
                        return End::Stale;
                    }
                    self.plan_handover(leader);
                }
                Event::HandoverDue => self.leave(leader),
                Event::ReadsDue => leader.refuse_reads(),
                // The next batch expires it, writes it down, or compacts.
                Event::LeaseDue | Event::CheckpointDue | Event::CompactionDue | Event::Draining => {
                }
            }
            // Whatever woke us, what is there already belongs to the next batch.
            self.take_waiting(leader).await;
            self.await_company(leader).await;
            if !leader.leaves {
                self.begin(leader).await;
            }
            self.note(leader.epoch, &leader.copy.keyspace);
        }
    }

    async fn next_event(&mut self, leader: &mut Leader, drain: &Drain) -> Event {
        let now = self.commons.clock.now();
        let until = |at: Millis| tokio::time::sleep(Duration::from_millis(at.since(now)));
        let progress: OptionFuture<_> = self.progress_at(now).map(until).into();
        // A batch under way ends with the next one, which does what is due.
        let idle = leader.under_way.is_none();
        let lease = leader.copy.keyspace.next_expiry().filter(|_| idle);
        let lease: OptionFuture<_> = lease.map(|due| until(leader.grace.wake(due))).into();
        let checkpoint = self.others.is_some() && idle && leader.copy.keyspace.has_leases();
        let checkpoint: OptionFuture<_> = checkpoint.then(|| until(leader.checkpoints.due)).into();
        let compacted = leader.copy.keyspace.compacted();
        let compaction = leader.retention.wakes(now, self.visible, compacted).filter(|_| idle);
        let compaction: OptionFuture<_> = compaction.map(until).into();
        let handover: OptionFuture<_> = leader.handover_due.map(until).into();
        let reads: OptionFuture<_> = leader.reads_due.map(until).into();
        let situation: OptionFuture<_> =
            self.others.as_mut().map(|others| others.situation.changed()).into();
        let accepts = leader.has_room();
        let appended: OptionFuture<_> =
            leader.under_way.as_mut().map(|under_way| &mut under_way.append).into();
        tokio::select! {
            Some(outcome) = appended => Event::Appended(outcome),
            seen = leader.proof.looked() => Event::Looked(seen),
            request = self.mailbox.requests.recv(), if accepts => Event::Request(request),
            id = self.hub.room() => Event::Room(id),
            Some(id) = self.mailbox.gone.recv() => Event::Gone(id),
            Some(()) = progress => Event::ProgressDue,
            Some(()) = lease => Event::LeaseDue,
            Some(_) = situation => Event::Situation,
            Some(()) = handover => Event::HandoverDue,
            Some(()) = reads => Event::ReadsDue,
            Some(()) = checkpoint => Event::CheckpointDue,
            Some(()) = compaction => Event::CompactionDue,
            () = drain.started(), if !drain.is_draining() => Event::Draining,
        }
    }

    /// Somebody else has raised the epoch, or nothing may be served.
    fn is_deposed(&mut self, leader: &Leader) -> bool {
        self.others.as_mut().is_some_and(|others| {
            let situation = others.situation.borrow_and_update();
            situation.epoch > leader.epoch || situation.refusal.is_some()
        })
    }

    /// Whether what is in memory now is the newest there is. Whoever takes over
    /// waits for our lease, so within it nobody has acknowledged anything else.
    /// The lease comes first: a beat that finds us deposed changes the
    /// situation before the lease.
    fn is_sure(&self, leader: &Leader) -> bool {
        self.others.as_ref().is_none_or(|others| {
            others.replicas.holds_lease() && others.situation.borrow().epoch <= leader.epoch
        })
    }

    fn answer_read<T: Send + 'static>(
        &self,
        leader: &mut Leader,
        serializable: bool,
        answer: Result<T, Error>,
        reply: Reply<T>,
    ) {
        // A caller that has gone away needs no answer.
        if serializable || self.is_sure(leader) {
            let _ = reply.send(answer);
        } else {
            let answer = |error: Option<Error>| drop(reply.send(error.map_or(answer, Err)));
            let at = leader.at();
            leader.proof.hold(&self.vault, at, Box::new(answer));
        }
    }

    /// Sends an answer from memory once it is certain to be right.
    fn assure(&self, leader: &mut Leader, answer: Held) {
        match self.is_sure(leader) {
            true => answer(None),
            false => {
                let at = leader.at();
                leader.proof.hold(&self.vault, at, answer);
            }
        }
    }

    fn plan_handover(&mut self, leader: &mut Leader) {
        let Some(others) = &self.others else { return };
        let situation = others.situation.borrow();
        let better = preferred(&situation, self.vault.name(), leader.copy.chosen());
        leader.handover_due = better
            .filter(|better| better.id != situation.me)
            .map(|better| others.handover.due(leader.since, better));
    }

    /// No new batch is begun.
    fn leave(&mut self, leader: &mut Leader) {
        tracing::info!(keyspace = %self.vault.name(), "handing over to another replica");
        leader.handover_due = None;
        leader.leaves = true;
        if let Some(others) = &mut self.others {
            others.handover.done(self.commons.clock.now());
        }
    }

    async fn take_waiting(&mut self, leader: &mut Leader) {
        while leader.has_room()
            && let Ok(request) = self.mailbox.requests.try_recv()
        {
            self.take(leader, request).await;
        }
    }

    /// Lets the next batch fill, if that costs little.
    async fn await_company(&mut self, leader: &mut Leader) {
        let wanted = std::mem::take(&mut leader.company).min(batch::CHANGES_MAX);
        let pace = self.vault.pace();
        if leader.waiting.len() >= wanted || pace < PACE_MIN {
            return;
        }
        let start = Instant::now();
        for _ in 0..COMPANY_LOOKS_MAX {
            tokio::task::yield_now().await;
            self.take_waiting(leader).await;
            if leader.waiting.len() >= wanted || start.elapsed() >= pace / COMPANY_WAIT {
                return;
            }
        }
    }

    /// Answers what can be answered now and queues the rest.
    async fn take(&mut self, leader: &mut Leader, request: Request) {
        // Others read the log too: their watchers may be shown a batch that is
        // durable before we are told, and no read that is asked for after that
        // may miss it.
        if self.others.is_some() && leader.under_way.is_some() && request.is_linearizable_read() {
            let due = self.commons.clock.now().plus(READ_WAIT_MS);
            leader.reads_due.get_or_insert(due);
            leader.reads.push(request);
            return;
        }
        let keyspace = &leader.copy.keyspace;
        // A caller that has gone away needs no answer.
        match request {
            Request::Change(asked) => leader.waiting.push_back(asked),
            Request::Range(request, reply) => {
                let range = self.vault.range(keyspace, &request, self.visible).await;
                self.answer_read(leader, request.serializable, range, reply);
            }
            Request::Page(request, bytes_max, reply) => {
                let page = self.vault.page(keyspace, &request, bytes_max, self.visible).await;
                self.answer_read(leader, request.serializable, page, reply);
            }
            Request::Hash(revision, reply) => {
                let hash = hash::of_keyspace(keyspace, &self.vault, self.visible, revision).await;
                let _ = reply.send(hash);
            }
            Request::Watch(request, reply) => {
                let added = self.hub.add(&request, keyspace, self.visible, &self.vault).await;
                let _ = reply.send(added.map(|(id, items)| Watching { id, items }));
            }
            Request::Mark(ids, reply) => {
                let marked = self.hub.mark(&ids, self.visible);
                let _ = reply.send(Ok(marked.then_some(self.visible)));
            }
            Request::Ping(reply) => drop(reply.send(Ok(()))),
        }
    }

    /// Starts the next batch, if none is under way and there is something to
    /// make durable.
    async fn begin(&mut self, leader: &mut Leader) {
        while leader.under_way.is_none() {
            let now = self.commons.clock.now();
            let mut batch = Batch::default();
            let mut context = Context {
                keyspace: &mut leader.copy.keyspace,
                vault: &self.vault,
                random: &mut self.random,
                visible: self.visible,
                now,
                full: self.commons.quota.refuses_puts(),
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
            if self.others.is_some() && leader.checkpoints.due <= now {
                leader.checkpoints.step(&mut batch, context.keyspace, now);
            }
            let compacted = context.keyspace.compacted();
            if let Some(revision) = leader.retention.due(now, self.visible, compacted, context.full)
                && let Err(refused) = batch.compact(revision, &mut context)
            {
                // A client compacted further within this batch.
                tracing::debug!(keyspace = %self.vault.name(), %refused, "no compaction");
            }
            if batch.is_durable_already() {
                if batch.answers() > 0 {
                    self.assure(leader, Box::new(move |error| batch.answer(error)));
                }
                if leader.waiting.is_empty() {
                    return;
                }
                continue;
            }
            let records = std::mem::take(&mut batch.records);
            let append = self.vault.append(leader.epoch, leader.copy.seq.next(), records);
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
        leader.copy.seq = leader.copy.seq.next();
        self.visible = leader.copy.keyspace.revision();
        // Nothing has been applied since.
        self.note_durable(leader.epoch, &leader.copy.keyspace);
        if let Some(revision) = batch.compacted {
            self.vault.fold(leader.epoch, revision, self.commons.quota.clone());
        }
        leader.retention.wrote(self.visible, batch.bytes());
        self.commons.quota.wrote(batch.bytes());
        if batch.chooses_leader {
            if let Some(others) = &mut self.others {
                others.handover.ask();
            }
            self.plan_handover(leader);
        }
        // Who was alone has nobody to wait for.
        leader.company = match batch.answers() {
            0 | 1 => 0,
            answers => answers + leader.waiting.len(),
        };
        // Its place in the log proves that we led until now.
        batch.answer(None);
        leader.copy.settle(self.visible);
        self.hub.publish(&leader.copy.keyspace, self.visible, &self.vault).await;
        Ok(())
    }
}

// === impl Leader ===

impl Leader {
    pub fn new(copy: Copy, epoch: Epoch, retention: Retention, now: Millis) -> Leader {
        Leader {
            copy,
            epoch,
            retention,
            grace: Grace::default(),
            waiting: VecDeque::new(),
            reads: Vec::new(),
            reads_due: None,
            under_way: None,
            company: 0,
            proof: Proof::default(),
            since: now,
            handover_due: None,
            leaves: false,
            checkpoints: Checkpoints { due: checkpoint_after(now), after: None },
        }
    }

    fn at(&self) -> At {
        At { epoch: self.epoch, seq: self.copy.seq }
    }

    fn has_room(&self) -> bool {
        self.waiting.len() + self.reads.len() < batch::CHANGES_MAX
    }

    /// None of these was applied, or known to be right.
    pub fn refuse_waiting(&mut self) {
        for asked in self.waiting.drain(..) {
            asked.change.refuse(Error::NotLeader);
        }
        self.refuse_reads();
        self.proof.refuse_all();
    }

    fn refuse_reads(&mut self) {
        self.reads_due = None;
        for read in self.reads.drain(..) {
            read.refuse(Error::NotLeader);
        }
    }
}

// === impl Checkpoints ===

impl Checkpoints {
    /// One batch's worth of them, until the round is done.
    fn step(&mut self, batch: &mut Batch, keyspace: &mut keyspace::Keyspace, now: Millis) {
        self.after = batch.checkpoint(keyspace, self.after, now);
        if self.after.is_none() {
            self.due = checkpoint_after(now);
        }
    }
}

fn checkpoint_after(now: Millis) -> Millis {
    now.plus(u64::try_from(LEASE_CHECKPOINT_EVERY.as_millis()).unwrap_or(u64::MAX))
}
