//! The routing table: for every shard a target, or the reason to wait. Pure.
//!
//! A [`View`] is what was seen (shard map, ready endpoints); a [`Table`] is
//! what follows from it, laid out for the request path. Every thread builds
//! its own table from the shared view, so that routing touches no memory that
//! another core writes.

use std::{collections::BTreeMap, net::SocketAddr, rc::Rc};

use http::HeaderValue;
use topology::{
    Epoch, Extent, Layout, MapVersion, SHARDS_MAX, Shard, ShardMap, ShardState, Stamp, UnitName,
};

use crate::key::Aim;

/// What the edge knows of the world.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct View {
    pub map: ShardMap,
    /// Ready endpoints of the ledger in each unit.
    pub endpoints: BTreeMap<UnitName, Vec<SocketAddr>>,
}

#[derive(Debug)]
pub struct Table {
    version: MapVersion,
    layout: Layout,
    /// Indexed by shard number.
    routes: Vec<Route>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Route {
    Serve(Rc<Target>),
    Wait(Wait),
}

/// Where a shard's requests go.
#[derive(Debug, PartialEq, Eq)]
pub struct Target {
    pub shard: Shard,
    pub unit: UnitName,
    pub epoch: Epoch,
    /// Never empty.
    pub endpoints: Vec<SocketAddr>,
    /// The `polis-shard` header of a request sent there.
    pub stamp: HeaderValue,
}

/// Why a shard's requests wait.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wait {
    /// No map yet, or the shard was never given to a unit.
    Unassigned,
    /// `from` still finishes what it has begun; none in a failover.
    Moving { from: Option<UnitName>, epoch: Epoch },
    /// The owner has no ready endpoint.
    NoEndpoint { unit: UnitName, epoch: Epoch },
}

// === impl Table ===

impl Table {
    #[must_use]
    pub fn build(view: &View) -> Table {
        let layout = view.map.layout.clone();
        let mut table = Table { version: view.map.version, layout, ..Table::default() };
        for extent in view.map.layout.shards().filter_map(|shard| view.map.layout.extent(shard)) {
            table.routes[usize::from(extent.shard.number())] = Route::of(view, extent);
        }
        table
    }

    #[must_use]
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Whose request this is, by this table.
    #[must_use]
    pub fn shard_of(&self, aim: &Aim) -> Shard {
        match aim {
            Aim::Bucket(bucket) => self.layout.shard_of(*bucket),
            Aim::Shard(shard) => *shard,
        }
    }

    /// The shard of the default layout that it is counted with.
    #[must_use]
    pub fn hundred_of(&self, aim: &Aim) -> Shard {
        match aim {
            Aim::Bucket(bucket) => bucket.shard(),
            Aim::Shard(shard) => self.layout.buckets(*shard).map_or(*shard, |b| b.hundred()),
        }
    }

    /// Whether the request names a shard that there is none of.
    #[must_use]
    pub fn knows_no(&self, aim: &Aim) -> bool {
        matches!(aim, Aim::Shard(shard) if !self.layout.has(*shard) && self.is_useful())
    }

    #[must_use]
    pub fn version(&self) -> MapVersion {
        self.version
    }

    #[must_use]
    pub fn route(&self, shard: Shard) -> &Route {
        &self.routes[usize::from(shard.number())]
    }

    /// Whether anything can be served or waited for: some shard has an owner.
    #[must_use]
    pub fn is_useful(&self) -> bool {
        self.routes.iter().any(|route| *route != Route::Wait(Wait::Unassigned))
    }

    /// Shards whose route differs from that in `before`.
    pub fn changes<'a>(&'a self, before: &'a Table) -> impl Iterator<Item = Shard> + 'a {
        let shards = (0..SHARDS_MAX).filter_map(Shard::new);
        shards.filter(|shard| self.route(*shard) != before.route(*shard))
    }

    /// Shards that lost buckets since `before`: who waits for one may be of another
    /// shard now.
    pub fn split_since<'a>(&'a self, before: &'a Table) -> impl Iterator<Item = Shard> + 'a {
        let same = self.layout == before.layout;
        let shards = before.layout.shards().filter(move |_| !same);
        shards.filter(|shard| self.layout.buckets(*shard) != before.layout.buckets(*shard))
    }

    /// Whether an answer from `endpoint`, to which a request went by `target`,
    /// is no longer worth waiting for: the shard is, or is being, taken over by
    /// another unit, or the unit has replaced that endpoint. A unit that hands
    /// the shard over by plan is still finishing, and is waited for.
    #[must_use]
    pub fn supersedes(&self, target: &Target, endpoint: SocketAddr) -> bool {
        match self.route(target.shard) {
            Route::Serve(now) if now.unit == target.unit => !now.endpoints.contains(&endpoint),
            Route::Serve(_) => true,
            Route::Wait(Wait::Moving { from: Some(from), .. }) => *from != target.unit,
            Route::Wait(Wait::Moving { from: None, epoch }) => *epoch > target.epoch,
            Route::Wait(Wait::NoEndpoint { unit, .. }) => *unit != target.unit,
            Route::Wait(Wait::Unassigned) => false,
        }
    }

    /// Every endpoint that some shard may be sent to.
    pub fn endpoints(&self) -> impl Iterator<Item = (&UnitName, SocketAddr)> {
        self.routes.iter().flat_map(|route| match route {
            Route::Serve(target) => {
                target.endpoints.iter().map(|endpoint| (&target.unit, *endpoint)).collect()
            }
            Route::Wait(_) => Vec::new(),
        })
    }
}

// === impl Route ===

impl Route {
    #[must_use]
    pub fn epoch(&self) -> Option<Epoch> {
        match self {
            Route::Serve(target) => Some(target.epoch),
            Route::Wait(Wait::Moving { epoch, .. } | Wait::NoEndpoint { epoch, .. }) => {
                Some(*epoch)
            }
            Route::Wait(Wait::Unassigned) => None,
        }
    }

    fn of(view: &View, extent: Extent) -> Route {
        let shard = extent.shard;
        let Some(assignment) = view.map.get(shard) else { return Route::Wait(Wait::Unassigned) };
        let epoch = assignment.epoch;
        let unit = match &assignment.state {
            ShardState::Moving { from, .. } => {
                return Route::Wait(Wait::Moving { from: from.clone(), epoch });
            }
            ShardState::Serving { unit } => unit.clone(),
        };
        match view.endpoints.get(&unit) {
            Some(endpoints) if !endpoints.is_empty() => {
                let stamp = Stamp { extent, unit: unit.clone(), epoch, hop: 1 }.to_string();
                let stamp = HeaderValue::from_str(&stamp).expect("a stamp is printable ASCII");
                let endpoints = endpoints.clone();
                Route::Serve(Rc::new(Target { shard, unit, epoch, endpoints, stamp }))
            }
            _ => Route::Wait(Wait::NoEndpoint { unit, epoch }),
        }
    }
}

impl Default for Table {
    /// Knows nothing: every shard waits.
    fn default() -> Table {
        let routes = vec![Route::Wait(Wait::Unassigned); usize::from(SHARDS_MAX)];
        Table { version: MapVersion::default(), layout: Layout::default(), routes }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use topology::Assignment;

    use super::*;

    fn unit(name: &str) -> UnitName {
        name.parse().expect("a name")
    }

    fn shard(number: u16) -> Shard {
        Shard::new(number).expect("a shard")
    }

    fn serving(name: &str, epoch: u64) -> Assignment {
        Assignment { epoch: Epoch(epoch), state: ShardState::Serving { unit: unit(name) } }
    }

    fn moving(from: Option<&str>, to: &str, epoch: u64) -> Assignment {
        let state = ShardState::Moving { from: from.map(unit), to: unit(to) };
        Assignment { epoch: Epoch(epoch), state }
    }

    /// A view of shard 42 alone; every unit has one endpoint, rz09 has none.
    fn view(assignment: Assignment) -> View {
        let port = |name: &str| format!("127.0.0.1:70{}", &name[2..]).parse().expect("an address");
        let endpoints = ["rz01", "rz02"].map(|name| (unit(name), vec![port(name)]));
        let map = ShardMap {
            version: MapVersion(assignment.epoch.0),
            assignments: BTreeMap::from([(shard(42), assignment)]),
            ..ShardMap::default()
        };
        View { map, endpoints: BTreeMap::from(endpoints) }
    }

    fn target(name: &str, epoch: u64) -> Rc<Target> {
        match Table::build(&view(serving(name, epoch))).route(shard(42)) {
            Route::Serve(target) => target.clone(),
            Route::Wait(wait) => panic!("{wait:?}"),
        }
    }

    #[test]
    fn a_served_shard_with_an_endpoint_has_a_target_and_every_other_waits() {
        assert_eq!(target("rz01", 17).stamp, "42; unit=rz01; epoch=17; hop=1");
        let table = Table::build(&view(serving("rz09", 3)));
        let wait = Wait::NoEndpoint { unit: unit("rz09"), epoch: Epoch(3) };
        assert_eq!(*table.route(shard(42)), Route::Wait(wait));
        let table = Table::build(&view(moving(Some("rz01"), "rz02", 3)));
        let wait = Wait::Moving { from: Some(unit("rz01")), epoch: Epoch(3) };
        assert_eq!(*table.route(shard(42)), Route::Wait(wait));
        assert_eq!(*table.route(shard(41)), Route::Wait(Wait::Unassigned));
        assert!(table.is_useful() && !Table::default().is_useful());
    }

    #[test]
    fn a_part_has_a_route_of_its_own_and_says_its_buckets() {
        let before = view(serving("rz01", 17));
        let mut after = before.clone();
        let half: topology::BucketRange = "4250-4299".parse().expect("buckets");
        let part = after.map.layout.split(half).expect("a half");
        after.map.assignments.insert(part, serving("rz02", 18));
        let (before, after) = (Table::build(&before), Table::build(&after));
        let aim = Aim::Bucket(half.first());
        assert_eq!((before.shard_of(&aim), after.shard_of(&aim)), (shard(42), part));
        let stamps: Vec<_> = [shard(42), part]
            .map(|shard| match after.route(shard) {
                Route::Serve(target) => target.stamp.to_str().expect("text").to_owned(),
                Route::Wait(wait) => panic!("{wait:?}"),
            })
            .into();
        assert_eq!(
            stamps,
            [
                "42; unit=rz01; epoch=17; hop=1; buckets=4200-4249",
                "100; unit=rz02; epoch=18; hop=1; buckets=4250-4299",
            ]
        );
        assert_eq!(after.changes(&before).collect::<Vec<_>>(), [shard(42), part]);
        assert_eq!(after.split_since(&before).collect::<Vec<_>>(), [shard(42)]);
        assert_eq!(after.split_since(&after).count(), 0);
        assert!(before.knows_no(&Aim::Shard(part)) && !after.knows_no(&Aim::Shard(part)));
        assert!(!Table::default().knows_no(&Aim::Shard(part)), "it knows nothing yet");
        assert_eq!(after.hundred_of(&Aim::Shard(part)), shard(42));
    }

    #[test]
    fn an_answer_is_awaited_until_another_unit_takes_the_shard_without_handover() {
        let target = target("rz01", 17);
        let endpoint = target.endpoints[0];
        let check = |assignment: Assignment, expected: bool| {
            let text = format!("{assignment:?}");
            let table = Table::build(&view(assignment));
            assert_eq!(table.supersedes(&target, endpoint), expected, "{text}");
        };
        check(serving("rz01", 17), false);
        check(moving(Some("rz01"), "rz02", 18), false);
        check(serving("rz01", 19), false);
        check(moving(None, "rz02", 18), true);
        check(serving("rz02", 18), true);
        check(moving(Some("rz02"), "rz01", 19), true);
        assert!(!Table::default().supersedes(&target, endpoint), "an empty map says nothing");
        let replaced = "127.0.0.1:7999".parse().expect("an address");
        assert!(Table::build(&view(serving("rz01", 17))).supersedes(&target, replaced));
    }

    proptest! {
        /// The table says what the map says, for any map: a target is the
        /// serving unit at its epoch, and nothing else is a target.
        #[test]
        fn a_target_is_always_the_serving_unit_at_its_epoch(
            entries in proptest::collection::btree_map(0_u16..100, (1_u64..9, 0_u8..3, 0_u8..3), 0..100),
        ) {
            let names = ["rz01", "rz02", "rz09"];
            let assignments = entries.iter().map(|(number, (epoch, kind, name))| {
                let name = names[usize::from(*name)];
                (shard(*number), match kind {
                    0 => serving(name, *epoch),
                    1 => moving(None, name, *epoch),
                    _ => moving(Some("rz01"), name, *epoch),
                })
            });
            let mut view = view(serving("rz01", 1));
            view.map.assignments = assignments.collect();
            let table = Table::build(&view);
            for shard in Shard::all() {
                match (table.route(shard), view.map.get(shard).map(|a| (&a.state, a.epoch))) {
                    (Route::Serve(target), Some((ShardState::Serving { unit }, epoch))) => {
                        prop_assert_eq!((&target.unit, target.epoch, target.shard), (unit, epoch, shard));
                        prop_assert_eq!(&target.endpoints, &view.endpoints[unit]);
                    }
                    (Route::Serve(_), other) => prop_assert!(false, "{:?}", other),
                    (Route::Wait(_), Some((ShardState::Serving { unit }, _))) => {
                        prop_assert!(!view.endpoints.contains_key(unit));
                    }
                    (Route::Wait(_), _) => {}
                }
            }
            prop_assert_eq!(table.changes(&table).count(), 0);
        }
    }
}
