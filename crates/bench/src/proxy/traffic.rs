//! What all connections of one measured stretch share: whose turn it is, what
//! an answer must be, and how long it took.

use std::cell::{Cell, RefCell};

use anyhow::bail;
use tokio::time::Instant;

use super::{
    pace::Pace,
    users::{STAMP, User, VERDICT_BYTES, verdict},
};
use crate::{
    drive::{Tally, Window},
    target::{Stream, Target},
};

pub(crate) struct Traffic<'a> {
    users: &'a [User],
    next: Cell<usize>,
    /// Of an answer's body, of a message either way, of a piece.
    pub bytes: usize,
    /// Whether what is measured knows units and stamps.
    is_routed: bool,
    pub pace: Pace,
    tally: RefCell<Tally>,
    judged: Cell<u64>,
}

/// So many connections, one after the other: a proxy that has to shake a
/// thousand hands at once is not what is measured.
pub(crate) async fn connect(target: &Target, count: usize) -> anyhow::Result<Vec<Stream>> {
    let mut streams = Vec::with_capacity(count);
    for _ in 0..count {
        streams.push(target.connect().await?);
    }
    Ok(streams)
}

// === impl Traffic ===

impl<'a> Traffic<'a> {
    pub fn new(
        users: &'a [User],
        bytes: usize,
        is_routed: bool,
        pace: Pace,
        window: Window,
    ) -> Traffic<'a> {
        let tally = RefCell::new(Tally::new(window));
        Traffic { users, next: Cell::new(0), bytes, is_routed, pace, tally, judged: Cell::new(0) }
    }

    pub fn next_user(&self) -> &'a User {
        let at = self.next.get();
        self.next.set((at + 1) % self.users.len());
        &self.users[at]
    }

    /// `start` is what the origin says of the request it got.
    pub fn check(&self, user: &User, start: [u8; VERDICT_BYTES]) -> anyhow::Result<()> {
        if self.is_routed && start != verdict(user.unit, true) {
            bail!(
                "the request of user {} belongs to unit {} with stamp {STAMP:?}; it arrived as {:?}",
                user.id,
                user.unit.name(),
                String::from_utf8_lossy(&start),
            );
        }
        self.judged_one();
        Ok(())
    }

    /// One that is right as it came.
    pub fn judged_one(&self) {
        self.judged.set(self.judged.get() + 1);
    }

    /// Answers so far, those outside the window included.
    pub fn judged(&self) -> u64 {
        self.judged.get()
    }

    /// Counts an answer that came now; tells whether the stretch goes on.
    pub fn answered(&self, since: Instant) -> bool {
        self.tally.borrow_mut().answered(since, Instant::now())
    }

    pub fn into_tally(self) -> Tally {
        self.tally.into_inner()
    }
}
