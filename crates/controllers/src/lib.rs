//! The controllers of a center: what makes the estate what its resources say.
//!
//! They run in every center. Some work is done by each of them, because it must
//! not wait for an election: probing the other centers ([`center`]), proposing
//! a failover ([`failover`]), raising fences ([`fence`]). Rivals are harmless
//! there: the map's compare-and-swap and the fence arbitrate. The rest is done
//! by an elected leader: asking a person where the policy wants it ([`approval`]),
//! first assignment and return ([`homecoming`]), planned moves ([`shard_move`]),
//! rented units ([`unit_rental`]), phases ([`phase`]), Nodes whose agent is silent
//! ([`node`]), CafeDeployments ([`cafe_deployment`]).
//!
//! ```text
//! prober ─▶ center (tower) ─▶ Health ─▶ failover ─▶ ShardMap: Moving
//!               │    ▲                                   │ watch
//!               ▼    │ reports                           ▼
//!          Center.status                        fence ─▶ ledger ─▶ ShardMap: Serving
//! ```
//!
//! All read one [`picture`] of the estate that watches keep warm, and decide by
//! `planner`'s rules. What this crate must never know: how any other role is
//! built; it meets them through the API and HTTP.

mod approval;
mod cafe_deployment;
mod center;
mod config;
mod edges;
mod events;
mod failover;
mod fence;
mod homecoming;
mod link;
mod map;
mod metrics;
mod network;
mod node;
mod observations;
mod pace;
mod phase;
mod picture;
mod prober;
mod provider;
mod role;
mod rounds;
mod service;
mod shard_move;
mod unit_rental;

pub use config::{Config, Error};
pub use metrics::Metrics;
pub use network::Network;
pub use provider::{HttpProvider, Place, PlaceOrder, PlaceState, Provider, ProviderError};
pub use role::Controllers;
