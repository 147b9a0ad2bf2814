//! What this process knows about one bucket: its fence as last seen, and
//! whether it is being handed over. A desk is a bucket's and not a shard's, since
//! what a shard is changes with splits, and the fences are the buckets' own.
//!
//! Knowledge here only saves work. It is never the reason why a write happens:
//! that is the compare in the transaction.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use topology::{Bucket, Epoch, UnitName};

use crate::{Error, fence::Fence, queue::Queue};

/// A bucket's knowledge and its queue.
pub struct Desk {
    bucket: Bucket,
    state: Mutex<State>,
    /// Made on first use: a process serves a fifth of the buckets.
    queue: OnceLock<Arc<Queue>>,
}

#[derive(Clone, Debug, Default)]
struct State {
    standing: Standing,
    /// Handed over by a move of this epoch: writes stay refused until a fence
    /// that is not below it is seen.
    closed_below: Option<Epoch>,
}

/// The fence as last seen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Standing {
    #[default]
    Unseen,
    /// The row does not exist.
    NeverRaised,
    Known(Fence),
}

// === impl Desk ===

impl Desk {
    pub fn new(bucket: Bucket) -> Desk {
        Desk { bucket, state: Mutex::default(), queue: OnceLock::new() }
    }

    pub fn bucket(&self) -> Bucket {
        self.bucket
    }

    pub fn standing(&self) -> Standing {
        self.state().standing.clone()
    }

    /// The fence if it is ours; otherwise whose it is.
    pub fn ours(&self, unit: &UnitName) -> Result<Fence, Error> {
        match self.standing() {
            Standing::Known(fence) if fence.unit == *unit => Ok(fence),
            Standing::Known(fence) => {
                Err(Error::Misdirected { bucket: self.bucket, fence: Some(fence) })
            }
            Standing::Unseen | Standing::NeverRaised => {
                Err(Error::Misdirected { bucket: self.bucket, fence: None })
            }
        }
    }

    /// A fence row as just read. An older one than known is ignored: answers
    /// overtake each other, fences only rise.
    pub fn learn(&self, seen: Option<Fence>) {
        let mut state = self.state();
        match (seen, &state.standing) {
            (Some(seen), Standing::Known(known)) if seen.epoch <= known.epoch => {}
            (Some(seen), _) => {
                if state.closed_below.is_some_and(|below| seen.epoch >= below) {
                    state.closed_below = None;
                }
                state.standing = Standing::Known(seen);
            }
            (None, Standing::Known(_)) => {}
            (None, _) => state.standing = Standing::NeverRaised,
        }
    }

    /// Refuses new writes while the fence is below this. False if none such is
    /// known: that move is over, and the shard may be ours anew.
    pub fn close(&self, below: Epoch) -> bool {
        let mut state = self.state();
        let lower = matches!(&state.standing, Standing::Known(fence) if fence.epoch < below);
        if lower {
            state.closed_below = state.closed_below.max(Some(below));
        }
        lower
    }

    /// Whether a request `routed` so shows that the move we closed for is over:
    /// another process of the unit may have raised the fence.
    pub fn is_behind(&self, routed: Epoch) -> bool {
        self.state().closed_below.is_some_and(|below| routed >= below)
    }

    /// Whether new writes are taken.
    pub fn open(&self) -> Result<(), Error> {
        let state = self.state();
        match (&state.closed_below, &state.standing) {
            (Some(_), Standing::Known(fence)) => {
                Err(Error::Moving { bucket: self.bucket, fence: fence.clone() })
            }
            _ => Ok(()),
        }
    }

    pub fn queue(&self) -> &Arc<Queue> {
        self.queue.get_or_init(Arc::default)
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        // No code that can panic runs under this lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fence(unit: &str, epoch: u64) -> Option<Fence> {
        Some(Fence { epoch: Epoch(epoch), unit: unit.parse().expect("a name") })
    }

    #[test]
    fn a_closed_bucket_opens_only_at_the_fence_of_its_move_or_a_higher_one() {
        let desk = Desk::new(Bucket::new(4200).expect("a bucket"));
        desk.learn(fence("rz01", 3));
        assert!(desk.close(Epoch(6)));
        // A drain of an earlier move comes late: it must not open anything.
        assert!(desk.close(Epoch(4)));
        // Our knowledge was old: this fence is the one being given up.
        desk.learn(fence("rz01", 5));
        assert!(matches!(desk.open(), Err(Error::Moving { .. })));
        assert!(!desk.is_behind(Epoch(5)) && desk.is_behind(Epoch(6)));
        desk.learn(fence("rz01", 6));
        assert!(desk.open().is_ok());
        assert!(!desk.close(Epoch(6)), "that move is over");
        assert!(desk.open().is_ok());
    }

    #[test]
    fn a_late_answer_does_not_bring_back_an_old_fence() {
        let desk = Desk::new(Bucket::new(4200).expect("a bucket"));
        let rz01 = "rz01".parse().expect("a name");
        assert!(desk.ours(&rz01).is_err());
        desk.learn(fence("rz03", 5));
        desk.learn(fence("rz01", 4));
        desk.learn(None);
        assert!(
            matches!(desk.ours(&rz01), Err(Error::Misdirected { fence: Some(f), .. }) if f.epoch == Epoch(5))
        );
    }
}
