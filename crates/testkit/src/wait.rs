//! Waiting for a condition with a deadline.

use std::{
    thread,
    time::{Duration, Instant},
};

/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(25);

/// Looks until `look` gives something; `None` when `limit` is over.
#[expect(clippy::disallowed_methods, reason = "blocks the thread of a test, around real processes")]
pub fn wait_for<T>(limit: Duration, mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let start = Instant::now();
    loop {
        if let Some(found) = look() {
            return Some(found);
        }
        if start.elapsed() > limit {
            return None;
        }
        thread::sleep(LOOK_EVERY);
    }
}
