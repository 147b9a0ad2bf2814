//! The requests of one level: who has seats, who waits, and who is next. Pure:
//! the caller tells how long a request took.
//!
//! Queues take turns by virtual start times (start-time fair queuing, Goyal,
//! Vin and Cheng, 1996). A queue's start time goes ahead by the seat-seconds
//! that its requests take, and the queue that is furthest behind is next; one
//! that comes with nothing waiting starts at the level's virtual clock, which
//! is the start time of whoever was served last. So nobody saves up a claim by
//! being quiet, and whoever has taken more than others waits until they have
//! caught up. Unlike kube-apiserver's, the clock needs no notion of how fast
//! the level could go: it is fair at whatever speed the store answers.
//!
//! What a request takes is known when it ends: until then [`GUESS_S`] is put
//! down for it, and corrected.

use std::{collections::VecDeque, time::Duration};

use super::{dealer, shape::Shape};

/// What a request is put down for until it ends: kube-apiserver's guess.
const GUESS_S: f64 = 0.003;

/// `W` is how a waiting request is told that it has its seats.
pub struct Queues<W> {
    shape: Shape,
    /// Seats there are.
    limit: usize,
    seats: usize,
    executing: usize,
    waiting: usize,
    waiting_seats: usize,
    /// Virtual time, in seat-seconds.
    clock: f64,
    /// More than the shape has while the last of them drain.
    queues: Vec<Queue<W>>,
    /// Of the hands.
    turn: usize,
    ids: u64,
}

struct Queue<W> {
    waiting: VecDeque<Waiting<W>>,
    waiting_seats: usize,
    executing: usize,
    /// Virtual start time of its next request.
    start: f64,
}

struct Waiting<W> {
    id: Id,
    width: usize,
    waiter: W,
}

/// Of one that waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Id(u64);

/// Seats, had or waited for; to be given back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grant {
    queue: Option<usize>,
    pub width: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offer {
    Seated(Grant),
    Waits(Grant, Id),
    Refused(Refusal),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    NoSeat,
    QueueFull,
    TimeOut,
}

/// How much there is of each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    pub limit: usize,
    pub seats: usize,
    pub executing: usize,
    pub waiting: usize,
    pub waiting_seats: usize,
    pub active_queues: usize,
}

// === impl Refusal ===

impl Refusal {
    /// kube-apiserver's word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Refusal::NoSeat => "concurrency-limit",
            Refusal::QueueFull => "queue-full",
            Refusal::TimeOut => "time-out",
        }
    }
}

// === impl Queues ===

impl<W> Queues<W> {
    pub fn new(shape: Shape, limit: usize) -> Queues<W> {
        let mut queues = Queues {
            shape: Shape::NONE,
            limit,
            seats: 0,
            executing: 0,
            waiting: 0,
            waiting_seats: 0,
            clock: 0.0,
            queues: Vec::new(),
            turn: 0,
            ids: 0,
        };
        queues.reshape(shape);
        queues
    }

    /// Queues that are too many get nothing new, and go when they are empty.
    pub fn reshape(&mut self, shape: Shape) {
        self.shape = shape;
        if self.queues.len() < shape.queues {
            self.queues.resize_with(shape.queues, Queue::new);
        }
        self.forget_queues();
    }

    /// With who has seats now that waited.
    pub fn set_limit(&mut self, limit: usize) -> Vec<W> {
        self.limit = limit;
        self.dispatch()
    }

    /// A request of the flow with `hash` wants `width` seats. `waiter` is asked
    /// for when it has to wait. With who has seats now that waited: perhaps
    /// this very one.
    pub fn offer(
        &mut self,
        hash: u64,
        width: usize,
        waiter: impl FnOnce() -> W,
    ) -> (Offer, Vec<W>) {
        let none = Vec::new();
        if self.shape.queues == 0 {
            let grant = Grant { queue: None, width };
            return match self.fits(width) {
                true => {
                    self.seat(grant);
                    (Offer::Seated(grant), none)
                }
                false => (Offer::Refused(Refusal::NoSeat), none),
            };
        }
        let at = self.pick(hash);
        let grant = Grant { queue: Some(at), width };
        let clock = self.clock;
        let queue = &mut self.queues[at];
        if queue.waiting.is_empty() {
            queue.start = queue.start.max(clock);
        }
        if self.waiting == 0 && self.fits(width) {
            self.seat(grant);
            return (Offer::Seated(grant), none);
        }
        let queue = &mut self.queues[at];
        if queue.waiting.len() >= self.shape.length_max {
            return (Offer::Refused(Refusal::QueueFull), none);
        }
        self.ids += 1;
        let id = Id(self.ids);
        queue.waiting.push_back(Waiting { id, width, waiter: waiter() });
        queue.waiting_seats += width;
        self.waiting += 1;
        self.waiting_seats += width;
        // Its turn may be before that of one who waits for more seats.
        (Offer::Waits(grant, id), self.dispatch())
    }

    /// Takes the seats back, with who has them next.
    pub fn finish(&mut self, grant: Grant, took: Duration) -> Vec<W> {
        self.seats -= grant.width;
        self.executing -= 1;
        if let Some(at) = grant.queue {
            let queue = &mut self.queues[at];
            queue.executing -= 1;
            queue.start += seats(grant.width) * (took.as_secs_f64() - GUESS_S);
            self.forget_queues();
        }
        self.dispatch()
    }

    /// It does not wait any longer; none when it has its seats already.
    pub fn leave(&mut self, grant: Grant, id: Id) -> Option<Vec<W>> {
        let queue = &mut self.queues[grant.queue?];
        let at = queue.waiting.iter().position(|waiting| waiting.id == id)?;
        queue.waiting.remove(at);
        queue.waiting_seats -= grant.width;
        self.waiting -= 1;
        self.waiting_seats -= grant.width;
        self.forget_queues();
        Some(self.dispatch())
    }

    pub fn count(&self) -> Count {
        let Queues { limit, seats, executing, waiting, waiting_seats, .. } = *self;
        let active_queues = self.queues.iter().filter(|queue| !queue.waiting.is_empty()).count();
        Count { limit, seats, executing, waiting, waiting_seats, active_queues }
    }

    /// Seats that are had or waited for.
    pub fn demand(&self) -> usize {
        self.seats + self.waiting_seats
    }

    /// Of each queue: how many wait, how many are served, how many seats those
    /// that wait want, and its start time.
    pub fn rows(&self) -> impl Iterator<Item = (usize, usize, usize, f64)> + '_ {
        let row = |queue: &Queue<W>| {
            (queue.waiting.len(), queue.executing, queue.waiting_seats, queue.start)
        };
        self.queues.iter().map(row)
    }

    /// The shortest queue of the flow's hand.
    fn pick(&mut self, hash: u64) -> usize {
        self.turn = self.turn.wrapping_add(1);
        let hand = dealer::deal(hash, self.shape.queues, self.shape.hand);
        let shortest = hand.from(self.turn).min_by_key(|at| self.queues[*at].waiting_seats);
        shortest.expect("a hand has a card")
    }

    /// One that wants more than there is gets it when nobody else has any.
    fn fits(&self, width: usize) -> bool {
        self.seats + width <= self.limit || (self.executing == 0 && self.limit > 0)
    }

    fn seat(&mut self, grant: Grant) {
        self.seats += grant.width;
        self.executing += 1;
        if let Some(at) = grant.queue {
            let queue = &mut self.queues[at];
            queue.executing += 1;
            self.clock = self.clock.max(queue.start);
            queue.start += seats(grant.width) * GUESS_S;
        }
    }

    /// Whoever is next gets seats, for as long as they last. One that wants many
    /// holds up those behind it: it would wait forever otherwise.
    fn dispatch(&mut self) -> Vec<W> {
        let mut woken = Vec::new();
        while self.waiting > 0 {
            let waiting = self.queues.iter().enumerate().filter(|(_, queue)| !queue.is_empty());
            let next = waiting.min_by(|(_, a), (_, b)| a.start.total_cmp(&b.start));
            let Some((at, queue)) = next else { break };
            let width = queue.waiting.front().map_or(0, |waiting| waiting.width);
            if !self.fits(width) {
                break;
            }
            let queue = &mut self.queues[at];
            let Some(waiting) = queue.waiting.pop_front() else { break };
            queue.waiting_seats -= width;
            self.waiting -= 1;
            self.waiting_seats -= width;
            self.seat(Grant { queue: Some(at), width });
            woken.push(waiting.waiter);
        }
        woken
    }

    fn forget_queues(&mut self) {
        let idle = |queue: &Queue<W>| queue.is_empty() && queue.executing == 0;
        while self.queues.len() > self.shape.queues && self.queues.last().is_some_and(idle) {
            self.queues.pop();
        }
    }
}

// === impl Queue ===

impl<W> Queue<W> {
    fn new() -> Queue<W> {
        Queue { waiting: VecDeque::new(), waiting_seats: 0, executing: 0, start: 0.0 }
    }

    fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }
}

fn seats(width: usize) -> f64 {
    f64::from(u32::try_from(width).unwrap_or(u32::MAX))
}

#[cfg(test)]
#[path = "queues_tests.rs"]
mod tests;
