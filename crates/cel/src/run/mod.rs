//! From a checked tree to a value: the plan, and the machine that runs it.

mod attribute;
pub mod machine;
pub mod node;
pub mod plan;
