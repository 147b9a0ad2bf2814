//! The fence: a row per bucket that says who may write it. Every writing
//! transaction compares its value, so a unit that lost the bucket cannot
//! commit, whatever it still believes.

use bytes::Bytes;
use topology::{Bucket, Epoch, UnitName};

use crate::{
    Error,
    codec::{Reader, Writer},
};

/// The owner of a bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fence {
    pub epoch: Epoch,
    pub unit: UnitName,
}

/// What is to be done so that a whole shard stands at a wanted fence.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Every bucket is there already.
    Held,
    /// These buckets stand lower.
    Raise(Vec<Bucket>),
    /// A bucket stands higher, or another unit took the same epoch.
    Refused(Fence),
}

/// Judges the rows of one shard. Pure.
pub fn judge(rows: &[(Bucket, Option<Fence>)], wanted: &Fence) -> Verdict {
    let fences = rows.iter().filter_map(|(_, fence)| fence.as_ref());
    let ahead = fences
        .filter(|fence| {
            fence.epoch > wanted.epoch || (fence.epoch == wanted.epoch && fence.unit != wanted.unit)
        })
        .max_by_key(|fence| fence.epoch);
    if let Some(fence) = ahead {
        return Verdict::Refused(fence.clone());
    }
    let lower = rows.iter().filter(|(_, fence)| fence.as_ref() != Some(wanted));
    let lower: Vec<Bucket> = lower.map(|(bucket, _)| *bucket).collect();
    if lower.is_empty() { Verdict::Held } else { Verdict::Raise(lower) }
}

// === impl Fence ===

impl Fence {
    /// One owner has exactly one encoding: transactions compare these bytes.
    pub fn encode(&self) -> Bytes {
        Writer::new().number(self.epoch.0).text(self.unit.as_str()).done()
    }

    pub fn decode(bytes: &[u8]) -> Result<Fence, Error> {
        let mut reader = Reader::new("fence", bytes)?;
        let fence = Fence { epoch: Epoch(reader.number()?), unit: reader.word()? };
        reader.done()?;
        Ok(fence)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn fence(unit: u8, epoch: u64) -> Fence {
        Fence { epoch: Epoch(epoch), unit: format!("rz{unit:02}").parse().expect("a name") }
    }

    fn rows(stored: &[Option<Fence>]) -> Vec<(Bucket, Option<Fence>)> {
        let bucket = |n: usize| Bucket::new(n as u16).expect("a bucket");
        stored.iter().enumerate().map(|(n, fence)| (bucket(n), fence.clone())).collect()
    }

    #[test]
    fn a_fence_only_rises() {
        let raise = |stored: &[Option<Fence>]| judge(&rows(stored), &fence(1, 5));
        let bucket = |n| Bucket::new(n).expect("a bucket");
        assert_eq!(raise(&[None, Some(fence(2, 4))]), Verdict::Raise(vec![bucket(0), bucket(1)]));
        assert_eq!(raise(&[Some(fence(1, 5)), Some(fence(1, 4))]), Verdict::Raise(vec![bucket(1)]));
        assert_eq!(raise(&[Some(fence(1, 5))]), Verdict::Held);
        assert_eq!(raise(&[None, Some(fence(2, 5))]), Verdict::Refused(fence(2, 5)));
        assert_eq!(raise(&[Some(fence(1, 6)), Some(fence(3, 9))]), Verdict::Refused(fence(3, 9)));
    }

    proptest! {
        #[test]
        fn only_lower_epochs_are_ever_overwritten(
            stored in prop::collection::vec(prop::option::of((0_u8..4, 0_u64..8)), 1..20),
            unit in 0_u8..4, epoch in 0_u64..8,
        ) {
            let stored: Vec<_> = stored.into_iter().map(|row| row.map(|(u, e)| fence(u, e))).collect();
            if let Verdict::Raise(buckets) = judge(&rows(&stored), &fence(unit, epoch)) {
                for bucket in buckets {
                    let before = &stored[usize::from(bucket.number())];
                    prop_assert!(before.as_ref().is_none_or(|fence| fence.epoch.0 < epoch));
                }
            }
        }

        #[test]
        fn a_fence_reads_back_and_has_one_encoding(unit in 0_u8..99, epoch in any::<u64>()) {
            let fence = fence(unit, epoch);
            prop_assert_eq!(Fence::decode(&fence.encode()).expect("readable"), fence);
        }
    }
}
