//! Questions and answers, over connections that are kept for a while.

use std::{
    collections::HashMap,
    hash::{DefaultHasher, Hash, Hasher},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::{Request, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use rt::TaskKind;
use rustls::pki_types::{CertificateDer, ServerName, pem::PemObject};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::{Client, target::Target};
use crate::cluster::Cluster;

/// Connections kept for the next question, for each address of each webhook.
const IDLE_MAX: usize = 4;

/// Addresses that connections are kept for. Pods of webhooks come and go; when
/// there are more, what is closed is forgotten, and then everything.
const ADDRESSES_MAX: usize = 256;

/// Of a body that says why there is no answer.
const REASON_CHARS_MAX: usize = 512;

/// Open connections that nobody uses.
#[derive(Default)]
pub struct Callers {
    idle: Mutex<HashMap<Line, Vec<SendRequest<Full<Bytes>>>>>,
}

/// One question's terms.
pub struct Call<'a> {
    pub client: &'a Client,
    pub timeout: Duration,
    pub answer_bytes_max: usize,
}

/// What connections must agree in to stand for each other.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Line {
    name: String,
    host: String,
    port: u16,
    /// Of the certificates that are believed.
    trust: u64,
}

/// Why there is no answer.
enum Lost {
    /// The connection was closed before it took the question.
    Stale(String),
    Failed(String),
    /// The webhook said something else.
    Refused(String),
}

// === impl Callers ===

impl Callers {
    /// The answer's bytes, or why there is none.
    pub async fn call(
        &self,
        cluster: &Cluster,
        call: &Call<'_>,
        question: Bytes,
    ) -> Result<Bytes, String> {
        let mut target = Target::of(cluster, call.client)?;
        target.path = format!("{}?timeout={}s", target.path, call.timeout.as_secs());
        let late = |_| Err(Lost::Failed("context deadline exceeded".to_owned()));
        let answer = tokio::time::timeout(call.timeout, self.post(&target, call, question)).await;
        answer.unwrap_or_else(late).map_err(|lost| match lost {
            Lost::Refused(why) => why,
            Lost::Stale(why) | Lost::Failed(why) => {
                format!("Post \"https://{}{}\": {why}", target.authority, target.path)
            }
        })
    }

    async fn post(&self, target: &Target, call: &Call<'_>, question: Bytes) -> Result<Bytes, Lost> {
        let line = Line::of(target, call.client);
        // A connection that was kept may have been closed meanwhile.
        while let Some(mut sender) = self.take(&line) {
            if sender.ready().await.is_err() {
                continue;
            }
            match self.send(&line, sender, target, call, question.clone()).await {
                Err(Lost::Stale(_)) => {}
                answer => return answer,
            }
        }
        let sender = connect(target, call.client).await.map_err(Lost::Failed)?;
        self.send(&line, sender, target, call, question).await
    }

    async fn send(
        &self,
        line: &Line,
        mut sender: SendRequest<Full<Bytes>>,
        target: &Target,
        call: &Call<'_>,
        question: Bytes,
    ) -> Result<Bytes, Lost> {
        let failed = |error: &dyn std::fmt::Display| Lost::Failed(error.to_string());
        let request = Request::post(&*target.path)
            .header(header::HOST, &*target.authority)
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::ACCEPT, "application/json")
            .header(header::USER_AGENT, "polis-apiserver")
            .body(Full::new(question))
            .map_err(|error| failed(&error))?;
        let answer = sender.send_request(request).await.map_err(|error| {
            let stale = error.is_canceled() || error.is_closed() || error.is_incomplete_message();
            let why = error.to_string();
            if stale { Lost::Stale(why) } else { Lost::Failed(why) }
        })?;
        let code = answer.status();
        let body = Limited::new(answer.into_body(), call.answer_bytes_max).collect().await;
        let body = body.map_err(|error| failed(&error))?.to_bytes();
        self.keep(line, sender);
        match code {
            StatusCode::OK => Ok(body),
            code => Err(Lost::Refused(refusal(code, &body))),
        }
    }

    fn take(&self, line: &Line) -> Option<SendRequest<Full<Bytes>>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).get_mut(line)?.pop()
    }

    fn keep(&self, line: &Line, sender: SendRequest<Full<Bytes>>) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() >= ADDRESSES_MAX && !idle.contains_key(line) {
            idle.retain(|_, senders| senders.iter().any(|sender| !sender.is_closed()));
            if idle.len() >= ADDRESSES_MAX {
                idle.clear();
            }
        }
        let idle = idle.entry(line.clone()).or_default();
        idle.retain(|sender| !sender.is_closed());
        if idle.len() < IDLE_MAX {
            idle.push(sender);
        }
    }
}

/// An answer that is none, as Kubernetes' clients say it.
fn refusal(code: StatusCode, body: &[u8]) -> String {
    let text: String =
        String::from_utf8_lossy(body).trim().chars().take(REASON_CHARS_MAX).collect();
    match code.as_u16() {
        404 => "the server could not find the requested resource".to_owned(),
        500.. => {
            format!("an error on the server ({text:?}) has prevented the request from succeeding")
        }
        code => format!(
            "the server responded with the status code {code} but did not return more \
             information"
        ),
    }
}

async fn connect(target: &Target, client: &Client) -> Result<SendRequest<Full<Bytes>>, String> {
    let tls = TlsConnector::from(Arc::new(trust(client)?));
    let name = ServerName::try_from(target.name.clone()).map_err(|error| error.to_string())?;
    let stream = TcpStream::connect((&*target.host, target.port))
        .await
        .map_err(|error| format!("dial tcp {}:{}: {error}", target.host, target.port))?;
    let _ = stream.set_nodelay(true);
    let stream = tls.connect(name, stream).await.map_err(|error| format!("tls: {error}"))?;
    let (sender, connection) =
        http1::handshake(TokioIo::new(stream)).await.map_err(|error| error.to_string())?;
    rt::spawn(TaskKind::Connection, "webhook", async move {
        let _ = connection.await;
    });
    Ok(sender)
}

/// Only who is certified by the configuration's own bundle is believed; with
/// none, nobody: this server trusts no public authority.
fn trust(client: &Client) -> Result<rustls::ClientConfig, String> {
    let bundle = client.ca_bundle.as_deref().unwrap_or_default();
    let pem = STANDARD.decode(bundle).map_err(|error| format!("caBundle: {error}"))?;
    let mut roots = rustls::RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        let certificate = certificate.map_err(|error| format!("caBundle: {error}"))?;
        roots.add(certificate).map_err(|error| format!("caBundle: {error}"))?;
    }
    if roots.is_empty() {
        return Err("caBundle: names no certificate authority".to_owned());
    }
    Ok(rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth())
}

// === impl Line ===

impl Line {
    fn of(target: &Target, client: &Client) -> Line {
        let mut trust = DefaultHasher::new();
        client.ca_bundle.hash(&mut trust);
        Line {
            name: target.name.clone(),
            host: target.host.clone(),
            port: target.port,
            trust: trust.finish(),
        }
    }
}
