//! Who vouches for people: authorities, and an identity provider.

mod authority;
mod provider;

pub use authority::Authority;
pub use provider::{Key, Provider};
