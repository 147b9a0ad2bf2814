//! What a connection shows of who is at its other end: a certificate, or none.

use std::{net::IpAddr, sync::Arc, time::SystemTime};

use identity::Peer;
use rustls::{
    CertificateError, Error as TlsError,
    pki_types::{CertificateDer, UnixTime},
    server::danger::ClientCertVerifier,
};

use super::front_proxy::FrontProxy;
use crate::{caller::Caller, settings};

/// Judged once for each connection.
#[derive(Clone, Debug)]
pub struct Connection {
    /// Whom the certificate stands for; anonymous without one.
    pub caller: Caller,
    /// Why the certificate that was shown is not believed.
    pub refused: Option<String>,
    /// It is a proxy's, which may say in headers who asks.
    pub is_front_proxy: bool,
    /// Where it comes from, where that is known.
    pub peer: Option<IpAddr>,
}

/// Whose certificates are believed, and for what.
#[derive(Clone, Default)]
pub struct Gate {
    /// None when TLS has verified what was shown.
    pub clients: Option<Arc<dyn ClientCertVerifier>>,
    pub front_proxy: Option<(Arc<dyn ClientCertVerifier>, FrontProxy)>,
}

// === impl Connection ===

impl Connection {
    pub fn of(caller: Caller) -> Connection {
        Connection { caller, refused: None, is_front_proxy: false, peer: None }
    }

    fn refused(why: String) -> Connection {
        Connection { refused: Some(why), ..Connection::of(Caller::anonymous()) }
    }
}

// === impl Gate ===

impl Gate {
    pub fn new(
        clients: Option<Arc<dyn ClientCertVerifier>>,
        front_proxy: Option<&settings::FrontProxy>,
    ) -> Result<Gate, identity::Error> {
        let front_proxy = front_proxy.map(|settings| {
            let roots = identity::certificates(&settings.client_ca_file)?;
            Ok::<_, identity::Error>((
                identity::client_authority(&roots)?,
                FrontProxy::new(settings),
            ))
        });
        Ok(Gate { clients, front_proxy: front_proxy.transpose()? })
    }

    /// Fails when the certificate says nothing clear.
    pub fn judge(
        &self,
        shown: Option<&[CertificateDer<'_>]>,
    ) -> Result<Connection, identity::Error> {
        let Some(chain) = shown.filter(|chain| !chain.is_empty()) else {
            return Ok(Connection::of(Caller::anonymous()));
        };
        if let Some((verifier, proxy)) = &self.front_proxy
            && verify(&**verifier, chain).is_ok()
        {
            let peer = Peer::from_certificates(chain)?;
            let name = peer.common_name.unwrap_or_default();
            if proxy.allows(&name) {
                let own = Connection::of(Caller::user(name, peer.organizations));
                return Ok(Connection { is_front_proxy: true, ..own });
            }
        }
        if let Some(verifier) = &self.clients
            && let Err(error) = verify(&**verifier, chain)
        {
            return Ok(Connection::refused(reason(&error)));
        }
        Ok(Connection::of(caller(Peer::from_certificates(chain)?)))
    }
}

fn verify(verifier: &dyn ClientCertVerifier, chain: &[CertificateDer<'_>]) -> Result<(), TlsError> {
    #[expect(clippy::disallowed_methods, reason = "certificates are valid by people's clocks")]
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let now = UnixTime::since_unix_epoch(since);
    verifier.verify_client_cert(&chain[0], &chain[1..], now).map(|_| ())
}

/// Whom a verified certificate stands for.
fn caller(peer: Peer) -> Caller {
    match peer {
        Peer { spiffe: Some(id), .. } => Caller::process(&id),
        Peer { common_name: Some(name), organizations, .. } => Caller::user(name, organizations),
        _ => Caller::anonymous(),
    }
}

/// In the words people search for.
fn reason(error: &TlsError) -> String {
    use CertificateError as Why;
    let why = match error {
        TlsError::InvalidCertificate(why) => why,
        other => return format!("x509: {other}"),
    };
    match why {
        Why::Expired
        | Why::ExpiredContext { .. }
        | Why::NotValidYet
        | Why::NotValidYetContext { .. } => {
            "x509: certificate has expired or is not yet valid".into()
        }
        Why::UnknownIssuer | Why::BadSignature => {
            "x509: certificate signed by unknown authority".into()
        }
        other => format!("x509: {other}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_says_what_is_wrong_with_the_certificate() {
        let check = |why: CertificateError, expected: &str| {
            assert_eq!(reason(&TlsError::InvalidCertificate(why)), expected);
        };
        check(CertificateError::Expired, "x509: certificate has expired or is not yet valid");
        check(CertificateError::NotValidYet, "x509: certificate has expired or is not yet valid");
        check(CertificateError::UnknownIssuer, "x509: certificate signed by unknown authority");
    }
}
