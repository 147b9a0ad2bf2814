//! Waiting for a condition with a deadline.

use std::{
    thread,
    time::{Duration, Instant},
};

/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(25);

/// Looks until `look` gives something; the last look begins after `limit`, so
/// that a test that was not scheduled for so long has looked.
///
/// # Panics
/// When it gave nothing within `limit`; `what` says what was waited for.
pub fn wait_for<T>(what: &str, limit: Duration, mut look: impl FnMut() -> Option<T>) -> T {
    #[expect(clippy::disallowed_methods, reason = "a test waits for other processes")]
    let until = Instant::now() + limit;
    loop {
        #[expect(clippy::disallowed_methods, reason = "a test waits for other processes")]
        let now = Instant::now();
        if let Some(found) = look() {
            return found;
        }
        assert!(now < until, "{what}: not within {limit:?}");
        #[expect(clippy::disallowed_methods, reason = "between two looks at other processes")]
        thread::sleep(LOOK_EVERY);
    }
}
