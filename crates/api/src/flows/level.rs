//! A level that is at work: its queues, and who waits in them.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::{sync::oneshot, time::Instant};

use super::{
    demand::{Demand, Observed},
    lending::{Claim, Limits},
    queues::{Count, Grant, Id, Offer, Queues, Refusal},
    shape::Spec,
    tally::Tally,
    work,
};

/// Of a level's nominal seats, the percentage that one request may take.
const WIDTH_PERCENT_MAX: usize = 15;

type Waiter = oneshot::Sender<()>;

pub struct Level {
    pub name: String,
    /// Nothing is counted but requests.
    pub exempt: bool,
    width_max: AtomicUsize,
    state: Mutex<State>,
}

struct State {
    queues: Queues<Waiter>,
    demand: Demand,
    limits: Limits,
    seen: Observed,
}

/// What a request holds while it is served; given back when dropped. One that
/// is dropped while it waits leaves its queue.
pub struct Seat {
    tally: Arc<Tally>,
    held: Option<Held>,
    width: usize,
    stage: Stage,
}

struct Held {
    level: Arc<Level>,
    grant: Grant,
}

enum Stage {
    Waits(Id),
    Sits(Instant),
}

/// A level in numbers.
#[derive(Clone, Copy, Debug)]
pub struct Glance {
    pub limits: Limits,
    pub count: Count,
    pub seen: Observed,
}

// === impl Level ===

impl Level {
    pub fn new(name: &str, spec: &Spec, limits: Limits) -> Level {
        let state = State {
            queues: Queues::new(spec.shape, limits.at_first()),
            demand: Demand::new(Instant::now()),
            limits,
            seen: Observed::default(),
        };
        let level = Level {
            name: name.to_owned(),
            exempt: spec.exempt,
            width_max: AtomicUsize::new(1),
            state: Mutex::new(state),
        };
        level.set_width_max(spec, limits);
        level
    }

    /// From now on so. What it has borrowed or lent stays, within its bounds,
    /// until seats are given out again.
    pub fn change(&self, spec: &Spec, limits: Limits) {
        self.set_width_max(spec, limits);
        let mut state = self.state();
        let seats = state.queues.count().limit.clamp(limits.least, limits.most);
        state.limits = limits;
        state.queues.reshape(spec.shape);
        let woken = state.queues.set_limit(seats);
        drop(state);
        wake(woken);
    }

    fn set_width_max(&self, spec: &Spec, limits: Limits) {
        let width_max = match spec.shape.hand {
            0 => work::SEATS_MAX,
            hand => (limits.nominal * WIDTH_PERCENT_MAX).div_ceil(100).min(limits.nominal / hand),
        };
        self.width_max.store(width_max.max(1), Relaxed);
    }

    /// The most seats that one request may take.
    pub fn width_max(&self) -> usize {
        self.width_max.load(Relaxed)
    }

    /// Seats for one request, after a while if need be.
    pub async fn sit(
        self: &Arc<Level>,
        tally: &Arc<Tally>,
        hash: u64,
        width: usize,
        patience: Duration,
    ) -> Result<Seat, Refusal> {
        if self.exempt {
            tally.began(width, Duration::ZERO);
            let stage = Stage::Sits(Instant::now());
            return Ok(Seat { tally: tally.clone(), held: None, width, stage });
        }
        let began = Instant::now();
        let mut told = None;
        let (offer, woken) = {
            let mut state = self.state();
            let offered = state.queues.offer(hash, width, || {
                let (sender, receiver) = oneshot::channel();
                told = Some(receiver);
                sender
            });
            state.note(began);
            offered
        };
        wake(woken);
        let of = |grant, stage| {
            let held = Some(Held { level: self.clone(), grant });
            Seat { tally: tally.clone(), held, width, stage }
        };
        match offer {
            Offer::Refused(why) => {
                tally.refused(why);
                Err(why)
            }
            Offer::Seated(grant) => {
                tally.began(width, Duration::ZERO);
                Ok(of(grant, Stage::Sits(began)))
            }
            Offer::Waits(grant, id) => {
                let mut seat = of(grant, Stage::Waits(id));
                tally.waiting.fetch_add(1, Relaxed);
                let told = told.expect("who waits was asked how it is told");
                if tokio::time::timeout(patience, told).await.is_err() {
                    tally.refused(Refusal::TimeOut);
                    return Err(Refusal::TimeOut);
                }
                let now = Instant::now();
                tally.waiting.fetch_sub(1, Relaxed);
                tally.began(width, now - began);
                seat.stage = Stage::Sits(now);
                Ok(seat)
            }
        }
    }

    fn finish(&self, grant: Grant, took: Duration) {
        let mut state = self.state();
        let woken = state.queues.finish(grant, took);
        state.note(Instant::now());
        drop(state);
        wake(woken);
    }

    /// What it asks for when seats are given out; a period of watching its
    /// demand ends.
    pub fn claim(&self) -> Claim {
        let mut state = self.state();
        let seen = state.seen;
        state.seen = state.demand.take(Instant::now(), seen);
        let Observed { highest, smoothed, .. } = state.seen;
        Claim { limits: state.limits, highest, smoothed }
    }

    pub fn set_limit(&self, seats: usize) {
        let woken = self.state().queues.set_limit(seats);
        wake(woken);
    }

    pub fn glance(&self) -> Glance {
        let state = self.state();
        Glance { limits: state.limits, count: state.queues.count(), seen: state.seen }
    }

    /// See [`Queues::rows`].
    pub fn rows(&self) -> Vec<(usize, usize, usize, f64)> {
        self.state().queues.rows().collect()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl State ===

impl State {
    fn note(&mut self, at: Instant) {
        self.demand.set(at, self.queues.demand());
    }
}

/// Who went away meanwhile gives its seats back by itself.
fn wake(woken: Vec<Waiter>) {
    for waiter in woken {
        let _ = waiter.send(());
    }
}

// === impl Seat ===

impl Drop for Seat {
    fn drop(&mut self) {
        match self.stage {
            Stage::Sits(since) => {
                self.tally.ended(self.width);
                if let Some(Held { level, grant }) = &self.held {
                    level.finish(*grant, since.elapsed());
                }
            }
            Stage::Waits(id) => {
                self.tally.waiting.fetch_sub(1, Relaxed);
                let Some(Held { level, grant }) = &self.held else { return };
                let mut state = level.state();
                let left = state.queues.leave(*grant, id);
                if left.is_some() {
                    state.note(Instant::now());
                }
                drop(state);
                match left {
                    Some(woken) => wake(woken),
                    // It was its turn this very moment.
                    None => level.finish(*grant, Duration::ZERO),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flows::shape::Shape;

    fn level(seats: usize) -> Arc<Level> {
        let shape = Shape { queues: 8, hand: 2, length_max: 2 };
        let spec =
            Spec { exempt: false, shares: 1, lendable_percent: 0, borrowing_percent: None, shape };
        let limits = Limits { nominal: seats, least: seats, most: seats };
        Arc::new(Level::new("a", &spec, limits))
    }

    const PATIENCE: Duration = Duration::from_secs(15);

    #[tokio::test(start_paused = true)]
    async fn who_waits_is_served_when_a_seat_is_given_back_or_gives_up() {
        let (level, tally) = (level(1), Arc::new(Tally::default()));
        let first = level.sit(&tally, 1, 1, PATIENCE).await.expect("a seat");
        let waits = tokio::spawn({
            let (level, tally) = (level.clone(), tally.clone());
            async move { level.sit(&tally, 2, 1, PATIENCE).await }
        });
        while level.glance().count.waiting == 0 {
            tokio::task::yield_now().await;
        }
        drop(first);
        let second = waits.await.expect("no panic").expect("the seat of the first");
        let third = level.sit(&tally, 3, 1, PATIENCE).await;
        assert!(third.is_err_and(|why| why == Refusal::TimeOut));
        drop(second);
        assert_eq!(level.glance().count, Count { limit: 1, ..Count::default() });
        let load = |counter: &std::sync::atomic::AtomicU64| counter.load(Relaxed);
        assert_eq!((load(&tally.dispatched), load(&tally.time_out)), (2, 1));
        assert_eq!((load(&tally.executing), load(&tally.waiting), load(&tally.seats)), (0, 0, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn who_goes_away_leaves_nothing_behind_wherever_it_was() {
        let (level, tally) = (level(1), Arc::new(Tally::default()));
        let first = level.sit(&tally, 1, 1, PATIENCE).await.expect("a seat");
        for granted in [false, true] {
            let mut waits = Box::pin(level.sit(&tally, 2, 1, PATIENCE));
            assert!(futures::poll!(&mut waits).is_pending());
            assert_eq!(level.glance().count.waiting, 1);
            if granted {
                level.set_limit(2);
                assert_eq!(level.glance().count.seats, 2);
            }
            drop(waits);
            assert_eq!((level.glance().count.waiting, level.glance().count.seats), (0, 1));
        }
        drop(first);
        assert_eq!(level.glance().count, Count { limit: 2, ..Count::default() });
        assert_eq!(tally.waiting.load(Relaxed), 0);
    }
}
