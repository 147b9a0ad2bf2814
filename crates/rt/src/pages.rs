//! Metrics of roles that share a process: each adds its page, and whichever
//! serves `/metrics` shows them all.

use std::sync::{Arc, Mutex, PoisonError};

type Page = Box<dyn Fn() -> String + Send + Sync>;

/// Cheap to clone; all clones are one list.
#[derive(Clone, Default)]
pub struct Pages(Arc<Mutex<Vec<Page>>>);

// === impl Pages ===

impl Pages {
    /// Adds a page in Prometheus' text format.
    pub fn add(&self, page: impl Fn() -> String + Send + Sync + 'static) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(Box::new(page));
    }

    /// Every page, one after the other.
    #[must_use]
    pub fn show(&self) -> String {
        let pages = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        pages.iter().map(|page| page()).collect()
    }
}
