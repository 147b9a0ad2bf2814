//! Connections to endpoints: HTTP/1.1, kept alive, one pool per thread.
//!
//! HTTP/1.1 rather than one HTTP/2 connection per endpoint: it costs less per
//! request, and a lost connection loses one request. Requests that find no
//! idle connection stand in line, first in first out, and take whichever comes
//! free first, a returned one or a new one; so a burst opens few connections
//! to a fast ledger and more to a slow one.
//!
//! An endpoint that cannot be connected to fails everyone in line at once and
//! is marked as failing. Requests then wait in the hold queue, not here, while
//! one prober at a time ([`crate::worker`]) finds out when it is back.

use std::{
    cell::{Cell, RefCell},
    collections::{HashMap, HashSet, VecDeque},
    net::SocketAddr,
    rc::{Rc, Weak},
    sync::Arc,
    task::{Context, Waker},
    time::Duration,
};

use hop::{Call, Io};
use tokio::{sync::oneshot, time::Instant};
use topology::UnitName;

use crate::{
    config::Limits,
    metrics::ThreadMetrics,
    transport::{ConnectError, Transport},
};

/// Between two looks for idle connections that their peers have closed. Whoever
/// needs one looks for himself; this gives back what nobody needs.
const SWEEP: Duration = Duration::from_secs(1);

/// Connections closed by the peer before their first request, in one checkout,
/// that make an endpoint count as unreachable: a peer that refuses our
/// certificate does so after our side of the handshake is complete.
const STILLBORN_MAX: u32 = 3;

/// An address as the home of a unit: another unit at the same address is
/// another endpoint, since it has another identity.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct EndpointId {
    pub(crate) unit: UnitName,
    pub(crate) address: SocketAddr,
}

pub(crate) struct Pool {
    transport: Arc<Transport>,
    limits: Limits,
    metrics: Arc<ThreadMetrics>,
    endpoints: RefCell<HashMap<EndpointId, Rc<Endpoint>>>,
}

struct Endpoint {
    id: EndpointId,
    /// Last in, first out: the spare ones grow old in front and are dropped one
    /// by one. Where no request comes at all, the ledger closes them.
    idle: RefCell<Vec<(Connection, Instant)>>,
    waiting: RefCell<VecDeque<oneshot::Sender<Result<Connection, Unreachable>>>>,
    open: Cell<usize>,
    connecting: Cell<usize>,
    failing: Cell<bool>,
}

struct Connection {
    io: Box<RefCell<Io>>,
    place: Place,
}

/// A connection's place among those of its endpoint, until it is closed.
struct Place {
    endpoint: Weak<Endpoint>,
    pool: Weak<Pool>,
    metrics: Arc<ThreadMetrics>,
}

/// A connection that is out of the pool. Dropped without [`Checkout::finish`]
/// it is closed, which is how a request in flight is given up.
pub(crate) struct Checkout {
    pub(crate) call: Call,
    place: Place,
}

/// The endpoint cannot be connected to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Unreachable;

// === impl Pool ===

impl Pool {
    pub(crate) fn new(
        transport: Arc<Transport>,
        limits: Limits,
        metrics: Arc<ThreadMetrics>,
    ) -> Rc<Pool> {
        Rc::new(Pool { transport, limits, metrics, endpoints: RefCell::default() })
    }

    /// A connection that is ready for one request.
    pub(crate) async fn checkout(
        self: &Rc<Pool>,
        id: &EndpointId,
    ) -> Result<Checkout, Unreachable> {
        let endpoint = self.endpoint(id);
        let mut stillborn = 0;
        while stillborn < STILLBORN_MAX {
            let idle = endpoint.idle.borrow_mut().pop();
            let connection = match idle {
                Some((connection, _)) => connection,
                None => {
                    stillborn += 1;
                    self.stand_in_line(&endpoint).await?
                }
            };
            if connection.is_quiet() {
                let Connection { io, place } = connection;
                return Ok(Checkout { call: Call::h1(io), place });
            }
        }
        endpoint.fail();
        Err(Unreachable)
    }

    /// Whether the last attempt to connect failed and none has worked since.
    pub(crate) fn is_failing(&self, id: &EndpointId) -> bool {
        self.endpoints.borrow().get(id).is_some_and(|endpoint| endpoint.failing.get())
    }

    /// Forgets that `id` failed, so that the next request tries it.
    pub(crate) fn forgive(&self, id: &EndpointId) {
        if let Some(endpoint) = self.endpoints.borrow().get(id) {
            endpoint.failing.set(false);
        }
    }

    /// Opens a connection for the pool, ahead of any request.
    pub(crate) async fn probe(self: &Rc<Pool>, id: &EndpointId) -> Result<(), Unreachable> {
        let endpoint = self.endpoint(id);
        endpoint.connecting.set(endpoint.connecting.get() + 1);
        let opened = self.open(&endpoint).await;
        endpoint.connecting.set(endpoint.connecting.get() - 1);
        let connection = opened.map_err(|_| Unreachable)?;
        endpoint.failing.set(false);
        self.give(&endpoint, connection);
        Ok(())
    }

    /// Forgets endpoints that no table names any more. Requests that are with
    /// one of them finish.
    pub(crate) fn retain(&self, known: &HashSet<EndpointId>) {
        self.endpoints
            .borrow_mut()
            .retain(|id, endpoint| known.contains(id) || !endpoint.waiting.borrow().is_empty());
    }

    fn endpoint(&self, id: &EndpointId) -> Rc<Endpoint> {
        if let Some(endpoint) = self.endpoints.borrow().get(id) {
            return endpoint.clone();
        }
        let endpoint = Rc::new(Endpoint {
            id: id.clone(),
            idle: RefCell::default(),
            waiting: RefCell::default(),
            open: Cell::new(0),
            connecting: Cell::new(0),
            failing: Cell::new(false),
        });
        self.endpoints.borrow_mut().insert(id.clone(), endpoint.clone());
        endpoint
    }

    async fn stand_in_line(
        self: &Rc<Pool>,
        endpoint: &Rc<Endpoint>,
    ) -> Result<Connection, Unreachable> {
        let (give, given) = oneshot::channel();
        endpoint.waiting.borrow_mut().push_back(give);
        self.grow(endpoint);
        given.await.unwrap_or(Err(Unreachable))
    }

    /// Opens connections as long as more wait than are on their way.
    fn grow(self: &Rc<Pool>, endpoint: &Rc<Endpoint>) {
        endpoint.waiting.borrow_mut().retain(|waiter| !waiter.is_closed());
        let (open, connecting) = (endpoint.open.get(), endpoint.connecting.get());
        let room = self.limits.upstream_connections_max.saturating_sub(open + connecting);
        let slots = self.limits.upstream_connecting_max.saturating_sub(connecting);
        let wanted = endpoint.waiting.borrow().len().saturating_sub(connecting);
        for _ in 0..wanted.min(room).min(slots) {
            endpoint.connecting.set(endpoint.connecting.get() + 1);
            let (pool, endpoint) = (self.clone(), endpoint.clone());
            tokio::task::spawn_local(async move {
                let opened = pool.open(&endpoint).await;
                endpoint.connecting.set(endpoint.connecting.get() - 1);
                match opened {
                    Ok(connection) => {
                        endpoint.failing.set(false);
                        pool.give(&endpoint, connection);
                        pool.grow(&endpoint);
                    }
                    // Those in line still get the connections that are open.
                    Err(_) if endpoint.open.get() > 0 => {}
                    Err(_) => endpoint.fail(),
                }
            });
        }
    }

    async fn open(self: &Rc<Pool>, endpoint: &Rc<Endpoint>) -> Result<Connection, ()> {
        let EndpointId { unit, address } = &endpoint.id;
        let failed = |error: ConnectError| {
            self.metrics.connect_failures.add(1);
            tracing::debug!(%unit, %address, %error, "cannot open a connection to an endpoint");
        };
        let stream = self.transport.connect(unit, *address).await.map_err(failed)?;
        self.metrics.upstream_connections.add(1);
        endpoint.open.set(endpoint.open.get() + 1);
        let place = Place {
            endpoint: Rc::downgrade(endpoint),
            pool: Rc::downgrade(self),
            metrics: self.metrics.clone(),
        };
        Ok(Connection { io: Box::new(RefCell::new(Io::new(stream))), place })
    }

    /// Hands a connection to the first who still waits, else keeps it.
    fn give(&self, endpoint: &Endpoint, mut connection: Connection) {
        while let Some(waiter) = { endpoint.waiting.borrow_mut().pop_front() } {
            match waiter.send(Ok(connection)) {
                Ok(()) => return,
                Err(Ok(back)) => connection = back,
                Err(Err(_)) => return,
            }
        }
        let now = Instant::now();
        let mut idle = endpoint.idle.borrow_mut();
        // The oldest is the one that load no longer needs.
        let is_stale = |(oldest, since): &(Connection, Instant)| {
            now - *since > self.limits.upstream_idle_timeout || !oldest.is_quiet()
        };
        if idle.first().is_some_and(is_stale) {
            idle.remove(0);
        }
        if idle.len() < self.limits.upstream_idle_max {
            idle.push((connection, now));
        }
    }

    /// Closes idle connections that their peers have closed, for as long as it
    /// is polled.
    pub(crate) async fn sweep(&self) {
        loop {
            tokio::time::sleep(SWEEP).await;
            for endpoint in self.endpoints.borrow().values() {
                endpoint.idle.borrow_mut().retain(|(connection, _)| connection.is_quiet());
            }
        }
    }
}

// === impl Endpoint ===

impl Endpoint {
    fn fail(&self) {
        self.failing.set(true);
        for waiter in self.waiting.take() {
            let _ = waiter.send(Err(Unreachable));
        }
    }
}

// === impl Connection ===

impl Connection {
    /// Whether its peer has neither closed it nor spoken unasked.
    fn is_quiet(&self) -> bool {
        self.io.borrow_mut().is_quiet(&mut Context::from_waker(Waker::noop()))
    }
}

// === impl Place ===

impl Drop for Place {
    fn drop(&mut self) {
        self.metrics.upstream_connections.sub(1);
        let Some(endpoint) = self.endpoint.upgrade() else { return };
        endpoint.open.set(endpoint.open.get() - 1);
        if let Some(pool) = self.pool.upgrade() {
            // There is room for another, if anyone waits.
            pool.grow(&endpoint);
        }
    }
}

// === impl Checkout ===

impl Checkout {
    /// The answer has ended: the connection serves the next request.
    pub(crate) fn finish(self) {
        let Checkout { call, place } = self;
        let (Some(io), Some(pool), Some(endpoint)) =
            (call.into_io(), place.pool.upgrade(), place.endpoint.upgrade())
        else {
            return;
        };
        // What comes unasked is nobody's answer.
        if io.borrow().input.is_empty() {
            pool.give(&endpoint, Connection { io, place });
        }
    }
}
