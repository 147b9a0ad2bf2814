//! rustls configurations, one way for every role.

use std::sync::Arc;

use rustls::{
    ClientConfig, RootCertStore, ServerConfig,
    crypto::CryptoProvider,
    server::{WebPkiClientVerifier, danger::ClientCertVerifier},
};
use rustls_pki_types::{CertificateDer, ServerName};

use crate::{
    Credentials, Error,
    verify::{AnyClient, Expected, SpiffeVerifier, Wanted},
};

/// What a server asks of its clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientAuth {
    /// No certificate, no connection.
    Required,
    /// A certificate is verified when shown; the role decides what those
    /// without may do (health checks).
    Optional,
    /// Whatever certificate is shown is taken, as long as its key is there too:
    /// the role verifies who vouches for it ([`client_authority`]), and tells
    /// those whom it does not believe.
    Any,
}

/// Who vouches for clients.
pub fn client_authority(
    roots: &[CertificateDer<'static>],
) -> Result<Arc<dyn ClientCertVerifier>, Error> {
    let roots = Arc::new(root_store(roots)?);
    Ok(WebPkiClientVerifier::builder_with_provider(roots, provider()).build()?)
}

/// What a client asks of its server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServerCheck {
    /// Chain and host name, as the web does.
    HostName,
    /// Chain and SPIFFE id; the host name does not matter.
    Spiffe(Expected),
}

/// `alpn` in order of preference: `b"h2"`, `b"http/1.1"`.
pub fn server_config(
    credentials: &Credentials,
    client_auth: ClientAuth,
    alpn: &[&[u8]],
) -> Result<Arc<ServerConfig>, Error> {
    let provider = provider();
    let builder = WebPkiClientVerifier::builder_with_provider(
        Arc::new(root_store(&credentials.roots)?),
        provider.clone(),
    );
    let verifier = match client_auth {
        ClientAuth::Required => builder.build(),
        ClientAuth::Optional => builder.allow_unauthenticated().build(),
        ClientAuth::Any => {
            let chain = builder.allow_unauthenticated().build()?;
            Ok(Arc::new(AnyClient { chain }) as Arc<dyn ClientCertVerifier>)
        }
    }?;
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_client_cert_verifier(verifier)
        .with_single_cert(credentials.chain.clone(), credentials.key.clone_key())?;
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    Ok(Arc::new(config))
}

pub fn client_config(
    credentials: &Credentials,
    check: ServerCheck,
    alpn: &[&[u8]],
) -> Result<Arc<ClientConfig>, Error> {
    let provider = provider();
    let roots = root_store(&credentials.roots)?;
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()?;
    let builder = match check {
        ServerCheck::HostName => builder.with_root_certificates(roots),
        ServerCheck::Spiffe(expected) => {
            let roots = Arc::new(roots);
            builder.dangerous().with_custom_certificate_verifier(Arc::new(SpiffeVerifier {
                wanted: Wanted::Expected(expected),
                roots,
                provider,
            }))
        }
    };
    let mut config =
        builder.with_client_auth_cert(credentials.chain.clone(), credentials.key.clone_key())?;
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    // No SNI: inside, addresses are numbers and identities are in certificates.
    config.enable_sni = false;
    Ok(Arc::new(config))
}

/// To a server that is no process of ours, such as an etcd: checked by `roots`
/// and its host name, and shown `own`, if anything.
pub fn foreign_client_config(
    roots: &[CertificateDer<'static>],
    own: Option<&Credentials>,
    alpn: &[&[u8]],
) -> Result<Arc<ClientConfig>, Error> {
    let builder = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()?
        .with_root_certificates(root_store(roots)?);
    let mut config = match own {
        Some(own) => builder.with_client_auth_cert(own.chain.clone(), own.key.clone_key())?,
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    Ok(Arc::new(config))
}

/// The name to connect with when [`ServerCheck::Spiffe`] does the checking.
#[must_use]
pub fn plain_name() -> ServerName<'static> {
    ServerName::try_from("polis.internal").expect("a constant DNS name is valid")
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

fn root_store(roots: &[CertificateDer<'static>]) -> Result<RootCertStore, Error> {
    let mut store = RootCertStore::empty();
    for root in roots {
        store.add(root.clone())?;
    }
    Ok(store)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rustls_pki_types::pem::PemObject;
    use tokio::net::{TcpListener, TcpStream};
    use tokio_rustls::{TlsAcceptor, TlsConnector};

    use super::*;
    use crate::{Authority, Leaf, Peer, SpiffeId};

    fn credentials(authority: &Authority, unit: &str, account: &str) -> Credentials {
        let spiffe = SpiffeId {
            trust_domain: "polis.local".into(),
            unit: unit.into(),
            namespace: "payments".into(),
            service_account: account.into(),
        };
        let leaf = Leaf {
            spiffe: Some(spiffe),
            common_name: account.into(),
            lifetime: Duration::from_secs(3600),
            ..Leaf::default()
        };
        let issued = authority.issue(&leaf).expect("issue");
        let certs = |pem: &str| {
            CertificateDer::pem_slice_iter(pem.as_bytes()).collect::<Result<_, _>>().expect("pem")
        };
        Credentials {
            chain: certs(&issued.chain_pem),
            key: rustls_pki_types::PrivateKeyDer::from_pem_slice(issued.key_pem.as_bytes())
                .expect("key"),
            roots: certs(&issued.root_pem),
        }
    }

    /// Connects a client that expects `account` in `unit` to a ledger in rz01.
    async fn connect(
        client: &Credentials,
        server: &Credentials,
        unit: &str,
        account: &str,
    ) -> Result<Peer, String> {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
        let address = listener.local_addr().expect("address");
        let config = server_config(server, ClientAuth::Required, &[]).expect("server config");
        let serve = tokio::spawn(async move {
            let (stream, _) = listener.accept().await.map_err(|error| error.to_string())?;
            let stream =
                TlsAcceptor::from(config).accept(stream).await.map_err(|e| e.to_string())?;
            let peer = Peer::of_server_connection(stream.get_ref().1).map_err(|e| e.to_string())?;
            peer.ok_or_else(|| "no certificate".to_owned())
        });
        let expected = Expected::service("polis.local", "payments", account).in_unit(unit);
        let config =
            client_config(client, ServerCheck::Spiffe(expected), &[]).expect("client config");
        let stream = TcpStream::connect(address).await.expect("connect");
        let connected = TlsConnector::from(config).connect(plain_name(), stream).await;
        let served = serve.await.expect("the server task ends");
        connected.map_err(|error| error.to_string())?;
        served
    }

    #[tokio::test]
    async fn both_sides_learn_who_the_other_is_through_a_unit_authority() {
        let root = Authority::root("polis root").expect("root");
        let rz01 = root.subordinate("rz01").expect("unit authority");
        let rz02 = root.subordinate("rz02").expect("unit authority");
        let ledger = credentials(&rz01, "rz01", "ledger");
        let edge = credentials(&rz02, "rz02", "edge");
        let peer = connect(&edge, &ledger, "rz01", "ledger").await.expect("handshake");
        assert!(peer.is_service("payments", "edge"));
        assert!(connect(&edge, &ledger, "rz02", "ledger").await.is_err(), "wrong unit");
        assert!(connect(&edge, &ledger, "rz01", "edge").await.is_err(), "wrong account");
    }

    #[tokio::test]
    async fn a_stranger_authority_is_refused_on_either_side() {
        let ours = Authority::root("ours").expect("root");
        let theirs = Authority::root("theirs").expect("root");
        let ledger = credentials(&ours, "rz01", "ledger");
        let mut stranger = credentials(&theirs, "rz01", "edge");
        assert!(connect(&stranger, &ledger, "rz01", "ledger").await.is_err());
        // Trusting our root does not make its own certificate trusted.
        stranger.roots = ledger.roots.clone();
        assert!(connect(&stranger, &ledger, "rz01", "ledger").await.is_err());
    }

    #[tokio::test]
    async fn an_authority_read_back_from_its_files_signs_the_same() {
        let dir = std::env::temp_dir().join(format!("polis-identity-{}", std::process::id()));
        let root = Authority::root("root").expect("root");
        let unit = root.subordinate("rz01").expect("unit");
        let files = crate::Files::in_dir(&dir, "unit-ca");
        unit.save(&files).expect("save");
        let again = Authority::load(&files).expect("load");
        let ledger = credentials(&again, "rz01", "ledger");
        let edge = credentials(&root, "rz02", "edge");
        assert!(connect(&edge, &ledger, "rz01", "ledger").await.is_ok());
        std::fs::remove_dir_all(&dir).expect("clean up");
    }
}
