//! The few rules that are a kind's own, as pure functions over its JSON.

pub mod event;
pub mod namespace;
pub mod ours;
pub mod pod;
pub mod shard_map;
pub mod shard_move;
pub mod small;
pub mod unit;
pub mod unit_rental;
