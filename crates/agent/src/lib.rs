//! The agent: the kubelet of a center, for Pods that run as packages.
//!
//! It registers the center's Node in each of its units, watches the Pods bound
//! to that Node, runs them through `runtime`, and reports what it sees. Read in
//! this order: [`Config`] and `agent` wire it; `pod` follows one Pod from its
//! manifest to its end (`plan` says what is wanted, `container` keeps one
//! container running, `status` says what is seen); `probe` asks containers how
//! they are; `node` reports the Node; `serve` answers the API server.
//!
//! A Pod outlives its agent unless [`Config::pods_die_with_agent`] is set, and
//! an agent without an API goes on with the Pods it has. What goes wrong with
//! one Pod stays with that Pod.
//!
//! What this crate must never know: shards, payments, why a Pod exists.

mod config;

mod agent;
mod disk;
mod events;
mod metrics;
mod node;
mod pod;
mod probe;
mod serve;

pub use agent::Agent;
pub use config::{Caller, Config, Error};
