//! Who asks: certificates, tokens of several kinds, and whom one speaks for.
//!
//! Asked in Kubernetes' order: headers of a proxy that is trusted by its
//! certificate, the client's own certificate, then a bearer token; whoever shows
//! nothing is anonymous. A token that is shown and not known is refused: it is
//! never passed over.

mod authenticator;
mod bearer;
mod bootstrap;
mod cache;
mod connection;
mod front_proxy;
mod impersonation;
mod jwt;
mod keys;
mod oidc;
mod provider_keys;
pub mod service_account;
mod token_file;

pub use authenticator::Authenticator;
pub use connection::{Connection, Gate};
pub use impersonation::Wish;

/// For the fuzz targets.
pub(crate) mod fuzz {
    pub use super::{
        bootstrap::BootstrapToken,
        jwt::{Token, sign},
        keys::SigningKey,
    };
}
