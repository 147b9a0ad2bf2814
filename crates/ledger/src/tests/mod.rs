//! The ledger over a store with real rules and injected faults.

mod fence;
mod galera;
mod race;
mod schema;
mod service;
mod split;
mod store;
mod suite;
mod unknown;
mod walk;
mod wire;
