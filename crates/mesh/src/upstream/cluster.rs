//! What all threads share of a cluster.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::{sync::Notify, time::Instant};

use crate::{
    config::model::{self, Balance, Breakers, Outlier, Place, Spill, Upstream},
    tls::{Connector, Counts},
};

pub(crate) struct Cluster {
    pub(crate) name: String,
    pub(crate) protocol: Upstream,
    /// Without endpoints: wherever a captured connection was to go.
    pub(crate) original: bool,
    /// What connections to endpoints carry, to be left alone by interception.
    pub(crate) mark: Option<u32>,
    pub(crate) balance: Balance,
    pub(crate) spill: Spill,
    pub(crate) endpoints: Vec<Arc<Endpoint>>,
    pub(crate) tls: Option<Connector>,
    pub(crate) proxy_protocol: Option<model::ProxyProtocol>,
    pub(crate) connect_timeout: Duration,
    pub(crate) idle_timeout: Duration,
    pub(crate) limits: Breakers,
    pub(crate) health: Option<model::Health>,
    outlier: Option<Outlier>,
    /// Kept across plans, as are endpoints: a new file forgives nobody.
    pub(crate) load: Arc<Load>,
}

/// What is under way, and what a breaker has refused.
#[derive(Debug, Default)]
pub(crate) struct Load {
    pub(crate) requests: AtomicU32,
    pub(crate) retries: AtomicU32,
    pub(crate) connections: AtomicU32,
    pub(crate) pending: AtomicU32,
    pub(crate) overflows: AtomicU64,
    pub(crate) connect_failures: AtomicU64,
    /// A connection has become free while somebody waits for one.
    pub(crate) freed: Notify,
    pub(crate) handshakes_failed: Counts,
}

pub(crate) struct Endpoint {
    pub(crate) address: SocketAddr,
    pub(crate) city: String,
    pub(crate) center: String,
    /// 0 in our center, 1 in our city, 2 elsewhere.
    pub(crate) distance: u8,
    pub(crate) state: Arc<State>,
}

/// How an endpoint does, as all threads together have seen it.
#[derive(Debug, Default)]
pub(crate) struct State {
    failures_in_row: AtomicU32,
    ejections: AtomicU32,
    ejected_until_ms: AtomicU64,
    pub(crate) unhealthy: AtomicBool,
    pub(crate) requests: AtomicU64,
    pub(crate) failures: AtomicU64,
}

/// One count of a breaker, given back when dropped.
pub(crate) struct Busy {
    load: Arc<Load>,
    which: fn(&Load) -> &AtomicU32,
}

// === impl Cluster ===

impl Cluster {
    pub(crate) fn new(
        model: &model::Cluster,
        tls: Option<Connector>,
        mark: Option<u32>,
        place: &Place,
        before: Option<&Cluster>,
    ) -> Cluster {
        let endpoints = model.endpoints.iter().map(|endpoint| {
            let address = *endpoint.address.get_ref();
            let known =
                before.and_then(|cluster| cluster.endpoints.iter().find(|e| e.address == address));
            Arc::new(Endpoint {
                address,
                city: endpoint.city.clone(),
                center: endpoint.center.clone(),
                distance: distance(place, endpoint),
                state: known.map(|known| known.state.clone()).unwrap_or_default(),
            })
        });
        Cluster {
            name: model.name.get_ref().clone(),
            protocol: model.protocol,
            original: model.original,
            mark,
            balance: model.balance,
            spill: model.spill,
            endpoints: endpoints.collect(),
            tls,
            proxy_protocol: model.proxy_protocol,
            connect_timeout: model.connect_timeout.0,
            idle_timeout: model.idle_timeout.0,
            limits: model.limits.clone(),
            health: model.health.clone(),
            outlier: model.outlier.clone(),
            load: before.map(|before| before.load.clone()).unwrap_or_default(),
        }
    }

    /// A request may be under way; none if as many are as the breaker allows.
    pub(crate) fn admit(&self) -> Option<Busy> {
        Busy::take(&self.load, |load| &load.requests, self.limits.requests)
    }

    /// A retry may be under way, within the budget.
    pub(crate) fn admit_retry(&self, percent: u32, min: u32) -> Option<Busy> {
        let requests = u64::from(self.load.requests.load(Relaxed));
        let budget = (requests * u64::from(percent) / 100).max(u64::from(min));
        let budget = u32::try_from(budget).unwrap_or(u32::MAX);
        Busy::take(&self.load, |load| &load.retries, budget)
    }

    /// Counts how a request to `endpoint` went, and ejects who fails too often.
    pub(crate) fn observe(&self, endpoint: &Endpoint, failed: bool, now: Instant) {
        let state = &endpoint.state;
        state.requests.fetch_add(1, Relaxed);
        if !failed {
            if state.failures_in_row.load(Relaxed) != 0 {
                state.failures_in_row.store(0, Relaxed);
            }
            return;
        }
        state.failures.fetch_add(1, Relaxed);
        let in_row = state.failures_in_row.fetch_add(1, Relaxed) + 1;
        let Some(outlier) = &self.outlier else { return };
        if in_row < outlier.consecutive || !endpoint.is_available(now) {
            return;
        }
        let ejected = self.endpoints.iter().filter(|other| other.is_ejected(now)).count();
        let allowed = (self.endpoints.len() * outlier.percent_max as usize / 100).max(1);
        if ejected >= allowed {
            return;
        }
        let times = state.ejections.fetch_add(1, Relaxed) + 1;
        let time = outlier.base.0.saturating_mul(times).min(outlier.max.0);
        state.ejected_until_ms.store(ms(now + time), Relaxed);
        state.failures_in_row.store(0, Relaxed);
        tracing::warn!(
            cluster = self.name, endpoint = %endpoint.address, failures = in_row, ?time,
            "endpoint is left alone for a while"
        );
    }
}

fn distance(place: &Place, endpoint: &model::Endpoint) -> u8 {
    let same = |ours: &str, theirs: &str| !ours.is_empty() && ours == theirs;
    match () {
        () if place.center.is_empty() && place.city.is_empty() => 0,
        () if same(&place.center, &endpoint.center) => 0,
        () if same(&place.city, &endpoint.city) => 1,
        () => 2,
    }
}

/// Since this process began.
fn ms(at: Instant) -> u64 {
    static BEGAN: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
    let began = *BEGAN.get_or_init(Instant::now);
    u64::try_from(at.saturating_duration_since(began).as_millis()).unwrap_or(u64::MAX)
}

// === impl Load ===

impl Load {
    pub(super) fn free(&self) {
        if self.pending.load(Relaxed) > 0 {
            self.freed.notify_one();
        }
    }
}

// === impl Endpoint ===

impl Endpoint {
    /// Where a captured connection was to go.
    pub(crate) fn original(address: SocketAddr) -> Endpoint {
        let (city, center) = (String::new(), String::new());
        Endpoint { address, city, center, distance: 0, state: Arc::default() }
    }

    pub(crate) fn is_available(&self, now: Instant) -> bool {
        !self.state.unhealthy.load(Relaxed) && !self.is_ejected(now)
    }

    pub(crate) fn is_ejected(&self, now: Instant) -> bool {
        let until = self.state.ejected_until_ms.load(Relaxed);
        until != 0 && until > ms(now)
    }
}

// === impl State ===

impl State {
    /// Others are better for a while.
    pub(super) fn leave(&self, until: Instant) {
        self.ejected_until_ms.fetch_max(ms(until), Relaxed);
    }
}

// === impl Busy ===

impl Busy {
    pub(crate) fn take(load: &Arc<Load>, which: fn(&Load) -> &AtomicU32, max: u32) -> Option<Busy> {
        if which(load).fetch_add(1, Relaxed) >= max {
            which(load).fetch_sub(1, Relaxed);
            load.overflows.fetch_add(1, Relaxed);
            return None;
        }
        Some(Busy { load: load.clone(), which })
    }
}

impl Busy {
    pub(super) fn load(&self) -> &Arc<Load> {
        &self.load
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        (self.which)(&self.load).fetch_sub(1, Relaxed);
        self.load.free();
    }
}
