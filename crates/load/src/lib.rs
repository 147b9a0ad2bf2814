//! Steady payments from many users, every answer recorded, and the proof
//! afterwards that what was acknowledged is there.
//!
//! An open loop: payment n is due at `start + n / rate` whatever happened to
//! the ones before, and latency counts from when it was due, so a stalled
//! service cannot hide behind a stalled client. A payment that gets no definite
//! answer is tried again under the same key at another edge until it is 10 s
//! old; then it is unknown, and resolved at the end.
//!
//! What this crate must never know: how the edges route, what a unit is made of.

mod account;
mod check;
mod config;
mod edge;
mod error;
mod export;
mod history;
mod payment;
mod resolve;
mod run;
mod stats;
mod users;
mod witness;

pub use check::{Check, Invariant, check, compare};
pub use config::{Config, RunId};
pub use edge::EdgeUrl;
pub use error::Error;
pub use export::Present;
pub use history::{Outcome, Record, Try, TryFailure, read as read_history};
pub use run::{Load, Report};
pub use stats::{Second, Summary};

#[cfg(test)]
mod tests;
