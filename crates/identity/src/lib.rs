//! Who a process is: SPIFFE ids, certificate authorities, TLS configurations.
//!
//! A CA per unit below one root. Every process presents one leaf with exactly
//! one URI SAN, `spiffe://TRUST/unit/UNIT/ns/NS/sa/SA`; people's kubeconfigs
//! carry a leaf with a common name and organisations instead, as Kubernetes
//! reads them. Inside, servers are checked by SPIFFE id and not by host name.
//! What this crate must never know: which role may do what.

mod authority;
mod credentials;
mod peer;
mod spiffe;
mod tls;
mod verify;
mod workload;

pub use authority::{Authority, Issued, Leaf};
pub use credentials::{Credentials, Files, certificates};
pub use peer::Peer;
pub use spiffe::{SpiffeId, SpiffeIdError};
pub use tls::{
    ClientAuth, ServerCheck, client_authority, client_config, foreign_client_config, plain_name,
    server_config,
};
pub use verify::{Expected, client_verifier, server_verifier};
pub use workload::{Pattern, Unproven, Workload};

/// Why an identity could not be made, read or used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("read {path}")]
    Read { path: String, source: std::io::Error },
    #[error("write {path}")]
    Write { path: String, source: std::io::Error },
    #[error("{path} holds no usable {what}")]
    Pem { path: String, what: &'static str },
    #[error("issue certificate: {0}")]
    Issue(#[from] rcgen::Error),
    #[error("TLS configuration: {0}")]
    Tls(#[from] rustls::Error),
    #[error("client verifier: {0}")]
    Verifier(#[from] rustls::client::VerifierBuilderError),
    #[error("peer certificate: {0}")]
    Peer(String),
}
