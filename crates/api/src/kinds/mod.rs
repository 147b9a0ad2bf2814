//! The few rules that are a kind's own, as pure functions over its JSON.

pub mod event;
pub mod namespace;
pub mod ours;
pub mod pod;
pub mod small;
