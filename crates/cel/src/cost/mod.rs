//! What expressions cost: counted while they run, and estimated before.
//!
//! The numbers are Kubernetes' own, as which rules a CRD may have hangs on
//! them: a rule that one server takes the other must not refuse.

mod calls;
mod estimate;
mod range;
mod rule;
mod sizes;

pub use estimate::estimate;
pub use range::{Range, excess};
pub use rule::{Rule, of_equality};

/// To make a list.
pub const LIST: u64 = 10;
/// To make a map.
pub const MAP: u64 = 30;
/// To make an object; no expression does, but selectors are counted by it.
const STRUCT: u64 = 40;
/// To look at one character.
pub(crate) const CHARACTER: f64 = 0.1;
/// To have one character in a pattern.
pub(crate) const PATTERN: f64 = 0.25;
/// To ask an authorizer: two questions fit into one call's budget.
pub(crate) const CHECK: u64 = 350_000;
/// The longest pattern of a named format.
pub(crate) const FORMAT_PATTERN_MAX: f64 = 128.0;

/// What one evaluation may cost.
pub const PER_CALL_MAX: u64 = 1_000_000;
/// What all rules of one object may cost.
pub const PER_OBJECT_MAX: u64 = 10_000_000;
/// What one rule of a CRD may be estimated to cost.
pub const RULE_ESTIMATE_MAX: u64 = 10_000_000;
/// What all rules of a CRD may be estimated to cost.
pub const CRD_ESTIMATE_MAX: u64 = 100_000_000;
