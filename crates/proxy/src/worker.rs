//! One thread of the edge: what its requests share.
//!
//! Everything here belongs to one thread and is never locked. A new view
//! arrives as a message, becomes this thread's table, and wakes whoever it
//! concerns: waiting requests that can go on, and requests in flight to an
//! owner that is no longer one.

use std::{
    cell::{Cell, RefCell},
    collections::{HashMap, HashSet},
    net::SocketAddr,
    rc::Rc,
    sync::Arc,
};

use rt::{backoff::Backoff, random::Random};
use tokio::sync::Notify;
use topology::{Epoch, SHARDS_MAX, Shard, UnitName};

use crate::{
    config::Limits,
    hold::{Hold, Ticket},
    metrics::{ThreadMetrics, UnitMetrics},
    pool::{EndpointId, Pool},
    source::Refresh,
    table::{Route, Table, Target, View, Wait},
    transport::Transport,
};

pub(crate) struct Worker {
    pub(crate) limits: Limits,
    pub(crate) pool: Rc<Pool>,
    pub(crate) hold: RefCell<Hold>,
    pub(crate) metrics: Arc<ThreadMetrics>,
    pub(crate) refresh: Refresh,
    table: RefCell<Rc<Table>>,
    /// By shard: its route changed.
    changed: Vec<Notify>,
    units: RefCell<HashMap<UnitName, Arc<UnitMetrics>>>,
    probing: RefCell<HashSet<EndpointId>>,
    tickets: Cell<u64>,
    /// Spreads requests over the endpoints of a unit.
    turn: Cell<usize>,
    /// Connections come to their end.
    pub(crate) draining: Cell<bool>,
    drained: Notify,
    random: RefCell<Random>,
}

// === impl Worker ===

impl Worker {
    pub(crate) fn new(
        limits: Limits,
        transport: Arc<Transport>,
        metrics: Arc<ThreadMetrics>,
        refresh: Refresh,
    ) -> Rc<Worker> {
        Rc::new(Worker {
            pool: Pool::new(transport, limits.clone(), metrics.clone()),
            hold: RefCell::new(Hold::new(limits.hold)),
            metrics,
            refresh,
            table: RefCell::default(),
            changed: (0..SHARDS_MAX).map(|_| Notify::new()).collect(),
            units: RefCell::default(),
            probing: RefCell::default(),
            tickets: Cell::new(0),
            turn: Cell::new(0),
            draining: Cell::new(false),
            drained: Notify::new(),
            random: RefCell::new(Random::from_entropy()),
            limits,
        })
    }

    /// Routes by `view` from now on.
    pub(crate) fn install(&self, view: &View) {
        let table = Rc::new(Table::build(view));
        let before = self.table.replace(table.clone());
        self.metrics.table_version.set(table.version().0);
        let known = table
            .endpoints()
            .map(|(unit, address)| EndpointId { unit: unit.clone(), address })
            .collect();
        self.pool.retain(&known);
        for shard in table.changes(&before) {
            self.changed[usize::from(shard.number())].notify_waiters();
            let (now, then) = (table.route(shard), before.route(shard));
            let mut hold = self.hold.borrow_mut();
            hold.forget_pioneer(shard);
            // Another endpoint of the same owner may well do what one refused.
            let moved = matches!(then, Route::Wait(Wait::Moving { .. }));
            if matches!(now, Route::Serve(_)) && now.epoch() == then.epoch() && !moved {
                hold.release(shard, |_| true);
            }
        }
        // Whoever waits for a bucket that has left its shard stands in the wrong
        // line: all of it looks again, in order of arrival and with their tickets.
        for shard in table.split_since(&before) {
            let mut hold = self.hold.borrow_mut();
            hold.forget_pioneer(shard);
            hold.release(shard, |_| true);
        }
        self.sweep();
    }

    pub(crate) fn table(&self) -> Rc<Table> {
        self.table.borrow().clone()
    }

    pub(crate) fn route(&self, shard: Shard) -> Route {
        self.table.borrow().route(shard).clone()
    }

    /// Lets everyone go on whose shard can be served, in order of arrival.
    pub(crate) fn sweep(&self) {
        let mut hold = self.hold.borrow_mut();
        for shard in hold.shards() {
            let Route::Serve(target) = self.route(shard) else { continue };
            if self.pick(&target).is_none() {
                continue;
            }
            hold.release(shard, |newer_than| is_newer(target.epoch, newer_than));
        }
    }

    /// `shard` has just been served: whoever waits for it may try.
    pub(crate) fn served(&self, shard: Shard) {
        let mut hold = self.hold.borrow_mut();
        hold.forget_pioneer(shard);
        if hold.is_waiting(shard) {
            hold.release(shard, |_| true);
        }
    }

    /// Whether someone who came before `ticket` waits though `target` is there
    /// to be tried: it was refused, and asks again for all.
    pub(crate) fn is_behind(&self, target: &Target, ticket: Ticket) -> bool {
        let mut hold = self.hold.borrow_mut();
        if !hold.is_behind(target.shard, ticket) {
            return false;
        }
        hold.release(target.shard, |newer_than| is_newer(target.epoch, newer_than));
        hold.is_behind(target.shard, ticket)
    }

    /// The next endpoint of `target` in turn that is not failing.
    pub(crate) fn pick(&self, target: &Target) -> Option<EndpointId> {
        let turn = self.turn.get();
        self.turn.set(turn.wrapping_add(1));
        let count = target.endpoints.len();
        (0..count)
            .map(|offset| target.endpoints[turn.wrapping_add(offset) % count])
            .map(|address| EndpointId { unit: target.unit.clone(), address })
            .find(|id| !self.pool.is_failing(id))
    }

    /// Returns when waiting for `endpoint`'s answer has become pointless.
    pub(crate) async fn superseded(&self, target: &Target, endpoint: SocketAddr) {
        loop {
            let changed = self.changed[usize::from(target.shard.number())].notified();
            if self.table.borrow().supersedes(target, endpoint) {
                return;
            }
            changed.await;
        }
    }

    /// Sees to it that someone tries `id` until it can be connected to, for as
    /// long as anyone waits: one prober per endpoint, not one per request.
    pub(crate) fn probe(self: &Rc<Worker>, id: &EndpointId) {
        if !self.probing.borrow_mut().insert(id.clone()) {
            return;
        }
        let (worker, id) = (self.clone(), id.clone());
        tokio::task::spawn_local(async move {
            let mut backoff = worker.backoff();
            loop {
                tokio::time::sleep(backoff.step()).await;
                if worker.hold.borrow().requests() == 0 {
                    worker.pool.forgive(&id);
                    break;
                }
                let named = worker
                    .table()
                    .endpoints()
                    .any(|(unit, address)| *unit == id.unit && address == id.address);
                if !named || worker.pool.probe(&id).await.is_ok() {
                    break;
                }
            }
            worker.probing.borrow_mut().remove(&id);
            worker.sweep();
        });
    }

    pub(crate) fn drain(&self) {
        self.draining.set(true);
        self.drained.notify_waiters();
    }

    pub(crate) async fn drained(&self) {
        while !self.draining.get() {
            self.drained.notified().await;
        }
    }

    pub(crate) fn backoff(&self) -> Backoff {
        let seed = self.random.borrow_mut().next_u64();
        Backoff::new(self.limits.retry_first, self.limits.retry_max, Random::seeded(seed))
    }

    pub(crate) fn ticket(&self) -> Ticket {
        let next = self.tickets.get() + 1;
        self.tickets.set(next);
        Ticket(next)
    }

    pub(crate) fn fresh_id(&self) -> u128 {
        let mut random = self.random.borrow_mut();
        u128::from(random.next_u64()) << 64 | u128::from(random.next_u64())
    }

    pub(crate) fn unit_metrics(&self, unit: &UnitName) -> Arc<UnitMetrics> {
        if let Some(known) = self.units.borrow().get(unit) {
            return known.clone();
        }
        let metrics = self.metrics.unit(unit);
        self.units.borrow_mut().insert(unit.clone(), metrics.clone());
        metrics
    }

    /// Brings the gauges up to date.
    pub(crate) fn gauge_hold(&self) {
        let hold = self.hold.borrow();
        self.metrics.hold_requests.set(hold.requests() as u64);
        self.metrics.hold_bytes.set(hold.bytes() as u64);
    }
}

/// Whether a route of `epoch` is news to one that knows `newer_than` to fail.
pub(crate) fn is_newer(epoch: Epoch, newer_than: Option<Epoch>) -> bool {
    newer_than.is_none_or(|old| epoch > old)
}
