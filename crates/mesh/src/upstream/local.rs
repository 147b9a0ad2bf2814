//! What one thread has of a cluster: connections that idle, and latencies seen.

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    net::SocketAddr,
    rc::Rc,
    sync::{Arc, atomic::Ordering::Relaxed},
    task::{Context, Waker},
    time::Duration,
};

use hop::{Io, Sender};
use rt::random::Random;
use tokio::{
    sync::Notify,
    time::{Instant, timeout},
};

use super::{Busy, Cluster, Endpoint, balance, channel::Channels, connect, lease::Lease};
use crate::config::model::Upstream;

/// A latency counts for so long, falling off.
const DECAY: Duration = Duration::from_secs(10);
/// What is expected of an endpoint that has a request and has never answered: one
/// is enough until it does.
const UNKNOWN_US: f64 = 1e9;
/// Idle connections kept for one endpoint.
const IDLE_MAX: usize = 1_024;
/// Destinations that are remembered: a program that looks around everywhere
/// does not fill the memory.
const ORIGINALS_MAX: usize = 1_024;

pub(crate) struct Local {
    pub(crate) shared: Arc<Cluster>,
    pub(crate) endpoints: Vec<Rc<LocalEndpoint>>,
    /// Endpoints of a cluster that has none of its own, by where captured
    /// connections were to go.
    originals: RefCell<HashMap<SocketAddr, Rc<LocalEndpoint>>>,
    waiting: Rc<Waiting>,
    turn: Cell<usize>,
    random: RefCell<Random>,
}

pub(crate) struct LocalEndpoint {
    pub(crate) shared: Arc<Endpoint>,
    /// Last in, first out: the spare ones grow old in front.
    idle: RefCell<Vec<Idle>>,
    waiting: Rc<Waiting>,
    pub(super) h2: RefCell<Option<Rc<Sender>>>,
    /// Held while the one HTTP/2 connection is being made.
    pub(super) connecting: tokio::sync::Mutex<()>,
    /// Shared with the plans before, whose calls are still under way.
    pub(super) channels: Rc<Channels>,
    under_way: Cell<u32>,
    latency_us: Cell<f64>,
    seen: Cell<Option<Instant>>,
}

struct Idle {
    io: Box<RefCell<Io>>,
    since: Instant,
    busy: Busy,
}

/// What a request that needs a connection has got.
enum Place {
    /// One that idled at its endpoint.
    Idle(Idle),
    /// Leave to make one.
    New(Busy),
}

/// Requests of this thread that wait for a connection.
#[derive(Default)]
struct Waiting {
    count: Cell<u32>,
    /// One idles now.
    idle: Notify,
}

/// One of them.
struct Waits<'a>(&'a Waiting);

/// A request under way to an endpoint.
pub(crate) struct UnderWay {
    endpoint: Rc<LocalEndpoint>,
    began: Instant,
}

// === impl Local ===

impl Local {
    /// `before` is this thread's view of the plan before: connections to
    /// endpoints that stay are kept.
    pub(crate) fn new(shared: Arc<Cluster>, before: Option<&Local>, random: Random) -> Local {
        let same_tls = |before: &&Local| match (&before.shared.tls, &shared.tls) {
            (None, None) => before.shared.protocol == shared.protocol,
            (Some(old), Some(new)) => before.shared.protocol == shared.protocol && old.is(new),
            _ => false,
        };
        let before = before.filter(same_tls);
        let waiting = Rc::<Waiting>::default();
        let endpoints = shared.endpoints.iter().map(|endpoint| {
            let known = before.and_then(|before| {
                before.endpoints.iter().find(|e| Arc::ptr_eq(&e.shared.state, &endpoint.state))
            });
            Rc::new(LocalEndpoint::new(endpoint.clone(), &waiting, known.map(Rc::as_ref)))
        });
        let endpoints = endpoints.collect();
        let originals = before.map(|before| before.originals.take()).unwrap_or_default();
        let (originals, random) = (RefCell::new(originals), RefCell::new(random));
        Local { shared, endpoints, originals, waiting, turn: Cell::new(0), random }
    }

    /// `destination` is where the client meant to go, if that is known.
    pub(crate) fn pick(
        &self,
        destination: Option<SocketAddr>,
        key: Option<&str>,
        tried: Option<&LocalEndpoint>,
        now: Instant,
    ) -> Option<Rc<LocalEndpoint>> {
        if self.shared.original {
            return destination.map(|destination| self.original(destination));
        }
        balance::pick(self, key, tried, now).map(|at| self.endpoints[at].clone())
    }

    fn original(&self, address: SocketAddr) -> Rc<LocalEndpoint> {
        let mut originals = self.originals.borrow_mut();
        if let Some(known) = originals.get(&address) {
            return known.clone();
        }
        if originals.len() >= ORIGINALS_MAX {
            // What is under way keeps its own; only connections that idle end.
            originals.clear();
        }
        let shared = Arc::new(Endpoint::original(address));
        let fresh = Rc::new(LocalEndpoint::new(shared, &self.waiting, None));
        originals.insert(address, fresh.clone());
        fresh
    }

    /// A connection for one request: one that idles unless it must be `fresh`,
    /// or a new one.
    pub(crate) async fn lease(
        &self,
        endpoint: &Rc<LocalEndpoint>,
        fresh: bool,
    ) -> Result<Lease, connect::Error> {
        if self.shared.protocol == Upstream::Http2 {
            return Ok(Lease::h2(connect::h2(&self.shared, endpoint).await?));
        }
        if !fresh && let Some(idle) = endpoint.take_idle() {
            return Ok(Lease::h1(idle.io, idle.busy, true));
        }
        let busy = match self.place(endpoint).await? {
            Place::Idle(idle) if !fresh => return Ok(Lease::h1(idle.io, idle.busy, true)),
            Place::Idle(idle) => idle.busy,
            Place::New(busy) => busy,
        };
        let io = connect::io(&self.shared, endpoint).await?;
        Ok(Lease::h1(Box::new(RefCell::new(io)), busy, false))
    }

    /// Room for one more connection, which may be one that idles elsewhere.
    pub(super) async fn room(&self, endpoint: &Rc<LocalEndpoint>) -> Result<Busy, connect::Error> {
        Ok(match self.place(endpoint).await? {
            Place::Idle(idle) => idle.busy,
            Place::New(busy) => busy,
        })
    }

    /// A connection that idles at the endpoint, or room for one more: there is, or
    /// there comes some, or one that idles elsewhere is given up.
    async fn place(&self, endpoint: &Rc<LocalEndpoint>) -> Result<Place, connect::Error> {
        let cluster = &self.shared;
        let room =
            || Busy::take(&cluster.load, |load| &load.connections, cluster.limits.connections);
        let place = || room().or_else(|| self.spare()).map(Place::New);
        if let Some(place) = place() {
            return Ok(place);
        }
        let pending = Busy::take(&cluster.load, |load| &load.pending, cluster.limits.pending);
        let Some(_pending) = pending else { return Err(connect::Error::NoRoom) };
        let _waits = self.waiting.begin();
        let freed = async {
            loop {
                if let Some(idle) = endpoint.take_idle() {
                    return Place::Idle(idle);
                }
                if let Some(place) = place() {
                    return place;
                }
                tokio::select! {
                    () = cluster.load.freed.notified() => {}
                    () = self.waiting.idle.notified() => {}
                }
            }
        };
        timeout(cluster.connect_timeout, freed).await.map_err(|_| connect::Error::NoRoom)
    }

    /// The room of a connection that idles.
    fn spare(&self) -> Option<Busy> {
        let originals = self.originals.borrow();
        let mut all = self.endpoints.iter().chain(originals.values());
        all.find_map(|endpoint| endpoint.idle.borrow_mut().pop()).map(|idle| idle.busy)
    }

    pub(super) fn next_turn(&self) -> usize {
        self.turn.replace(self.turn.get().wrapping_add(1))
    }

    pub(super) fn draw(&self, below: usize) -> usize {
        if below < 2 { 0 } else { self.random.borrow_mut().below(below as u64) as usize }
    }

    /// Closes what has idled too long.
    pub(crate) fn sweep(&self, now: Instant) {
        let originals = self.originals.borrow();
        for endpoint in self.endpoints.iter().chain(originals.values()) {
            let fresh = |idle: &Idle| now.duration_since(idle.since) < self.shared.idle_timeout;
            endpoint.idle.borrow_mut().retain(fresh);
        }
    }
}

// === impl LocalEndpoint ===

impl LocalEndpoint {
    fn new(
        shared: Arc<Endpoint>,
        waiting: &Rc<Waiting>,
        before: Option<&LocalEndpoint>,
    ) -> LocalEndpoint {
        LocalEndpoint {
            shared,
            waiting: waiting.clone(),
            idle: before.map(|before| RefCell::new(before.idle.take())).unwrap_or_default(),
            h2: before.map(|before| RefCell::new(before.h2.take())).unwrap_or_default(),
            connecting: tokio::sync::Mutex::new(()),
            channels: before.map(|before| before.channels.clone()).unwrap_or_default(),
            under_way: Cell::new(0),
            latency_us: Cell::new(before.map_or(0.0, |before| before.latency_us.get())),
            seen: Cell::new(before.and_then(|before| before.seen.get())),
        }
    }

    /// The next that is still open: a peer that closed has made itself heard.
    fn take_idle(&self) -> Option<Idle> {
        let mut idle = self.idle.borrow_mut();
        let mut cx = Context::from_waker(Waker::noop());
        while let Some(next) = idle.pop() {
            if next.io.borrow_mut().is_quiet(&mut cx) {
                return Some(next);
            }
        }
        None
    }

    pub(super) fn put_idle(&self, io: Box<RefCell<Io>>, busy: Busy, now: Instant) {
        let waits_here = self.waiting.count.get() > 0;
        // Those of other threads have nothing of a connection that idles here.
        let waits_elsewhere = !waits_here && busy.load().pending.load(Relaxed) > 0;
        let mut idle = self.idle.borrow_mut();
        if idle.len() < IDLE_MAX && !waits_elsewhere {
            idle.push(Idle { io, since: now, busy });
            if waits_here {
                self.waiting.idle.notify_one();
            }
        }
    }

    pub(crate) fn begin(self: &Rc<LocalEndpoint>, now: Instant) -> UnderWay {
        self.under_way.set(self.under_way.get() + 1);
        UnderWay { endpoint: self.clone(), began: now }
    }

    /// Requests under way times the latency to expect.
    pub(super) fn cost(&self, now: Instant) -> f64 {
        let under_way = f64::from(self.under_way.get());
        if self.seen.get().is_none() && under_way > 0.0 {
            return UNKNOWN_US * under_way;
        }
        self.decayed(now) * (under_way + 1.0)
    }

    /// The moving average, falling towards nothing while nobody asks.
    fn decayed(&self, now: Instant) -> f64 {
        let Some(seen) = self.seen.get() else { return 1.0 };
        let age = now.saturating_duration_since(seen).as_secs_f64();
        self.latency_us.get() * (-age / DECAY.as_secs_f64()).exp()
    }

    /// Peaks count at once, what is better only little by little.
    fn saw(&self, latency: Duration, now: Instant) {
        let us = latency.as_secs_f64() * 1e6;
        let old = self.decayed(now);
        let age = self
            .seen
            .get()
            .map_or(f64::MAX, |seen| now.saturating_duration_since(seen).as_secs_f64());
        let keep = (-age / DECAY.as_secs_f64()).exp();
        self.latency_us.set(if us > old { us } else { old * keep + us * (1.0 - keep) });
        self.seen.set(Some(now));
    }
}

// === impl Waiting ===

impl Waiting {
    fn begin(&self) -> Waits<'_> {
        self.count.set(self.count.get() + 1);
        Waits(self)
    }
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.count.set(self.0.count.get() - 1);
    }
}

// === impl UnderWay ===

impl UnderWay {
    pub(crate) fn answered(&self, now: Instant) {
        self.endpoint.saw(now.saturating_duration_since(self.began), now);
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.endpoint.under_way.set(self.endpoint.under_way.get() - 1);
    }
}
