//! What a verified certificate says about the other side.

use rustls_pki_types::CertificateDer;
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

use crate::{Error, SpiffeId};

/// The facts of a certificate whose chain has been verified by TLS.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Peer {
    pub spiffe: Option<SpiffeId>,
    pub common_name: Option<String>,
    pub organizations: Vec<String>,
}

// === impl Peer ===

impl Peer {
    /// Reads the leaf, the first of `certificates`. A URI SAN that is no SPIFFE
    /// id of ours, or more than one URI SAN, is refused: an identity must not
    /// be ambiguous.
    pub fn from_certificates(certificates: &[CertificateDer<'_>]) -> Result<Peer, Error> {
        let leaf = certificates.first().ok_or_else(|| Error::Peer("none presented".into()))?;
        let (_, leaf) =
            X509Certificate::from_der(leaf).map_err(|error| Error::Peer(error.to_string()))?;
        let names = leaf
            .subject_alternative_name()
            .map_err(|error| Error::Peer(error.to_string()))?
            .map(|extension| extension.value.general_names.as_slice())
            .unwrap_or_default();
        let mut uris = names.iter().filter_map(|name| match name {
            GeneralName::URI(uri) => Some(*uri),
            _ => None,
        });
        let spiffe = match (uris.next(), uris.next()) {
            (None, _) => None,
            (Some(uri), None) => {
                Some(uri.parse().map_err(|error| Error::Peer(format!("{error}")))?)
            }
            (Some(_), Some(_)) => return Err(Error::Peer("more than one URI SAN".into())),
        };
        let subject = leaf.subject();
        let texts = |names: Vec<&str>| names.into_iter().map(str::to_owned).collect::<Vec<_>>();
        let common_names =
            texts(subject.iter_common_name().filter_map(|name| name.as_str().ok()).collect());
        let organizations =
            texts(subject.iter_organization().filter_map(|name| name.as_str().ok()).collect());
        Ok(Peer { spiffe, common_name: common_names.into_iter().next(), organizations })
    }

    /// The peer of an accepted connection; none when it showed no certificate.
    pub fn of_server_connection(
        connection: &rustls::ServerConnection,
    ) -> Result<Option<Peer>, Error> {
        connection.peer_certificates().map(Peer::from_certificates).transpose()
    }

    /// Whether this is a process of ours running as `service_account` in
    /// `namespace`, in whichever unit.
    #[must_use]
    pub fn is_service(&self, namespace: &str, service_account: &str) -> bool {
        self.spiffe
            .as_ref()
            .is_some_and(|id| id.namespace == namespace && id.service_account == service_account)
    }
}
