//! The one task that owns a keyspace.
//!
//! It leads (`leader`), or follows whoever does (`follower`), and goes from one
//! to the other by claiming the log (`claim`), giving it back, or losing it.
//! Reads are answered from what is durable (`visible`), watchers are sent it,
//! and both stay what they are across all of that: nobody has ever seen
//! anything that was not durable, so everyone goes on from where they were.
//!
//! A log that only one process can open is claimed at once and led for as long
//! as the process lives.

use std::{
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use engine::{Epoch, Outcome, Seq};
use keyspace::Keyspace;
use kv::{Error, Revision};
use rt::{Clock, Drain, Millis, random::Random};
use tokio::sync::{mpsc, watch};

use crate::{
    History,
    alarms::Alarms,
    batch::CHOSEN_NOTE,
    budget::{Budget, Share},
    guard::Guard,
    hub::{Hub, WatcherId},
    quota::Quota,
    replica::{Handover, Replicas, Situation},
    request::Request,
    standing::Standing,
    vault::Vault,
};

/// Requests that wait for the actor. More than the streams of all our own
/// processes together; beyond that, refusing is better than queueing.
pub(crate) const REQUESTS_MAX: usize = 4096;

pub(crate) struct Config {
    pub history: History,
    pub progress_every: Duration,
    pub rules: keyspace::Config,
}

/// What an actor shares with the rest of its store.
pub(crate) struct Commons {
    pub clock: Clock,
    pub standing: Arc<Standing>,
    pub guard: Arc<Guard>,
    /// Only in the keyspace that keeps them.
    pub alarms: Option<Arc<Alarms>>,
    pub quota: Arc<Quota>,
    pub budget: Arc<Budget>,
    /// `None` where only one process can open the log.
    pub replicas: Option<Replicas>,
}

pub(crate) struct Mailbox {
    pub requests: mpsc::Receiver<Request>,
    pub gone: mpsc::UnboundedReceiver<WatcherId>,
}

/// A keyspace's task.
pub(crate) struct Actor {
    pub(crate) vault: Vault,
    pub(crate) config: Config,
    pub(crate) commons: Commons,
    pub(crate) mailbox: Mailbox,
    pub(crate) hub: Hub,
    pub(crate) random: Random,
    /// Newest durable revision, as clients have seen it; never goes back.
    pub(crate) visible: Revision,
    /// When watchers that ask for progress hear of it, if one is owed some.
    pub(crate) progress_due: Option<Millis>,
    pub(crate) others: Option<Others>,
}

/// What an actor knows of the other replicas.
pub(crate) struct Others {
    pub replicas: Replicas,
    pub situation: watch::Receiver<Situation>,
    pub handover: Handover,
    /// The last epoch under which we did lead.
    pub led: Epoch,
}

/// The keyspace as of one batch: what a leader applies changes to, and a
/// follower the batches of its leader.
pub(crate) struct Copy {
    pub keyspace: Keyspace,
    /// Of the last batch that is in it.
    pub seq: Seq,
    /// Its values' part of the memory.
    pub share: Share,
}

/// Why a leader stopped leading.
pub(crate) enum End {
    Drained,
    /// The log must be claimed anew.
    Stale,
    /// Another replica is to lead.
    HandedOver,
}

// === impl Actor ===

impl Actor {
    pub fn new(vault: Vault, config: Config, commons: Commons, mailbox: Mailbox) -> Actor {
        let others = commons.replicas.clone().map(|replicas| Others {
            situation: replicas.situation(vault.name()),
            replicas,
            handover: Handover::default(),
            led: Epoch::default(),
        });
        Actor {
            vault,
            config,
            commons,
            mailbox,
            hub: Hub::default(),
            random: Random::from_entropy(),
            visible: Revision::FIRST,
            progress_due: None,
            others,
        }
    }

    /// Until the drain, or until nobody can ask for anything any more.
    pub async fn run(mut self, drain: Drain) {
        let mut copy = None;
        loop {
            let leader = match self.others {
                None => self.claim_alone(&drain).await,
                Some(_) => self.follow(copy.take(), &drain).await,
            };
            let Some(mut leader) = leader else { break };
            self.commons.standing.set_leading(true);
            let end = self.lead(&mut leader, &drain).await;
            self.commons.standing.set_leading(false);
            leader.refuse_waiting();
            match end {
                End::Stale => {}
                End::HandedOver => {
                    self.release(leader.epoch).await;
                    copy = Some(leader.copy);
                }
                End::Drained => {
                    self.release(leader.epoch).await;
                    break;
                }
            }
        }
        self.mailbox.requests.close();
        while let Ok(request) = self.mailbox.requests.try_recv() {
            request.refuse(Error::NotLeader);
        }
    }

    /// Lets another lead at once. Nothing is answered from memory any more, and
    /// no batch is under way.
    async fn release(&mut self, epoch: Epoch) {
        let Some(others) = &self.others else { return };
        match self.vault.release(epoch).await {
            Ok(Outcome::Committed) => {
                tracing::debug!(keyspace = %self.vault.name(), %epoch, "led no more");
            }
            Ok(refused) => {
                tracing::info!(keyspace = %self.vault.name(), ?refused, "lead not given back");
            }
            Err(error) => {
                tracing::warn!(keyspace = %self.vault.name(), %error, "lead not given back");
            }
        }
        others.replicas.poke();
    }

    /// When watchers hear next of how far they are.
    pub(crate) fn progress_at(&mut self, now: Millis) -> Option<Millis> {
        if self.progress_due.is_none() && self.hub.owes_progress(self.visible) {
            let wait_ms = u64::try_from(self.config.progress_every.as_millis()).unwrap_or(u64::MAX);
            self.progress_due = Some(now.plus(wait_ms));
        }
        self.progress_due
    }

    pub(crate) fn notify_progress(&mut self) {
        self.progress_due = None;
        self.hub.notify_progress(self.visible);
    }

    /// Tells the rest of the process where we stand, and who may do what.
    /// Everything in the keyspace is durable.
    pub(crate) fn note_durable(&self, epoch: Epoch, keyspace: &Keyspace) {
        self.note(epoch, keyspace);
        self.commons.guard.publish(keyspace.auth());
        if let Some(alarms) = &self.commons.alarms {
            alarms.publish(keyspace);
        }
    }

    /// Tells the rest of the process where we stand.
    pub(crate) fn note(&self, epoch: Epoch, keyspace: &Keyspace) {
        let standing = &self.commons.standing;
        standing.set(epoch.0, self.visible, keyspace.compacted());
        standing.keys.store(keyspace.keys() as u64, Relaxed);
        standing.watchers.store(self.hub.len() as u64, Relaxed);
        standing.slow_watchers.store(self.hub.behind() as u64, Relaxed);
    }
}

// === impl Copy ===

impl Copy {
    /// Everything up to `durable` can be fetched from now on, so values may
    /// leave memory.
    pub fn settle(&mut self, durable: Revision) {
        self.keyspace.settle(durable);
        self.share.keep(&mut self.keyspace, durable);
    }

    /// The replica that a person has chosen to lead.
    pub fn chosen(&self) -> Option<&str> {
        std::str::from_utf8(self.keyspace.note(CHOSEN_NOTE.as_bytes())?).ok()
    }
}
