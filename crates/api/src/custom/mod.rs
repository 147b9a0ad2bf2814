//! Custom kinds: what a CustomResourceDefinition must be, what becomes of it,
//! and how the objects it defines are treated.
//!
//! A definition is an object like any other; this folder holds the pure rules
//! about it ([`validate`], [`status`]), makes kinds of it ([`kind`]), and keeps
//! the two together while a cluster is served ([`tend`]): conditions are set,
//! the catalog follows, and a definition that goes takes its objects along.

mod column;
mod conversion;
pub mod definition;
pub mod kind;
pub mod status;
pub mod validate;

mod dns;
mod going;
mod json_path;
mod rules;
mod tend;

pub use column::Column;
pub use conversion::{Conversion, Table};
pub use going::mark;
pub use kind::Custom;
pub use tend::{Tended, tend};
