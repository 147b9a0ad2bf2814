//! Room for what is nested deeply.
//!
//! Every walk of a tree recurses. What people write fits on the stack of any
//! task; what is nested as deeply as the grammar allows may not, and gets a
//! thread with a stack of its own.

use std::panic::resume_unwind;
use std::thread::{Builder, scope};

/// Holds the deepest expression there can be several times over, unoptimized.
const STACK_BYTES: usize = 16 * 1024 * 1024;

/// Does `work`, with room if it is `deep`.
pub fn with_room<T: Send>(deep: bool, work: impl FnOnce() -> T + Send) -> T {
    if !deep {
        return work();
    }
    scope(|scope| {
        let thread = Builder::new().name("cel".into()).stack_size(STACK_BYTES);
        let thread = thread.spawn_scoped(scope, work).expect("a process can have one more thread");
        thread.join().unwrap_or_else(|panic| resume_unwind(panic))
    })
}
