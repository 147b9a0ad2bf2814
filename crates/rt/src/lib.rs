//! The ground every role stands on: drain, tasks, time, randomness.
//!
//! Lifecycle is the same everywhere: `Config` → `build` → `run(self, drain)`.
//! What this crate must never know: any role, any wire format.

pub mod backoff;
pub mod clock;
pub mod drain;
mod gather;
pub mod heap;
mod pages;
pub mod program;
pub mod random;
pub mod task;

pub use clock::{Clock, Millis};
pub use drain::{Drain, Trigger};
pub use gather::Gather;
pub use pages::Pages;
pub use task::{TaskKind, spawn};
