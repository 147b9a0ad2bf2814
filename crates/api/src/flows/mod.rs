//! API priority and fairness: nobody is starved, however much others ask
//! (`flowcontrol.apiserver.k8s.io/v1`).
//!
//! Every request is of a flow: the first FlowSchema that matches it, and what
//! that tells flows apart by. Its level has a part of the seats, of which a
//! request takes one or more while its answer is made; when there are none it
//! waits in a queue of its flow's hand, or is refused. Levels lend each other
//! what they do not use.
//!
//! Each door is a cluster of its own, with its own objects and all the seats
//! that the server was given: whoever floods one unit is not felt at another's
//! levels. Watches have a seat until they begin; what goes on for as long as a
//! caller likes (exec, logs) has none.
//!
//! A request that finds a seat is not held up by any of this: one short lock at
//! its beginning and one at its end, and no memory is taken.

mod dealer;
mod defaults;
mod demand;
mod keep;
mod lending;
mod level;
mod plan;
mod queues;
mod schema;
mod shape;
mod show;
mod tally;
mod work;

use std::{
    collections::HashMap,
    sync::{
        Arc, OnceLock, PoisonError, RwLock,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use http::{HeaderMap, HeaderName};

pub use self::{
    dealer::{HASH_BITS_MAX, bits},
    defaults::{LEVEL_OBJECTS, SCHEMA_OBJECTS, fixed_spec},
    schema::What,
    show::Dump,
};
use self::{
    level::Seat,
    plan::{Flow, Plan},
};
use crate::{
    caller::Caller,
    cluster::{Cluster, Clusters},
    failure::Failure,
    request::{path::Door, query::Query},
    settings::Bounds,
};

/// Of the time that a request may take, the part it may wait for a seat, and
/// the longest: kube-apiserver's.
const WAIT_PART: u32 = 4;
const WAIT_MAX: Duration = Duration::from_secs(60);

const SCHEMA_UID: HeaderName = HeaderName::from_static("x-kubernetes-pf-flowschema-uid");
const LEVEL_UID: HeaderName = HeaderName::from_static("x-kubernetes-pf-prioritylevel-uid");

/// All doors' flows.
pub struct Flows {
    clusters: Arc<Clusters>,
    /// None: everybody is served at once.
    seats: Option<usize>,
    patience: Duration,
    root: Arc<Doorway>,
    units: RwLock<HashMap<Door, Arc<Doorway>>>,
}

/// What one door lets through.
pub struct Doorway {
    door: Door,
    seats: usize,
    plan: RwLock<Arc<Plan>>,
    /// Where objects are counted; once it was entered.
    cluster: OnceLock<Arc<Cluster>>,
    /// Its objects are followed.
    is_kept: AtomicBool,
}

/// A request's way through, for as long as it is served.
#[derive(Default)]
pub struct Passage {
    flow: Option<Arc<Flow>>,
    seat: Option<Seat>,
}

// === impl Flows ===

impl Flows {
    pub fn new(clusters: Arc<Clusters>, bounds: &Bounds) -> Flows {
        let seats = bounds.in_flight_max + bounds.mutating_in_flight_max;
        // As in kube-apiserver, 0 is no bound.
        let seats = Some(seats).filter(|seats| bounds.fair && *seats > 0);
        let root = Arc::new(Doorway::new(clusters.root().clone(), seats.unwrap_or(1), None));
        let patience = (bounds.request_timeout / WAIT_PART).min(WAIT_MAX);
        Flows { clusters, seats, patience, root, units: RwLock::default() }
    }

    pub fn are_bounded(&self) -> bool {
        self.seats.is_some()
    }

    /// Makes the objects of what stands at `/`, and keeps them. Must be called
    /// within a runtime.
    pub fn start(&self) {
        if self.are_bounded() {
            self.keep(&self.root);
        }
    }

    /// Waits for seats; `passage` has them from then on. Whoever is refused is
    /// told by it, too, whose requests it was counted among.
    pub async fn enter(
        &self,
        passage: &mut Passage,
        caller: &Caller,
        door: &Door,
        what: &What<'_>,
        query: &Query,
    ) -> Result<(), Failure> {
        if !self.are_bounded() {
            return Ok(());
        }
        let doorway = self.at(door);
        let plan = doorway.plan();
        let flow = passage.flow.insert(plan.find(caller, what).clone());
        let hash = flow.schema.hash(flow.schema.distinguish(caller, what));
        let width = match what {
            What::Resource { verb, group, plural, .. } if !flow.level.exempt => {
                let stored = || doorway.count(group, plural);
                work::seats(verb, query, stored, flow.level.width_max())
            }
            _ => 1,
        };
        let seat = flow.level.sit(&flow.tally, hash, width, self.patience).await;
        let seat =
            seat.map_err(|_| Failure::too_many("Too many requests, please try again later."))?;
        passage.seat = Some(seat);
        Ok(())
    }

    /// A unit that nobody has entered yet may not exist: until then its requests
    /// are the root's.
    fn at(&self, door: &Door) -> Arc<Doorway> {
        if door == self.clusters.root() {
            self.keep(&self.root);
            return self.root.clone();
        }
        let known = self.units.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(doorway) = known.get(door) {
            return doorway.clone();
        }
        drop(known);
        let Some(cluster) = self.clusters.entered(door) else { return self.root.clone() };
        let mut known = self.units.write().unwrap_or_else(PoisonError::into_inner);
        let seats = self.seats.unwrap_or(1);
        let new = || Arc::new(Doorway::new(door.clone(), seats, Some(cluster)));
        let doorway = known.entry(door.clone()).or_insert_with(new).clone();
        drop(known);
        self.keep(&doorway);
        doorway
    }

    fn keep(&self, doorway: &Arc<Doorway>) {
        let is_kept = &doorway.is_kept;
        if !is_kept.load(Ordering::Relaxed) && !is_kept.swap(true, Ordering::Relaxed) {
            tokio::spawn(keep::run(self.clusters.clone(), Arc::downgrade(doorway)));
        }
    }

    /// For `/metrics`: of what stands at `/`.
    pub fn metrics(&self) -> String {
        match self.are_bounded() {
            true => show::metrics(&self.root.plan()),
            false => String::new(),
        }
    }

    /// For people who look for what keeps them waiting.
    pub fn dump(&self, door: &Door, what: Dump) -> Result<String, Failure> {
        match self.are_bounded() {
            true => Ok(show::dump(&self.at(door).plan(), what)),
            false => Err(Failure::no_such_path()),
        }
    }
}

// === impl Doorway ===

impl Doorway {
    fn new(door: Door, seats: usize, cluster: Option<Arc<Cluster>>) -> Doorway {
        Doorway {
            door,
            seats,
            plan: RwLock::new(Arc::new(Plan::by_default(seats))),
            cluster: cluster.map_or_else(OnceLock::new, OnceLock::from),
            is_kept: AtomicBool::new(false),
        }
    }

    fn plan(&self) -> Arc<Plan> {
        self.plan.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set_plan(&self, plan: Plan) {
        *self.plan.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(plan);
    }

    /// How many objects of a kind there are, as far as is known.
    fn count(&self, group: &str, plural: &str) -> usize {
        let Some(cluster) = self.cluster.get() else { return 0 };
        let catalog = cluster.catalog();
        let Some(resource) = catalog.find_any(group, plural) else { return 0 };
        cluster.mirror().look(&resource.prefix(), crate::mirror::Collection::len)
    }
}

// === impl Passage ===

impl Passage {
    /// Tells the caller whose requests this was counted among: identities only,
    /// names are the operator's.
    pub fn show(&self, headers: &mut HeaderMap) {
        let Some(flow) = &self.flow else { return };
        let marks = [(SCHEMA_UID, &flow.schema_uid), (LEVEL_UID, &flow.level_uid)];
        for (name, uid) in marks {
            if let Some(uid) = uid {
                headers.insert(name, uid.clone());
            }
        }
    }
}
