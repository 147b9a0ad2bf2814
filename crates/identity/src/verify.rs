//! Checking a server by its SPIFFE id instead of its host name.

use std::sync::Arc;

use rustls::{
    CertificateError, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
    client::{
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        verify_server_cert_signed_by_trust_anchor,
    },
    crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature},
    server::ParsedCertificate,
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use crate::{Peer, SpiffeId};

/// Which servers are believed; `None` matches any value of that part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expected {
    pub trust_domain: String,
    pub unit: Option<String>,
    pub namespace: Option<String>,
    pub service_account: Option<String>,
}

#[derive(Debug)]
pub(crate) struct SpiffeVerifier {
    pub(crate) expected: Expected,
    pub(crate) roots: Arc<RootCertStore>,
    pub(crate) provider: Arc<CryptoProvider>,
}

// === impl Expected ===

impl Expected {
    /// Any process of `service_account` in `namespace`, in whichever unit.
    #[must_use]
    pub fn service(trust_domain: &str, namespace: &str, service_account: &str) -> Expected {
        Expected {
            trust_domain: trust_domain.into(),
            unit: None,
            namespace: Some(namespace.into()),
            service_account: Some(service_account.into()),
        }
    }

    #[must_use]
    pub fn in_unit(self, unit: &str) -> Expected {
        Expected { unit: Some(unit.into()), ..self }
    }

    #[must_use]
    pub fn matches(&self, id: &SpiffeId) -> bool {
        let fits = |want: &Option<String>, have: &str| want.as_ref().is_none_or(|w| w == have);
        self.trust_domain == id.trust_domain
            && fits(&self.unit, &id.unit)
            && fits(&self.namespace, &id.namespace)
            && fits(&self.service_account, &id.service_account)
    }
}

// === impl SpiffeVerifier ===

impl ServerCertVerifier for SpiffeVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let parsed = ParsedCertificate::try_from(end_entity)?;
        let algorithms = self.provider.signature_verification_algorithms.all;
        verify_server_cert_signed_by_trust_anchor(
            &parsed,
            &self.roots,
            intermediates,
            now,
            algorithms,
        )?;
        let refused =
            || Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure);
        let peer =
            Peer::from_certificates(std::slice::from_ref(end_entity)).map_err(|_| refused())?;
        match peer.spiffe {
            Some(id) if self.expected.matches(&id) => Ok(ServerCertVerified::assertion()),
            Some(_) | None => Err(refused()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, cert, dss, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, cert, dss, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
