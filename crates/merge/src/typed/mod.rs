//! Objects with what is known of their types: which fields they have, what
//! changed between two, and one merged into the other.
//!
//! The rules are those of Kubernetes' structured merge. Scalars, atomic maps
//! and atomic lists are owned as one; other maps field by field, sets value by
//! value, and lists with keys item by item.

mod check;
mod compare;
mod having;
mod merge;
mod named;
mod remove;

pub use check::{Duplicates, Wrong, check};
pub use compare::{Delta, compare};
pub use having::fields_of;
pub use merge::merge;
pub use named::{reconcile, with_named};
pub use remove::remove;
