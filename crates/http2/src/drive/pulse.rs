//! What happens because time goes by: pings, answers nobody takes, deadlines.

use std::{
    collections::BTreeSet,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use tokio::time::{Instant, Sleep, sleep_until};

use super::{Ended, Manners};
use crate::{Code, Connection, StreamId};

/// Looks at a connection that often, whatever else there is to wait for.
const LOOK_EVERY: Duration = Duration::from_secs(15);

/// A peer that has not heard our farewell by now has had its time to begin
/// calls: a round trip to anywhere, and a pause.
const FAREWELL_MAX: Duration = Duration::from_secs(1);

pub struct Pulse {
    sleep: Pin<Box<Sleep>>,
    heard: Instant,
    /// For when our ping was not answered yet.
    asked: Option<Instant>,
    /// Up to when time was told to the connection.
    rested: Instant,
    /// Since when no answer was taken, and what had been sent then.
    stalled: Option<(Instant, u64)>,
    leaving: Option<Instant>,
}

/// Calls whose callers wait until then and no longer.
pub struct Deadlines {
    sleep: Pin<Box<Sleep>>,
    calls: BTreeSet<(Instant, StreamId)>,
}

// === impl Pulse ===

impl Pulse {
    pub fn new(now: Instant, manners: &Manners) -> Pulse {
        Pulse {
            sleep: Box::pin(sleep_until(now + manners.ping_every.min(LOOK_EVERY))),
            heard: now,
            asked: None,
            rested: now,
            stalled: None,
            leaving: None,
        }
    }

    /// Something came.
    pub fn heard(&mut self, now: Instant, connection: &mut Connection) {
        (self.heard, self.asked) = (now, None);
        let seconds = now.saturating_duration_since(self.rested).as_secs();
        if seconds > 0 {
            connection.rest(u32::try_from(seconds).unwrap_or(u32::MAX));
            self.rested = now;
        }
    }

    /// A farewell was said.
    pub fn leave(&mut self, now: Instant) {
        let by = now + FAREWELL_MAX;
        self.leaving = Some(by);
        self.sleep.as_mut().reset(by);
    }

    pub fn poll(
        &mut self,
        cx: &mut Context<'_>,
        connection: &mut Connection,
        manners: &Manners,
    ) -> Result<(), Ended> {
        while self.sleep.as_mut().poll(cx).is_ready() {
            let next = self.look(Instant::now(), connection, manners)?;
            self.sleep.as_mut().reset(next);
        }
        Ok(())
    }

    /// What is due at `now`, and when to look again.
    fn look(
        &mut self,
        now: Instant,
        connection: &mut Connection,
        manners: &Manners,
    ) -> Result<Instant, Ended> {
        let (queued, sent) = connection.progress();
        match self.stalled {
            _ if queued == 0 => self.stalled = None,
            Some((since, then)) if then == sent => {
                if now - since >= manners.stall_max {
                    return Err(Ended::Stalled);
                }
            }
            _ => self.stalled = Some((now, sent)),
        }
        if self.leaving.is_some_and(|by| by <= now) {
            connection.go_away_now(Code::NO_ERROR);
            self.leaving = None;
        }
        let is_silent = now - self.heard >= manners.ping_every;
        match self.asked {
            Some(asked) if now - asked >= manners.ping_answer_max => return Err(Ended::Silent),
            None if is_silent && connection.streams() > 0 => {
                connection.ping();
                self.asked = Some(now);
            }
            _ => {}
        }
        let ping = match self.asked {
            Some(asked) => asked + manners.ping_answer_max,
            None if connection.streams() > 0 => self.heard + manners.ping_every,
            None => now + manners.ping_every,
        };
        let next = ping.min(now + LOOK_EVERY);
        Ok(self.leaving.map_or(next, |by| next.min(by)))
    }
}

// === impl Deadlines ===

impl Deadlines {
    pub fn new(now: Instant) -> Deadlines {
        Deadlines { sleep: Box::pin(sleep_until(now)), calls: BTreeSet::new() }
    }

    pub fn add(&mut self, timeout: Option<Duration>, stream: StreamId) -> Option<Instant> {
        let deadline = Instant::now().checked_add(timeout?)?;
        self.calls.insert((deadline, stream));
        Some(deadline)
    }

    pub fn remove(&mut self, deadline: Option<Instant>, stream: StreamId) {
        if let Some(deadline) = deadline {
            self.calls.remove(&(deadline, stream));
        }
    }

    /// The next call whose time is over.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<StreamId> {
        let Some((first, stream)) = self.calls.first().copied() else { return Poll::Pending };
        if self.sleep.deadline() != first {
            self.sleep.as_mut().reset(first);
        }
        std::task::ready!(self.sleep.as_mut().poll(cx));
        self.calls.pop_first();
        Poll::Ready(stream)
    }
}
