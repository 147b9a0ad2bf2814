//! Any sequence of splits, moves, failovers and late raises: every bucket has
//! exactly one owner, its fence is where the map says that it is served, and its
//! epochs rise.

use std::collections::{BTreeMap, BTreeSet};

use planner::shard_map::{self, Moving, Plan, Raised};
use proptest::prelude::*;
use topology::{
    BUCKETS, Bucket, BucketRange, DEFAULT_SHARDS, Epoch, Shard, ShardMap, ShardState, UnitName,
};

/// Shards of the default layout that anything happens to.
const HUNDREDS: u16 = 3;

#[derive(Clone, Debug)]
enum Step {
    /// From this bucket to the end of its shard, or from its beginning to it.
    Split(u16, bool),
    Move(usize, u8),
    FailOver(u8),
    /// The intents of now are raised and published; those that are told to wait
    /// are raised once more after the next steps.
    CarryOut(u8),
}

#[derive(Default)]
struct World {
    map: ShardMap,
    fences: BTreeMap<Bucket, (Epoch, UnitName)>,
    late: Vec<(UnitName, Moving)>,
}

fn unit(number: u8) -> UnitName {
    format!("rz{number:02}").parse().expect("a name")
}

// === impl World ===

impl World {
    fn commit(&mut self, plan: Option<Plan>) -> Result<(), TestCaseError> {
        let Some(Plan { map, .. }) = plan else { return Ok(()) };
        for bucket in (0..HUNDREDS * 100).filter_map(Bucket::new) {
            let (before, after) = (self.map.of_bucket(bucket), map.of_bucket(bucket));
            prop_assert!(before.map(|a| a.epoch) <= after.map(|a| a.epoch), "bucket {bucket}");
        }
        self.map = map;
        Ok(())
    }

    fn step(&mut self, step: Step) -> Result<(), TestCaseError> {
        match step {
            Step::Split(number, upper) => {
                let bucket = Bucket::new(number).expect("a bucket");
                let layout = &self.map.layout;
                let whole = layout.buckets(layout.shard_of(bucket)).expect("it has an owner");
                let (first, last) =
                    if upper { (bucket, whole.last()) } else { (whole.first(), bucket) };
                let taken = BucketRange::new(first, last).expect("of one shard");
                let before = self.map.of_bucket(bucket).cloned();
                let plan = shard_map::split(&self.map, taken).ok().flatten();
                self.commit(plan)?;
                prop_assert_eq!(self.map.of_bucket(bucket).cloned(), before);
            }
            Step::Move(at, to) => {
                let shards: Vec<Shard> = self.map.assignments.keys().copied().collect();
                let (shard, to) = (shards[at % shards.len()], unit(to));
                self.commit(shard_map::move_planned(&self.map, [(shard, &to)]))?;
            }
            Step::FailOver(lost) => {
                let to = unit((lost + 1) % 3);
                let lost = BTreeSet::from([unit(lost)]);
                self.commit(shard_map::fail_over(&self.map, &lost, |_, _| Some(to.clone())))?;
            }
            Step::CarryOut(late) => {
                let due = std::mem::take(&mut self.late);
                let intents = shard_map::moving(&self.map);
                let intents = intents
                    .into_iter()
                    .flat_map(|(to, all)| all.into_iter().map(move |moving| (to.clone(), moving)));
                let mut proofs = Vec::new();
                for (n, (to, moving)) in intents.enumerate() {
                    if n % 8 == usize::from(late) {
                        self.late.push((to, moving));
                    } else {
                        proofs.extend(self.raise(&to, &moving));
                    }
                }
                self.commit(shard_map::publish_serving(&self.map, &proofs))?;
                for (to, moving) in due {
                    self.raise(&to, &moving);
                }
            }
        }
        self.check()
    }

    /// As the ledger does: all buckets that are named, or none.
    fn raise(&mut self, to: &UnitName, moving: &Moving) -> Option<Raised> {
        let wanted = (moving.epoch, to.clone());
        let fences: Vec<_> = moving.buckets.iter().map(|b| self.fences.get(&b).cloned()).collect();
        let ahead = |fence: &(Epoch, UnitName)| {
            fence.0 > wanted.0 || fence.0 == wanted.0 && *fence != wanted
        };
        if fences.iter().flatten().any(ahead) {
            return None;
        }
        for bucket in moving.buckets.iter() {
            self.fences.insert(bucket, wanted.clone());
        }
        Some(Raised { shard: moving.shard, epoch: moving.epoch, unit: to.clone() })
    }

    fn check(&self) -> Result<(), TestCaseError> {
        let mut owned = 0;
        for shard in self.map.layout.shards() {
            let buckets = self.map.layout.buckets(shard).expect("it is listed");
            owned += buckets.len();
            let Some(assignment) = self.map.get(shard) else {
                prop_assert!(shard.number() >= HUNDREDS && shard.number() < DEFAULT_SHARDS);
                continue;
            };
            let ShardState::Serving { unit } = &assignment.state else { continue };
            for bucket in buckets.iter() {
                prop_assert_eq!(self.map.layout.shard_of(bucket), shard);
                prop_assert_eq!(self.fences.get(&bucket), Some(&(assignment.epoch, unit.clone())));
            }
        }
        prop_assert_eq!(owned, usize::from(BUCKETS));
        Ok(())
    }
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (0..HUNDREDS * 100, any::<bool>()).prop_map(|(bucket, upper)| Step::Split(bucket, upper)),
        3 => (any::<usize>(), 0..3_u8).prop_map(|(shard, to)| Step::Move(shard, to)),
        1 => (0..3_u8).prop_map(Step::FailOver),
        4 => (0..16_u8).prop_map(Step::CarryOut),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn every_bucket_has_one_owner_and_its_fence_is_there(steps in prop::collection::vec(step(), 1..60)) {
        let mut world = World::default();
        let homes: Vec<_> =
            (0..HUNDREDS).map(|n| (Shard::new(n).expect("a shard"), unit(n as u8))).collect();
        let homes = homes.iter().map(|(shard, home)| (*shard, home));
        world.commit(shard_map::assign_homes(&ShardMap::default(), homes))?;
        world.step(Step::CarryOut(8))?;
        for step in steps {
            world.step(step)?;
        }
    }
}
