//! A closed loop: every client has one call under way, always.

use std::{cell::RefCell, time::Duration};

use anyhow::{Context, bail};
use hdrhistogram::Histogram;
use tokio::time::Instant;

use crate::{
    target::Target,
    wire::{Connection, Event, StreamId},
    work::{CLIENTS_PER_CONNECTION, Work, connect},
};

/// Highest latency told apart, in nanoseconds: a minute.
const LATENCY_MAX: u64 = 60_000_000_000;

/// Which answers count: those that come between these two.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Window {
    pub start: Instant,
    pub end: Instant,
}

/// What was answered in the window.
pub(crate) struct Tally {
    latencies: Histogram<u64>,
    window: Window,
    last: Instant,
}

struct Slot {
    stream: StreamId,
    since: Instant,
    answered: bool,
}

/// Runs until the window is over, or the work is done.
pub(crate) async fn closed_loop(
    target: &Target,
    work: &dyn Work,
    clients: usize,
    window: Window,
) -> anyhow::Result<Tally> {
    let tally = RefCell::new(Tally::new(window));
    let connections = connect(target, clients).await.context("connect")?;
    let mut left = clients;
    let loops = connections.into_iter().map(|connection| {
        let own = left.min(CLIENTS_PER_CONNECTION);
        left -= own;
        one_connection(connection, work, own, &tally)
    });
    futures::future::try_join_all(loops).await?;
    Ok(tally.into_inner())
}

async fn one_connection(
    mut connection: Connection,
    work: &dyn Work,
    clients: usize,
    tally: &RefCell<Tally>,
) -> anyhow::Result<()> {
    let path = work.path();
    let mut message = Vec::new();
    let mut call = |connection: &mut Connection, now: Instant| -> Option<Slot> {
        message.clear();
        if !work.next(&mut message) {
            return None;
        }
        Some(Slot { stream: connection.call(path, &message, true), since: now, answered: false })
    };
    let mut slots: Vec<Slot> = Vec::new();
    for _ in 0..clients {
        slots.extend(call(&mut connection, Instant::now()));
    }
    let mut events = Vec::new();
    while !slots.is_empty() {
        connection.turn(&mut events).await.context("talk to the server")?;
        let now = Instant::now();
        for event in events.drain(..) {
            match event {
                Event::Data(stream, _) => {
                    if let Some(slot) = slots.iter_mut().find(|slot| slot.stream == stream) {
                        slot.answered = true;
                    }
                }
                Event::End(stream) => {
                    let Some(at) = slots.iter().position(|slot| slot.stream == stream) else {
                        continue;
                    };
                    if !slots[at].answered {
                        bail!("{path} was refused");
                    }
                    let is_on = tally.borrow_mut().answered(slots[at].since, now);
                    match is_on.then(|| call(&mut connection, now)).flatten() {
                        Some(next) => slots[at] = next,
                        None => drop(slots.swap_remove(at)),
                    }
                }
            }
        }
    }
    Ok(())
}

// === impl Window ===

impl Window {
    pub fn after(warm_up: Duration, duration: Duration) -> Window {
        let start = Instant::now() + warm_up;
        Window { start, end: start + duration }
    }

    /// For work that ends by itself.
    pub fn until_done() -> Window {
        const LONG: Duration = Duration::from_secs(3600);
        Window::after(Duration::ZERO, LONG)
    }
}

// === impl Tally ===

impl Tally {
    pub fn new(window: Window) -> Tally {
        let latencies =
            Histogram::new_with_bounds(100, LATENCY_MAX, 3).expect("its bounds are in order");
        Tally { latencies, window, last: window.start }
    }

    /// Counts an answer that came `now`; tells whether the window goes on.
    pub fn answered(&mut self, since: Instant, now: Instant) -> bool {
        let Window { start, end } = self.window;
        if now >= start && now < end {
            let nanos = u64::try_from(now.duration_since(since).as_nanos()).unwrap_or(u64::MAX);
            self.latencies.saturating_record(nanos);
            self.last = now;
        }
        now < end
    }

    pub fn window(&self) -> Window {
        self.window
    }

    pub fn count(&self) -> u64 {
        self.latencies.len()
    }

    pub fn per_second(&self) -> f64 {
        // Work that ran out ended the window early.
        let seconds = (self.last - self.window.start).as_secs_f64();
        if seconds == 0.0 { 0.0 } else { self.count() as f64 / seconds }
    }

    pub fn quantile_us(&self, quantile: f64) -> f64 {
        self.latencies.value_at_quantile(quantile) as f64 / 1000.0
    }

    pub fn add(&mut self, other: &Tally) {
        self.latencies.add(&other.latencies).expect("both have the same bounds");
        self.last = self.last.max(other.last);
    }
}
