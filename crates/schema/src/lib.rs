//! What objects of the API look like.
//!
//! One description serves every end: unknown fields are named and pruned,
//! values of the wrong type refused with their path, defaults filled in, lists
//! merged by key, ownership of fields tracked, protobuf read and written, and
//! OpenAPI documents made. Built-in kinds come from sources beside this crate,
//! custom ones from the structural schema of their CustomResourceDefinition;
//! what works on schemas knows no difference between them.
//!
//! Pure. What this crate must never know: where objects are kept, who asks.

pub mod builtin;
mod clause;
mod node;
mod pattern;
pub mod quantity;

mod check;
mod fill;
mod form;
mod format;
mod look;
mod path;

pub mod fuzz;
pub mod gnostic;
pub mod openapi;
pub mod proto;
pub mod structural;

#[cfg(test)]
mod testing;

pub use clause::{Clause, Junctors};
pub use look::Findings;
pub use node::{
    Checks, Field, Form, List, ListKind, Object, PatchRule, Presence, Schema, Shape, TypeId,
};
pub use pattern::{Pattern, compile};
