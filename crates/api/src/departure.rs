//! Leaving in order: readiness fails first, so that balancers send others
//! elsewhere while everyone who comes is still served.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

/// Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Departure(Arc<AtomicBool>);

// === impl Departure ===

impl Departure {
    /// From now on `/readyz` fails.
    pub fn announce(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_announced(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}
