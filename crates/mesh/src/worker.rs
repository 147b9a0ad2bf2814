//! One thread: its view of the plan, its connections, its counts.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    sync::{Arc, OnceLock, atomic::AtomicUsize},
    time::Duration,
};

use tokio::time::Instant;

use hop::Bounds;
use rt::random::Random;
use tokio::sync::Notify;

use crate::{
    access_log::AccessLog,
    handover::Heir,
    metrics::{Registry, RouteMetrics, ThreadMetrics},
    plan,
    upstream::Local,
};

/// Between two looks for connections that have idled too long.
const SWEEP: Duration = Duration::from_secs(1);
/// While a successor serves, a client that keeps a connection may ask once more
/// and hear `connection: close`; closing it unsaid could cross its request.
const IDLE_GRACE: Duration = Duration::from_secs(5);
/// Whoever has just connected is about to speak.
const FRESH_GRACE: Duration = Duration::from_secs(1);

/// Whether connections come to their end, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Draining {
    No,
    /// Nobody serves after us.
    Last,
    /// Another process has the sockets.
    Succeeded,
}

pub(crate) struct Worker {
    plan: RefCell<Rc<Plan>>,
    random: RefCell<Random>,
    pub(crate) metrics: Arc<ThreadMetrics>,
    registry: Arc<Registry>,
    log: Option<AccessLog>,
    /// Connections from clients, all threads together.
    pub(crate) connections: Arc<AtomicUsize>,
    pub(crate) draining: Cell<bool>,
    succeeded: Cell<bool>,
    drained: Notify,
    heir: Arc<OnceLock<Heir>>,
    thread: usize,
}

/// A thread's view of the plan.
pub(crate) struct Plan {
    pub(crate) shared: Arc<plan::Plan>,
    pub(crate) clusters: Vec<Rc<Local>>,
    /// By listener and route; the last of each is for requests without one.
    metrics: Vec<Vec<Arc<RouteMetrics>>>,
}

// === impl Worker ===

impl Worker {
    pub(crate) fn new(
        thread: usize,
        plan: Arc<plan::Plan>,
        registry: Arc<Registry>,
        log: Option<AccessLog>,
        connections: Arc<AtomicUsize>,
        heir: Arc<OnceLock<Heir>>,
    ) -> Rc<Worker> {
        let mut random = Random::from_entropy();
        let local = Plan::new(thread, plan, None, &registry, &mut random);
        Rc::new(Worker {
            plan: RefCell::new(Rc::new(local)),
            random: RefCell::new(random),
            metrics: registry.thread(thread),
            registry,
            log,
            connections,
            draining: Cell::new(false),
            succeeded: Cell::new(false),
            drained: Notify::new(),
            heir,
            thread,
        })
    }

    pub(crate) fn plan(&self) -> Rc<Plan> {
        self.plan.borrow().clone()
    }

    /// Requests that come from now on go by `plan`.
    pub(crate) fn install(&self, plan: Arc<plan::Plan>) {
        let before = self.plan();
        let random = &mut self.random.borrow_mut();
        let next = Plan::new(self.thread, plan, Some(&before), &self.registry, random);
        *self.plan.borrow_mut() = Rc::new(next);
    }

    pub(crate) fn bounds(&self) -> Bounds {
        let plan = self.plan.borrow();
        let limits = &plan.shared.config.limits;
        Bounds { bytes: limits.head_bytes, headers: limits.headers }
    }

    pub(crate) fn access_log(&self) -> Option<&AccessLog> {
        self.log.as_ref()
    }

    pub(crate) fn draw(&self) -> u64 {
        self.random.borrow_mut().next_u64()
    }

    /// True in so many of a hundred cases.
    pub(crate) fn chance(&self, percent: f64) -> bool {
        percent >= 100.0 || (self.draw() >> 11) as f64 / (1u64 << 53) as f64 * 100.0 < percent
    }

    pub(crate) fn drain(&self, why: Draining) {
        self.draining.set(true);
        self.succeeded.set(why == Draining::Succeeded);
        self.drained.notify_waiters();
    }

    /// Another process accepts from the same sockets.
    pub(crate) fn is_succeeded(&self) -> bool {
        self.succeeded.get()
    }

    /// Who goes on with connections, if somebody does.
    pub(crate) fn heir(&self) -> Option<&Heir> {
        self.heir.get()
    }

    pub(crate) async fn drained(&self) {
        while !self.draining.get() {
            self.drained.notified().await;
        }
    }

    /// Resolves when a connection without a request is to be closed.
    pub(crate) async fn idle_over(&self, fresh: bool) {
        self.drained().await;
        let grace = if self.is_succeeded() {
            IDLE_GRACE.min(self.plan().shared.config.limits.drain_timeout.0 / 2)
        } else if fresh {
            FRESH_GRACE
        } else {
            return;
        };
        tokio::time::sleep(grace).await;
    }

    /// Closes idle connections to endpoints, for as long as it is polled.
    pub(crate) async fn sweep(&self) {
        loop {
            tokio::time::sleep(SWEEP).await;
            let now = Instant::now();
            self.plan().clusters.iter().for_each(|cluster| cluster.sweep(now));
        }
    }
}

// === impl Plan ===

impl Plan {
    fn new(
        thread: usize,
        shared: Arc<plan::Plan>,
        before: Option<&Plan>,
        registry: &Registry,
        random: &mut Random,
    ) -> Plan {
        let clusters = shared.clusters.iter().map(|cluster| {
            let old = before.and_then(|before| {
                before.clusters.iter().find(|old| old.shared.name == cluster.name)
            });
            let seed = Random::seeded(random.next_u64());
            Rc::new(Local::new(cluster.clone(), old.map(Rc::as_ref), seed))
        });
        let metrics = shared.listeners.iter().map(|listener| {
            let names = listener.routes.iter().map(|route| route.name.as_str()).chain(["-"]);
            names.map(|route| registry.route(thread, &listener.name, route)).collect()
        });
        Plan { clusters: clusters.collect(), metrics: metrics.collect(), shared }
    }

    /// The place of a listener, if this plan still has it.
    pub(crate) fn listener(&self, name: &str) -> Option<usize> {
        self.shared.listeners.iter().position(|listener| listener.name == name)
    }

    pub(crate) fn metrics(&self, listener: usize, route: Option<usize>) -> &RouteMetrics {
        let routes = &self.metrics[listener];
        &routes[route.unwrap_or(routes.len() - 1)]
    }
}
