//! A client whose certificate holds, and how services are told who it is.

use std::fmt::Write as _;

use http::{HeaderName, HeaderValue};
use identity::Workload;
use rustls_pki_types::CertificateDer;
use sha2::{Digest as _, Sha256};

/// As Envoy has it: who it is by, the SHA-256 of the leaf, and the URI in it.
/// What clients say in it themselves is never passed on.
pub(crate) const FORWARDED_CLIENT_CERT: HeaderName =
    HeaderName::from_static("x-forwarded-client-cert");

#[derive(Debug)]
pub(crate) struct Peer {
    /// None if any certificate of the authority is enough and this one names
    /// nobody.
    pub(crate) id: Option<Workload>,
    pub(crate) forwarded: Option<HeaderValue>,
}

// === impl Peer ===

impl Peer {
    /// `by` is our own name, empty if we have none, where services are told.
    pub(super) fn new(id: Option<Workload>, leaf: &CertificateDer<'_>, by: Option<&str>) -> Peer {
        let forwarded = by.map(|by| {
            let mut text = String::new();
            if !by.is_empty() {
                let _ = write!(text, "By={by};");
            }
            text.push_str("Hash=");
            for byte in Sha256::digest(leaf) {
                let _ = write!(text, "{byte:02x}");
            }
            if let Some(id) = &id {
                let _ = write!(text, ";URI={id}");
            }
            HeaderValue::from_str(&text).expect("an identity is plain text")
        });
        Peer { id, forwarded }
    }
}
