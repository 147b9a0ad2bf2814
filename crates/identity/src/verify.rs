//! Checking a peer by its SPIFFE id: a server instead of its host name, a
//! client on top of its chain.

use std::sync::Arc;

use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, OtherError, RootCertStore,
    SignatureScheme,
    client::{
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        verify_server_cert_signed_by_trust_anchor,
    },
    crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature},
    server::{
        ParsedCertificate, WebPkiClientVerifier,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use crate::{Pattern, Peer, SpiffeId, Unproven, Workload};

/// Which servers are believed; `None` matches any value of that part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expected {
    pub trust_domain: String,
    pub unit: Option<String>,
    pub namespace: Option<String>,
    pub service_account: Option<String>,
}

/// Who a server must be.
#[derive(Debug)]
pub(crate) enum Wanted {
    /// Of the form that we issue.
    Expected(Expected),
    /// Any of these.
    OneOf(Vec<Pattern>),
}

#[derive(Debug)]
pub(crate) struct SpiffeVerifier {
    pub(crate) wanted: Wanted,
    pub(crate) roots: Arc<RootCertStore>,
    pub(crate) provider: Arc<CryptoProvider>,
}

/// A chain as the web has it, and then one of these.
#[derive(Debug)]
struct ClientVerifier {
    chain: Arc<dyn ClientCertVerifier>,
    patterns: Vec<Pattern>,
}

/// Takes any certificate whose key its owner has; somebody else says whether it
/// is believed.
#[derive(Debug)]
pub(crate) struct AnyClient {
    pub(crate) chain: Arc<dyn ClientCertVerifier>,
}

/// Believes clients that one of `roots` vouches for and that are one of
/// `patterns`; without patterns, whoever the roots vouch for.
pub fn client_verifier(
    roots: Arc<RootCertStore>,
    patterns: Vec<Pattern>,
    provider: Arc<CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, rustls::client::VerifierBuilderError> {
    let chain = WebPkiClientVerifier::builder_with_provider(roots, provider).build()?;
    if patterns.is_empty() {
        return Ok(chain);
    }
    Ok(Arc::new(ClientVerifier { chain, patterns }))
}

/// Believes servers that one of `roots` vouches for and that are one of
/// `patterns`, whatever name they were asked by. Without patterns, nobody.
#[must_use]
pub fn server_verifier(
    roots: Arc<RootCertStore>,
    patterns: Vec<Pattern>,
    provider: Arc<CryptoProvider>,
) -> Arc<dyn ServerCertVerifier> {
    Arc::new(SpiffeVerifier { wanted: Wanted::OneOf(patterns), roots, provider })
}

fn unproven(why: Unproven) -> Error {
    Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(why))))
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

// === impl Wanted ===

impl Wanted {
    fn check(&self, leaf: &CertificateDer<'_>) -> Result<(), Error> {
        let expected = match self {
            Wanted::OneOf(patterns) => {
                let id = Workload::of_certificate(leaf).map_err(unproven)?;
                return Pattern::check(patterns, id).map(drop).map_err(unproven);
            }
            Wanted::Expected(expected) => expected,
        };
        let refused =
            || Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure);
        let peer = Peer::from_certificates(std::slice::from_ref(leaf)).map_err(|_| refused())?;
        match peer.spiffe {
            Some(id) if expected.matches(&id) => Ok(()),
            Some(_) | None => Err(refused()),
        }
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
        self.wanted.check(end_entity)?;
        Ok(ServerCertVerified::assertion())
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

// === impl ClientVerifier ===

impl ClientCertVerifier for AnyClient {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    /// No hints: clients would keep to themselves what does not fit.
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.chain.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.chain.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.chain.supported_verify_schemes()
    }
}

impl ClientCertVerifier for ClientVerifier {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.chain.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let verified = self.chain.verify_client_cert(end_entity, intermediates, now)?;
        let id = Workload::of_certificate(end_entity).map_err(unproven)?;
        Pattern::check(&self.patterns, id).map_err(unproven)?;
        Ok(verified)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.chain.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.chain.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.chain.supported_verify_schemes()
    }
}
