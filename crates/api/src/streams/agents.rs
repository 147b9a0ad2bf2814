//! Asking agents, over mutual TLS.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use rt::TaskKind;
use rustls::pki_types::ServerName;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::target::{Target, unreachable};
use crate::failure::Failure;

/// What an agent may take to accept and to begin its answer.
const AGENT_TIMEOUT: Duration = Duration::from_secs(5);

/// Bound on an agent's words about why it refuses.
const REFUSAL_BYTES_MAX: usize = 4096;

/// How agents are reached.
pub(crate) struct Agents {
    tls: Option<(Arc<rustls::ClientConfig>, ServerName<'static>)>,
}

// === impl Agents ===

impl Agents {
    /// Without TLS nothing can be asked of an agent.
    pub(crate) fn new(tls: Option<Arc<rustls::ClientConfig>>) -> Agents {
        Agents { tls: tls.map(|config| (config, identity::plain_name())) }
    }

    /// Its answer, whatever that is.
    pub(crate) async fn ask(
        &self,
        target: &Target,
        request: Request<Empty<Bytes>>,
    ) -> Result<Response<Incoming>, Failure> {
        tokio::time::timeout(AGENT_TIMEOUT, self.send(target, request))
            .await
            .map_err(|_| unreachable(&target.node, "timed out"))?
            .map_err(|why| unreachable(&target.node, &why))
    }

    async fn send(
        &self,
        target: &Target,
        mut request: Request<Empty<Bytes>>,
    ) -> Result<Response<Incoming>, String> {
        let (config, name) =
            self.tls.clone().ok_or("this server has no identity to ask agents with")?;
        let why = |error: &dyn std::error::Error| error.to_string();
        let Target { host, port, .. } = target;
        let stream =
            TcpStream::connect((host.as_str(), *port)).await.map_err(|error| why(&error))?;
        // Keystrokes must not wait for each other.
        let _ = stream.set_nodelay(true);
        let stream =
            TlsConnector::from(config).connect(name, stream).await.map_err(|error| why(&error))?;
        let (mut send, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| why(&error))?;
        rt::spawn(TaskKind::Connection, "agent connection", async move {
            // Its end shows in the body, or in what it was upgraded to.
            let _ = connection.with_upgrades().await;
        });
        let host = HeaderValue::from_str(&format!("{host}:{port}")).map_err(|error| why(&error))?;
        request.headers_mut().insert(header::HOST, host);
        send.send_request(request).await.map_err(|error| why(&error))
    }
}

/// What the agent said instead of what was asked for.
pub(crate) async fn refusal(answer: Response<Incoming>) -> Failure {
    let code = answer.status();
    let body = Limited::new(answer.into_body(), REFUSAL_BYTES_MAX).collect().await;
    let body = body.map(|body| body.to_bytes()).unwrap_or_default();
    let error: Value = serde_json::from_slice(&body).unwrap_or_default();
    let message = error.pointer("/error/message").and_then(Value::as_str);
    let message =
        message.map_or_else(|| String::from_utf8_lossy(&body).into_owned(), str::to_owned);
    let message = message.trim().to_owned();
    match code {
        StatusCode::NOT_FOUND => Failure::new(code, "NotFound", message),
        StatusCode::SERVICE_UNAVAILABLE => Failure::unavailable(message),
        code if code.is_client_error() => Failure::bad_request(message),
        code => Failure::internal(format!("the agent answered {code}: {message}")),
    }
}
