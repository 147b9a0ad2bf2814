//! How the shard map may change.
//!
//! `Serving(a)@17 → Moving{from: a, to: b}@18 → Serving(b)@18`. An epoch is
//! taken once, when the intent is committed; a revert or another target is a
//! new Moving at the next epoch. `Serving` needs proof that its unit raised the
//! fence at exactly this epoch ([`Raised`]). A first assignment and a failover
//! are Moving from none, so there is one road for all.
//!
//! A split changes the layout of buckets and nobody's right to write: see [`split`].
//!
//! Each function takes the map as it was read and gives the next one, or
//! nothing when there is nothing to do. Whoever commits it compares the version
//! that was read, so two plans from one map cannot both happen.

use std::collections::{BTreeMap, BTreeSet};

use topology::{
    Assignment, BucketRange, Epoch, Layout, MapVersion, Shard, ShardMap, ShardState, SplitError,
    UnitName,
};

/// The next map, and what changes in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    pub map: ShardMap,
    pub steps: Vec<Step>,
}

/// One shard's change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    pub shard: Shard,
    pub epoch: Epoch,
    /// Who served or was about to, if anyone.
    pub before: Option<UnitName>,
    /// Who serves or shall.
    pub unit: UnitName,
}

/// Proof that `unit` raised the fence of `shard` to `epoch`: its own answer,
/// given after the commit.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Raised {
    pub shard: Shard,
    pub epoch: Epoch,
    pub unit: UnitName,
}

/// Why buckets cannot become a shard of their own now.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unsplittable {
    #[error(transparent)]
    Layout(#[from] SplitError),
    #[error("shard {0} was not given to a unit yet")]
    Unassigned(Shard),
    #[error("shard {0} is moving; it is split once it is served")]
    Moving(Shard),
}

impl Unsplittable {
    /// Whether it stays so: shards are split and never joined.
    #[must_use]
    pub fn is_for_good(&self) -> bool {
        match self {
            Unsplittable::Layout(SplitError::Several { .. } | SplitError::Full) => true,
            Unsplittable::Layout(SplitError::Middle { .. }) => false,
            Unsplittable::Unassigned(_) | Unsplittable::Moving(_) => false,
        }
    }
}

/// Makes a shard of its own of `taken`; nothing when they are one.
///
/// The part starts with its shard's unit and epoch. So no fence is touched and
/// nobody waits: the fence rows of all its buckets stand at that epoch and unit
/// already, since Serving is published only after they were raised. They accept
/// the same owner before and after, whichever of the two maps a request was
/// routed by. From there on each part counts its own epochs. The next intent of
/// either takes the epoch above what its rows have ever seen, since rows are
/// raised only to an epoch that the map gave their shard. An edge that still
/// routes by the map from before stamps the old epoch, which is below: it is
/// refused, and comes back by a newer map.
///
/// A raise names the buckets that it is for, by the map that has the intent. One of
/// the whole that comes late is for an epoch that all its rows have, or are above:
/// the shard was served when it was split. So it changes nothing, however late. A
/// shard that is on its way is left alone, since its requests are held and a split
/// can wait.
pub fn split(map: &ShardMap, taken: BucketRange) -> Result<Option<Plan>, Unsplittable> {
    if map.layout.exactly(taken).is_some() {
        return Ok(None);
    }
    let shard = map.layout.shard_of(taken.first());
    let mut draft = Draft::of(map);
    let part = draft.layout.split(taken)?;
    let assignment = map.get(shard).ok_or(Unsplittable::Unassigned(shard))?;
    if matches!(assignment.state, ShardState::Moving { .. }) {
        return Err(Unsplittable::Moving(shard));
    }
    draft.set(part, assignment.clone());
    Ok(draft.plan())
}

/// Gives shards that were never given to anyone to their homes.
#[must_use]
pub fn assign_homes<'a>(
    map: &ShardMap,
    homes: impl IntoIterator<Item = (Shard, &'a UnitName)>,
) -> Option<Plan> {
    let mut draft = Draft::of(map);
    for (shard, home) in homes {
        if map.get(shard).is_none() && map.layout.has(shard) {
            draft.intend(shard, None, home.clone());
        }
    }
    draft.plan()
}

/// Moves everything away from `lost` units. `target` names who takes over what
/// a unit had; without one the shard stays where it is.
///
/// A planned move whose target is lost goes back to where it came from, if that
/// is still there: the data is warm there.
#[must_use]
pub fn fail_over(
    map: &ShardMap,
    lost: &BTreeSet<UnitName>,
    mut target: impl FnMut(&UnitName, Shard) -> Option<UnitName>,
) -> Option<Plan> {
    let mut draft = Draft::of(map);
    for (shard, assignment) in &map.assignments {
        let owner = assignment.state.target();
        if !lost.contains(owner) {
            continue;
        }
        let back = match &assignment.state {
            ShardState::Moving { from: Some(from), .. } if !lost.contains(from) => {
                Some(from.clone())
            }
            ShardState::Moving { .. } | ShardState::Serving { .. } => None,
        };
        let to = back.or_else(|| target(owner, *shard));
        if let Some(to) = to.filter(|to| !lost.contains(to)) {
            draft.intend(*shard, None, to);
        }
    }
    draft.plan()
}

/// Moves shards in order: their owner is alive and asked to let go first. A
/// shard that is on its way elsewhere takes the new target at a new epoch.
#[must_use]
pub fn move_planned<'a>(
    map: &ShardMap,
    moves: impl IntoIterator<Item = (Shard, &'a UnitName)>,
) -> Option<Plan> {
    let mut draft = Draft::of(map);
    for (shard, to) in moves {
        let Some(assignment) = map.get(shard) else { continue };
        let owner = assignment.state.target();
        if owner != to {
            // Of a shard in Moving, the target may have raised the fence and
            // serve already; it is the one to be asked.
            draft.intend(shard, Some(owner.clone()), to.clone());
        }
    }
    draft.plan()
}

/// Gives moves that do not come to an end another target, at a new epoch. `to`
/// is told where each came from and where it is stuck; without another target
/// it stays. The stuck target is not asked to let go: it never got ready to
/// answer, and should it have raised the fence, the new epoch is above.
#[must_use]
pub fn retarget(
    map: &ShardMap,
    stuck: &BTreeSet<(Shard, Epoch)>,
    to: impl Fn(Option<&UnitName>, &UnitName) -> Option<UnitName>,
) -> Option<Plan> {
    let mut draft = Draft::of(map);
    for (shard, epoch) in stuck {
        let Some(assignment) = map.get(*shard) else { continue };
        let ShardState::Moving { from, to: target } = &assignment.state else { continue };
        if assignment.epoch != *epoch {
            continue;
        }
        let next = to(from.as_ref(), target).filter(|next| next != target);
        if let Some(next) = next {
            draft.intend(*shard, None, next);
        }
    }
    draft.plan()
}

/// Publishes what has been proven: shards still Moving to exactly this unit at
/// exactly this epoch. Other proofs are late, and say nothing about now.
#[must_use]
pub fn publish_serving(map: &ShardMap, raised: &[Raised]) -> Option<Plan> {
    let mut draft = Draft::of(map);
    for Raised { shard, epoch, unit } in raised {
        let Some(assignment) = draft.next.get(shard) else { continue };
        let moving_here = matches!(&assignment.state, ShardState::Moving { to, .. } if to == unit);
        if moving_here && assignment.epoch == *epoch {
            let state = ShardState::Serving { unit: unit.clone() };
            draft.set(*shard, Assignment { epoch: *epoch, state });
        }
    }
    draft.plan()
}

/// Shards in Moving, by target: what the fence has to be raised for.
#[must_use]
pub fn moving(map: &ShardMap) -> BTreeMap<UnitName, Vec<Moving>> {
    let mut by_target = BTreeMap::<_, Vec<_>>::new();
    for (shard, assignment) in &map.assignments {
        if let ShardState::Moving { from, to } = &assignment.state {
            // A map with an owner for a shard without buckets is not read.
            let Some(buckets) = map.layout.buckets(*shard) else { continue };
            let (shard, epoch) = (*shard, assignment.epoch);
            let moving = Moving { shard, buckets, epoch, from: from.clone() };
            by_target.entry(to.clone()).or_default().push(moving);
        }
    }
    by_target
}

/// A shard on its way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Moving {
    pub shard: Shard,
    /// What the fence is raised of: by the map that has the intent, and not by
    /// whatever the unit believes the shard to be.
    pub buckets: BucketRange,
    pub epoch: Epoch,
    /// Who is to let go first; none when nobody is asked.
    pub from: Option<UnitName>,
}

/// A map under change.
struct Draft<'a> {
    before: &'a ShardMap,
    layout: Layout,
    next: BTreeMap<Shard, Assignment>,
    steps: Vec<Step>,
}

// === impl Draft ===

impl<'a> Draft<'a> {
    fn of(before: &'a ShardMap) -> Draft<'a> {
        let (layout, next) = (before.layout.clone(), before.assignments.clone());
        Draft { before, layout, next, steps: Vec::new() }
    }

    /// Takes the shard's next epoch for a move.
    fn intend(&mut self, shard: Shard, from: Option<UnitName>, to: UnitName) {
        let epoch = self.before.get(shard).map_or(Epoch(0), |assignment| assignment.epoch).next();
        self.set(shard, Assignment { epoch, state: ShardState::Moving { from, to } });
    }

    fn set(&mut self, shard: Shard, assignment: Assignment) {
        let before = self.before.get(shard).map(|before| before.state.target().clone());
        let (epoch, unit) = (assignment.epoch, assignment.state.target().clone());
        self.steps.push(Step { shard, epoch, before, unit });
        self.next.insert(shard, assignment);
    }

    fn plan(self) -> Option<Plan> {
        if self.steps.is_empty() {
            return None;
        }
        for (shard, after) in &self.next {
            let buckets = self.layout.buckets(*shard).expect("who has an owner has buckets");
            // A part is judged by what its buckets had before.
            let whole = self.before.layout.shard_of(buckets.first());
            let before = self.before.layout.buckets(whole);
            assert!(
                before.is_some_and(|before| before.covers(buckets)),
                "shard {shard}: buckets only leave a shard"
            );
            check_step(*shard, self.before.get(whole), after);
        }
        let version = MapVersion(self.before.version.0 + 1);
        let map = ShardMap { version, layout: self.layout, assignments: self.next };
        Some(Plan { map, steps: self.steps })
    }
}

/// The rule of the module, checked on every plan in release too: a map that
/// breaks it would let two units write.
fn check_step(shard: Shard, before: Option<&Assignment>, after: &Assignment) {
    if before == Some(after) {
        return;
    }
    let before_epoch = before.map_or(Epoch(0), |before| before.epoch);
    match &after.state {
        ShardState::Moving { .. } => {
            assert_eq!(
                after.epoch,
                before_epoch.next(),
                "shard {shard}: an intent takes one epoch"
            );
        }
        ShardState::Serving { unit } => {
            let intent = before.filter(
                |before| matches!(&before.state, ShardState::Moving { to, .. } if to == unit),
            );
            assert!(
                intent.is_some_and(|intent| intent.epoch == after.epoch),
                "shard {shard}: serving follows the intent of the same epoch and unit"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unit(name: &str) -> UnitName {
        name.parse().expect("a name")
    }

    fn shard(number: u16) -> Shard {
        Shard::new(number).expect("a shard")
    }

    /// `42 serving rz01@17`, `42 moving rz01>rz02@18`, `42 moving >rz02@18`.
    fn map(lines: &str) -> ShardMap {
        let assignments =
            lines.lines().map(str::trim).filter(|line| !line.is_empty()).map(|line| {
                let words: Vec<_> = line.split_whitespace().collect();
                let (place, epoch) = words[2].split_once('@').expect("an epoch");
                let state = match words[1] {
                    "serving" => ShardState::Serving { unit: unit(place) },
                    _ => {
                        let (from, to) = place.split_once('>').expect("a target");
                        let from = (!from.is_empty()).then(|| unit(from));
                        ShardState::Moving { from, to: unit(to) }
                    }
                };
                let epoch = Epoch(epoch.parse().expect("an epoch"));
                (words[0].parse().expect("a shard"), Assignment { epoch, state })
            });
        let (version, assignments) = (MapVersion(7), assignments.collect());
        ShardMap { version, assignments, ..ShardMap::default() }
    }

    fn text(plan: Option<Plan>) -> String {
        let Some(Plan { map, .. }) = plan else { return "nothing".into() };
        assert_eq!(map.version, MapVersion(8));
        let lines = map.assignments.iter().map(|(shard, assignment)| {
            let epoch = assignment.epoch;
            match &assignment.state {
                ShardState::Serving { unit } => format!("{shard} serving {unit}@{epoch}"),
                ShardState::Moving { from, to } => {
                    let from = from.as_ref().map_or("", UnitName::as_str);
                    format!("{shard} moving {from}>{to}@{epoch}")
                }
            }
        });
        lines.collect::<Vec<_>>().join("; ")
    }

    #[test]
    fn a_shard_without_a_past_starts_at_epoch_one() {
        let home = unit("rz01");
        let before = map("01 serving rz02@5");
        let plan = assign_homes(&before, [(shard(0), &home), (shard(1), &home)]);
        assert_eq!(text(plan), "00 moving >rz01@1; 01 serving rz02@5");
        assert_eq!(text(assign_homes(&before, [(shard(1), &home)])), "nothing");
    }

    #[test]
    fn a_part_starts_where_its_shard_stands_and_goes_its_own_way() {
        let half: BucketRange = "4250-4299".parse().expect("buckets");
        let before = map("42 serving rz01@17\n43 serving rz02@3");
        let plan = split(&before, half).expect("it is served").expect("a plan");
        assert_eq!(plan.map.layout.exactly(half), Some(shard(100)));
        let after = ShardMap { version: MapVersion(7), ..plan.map.clone() };
        assert_eq!(text(Some(plan)), "42 serving rz01@17; 43 serving rz02@3; 100 serving rz01@17");
        assert_eq!(split(&after, half), Ok(None), "it is one already");
        let to = unit("rz03");
        let moved = move_planned(&after, [(shard(100), &to)]).expect("a plan");
        let intents = moving(&moved.map).remove(&to).expect("an intent");
        assert_eq!((intents[0].buckets, intents[0].epoch), (half, Epoch(18)));
        assert_eq!(
            text(Some(moved)),
            "42 serving rz01@17; 43 serving rz02@3; 100 moving rz01>rz03@18"
        );
    }

    #[test]
    fn only_what_is_served_is_split() {
        let half: BucketRange = "4250-4299".parse().expect("buckets");
        let check = |lines: &str, expected: &str| {
            let error = split(&map(lines), half).expect_err(lines);
            assert!(error.to_string().contains(expected), "{error}");
        };
        check("42 moving rz01>rz02@18", "shard 42 is moving");
        check("42 moving >rz02@18", "shard 42 is moving");
        check("43 serving rz02@3", "was not given to a unit");
    }

    #[test]
    fn a_home_of_a_shard_that_is_not_there_gives_it_to_nobody() {
        let home = unit("rz01");
        let before = map("42 serving rz02@5");
        assert_eq!(text(assign_homes(&before, [(shard(100), &home)])), "nothing");
    }

    #[test]
    fn a_lost_unit_s_shards_move_from_nobody_at_the_next_epoch() {
        let before = map("00 serving rz01@3\n01 serving rz02@4\n02 moving >rz01@9");
        let lost = BTreeSet::from([unit("rz01")]);
        let plan = fail_over(&before, &lost, |_, _| Some(unit("rz03")));
        assert_eq!(text(plan), "00 moving >rz03@4; 01 serving rz02@4; 02 moving >rz03@10");
        assert_eq!(text(fail_over(&before, &lost, |_, _| None)), "nothing");
        assert_eq!(text(fail_over(&before, &lost, |lost, _| Some(lost.clone()))), "nothing");
    }

    #[test]
    fn a_move_whose_target_is_lost_goes_back_where_it_came_from() {
        let before = map("00 moving rz02>rz01@3\n01 moving rz04>rz01@3");
        let lost = BTreeSet::from([unit("rz01"), unit("rz04")]);
        let plan = fail_over(&before, &lost, |_, _| Some(unit("rz03")));
        assert_eq!(text(plan), "00 moving >rz02@4; 01 moving >rz03@4");
    }

    #[test]
    fn a_new_target_is_a_new_intent() {
        let before = map("00 moving rz01>rz02@3\n01 serving rz02@1");
        let (back, here) = (unit("rz01"), unit("rz02"));
        assert_eq!(
            text(move_planned(&before, [(shard(0), &back), (shard(1), &here)])),
            "00 moving rz02>rz01@4; 01 serving rz02@1"
        );
        assert_eq!(text(move_planned(&before, [(shard(5), &back)])), "nothing");
    }

    #[test]
    fn a_stuck_move_takes_another_target_only_while_it_is_the_same_move() {
        let before = map("00 moving rz03>rz01@3\n01 moving >rz01@3\n02 moving >rz01@4\n\
                          03 serving rz01@3\n04 moving >rz02@3");
        let stuck = (0..6).map(|number| (shard(number), Epoch(3))).collect();
        let plan = retarget(&before, &stuck, |from, at| match at.as_str() {
            "rz01" => Some(from.cloned().unwrap_or_else(|| unit("rz05"))),
            _ => Some(at.clone()),
        });
        assert_eq!(
            text(plan),
            "00 moving >rz03@4; 01 moving >rz05@4; 02 moving >rz01@4; 03 serving rz01@3; \
             04 moving >rz02@3"
        );
        assert_eq!(text(retarget(&before, &stuck, |_, _| None)), "nothing");
    }

    #[test]
    fn serving_is_published_only_on_proof_of_this_epoch_and_unit() {
        let before = map("00 moving rz01>rz02@3");
        let proof = |epoch, name| Raised { shard: shard(0), epoch: Epoch(epoch), unit: unit(name) };
        for late in [proof(2, "rz02"), proof(4, "rz02"), proof(3, "rz01")] {
            assert_eq!(text(publish_serving(&before, &[late])), "nothing");
        }
        let twice = [proof(3, "rz02"), proof(3, "rz02")];
        assert_eq!(text(publish_serving(&before, &twice)), "00 serving rz02@3");
    }
}
