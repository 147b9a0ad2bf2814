//! Several processes over one log: who is alive, who leads what, and whether
//! the log is still the one that we knew.
//!
//! One task in each process writes a beat and reads the board; the rules beside
//! it turn what it saw into a [`Situation`] for each keyspace, which wakes that
//! keyspace's actor only when something changed. There is no clock in the log:
//! each process measures by its own how long a beat stands still.
//!
//! Two things keep a leader alone. Writes are fenced by the log itself. Reads,
//! which touch no log, rest on a lease: a leader answers from memory only within
//! [`LEASE_MS`] from before it sent the last beat that found it leading, and
//! nobody takes over before that time is certainly over (see
//! `Actor::claim_shared`).

mod high_water;
mod memory;
mod order;
mod replicas;
mod silence;
mod situation;
mod witness;

pub(crate) use high_water::{HighWater, Refusal};
pub(crate) use memory::{Mark, Memory};
pub(crate) use order::{Handover, Turn, preferred, turn};
pub(crate) use replicas::{Interest, Replicas};
pub(crate) use silence::{LEASE_MS, MARGIN_MS};
pub(crate) use situation::{Lead, Peer, Situation};
pub(crate) use witness::PAGE as MEMORY_PAGE;
