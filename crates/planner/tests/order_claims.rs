//! What an order has moved is sent home by nobody, however old the leaders'
//! pictures are: two leaders that overlap, each with caches of the map and of
//! the orders that lag one by one, under a seed.
//!
//! The rules are the crate's own; what the controllers do around them (which
//! read comes after which, what is compared on commit) is restated here. A
//! canary that trusts its cache of orders must be caught.

use std::collections::{BTreeMap, BTreeSet};

use planner::{
    shard_map::{self, Plan, Raised},
    shard_move::{
        progress::{Next, Progress},
        selection::select,
    },
    unit::{Place, Places, homecoming},
};
use resources::ShardMoveSpec;
use rt::random::Random;
use topology::{Assignment, Epoch, MapVersion, Shard, ShardMap, ShardSet, ShardState, UnitName};

const UNITS: [&str; 3] = ["rz01", "rz02", "rz03"];
const SHARDS: u16 = 4;
const STEPS: usize = 2_000;
const ORDERS_MAX: usize = 2;

#[derive(Clone, Copy, PartialEq)]
enum Build {
    Sound,
    /// Believes its cache of orders when it sends shards home.
    TrustsItsCache,
}

/// `ShardMap/main`: both parts under one version.
#[derive(Clone)]
struct MapObject {
    version: u64,
    homes: BTreeMap<Shard, UnitName>,
    map: ShardMap,
}

#[derive(Clone)]
struct Order {
    version: u64,
    spec: ShardMoveSpec,
    planned: bool,
    progress: Progress,
    finished: bool,
}

type Orders = BTreeMap<u64, Order>;

/// A process that believes that it leads.
struct Leader {
    map: MapObject,
    orders: Orders,
    /// Decided, and not committed yet.
    way_home: Option<(u64, Plan)>,
}

struct World {
    random: Random,
    build: Build,
    map: MapObject,
    orders: Orders,
    next_order: u64,
    leaders: Vec<Leader>,
    /// Which order put each shard where it is, and under which epoch.
    put: BTreeMap<Shard, (Epoch, u64)>,
    sent_home: usize,
    finished: usize,
}

fn unit(index: u64) -> UnitName {
    UNITS[usize::try_from(index).expect("it is small")].parse().expect("a name")
}

fn places() -> Places {
    let place = |name: UnitName| {
        let place = Place {
            center: format!("at-{name}").parse().expect("a name"),
            city: "east".parse().expect("a name"),
            standbys: Vec::new(),
            alive: true,
            wavers: false,
            ready: true,
            shards_max: None,
        };
        (name, place)
    };
    (0..3).map(|index| place(unit(index))).collect()
}

fn claimed(orders: &Orders) -> BTreeSet<Shard> {
    let open = orders.values().filter(|order| !order.finished);
    open.flat_map(|order| order.progress.traces.keys().copied()).collect()
}

// === impl World ===

impl World {
    fn new(seed: u64, build: Build) -> World {
        let all = (0..SHARDS).map(|number| Shard::new(number).expect("a shard"));
        let homes: BTreeMap<_, _> = all.map(|shard| (shard, unit(0))).collect();
        let serving = |home: &UnitName| Assignment {
            epoch: Epoch(1),
            state: ShardState::Serving { unit: home.clone() },
        };
        let assignments = homes.iter().map(|(shard, home)| (*shard, serving(home))).collect();
        let map = ShardMap { version: MapVersion(1), assignments, ..ShardMap::default() };
        let map = MapObject { version: 1, homes, map };
        let leader = |_| Leader { map: map.clone(), orders: Orders::new(), way_home: None };
        World {
            random: Random::seeded(seed),
            build,
            leaders: (0..2).map(leader).collect(),
            map,
            orders: Orders::new(),
            next_order: 1,
            put: BTreeMap::new(),
            sent_home: 0,
            finished: 0,
        }
    }

    fn run(seed: u64, build: Build) -> Result<World, String> {
        let mut world = World::new(seed, build);
        for _ in 0..STEPS {
            world.step()?;
        }
        Ok(world)
    }

    fn step(&mut self) -> Result<(), String> {
        let at = usize::try_from(self.random.below(2)).expect("it is small");
        match self.random.below(16) {
            0 => self.give(),
            // Taken back: what it moved may go home.
            1 => {
                let first = self.orders.keys().next().copied();
                first.filter(|_| self.random.below(4) == 0).map(|id| self.orders.remove(&id));
            }
            2..=4 => self.leaders[at].map = self.map.clone(),
            5 => self.leaders[at].orders = self.orders.clone(),
            6..=8 => self.serve(),
            9..=12 => self.follow_an_order(at),
            13 | 14 => self.decide_the_way_home(at),
            _ => return self.commit_the_way_home(at),
        }
        Ok(())
    }

    fn give(&mut self) {
        if self.orders.values().filter(|order| !order.finished).count() >= ORDERS_MAX {
            return;
        }
        let first = self.random.below(u64::from(SHARDS) - 1);
        let numbers = [first, first + 1].map(|number| u16::try_from(number).expect("small"));
        let shards: ShardSet =
            numbers.into_iter().map(|number| Shard::new(number).expect("a shard")).collect();
        let to = Some(unit(self.random.below(3)));
        let spec = ShardMoveSpec { shards, to, ..ShardMoveSpec::default() };
        let progress = Progress::default();
        let order = Order { version: 1, spec, planned: false, progress, finished: false };
        self.orders.insert(self.next_order, order);
        self.next_order += 1;
    }

    /// The fence is raised, or the hold goes back.
    fn serve(&mut self) {
        let moving = shard_map::moving(&self.map.map);
        let Some((to, moving)) = moving.into_iter().next() else { return };
        let moving = &moving[0];
        let plan = match &moving.from {
            Some(_) if self.random.below(4) == 0 => {
                let late = BTreeSet::from([(moving.shard, moving.epoch)]);
                shard_map::retarget(&self.map.map, &late, |from, _| from.cloned())
            }
            _ => {
                let proof = Raised { shard: moving.shard, epoch: moving.epoch, unit: to };
                shard_map::publish_serving(&self.map.map, &[proof])
            }
        };
        self.replace(self.map.version, plan);
    }

    /// One round of the first open order that the leader knows of.
    fn follow_an_order(&mut self, at: usize) {
        let leader = &self.leaders[at];
        let known = leader.orders.iter().find(|(_, order)| !order.finished);
        let Some((id, mut order)) = known.map(|(id, order)| (*id, order.clone())) else { return };
        let seen = leader.map.clone();
        if !order.planned {
            let Ok(legs) = select(&order.spec, &seen.map, &places()) else { return };
            let others = leader.orders.iter().filter(|(other, _)| **other != id);
            let taken = claimed(&others.map(|(id, order)| (*id, order.clone())).collect());
            if legs.iter().all(|leg| !taken.contains(&leg.shard)) {
                order.progress.take(legs);
                order.planned = true;
                self.write(id, order);
            }
            return;
        }
        order.progress.observe(&seen.map);
        match order.progress.next(&seen.map, &places(), &BTreeSet::new()) {
            Next::Intend(batch) => {
                let moves = batch.iter().map(|(shard, to)| (*shard, to));
                let plan = shard_map::move_planned(&seen.map, moves);
                if self.replace(seen.version, plan.clone()) {
                    let steps = plan.into_iter().flat_map(|plan| plan.steps);
                    self.put.extend(steps.map(|step| (step.shard, (step.epoch, id))));
                }
            }
            Next::Wait(_) => {}
            Next::Done => {
                for (to, shards) in order.progress.arrived() {
                    let homes = shards.into_iter().map(|shard| (shard, to.clone()));
                    self.map.homes.extend(homes);
                    self.map.version += 1;
                }
                order.finished = true;
                self.finished += 1;
            }
        }
        self.write(id, order);
    }

    fn decide_the_way_home(&mut self, at: usize) {
        let leader = &mut self.leaders[at];
        let MapObject { version, homes, map } = &leader.map;
        let claimed = match self.build {
            Build::Sound => claimed(&self.orders),
            Build::TrustsItsCache => claimed(&leader.orders),
        };
        let free = homes.iter().filter(|(shard, _)| !claimed.contains(shard));
        let settled = (0..3).map(unit).collect();
        let pairs = free.map(|(shard, home)| (*shard, home));
        let batch = homecoming(map, pairs, &settled, &BTreeSet::new(), 10);
        let plan = shard_map::move_planned(map, batch);
        leader.way_home = plan.map(|plan| (*version, plan));
    }

    fn commit_the_way_home(&mut self, at: usize) -> Result<(), String> {
        let Some((version, plan)) = self.leaders[at].way_home.take() else { return Ok(()) };
        if version != self.map.version {
            return Ok(());
        }
        for step in &plan.steps {
            let now = self.map.map.get(step.shard).map(|assignment| assignment.epoch);
            let put = self.put.get(&step.shard).filter(|(epoch, _)| Some(*epoch) == now);
            let order = put.and_then(|(_, id)| self.orders.get(id));
            if order.is_some_and(|order| !order.finished) {
                return Err(format!("{} was sent home from where an order put it", step.shard));
            }
        }
        self.sent_home += plan.steps.len();
        self.replace(version, Some(plan));
        Ok(())
    }

    /// Compare-and-swap of the map's status.
    fn replace(&mut self, version: u64, plan: Option<Plan>) -> bool {
        let Some(plan) = plan.filter(|_| version == self.map.version) else { return false };
        self.map.map = plan.map;
        self.map.version += 1;
        true
    }

    /// Compare-and-swap of an order.
    fn write(&mut self, id: u64, order: Order) {
        if let Some(stored) = self.orders.get_mut(&id)
            && stored.version == order.version
        {
            *stored = Order { version: order.version + 1, ..order };
        }
    }
}

#[test]
fn what_an_order_has_moved_is_sent_home_by_nobody() {
    let (mut sent_home, mut finished) = (0, 0);
    for seed in 0..200 {
        let world = World::run(seed, Build::Sound);
        let world = world.unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        (sent_home, finished) = (sent_home + world.sent_home, finished + world.finished);
    }
    assert!(sent_home > 200 && finished > 200, "{sent_home} sent home, {finished} orders ended");
}

#[test]
fn a_leader_that_trusts_its_cache_of_orders_is_caught() {
    assert!((0..200).any(|seed| World::run(seed, Build::TrustsItsCache).is_err()));
}
