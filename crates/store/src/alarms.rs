//! etcd's alarms: raised for the whole store, and there until somebody who has
//! looked says that they may go.
//!
//! They are notes of the default keyspace, so a restart does not forget them,
//! and every replica knows them from its copy of that keyspace, whoever raised
//! or disarmed them. What a store finds out itself counts for it from that
//! moment on; that the others know may take a moment longer, and a store that
//! dies in between finds the same reason again.

use std::{
    collections::BTreeSet,
    sync::{
        Mutex, MutexGuard,
        atomic::{AtomicU8, Ordering::SeqCst},
    },
    time::Duration,
};

use bytes::Bytes;
use keyspace::Keyspace;
use kv::Error;
use rt::Drain;
use tokio::sync::Notify;

use crate::{Handle, errand::Errands};

/// Of every note that is ours.
const NOTE_PREFIX: &str = "alarm/";

/// Between two attempts to keep what could not be kept.
const RETRY_EVERY: Duration = Duration::from_secs(1);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum AlarmKind {
    /// Puts and new leases are refused.
    NoSpace,
    /// Everything about keys and leases is refused.
    Corrupt,
}

/// And which member raised it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Alarm {
    pub kind: AlarmKind,
    pub member_id: u64,
}

#[derive(Debug)]
pub(crate) struct Alarms {
    member_id: u64,
    known: Mutex<Known>,
    /// A bit for each kind that stands: asked with every request.
    standing: AtomicU8,
    raised: Notify,
}

#[derive(Debug, Default)]
struct Known {
    /// As the default keyspace has them.
    kept: BTreeSet<Alarm>,
    /// By this store, and not there yet.
    raised: BTreeSet<Alarm>,
}

// === impl AlarmKind ===

impl AlarmKind {
    pub const ALL: [AlarmKind; 2] = [AlarmKind::NoSpace, AlarmKind::Corrupt];

    /// In etcd.
    pub fn name(self) -> &'static str {
        match self {
            AlarmKind::NoSpace => "NOSPACE",
            AlarmKind::Corrupt => "CORRUPT",
        }
    }

    fn bit(self) -> u8 {
        match self {
            AlarmKind::NoSpace => 1,
            AlarmKind::Corrupt => 2,
        }
    }
}

// === impl Alarm ===

impl Alarm {
    fn note(self) -> Bytes {
        let kind = self.kind.name().to_ascii_lowercase();
        format!("{NOTE_PREFIX}{kind}/{:016x}", self.member_id).into()
    }

    /// What a newer release knows is none of our concern.
    fn of_note(name: &[u8]) -> Option<Alarm> {
        let name = std::str::from_utf8(name).ok()?.strip_prefix(NOTE_PREFIX)?;
        let (kind, member) = name.split_once('/')?;
        let kind = AlarmKind::ALL.into_iter().find(|known| known.name().eq_ignore_ascii_case(kind));
        Some(Alarm { kind: kind?, member_id: u64::from_str_radix(member, 16).ok()? })
    }
}

// === impl Alarms ===

impl Alarms {
    /// None raised. `member_id` is whose they are when the store itself does.
    pub fn new(member_id: u64) -> Alarms {
        Alarms {
            member_id,
            known: Mutex::default(),
            standing: AtomicU8::new(0),
            raised: Notify::new(),
        }
    }

    pub fn is_raised(&self, kind: AlarmKind) -> bool {
        self.standing.load(SeqCst) & kind.bit() != 0
    }

    pub fn all(&self) -> Vec<Alarm> {
        let known = self.known();
        known.kept.union(&known.raised).copied().collect()
    }

    /// By the store itself. Whether it was not raised before.
    pub fn raise(&self, kind: AlarmKind) -> bool {
        let alarm = Alarm { kind, member_id: self.member_id };
        let mut known = self.known();
        let new = !known.kept.contains(&alarm) && known.raised.insert(alarm);
        if new {
            self.restand(&known);
            self.raised.notify_one();
        }
        new
    }

    /// Takes over what is durable in the keyspace that keeps them.
    pub fn publish(&self, default: &Keyspace) {
        let notes = default.notes(NOTE_PREFIX.as_bytes());
        let kept: BTreeSet<_> = notes.filter_map(|(name, _)| Alarm::of_note(name)).collect();
        let mut known = self.known();
        if kept == known.kept {
            return;
        }
        for Alarm { kind, member_id } in kept.difference(&known.kept) {
            let kind = kind.name();
            tracing::warn!(alarm = kind, member = format!("{member_id:x}"), "alarm raised");
        }
        for Alarm { kind, member_id } in known.kept.difference(&kept) {
            let kind = kind.name();
            tracing::info!(alarm = kind, member = format!("{member_id:x}"), "alarm disarmed");
        }
        known.raised.retain(|alarm| !kept.contains(alarm));
        known.kept = kept;
        self.restand(&known);
    }

    /// Raises it for every replica. `default` is led here.
    pub async fn keep(&self, default: &Handle, alarm: Alarm) -> Result<(), Error> {
        default.set_note(alarm.note(), Some(Bytes::from_static(b"1"))).await
    }

    /// Whether it was raised. `default` is led here.
    pub async fn disarm(&self, default: &Handle, alarm: Alarm) -> Result<bool, Error> {
        let was = self.all().contains(&alarm);
        // Nor may it be passed on meanwhile. What could not be disarmed stands on.
        let was_ours = self.known().raised.remove(&alarm);
        let outcome = default.set_note(alarm.note(), None).await;
        let mut known = self.known();
        if was_ours && outcome.is_err() {
            known.raised.insert(alarm);
        }
        self.restand(&known);
        outcome.map(|()| was)
    }

    /// Has what this store raises kept by whoever leads the default keyspace,
    /// until the drain.
    pub async fn pass_on(&self, errands: Errands, drain: Drain) {
        loop {
            let waiting: Vec<_> = self.known().raised.iter().copied().collect();
            let mut failed = false;
            for alarm in waiting {
                if let Err(error) = errands.raise(self, alarm).await {
                    tracing::debug!(%error, ?alarm, "alarm not kept yet");
                    failed = true;
                }
            }
            let next = async {
                match failed {
                    true => tokio::time::sleep(RETRY_EVERY).await,
                    false => self.raised.notified().await,
                }
            };
            tokio::select! {
                () = next => {}
                () = drain.started() => return,
            }
        }
    }

    fn restand(&self, known: &Known) {
        let standing = known.kept.union(&known.raised);
        self.standing.store(standing.fold(0, |bits, alarm| bits | alarm.kind.bit()), SeqCst);
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().expect("nobody panics while holding it")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_says_which_alarm_it_keeps() {
        for kind in AlarmKind::ALL {
            let alarm = Alarm { kind, member_id: 0xabc };
            assert_eq!(Alarm::of_note(&alarm.note()), Some(alarm));
        }
        for other in ["alarm/", "alarm/fire/1", "auth/state", "alarm/nospace/x"] {
            assert_eq!(Alarm::of_note(other.as_bytes()), None, "{other}");
        }
    }

    #[test]
    fn what_a_store_found_itself_stands_until_the_keyspace_that_keeps_it_says_otherwise() {
        let alarms = Alarms::new(7);
        let mut keyspace = Keyspace::new(keyspace::Config::default());
        assert!(alarms.raise(AlarmKind::NoSpace));
        assert!(!alarms.raise(AlarmKind::NoSpace), "it is raised already");
        alarms.publish(&keyspace);
        assert!(alarms.is_raised(AlarmKind::NoSpace), "nobody has kept it yet");

        let alarm = Alarm { kind: AlarmKind::NoSpace, member_id: 7 };
        let _ = keyspace.set_note(alarm.note(), Some("1".into()));
        alarms.publish(&keyspace);
        assert_eq!(alarms.all(), [alarm]);
        let _ = keyspace.set_note(alarm.note(), None);
        alarms.publish(&keyspace);
        assert!(!alarms.is_raised(AlarmKind::NoSpace));
        assert!(alarms.raise(AlarmKind::NoSpace), "too early, and it is found again");
    }
}
