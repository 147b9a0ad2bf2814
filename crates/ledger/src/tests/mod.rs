//! The ledger over a store with real rules and injected faults.

mod fence;
mod race;
mod service;
mod store;
mod unknown;
mod walk;
mod wire;
