//! Asking a container: one connection per question.

use std::sync::Arc;

use bytes::Bytes;
use http_body_util::Empty;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::{
    ClientConfig, DigitallySignedStruct, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, WebPkiSupportedAlgorithms},
    pki_types::{CertificateDer, ServerName, UnixTime},
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};
use tokio_rustls::TlsConnector;

use super::{Ask, Probe};

/// Headers of an answer; more is a failure.
const HEADERS_MAX: usize = 16 << 10;

/// Shared by all probes of an agent.
#[derive(Clone)]
pub(crate) struct Checker {
    tls: TlsConnector,
}

/// Like a kubelet: a probe asks whether the process answers, not who it is. It
/// sends no secret and no certificate, and believes nothing but a status.
#[derive(Debug)]
struct AnyCertificate {
    algorithms: WebPkiSupportedAlgorithms,
}

// === impl Checker ===

impl Checker {
    pub(crate) fn new() -> Checker {
        let provider: Arc<CryptoProvider> = rustls::crypto::aws_lc_rs::default_provider().into();
        let algorithms = provider.signature_verification_algorithms;
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("the provider supports the default versions")
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(AnyCertificate { algorithms }))
            .with_no_client_auth();
        Checker { tls: TlsConnector::from(Arc::new(config)) }
    }

    /// `Err` says in half a line what is wrong.
    pub(crate) async fn check(&self, probe: &Probe) -> Result<(), String> {
        match tokio::time::timeout(probe.timeout, self.ask(&probe.ask)).await {
            Ok(answer) => answer,
            Err(_) => Err(format!("no answer within {} s", probe.timeout.as_secs())),
        }
    }

    async fn ask(&self, ask: &Ask) -> Result<(), String> {
        match ask {
            Ask::Tcp { host, port } => connect(host, *port).await.map(drop),
            Ask::Http { tls, host, port, path, headers } => {
                let stream = connect(host, *port).await?;
                if !tls {
                    return get(stream, host, *port, path, headers).await;
                }
                let name = ServerName::try_from(host.clone())
                    .map_err(|_| format!("{host:?} is not a host name"))?;
                let stream = self.tls.connect(name, stream).await;
                let stream = stream.map_err(|error| format!("TLS: {error}"))?;
                get(stream, host, *port, path, headers).await
            }
        }
    }
}

async fn connect(host: &str, port: u16) -> Result<TcpStream, String> {
    TcpStream::connect((host, port))
        .await
        .map_err(|error| format!("connect {host}:{port}: {error}"))
}

async fn get(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    host: &str,
    port: u16,
    path: &str,
    headers: &[(String, String)],
) -> Result<(), String> {
    let mut builder = http1::Builder::new();
    builder.max_buf_size(HEADERS_MAX);
    let (mut sender, connection) =
        builder.handshake(TokioIo::new(stream)).await.map_err(|error| error.to_string())?;
    let mut request = http::Request::get(path).header("user-agent", "polis-probe/1");
    if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
        request = request.header("host", format!("{host}:{port}"));
    }
    for (name, value) in headers {
        request = request.header(name, value);
    }
    let request = request.body(Empty::<Bytes>::new()).map_err(|error| error.to_string())?;
    // The connection is driven here and dropped with the answer's head: the
    // body does not matter. Its own end says nothing, the answer may be there.
    let drive = async {
        let _ = connection.await;
        std::future::pending::<std::convert::Infallible>().await
    };
    let answer = tokio::select! {
        answer = sender.send_request(request) => answer,
        never = drive => match never {},
    };
    let status = answer.map_err(|error| error.to_string())?.status();
    if (200..400).contains(&status.as_u16()) { Ok(()) } else { Err(format!("status {status}")) }
}

// === impl AnyCertificate ===

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(message, cert, dss, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
