//! Users by their certificates.

use std::{net::SocketAddr, sync::Arc};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::{
    RootCertStore,
    pki_types::{CertificateDer, PrivateKeyDer},
    server::WebPkiClientVerifier,
};
use store::Config;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::{
    client::{quick, serve},
    common::within,
};

type Authority = CertifiedIssuer<'static, KeyPair>;
type Pair = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

fn authority() -> Authority {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("an authority")
}

fn issue(issuer: &Authority, common_name: &str) -> Pair {
    let mut params = CertificateParams::new(vec!["127.0.0.1".into()]).expect("a name");
    params.distinguished_name.push(DnType::CommonName, common_name);
    let key = KeyPair::generate().expect("a key");
    let certificate = params.signed_by(&key, issuer).expect("a certificate");
    (vec![certificate.der().clone()], PrivateKeyDer::try_from(key.serialize_der()).expect("a key"))
}

fn roots(issuer: &Authority) -> Arc<RootCertStore> {
    let mut roots = RootCertStore::empty();
    roots.add(issuer.der().clone()).expect("a root");
    Arc::new(roots)
}

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

fn server_tls(issuer: &Authority) -> Arc<rustls::ServerConfig> {
    let verifier = WebPkiClientVerifier::builder_with_provider(roots(issuer), provider());
    let (chain, key) = issue(issuer, "store");
    let config = rustls::ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_client_cert_verifier(verifier.build().expect("a verifier"))
        .with_single_cert(chain, key)
        .expect("a certificate");
    Arc::new(config)
}

fn client_tls(issuer: &Authority, common_name: &str) -> Arc<rustls::ClientConfig> {
    let (chain, key) = issue(issuer, common_name);
    let config = rustls::ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots(issuer))
        .with_client_auth_cert(chain, key)
        .expect("a certificate");
    Arc::new(config)
}

#[tokio::test]
async fn a_certificate_is_the_user_it_names_but_not_through_the_gateway() {
    use kv::{Error, Kv as _, PutRequest};
    let ours = authority();
    let tls = Some(server_tls(&ours));
    let served = serve(Config { tls, insecure: false, ..quick() }).await;
    let https = format!("https://{}", served.address);
    let client = |name: &str| {
        let tls = Some(client_tls(&ours, name));
        kv_etcd::Client::connect(kv_etcd::Config::new(https.clone(), tls)).expect("a client")
    };
    let body = |name: &str| format!("{{\"name\":\"{name}\",\"password\":\"{name}\"}}");
    let root = client_tls(&ours, "root");
    let page = |tls: Arc<rustls::ClientConfig>, path: &'static str, body: String| {
        post(served.address, tls, path, "", body)
    };
    for (path, body) in [
        ("/v3/auth/user/add", body("root")),
        ("/v3/auth/user/add", body("app")),
        ("/v3/auth/role/add", "{\"name\":\"app\"}".into()),
        ("/v3/auth/user/grant", "{\"user\":\"root\",\"role\":\"root\"}".into()),
        ("/v3/auth/user/grant", "{\"user\":\"app\",\"role\":\"app\"}".into()),
        // app/ to app0
        (
            "/v3/auth/role/grant",
            "{\"name\":\"app\",\"perm\":{\"permType\":\"READWRITE\",\"key\":\"YXBwLw==\",\
             \"range_end\":\"YXBwMA==\"}}"
                .into(),
        ),
        ("/v3/auth/enable", "{}".into()),
    ] {
        let answer = page(root.clone(), path, body).await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{path}: {answer}");
    }
    for (name, key, expected) in [
        ("app", "app/1", Ok(())),
        ("app", "secret", Err(Error::PermissionDenied)),
        ("root", "secret", Ok(())),
        ("stranger", "app/1", Err(Error::PermissionDenied)),
        ("", "app/1", Err(kv::AuthError::UserEmpty.into())),
    ] {
        let kv = client(name).keyspace("default").expect("a keyspace");
        let put = within(kv.put(PutRequest::new(key, "v"))).await.map(drop);
        assert_eq!(put, expected, "{name}");
    }
    // secret
    let range = || "{\"key\":\"c2VjcmV0\"}".to_owned();
    let answer = page(root.clone(), "/v3/kv/range", range()).await;
    assert!(answer.contains("user name is empty"), "{answer}");
    let answer = page(root.clone(), "/v3/auth/authenticate", body("root")).await;
    let token = answer.split("\"token\":\"").nth(1).and_then(|rest| rest.split('"').next());
    let token = format!("Authorization: {}\r\n", token.expect("a token"));
    let answer = post(served.address, root, "/v3/kv/range", &token, range()).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

async fn post(
    address: SocketAddr,
    tls: Arc<rustls::ClientConfig>,
    path: &str,
    headers: &str,
    body: String,
) -> String {
    let tcp = TcpStream::connect(address).await.expect("connected");
    let name = "127.0.0.1".try_into().expect("a name");
    let mut tls = tokio_rustls::TlsConnector::from(tls).connect(name, tcp).await.expect("agreed");
    let request = format!(
        "POST {path} HTTP/1.1\r\nHost: store\r\nConnection: close\r\n{headers}\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    tls.write_all(request.as_bytes()).await.expect("sent");
    let mut answer = Vec::new();
    // A server that is done may close without a word.
    let _ = within(tls.read_to_end(&mut answer)).await;
    String::from_utf8_lossy(&answer).into_owned()
}
