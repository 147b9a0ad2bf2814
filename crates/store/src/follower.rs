//! Following a keyspace that another replica leads, until it is ours to lead.
//!
//! A copy is loaded once and then fed with every batch that the leader makes
//! durable, so that watches and serializable reads are served here, and so that
//! taking over needs no loading. Whatever needs the leader is refused; the
//! router has sent it there before it comes here.

use std::{pin::Pin, time::Duration};

use engine::{Epoch, Tail, Tailed};
use futures::future::OptionFuture;
use kv::Error;
use rt::{Drain, Millis, backoff::Backoff};
use tokio::time::Instant;

use crate::{
    actor::{Actor, Copy},
    claim::ClaimError,
    hash,
    hub::WatcherId,
    leader::Leader,
    reading::Reading,
    replica::{Interest, Lead, Situation, Turn, turn},
    request::{Request, Watching},
};

/// Requests wait this long for a first copy of the keyspace, or for us to lead.
const PATIENCE: Duration = Duration::from_secs(2);

/// A claim that takes longer is not going to succeed: a lease waited for, and a
/// copy of gigabytes loaded.
const CLAIM_TIMEOUT: Duration = Duration::from_secs(60);

/// Nobody has taken what we gave away by then, or it is still ours: we lead on.
const GIVEN_AWAY: Duration = Duration::from_secs(1);

/// What a follower has beside its task.
struct Follower {
    copy: Option<Copy>,
    fetch: Option<Fetch>,
    /// Nothing is fetched or claimed before this.
    resting: Option<Instant>,
    backoff: Backoff,
    reported: bool,
    /// Since when the keyspace is to be led by somebody new.
    open: Option<(Epoch, Instant)>,
    /// We have given the lead away, and the board may not show it yet.
    gave_away: Option<Instant>,
    /// Watchers of ours wait for what the leader writes.
    interest: Option<Interest>,
    /// Requests wait until then.
    patience: Instant,
    /// What they are told after that, without a copy.
    refusal: Error,
}

type Fetch = Pin<Box<dyn Future<Output = Result<Fetched, ClaimError>> + Send>>;

enum Fetched {
    Read(Box<Reading>),
    Tailed(Tail),
}

/// What the task was woken by.
enum Event {
    Fetched(Result<Fetched, ClaimError>),
    Situation,
    ClaimDue,
    Rested,
    Request(Option<Request>),
    OutOfPatience,
    Room(WatcherId),
    Gone(WatcherId),
    ProgressDue,
    Draining,
}

// === impl Actor ===

impl Actor {
    /// Ends with the lead, or with the drain.
    pub(crate) async fn follow(&mut self, copy: Option<Copy>, drain: &Drain) -> Option<Leader> {
        let gave_away = copy.is_some().then(Instant::now);
        let mut follower = Follower {
            copy,
            gave_away,
            fetch: None,
            resting: None,
            backoff: self.claim_backoff(),
            reported: false,
            open: None,
            interest: None,
            patience: Instant::now() + PATIENCE,
            refusal: Error::NotLeader,
        };
        while !drain.is_draining() {
            let situation = self.situation();
            self.heed_refusal(&mut follower, &situation);
            let claim_due = follower.claim_due(self.vault.name(), &situation);
            if claim_due.is_none() {
                self.fetch(&mut follower, &situation);
            }
            follower.interest = match self.hub.len() {
                0 => None,
                _ => follower.interest.take().or_else(|| Some(self.others().replicas.interest())),
            };
            match self.next_following(&mut follower, claim_due, drain).await {
                Event::Fetched(fetched) => self.take_in(&mut follower, fetched).await,
                Event::ClaimDue => {
                    if let Some(leader) = self.claim(&mut follower, &situation).await {
                        return Some(leader);
                    }
                }
                Event::Request(None) => return None,
                Event::Request(Some(request)) => match &follower.copy {
                    Some(copy) => self.answer(copy, request).await,
                    None => request.refuse(follower.refusal.clone()),
                },
                Event::Room(id) => {
                    if let Some(copy) = &follower.copy {
                        self.hub.catch_up(id, &copy.keyspace, self.visible, &self.vault).await;
                    }
                }
                Event::Gone(id) => self.hub.remove(id),
                Event::ProgressDue => self.notify_progress(),
                Event::Rested => follower.resting = None,
                Event::Situation | Event::OutOfPatience | Event::Draining => {}
            }
            if let Some(copy) = &follower.copy {
                self.note(situation.epoch, &copy.keyspace);
            }
        }
        None
    }

    fn others(&mut self) -> &mut crate::actor::Others {
        self.others.as_mut().expect("only a log that is shared is followed")
    }

    /// As the board shows it, or as we know better.
    fn situation(&mut self) -> Situation {
        let others = self.others();
        let mut situation = others.situation.borrow_and_update().clone();
        if others.led > situation.epoch {
            situation.epoch = others.led;
            situation.lead = Lead::Me;
        }
        situation
    }

    /// Serves nothing of a log that has lost what we knew.
    fn heed_refusal(&mut self, follower: &mut Follower, situation: &Situation) {
        if situation.refusal.is_some() {
            follower.copy = None;
            follower.fetch = None;
            follower.refusal = Error::Corrupt;
            follower.patience = Instant::now();
            self.hub.end_all(&Error::Corrupt);
        }
    }

    /// Begins to read what the leader has written, if there is something.
    fn fetch(&mut self, follower: &mut Follower, situation: &Situation) {
        let refused = situation.refusal.is_some();
        if refused || follower.fetch.is_some() || follower.resting.is_some() {
            return;
        }
        let vault = self.vault.clone();
        follower.fetch = match &follower.copy {
            None if situation.epoch > Epoch::default() => {
                let reading = self.read();
                Some(Box::pin(async move { Ok(Fetched::Read(Box::new(reading.await?))) }))
            }
            Some(copy) if situation.seq > copy.seq => {
                let after = copy.seq;
                Some(Box::pin(async move { Ok(Fetched::Tailed(vault.tail(after).await?)) }))
            }
            _ => None,
        };
    }

    async fn next_following(
        &mut self,
        follower: &mut Follower,
        claim_due: Option<Instant>,
        drain: &Drain,
    ) -> Event {
        let now = self.commons.clock.now();
        let until = |at: Millis| tokio::time::sleep(Duration::from_millis(at.since(now)));
        let progress: OptionFuture<_> = self.progress_at(now).map(until).into();
        let claim: OptionFuture<_> = claim_due.map(tokio::time::sleep_until).into();
        let rested: OptionFuture<_> = follower.resting.map(tokio::time::sleep_until).into();
        let accepts = follower.copy.is_some() || Instant::now() >= follower.patience;
        let has_copy = follower.copy.is_some();
        let fetched: OptionFuture<_> = follower.fetch.as_mut().into();
        let others = self.others.as_mut().expect("only a log that is shared is followed");
        tokio::select! {
            Some(fetched) = fetched => {
                follower.fetch = None;
                Event::Fetched(fetched)
            }
            Some(()) = claim => Event::ClaimDue,
            _ = others.situation.changed() => Event::Situation,
            Some(()) = rested => Event::Rested,
            request = self.mailbox.requests.recv(), if accepts => Event::Request(request),
            () = tokio::time::sleep_until(follower.patience), if !accepts => Event::OutOfPatience,
            id = self.hub.room(), if has_copy => Event::Room(id),
            Some(id) = self.mailbox.gone.recv() => Event::Gone(id),
            Some(()) = progress => Event::ProgressDue,
            () = drain.started() => Event::Draining,
        }
    }

    async fn take_in(&mut self, follower: &mut Follower, fetched: Result<Fetched, ClaimError>) {
        let copy = match fetched {
            Ok(Fetched::Read(reading)) => self.build(*reading).map(|(copy, _)| Some(copy)),
            Ok(Fetched::Tailed(Tail::Folded)) => Ok(None),
            Ok(Fetched::Tailed(Tail::Batches(batches))) => {
                if batches.is_empty() {
                    // The board was ahead of the log: both are read again.
                    follower.rest();
                }
                match follower.copy.take() {
                    Some(mut copy) => self.follow_batches(&mut copy, batches).map(|()| Some(copy)),
                    None => Ok(None),
                }
            }
            Err(error) => Err(error),
        };
        match copy {
            Ok(copy) => {
                if copy.is_some() {
                    follower.well();
                }
                follower.copy = copy;
                if let Some(copy) = &follower.copy {
                    self.visible = copy.keyspace.revision();
                    self.note_durable(self.seen_epoch(), &copy.keyspace);
                    self.hub.publish(&copy.keyspace, self.visible, &self.vault).await;
                }
            }
            Err(error) => self.report(follower, &error),
        }
    }

    fn seen_epoch(&self) -> Epoch {
        self.others.as_ref().map_or(Epoch::default(), |others| others.situation.borrow().epoch)
    }

    /// Feeds a copy with what its leader made durable.
    pub(crate) fn follow_batches(
        &self,
        copy: &mut Copy,
        batches: Vec<Tailed>,
    ) -> Result<(), ClaimError> {
        let now = self.commons.clock.now();
        for Tailed { seq, records } in batches {
            if seq != copy.seq.next() {
                return Err(ClaimError::Hole { before: copy.seq, found: seq });
            }
            copy.keyspace.follow(records, now)?;
            copy.seq = seq;
        }
        copy.settle(copy.keyspace.revision());
        Ok(())
    }

    async fn claim(&mut self, follower: &mut Follower, situation: &Situation) -> Option<Leader> {
        follower.fetch = None;
        let claim = self.claim_shared(&mut follower.copy, situation);
        match tokio::time::timeout(CLAIM_TIMEOUT, claim).await {
            Ok(Ok(Some(leader))) => return Some(leader),
            Ok(Ok(None)) => {
                tracing::debug!(keyspace = %self.vault.name(), "log claimed by another");
                follower.rest();
            }
            Ok(Err(error)) => self.report(follower, &error),
            Err(_) => {
                tracing::warn!(keyspace = %self.vault.name(), "claim took too long");
                follower.rest();
            }
        }
        self.others().replicas.poke();
        None
    }

    fn report(&mut self, follower: &mut Follower, error: &ClaimError) {
        follower.copy = None;
        follower.refusal = error.refusal();
        let grave = follower.refusal == Error::Corrupt;
        if !std::mem::replace(&mut follower.reported, true) {
            let keyspace = self.vault.name();
            match grave {
                true => tracing::error!(%keyspace, %error, "cannot serve keyspace"),
                false => tracing::warn!(%keyspace, %error, "cannot follow keyspace"),
            }
        }
        if grave {
            self.hub.end_all(&Error::Corrupt);
        }
        follower.rest();
    }

    async fn answer(&mut self, copy: &Copy, request: Request) {
        let keyspace = &copy.keyspace;
        // A caller that has gone away needs no answer.
        match request {
            Request::Range(request, reply) if request.serializable => {
                let _ = reply.send(self.vault.range(keyspace, &request, self.visible).await);
            }
            Request::Page(request, bytes_max, reply) if request.serializable => {
                let page = self.vault.page(keyspace, &request, bytes_max, self.visible).await;
                let _ = reply.send(page);
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
            Request::Range(..) | Request::Page(..) | Request::Change(_) => {
                request.refuse(Error::NotLeader);
            }
        }
    }
}

// === impl Follower ===

impl Follower {
    fn rest(&mut self) {
        self.resting = Some(Instant::now() + self.backoff.step());
    }

    fn well(&mut self) {
        self.backoff.reset();
        self.reported = false;
        self.refusal = Error::NotLeader;
    }

    /// When to claim, if it is ours to. Our copy comes up to the log first, as
    /// far as that goes: in it stands whom a person has chosen.
    fn claim_due(&mut self, keyspace: &kv::KeyspaceName, situation: &Situation) -> Option<Instant> {
        let chosen = self.copy.as_ref().and_then(Copy::chosen);
        let Turn::After(delay_ms) = turn(situation, keyspace, chosen) else {
            self.open = None;
            return None;
        };
        let is_behind = match &self.copy {
            None => situation.epoch > Epoch::default(),
            Some(copy) => situation.seq > copy.seq,
        };
        if is_behind && situation.lead != Lead::Me && self.resting.is_none() {
            return None;
        }
        let now = Instant::now();
        let since = match self.open {
            Some((epoch, since)) if epoch == situation.epoch => since,
            _ => now,
        };
        self.open = Some((situation.epoch, since));
        let mut due = since + Duration::from_millis(delay_ms);
        if let Some(at) = self.gave_away {
            due = due.max(at + GIVEN_AWAY);
        }
        Some(self.resting.map_or(due, |resting| due.max(resting)))
    }
}
