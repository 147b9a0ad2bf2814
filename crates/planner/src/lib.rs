//! Wanted and seen in, plan out.
//!
//! Pure rules of the control plane: how the shard map may change
//! ([`shard_map`]), how a planned move goes ([`shard_move`]), which moves are [`stuck`], when a center
//! counts as lost ([`center`]) and may be moved ([`failover`]), who takes over ([`takeover`]), when
//! shards go home ([`unit`]), which pods a CafeDeployment needs ([`cafe_deployment`]),
//! what a rented unit needs next ([`unit_rental`]). Callers bring the time and carry out the plans; a plan
//! that has grown stale fails on the version it was made from.
//!
//! What this crate must never know: tokio, clocks, sockets, the API.

#![forbid(unsafe_code)]

pub mod cafe_deployment;
pub mod center;
pub mod failover;
pub mod shard_map;
pub mod shard_move;
pub mod stuck;
pub mod takeover;
pub mod template;
pub mod unit;
pub mod unit_rental;
