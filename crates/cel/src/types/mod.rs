//! Types: what they are, how they unify, what is declared, and the check.

mod check;
pub mod declared;
mod escape;
pub mod format;
pub mod functions;
mod unify;
mod validate;

pub use check::{Checked, Reference, check};
pub use declared::{Decl, DeclKind};
pub use escape::{escape, unescape};
pub use format::Type;
