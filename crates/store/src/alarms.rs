//! etcd's alarms: raised for the whole store, and there until somebody who has
//! looked says that they may go.
//!
//! They are kept as notes of the default keyspace, so a restart does not forget
//! them. What they forbid holds from the moment they are raised; that they
//! become durable may take a moment longer, and a store that dies in between
//! finds the same reason again.

use std::{collections::BTreeSet, sync::Mutex, sync::MutexGuard, time::Duration};

use bytes::Bytes;
use kv::Error;
use rt::Drain;
use tokio::sync::watch;

use crate::Handle;

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
    raised: Mutex<BTreeSet<Alarm>>,
    /// Counts changes, for whoever makes them durable.
    changes: watch::Sender<u64>,
}

// === impl Alarm ===

impl Alarm {
    fn note(self) -> Bytes {
        let kind = match self.kind {
            AlarmKind::NoSpace => "nospace",
            AlarmKind::Corrupt => "corrupt",
        };
        format!("{NOTE_PREFIX}{kind}/{:016x}", self.member_id).into()
    }

    /// What a newer release knows is none of our concern.
    fn of_note(name: &[u8]) -> Option<Alarm> {
        let name = std::str::from_utf8(name).ok()?.strip_prefix(NOTE_PREFIX)?;
        let (kind, member) = name.split_once('/')?;
        let kind = match kind {
            "nospace" => AlarmKind::NoSpace,
            "corrupt" => AlarmKind::Corrupt,
            _ => return None,
        };
        Some(Alarm { kind, member_id: u64::from_str_radix(member, 16).ok()? })
    }
}

// === impl Alarms ===

impl Alarms {
    /// None raised. `member_id` is whose they are when the store itself does.
    pub fn new(member_id: u64) -> Alarms {
        Alarms { member_id, raised: Mutex::default(), changes: watch::Sender::new(0) }
    }

    pub fn is_raised(&self, kind: AlarmKind) -> bool {
        self.raised().iter().any(|alarm| alarm.kind == kind)
    }

    pub fn all(&self) -> Vec<Alarm> {
        self.raised().iter().copied().collect()
    }

    /// By the store itself. Whether it was not raised before.
    pub fn raise(&self, kind: AlarmKind) -> bool {
        self.raise_for(Alarm { kind, member_id: self.member_id })
    }

    pub fn raise_for(&self, alarm: Alarm) -> bool {
        let new = self.raised().insert(alarm);
        if new {
            self.changed();
        }
        new
    }

    /// Whether it was raised.
    pub fn disarm(&self, alarm: Alarm) -> bool {
        let was = self.raised().remove(&alarm);
        if was {
            self.changed();
        }
        was
    }

    /// Takes in what is kept, and then keeps what changes, until the drain.
    pub async fn keep(&self, default: Handle, drain: Drain) {
        let mut changes = self.changes.subscribe();
        let mut loaded = false;
        loop {
            // Marked as seen first: what changes meanwhile comes round again.
            changes.borrow_and_update();
            let kept = match loaded {
                true => self.write(&default).await,
                false => self.read(&default).await,
            };
            let next = async {
                match kept {
                    Ok(()) if loaded => drop(changes.changed().await),
                    Ok(()) => {}
                    Err(_) => tokio::time::sleep(RETRY_EVERY).await,
                }
            };
            tokio::select! {
                () = next => {}
                () = drain.started() => return,
            }
            loaded |= kept.is_ok();
        }
    }

    async fn read(&self, default: &Handle) -> Result<(), Error> {
        let kept = default.notes(NOTE_PREFIX).await?;
        self.raised().extend(kept.iter().filter_map(|(name, _)| Alarm::of_note(name)));
        Ok(())
    }

    async fn write(&self, default: &Handle) -> Result<(), Error> {
        let kept = default.notes(NOTE_PREFIX).await?;
        let kept: BTreeSet<_> = kept.iter().filter_map(|(name, _)| Alarm::of_note(name)).collect();
        let wanted = self.raised().clone();
        for gone in kept.difference(&wanted) {
            default.set_note(gone.note(), None).await?;
        }
        for new in wanted.difference(&kept) {
            default.set_note(new.note(), Some(Bytes::from_static(b"1"))).await?;
        }
        Ok(())
    }

    fn changed(&self) {
        self.changes.send_modify(|changes| *changes += 1);
    }

    fn raised(&self) -> MutexGuard<'_, BTreeSet<Alarm>> {
        self.raised.lock().expect("nobody panics while holding it")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_says_which_alarm_it_keeps() {
        for kind in [AlarmKind::NoSpace, AlarmKind::Corrupt] {
            let alarm = Alarm { kind, member_id: 0xabc };
            assert_eq!(Alarm::of_note(&alarm.note()), Some(alarm));
        }
        for other in ["alarm/", "alarm/fire/1", "auth/state", "alarm/nospace/x"] {
            assert_eq!(Alarm::of_note(other.as_bytes()), None, "{other}");
        }
    }
}
