//! How a wanted change and what is there become one object: strategic merge,
//! and server-side apply with its fields' owners.
//!
//! Pure, over JSON and [`schema::Schema`]. What this crate must never know:
//! where objects are kept, who asks.

pub mod apply;
pub mod fields;
#[doc(hidden)]
pub mod fuzz;
mod go;
mod shape;
pub mod strategic;
pub mod typed;
