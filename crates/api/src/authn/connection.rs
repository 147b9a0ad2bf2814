//! What a connection shows of who is at its other end: a certificate, or none.

use std::{net::IpAddr, sync::Arc, time::SystemTime};

use identity::Peer;
use rustls::{
    CertificateError, Error as TlsError,
    pki_types::{CertificateDer, UnixTime},
    server::danger::ClientCertVerifier,
};
use time::OffsetDateTime;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::front_proxy::FrontProxy;
use crate::{caller::Caller, settings};

const EXPIRED: &str = "x509: certificate has expired or is not yet valid";

/// Judged once for each connection; only whether the certificate still counts
/// is asked with each request.
#[derive(Clone, Debug)]
pub struct Connection {
    /// Whom the certificate stands for; anonymous without one.
    pub caller: Caller,
    /// Why the certificate that was shown is not believed.
    refused: Option<String>,
    /// The certificate counts until then; connections live longer.
    until: Option<OffsetDateTime>,
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
        Connection { caller, refused: None, until: None, is_front_proxy: false, peer: None }
    }

    /// Why the certificate that was shown is not believed at `now`.
    pub fn refusal(&self, now: OffsetDateTime) -> Option<&str> {
        let expired = self.until.is_some_and(|until| until < now);
        self.refused.as_deref().or(expired.then_some(EXPIRED))
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
                let until = Some(until(&chain[0])?);
                return Ok(Connection { is_front_proxy: true, until, ..own });
            }
        }
        if let Some(verifier) = &self.clients
            && let Err(error) = verify(&**verifier, chain)
        {
            return Ok(Connection::refused(reason(&error)));
        }
        let own = Connection::of(caller(Peer::from_certificates(chain)?));
        Ok(Connection { until: Some(until(&chain[0])?), ..own })
    }
}

/// Until when a certificate counts.
fn until(leaf: &CertificateDer<'_>) -> Result<OffsetDateTime, identity::Error> {
    let (_, leaf) = X509Certificate::from_der(leaf)
        .map_err(|error| identity::Error::Peer(error.to_string()))?;
    Ok(leaf.validity().not_after.to_datetime())
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
        | Why::NotValidYetContext { .. } => EXPIRED.into(),
        Why::UnknownIssuer | Why::BadSignature => {
            "x509: certificate signed by unknown authority".into()
        }
        other => format!("x509: {other}"),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use identity::{Authority, Leaf};
    use rustls::pki_types::pem::PemObject as _;

    use super::*;
    use crate::{authn::Authenticator, failure::Failure};

    #[test]
    fn a_refusal_says_what_is_wrong_with_the_certificate() {
        let check = |why: CertificateError, expected: &str| {
            assert_eq!(reason(&TlsError::InvalidCertificate(why)), expected);
        };
        check(CertificateError::Expired, EXPIRED);
        check(CertificateError::NotValidYet, EXPIRED);
        check(CertificateError::UnknownIssuer, "x509: certificate signed by unknown authority");
    }

    #[tokio::test]
    async fn a_certificate_counts_until_it_expires_however_long_its_connection_lives() {
        let hour = Duration::from_secs(3600);
        let leaf = Leaf { common_name: "ann".into(), lifetime: hour, ..Leaf::default() };
        let issued = Authority::root("root").expect("root").issue(&leaf).expect("issued");
        let chain: Vec<CertificateDer<'_>> =
            CertificateDer::pem_slice_iter(issued.chain_pem.as_bytes())
                .collect::<Result<_, _>>()
                .expect("PEM");
        let mut connection = Gate::default().judge(Some(&chain)).expect("a name");
        let now = OffsetDateTime::now_utc();
        assert_eq!(connection.refusal(now), None);
        assert_eq!(connection.refusal(now + 2 * hour), Some(EXPIRED));

        let settings = settings::Authentication { anonymous: true, ..Default::default() };
        let authenticator = Authenticator::build(&settings).expect("no files");
        let headers = http::HeaderMap::new();
        let cluster = async || Err(Failure::internal("no token was shown"));
        let caller = authenticator.identify(&connection, &headers, cluster).await;
        assert_eq!(caller.expect("known").name, "ann");
        connection.until = Some(now - hour);
        let refused = authenticator.identify(&connection, &headers, cluster).await;
        assert_eq!(refused.expect_err("it has expired").code(), 401);
    }
}
