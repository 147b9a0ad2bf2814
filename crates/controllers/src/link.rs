//! One HTTP/1.1 connection over mutual TLS to a process of ours, checked by
//! its SPIFFE id; or what stands for one in a network that is played.

use std::{io, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Method, Request, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, task::JoinHandle};
use tokio_rustls::{TlsConnector, rustls::ClientConfig};

use crate::network::{Network, Road};

/// Answers name at most every shard a few times; more is no answer of ours.
const ANSWER_BYTES_MAX: usize = 256 * 1024;

/// Reads what small answers need; hyper's default keeps far more per connection.
const READ_BUFFER_BYTES: usize = 16 * 1024;

pub enum Link {
    Open(Connection),
    Played { network: Arc<dyn Network>, address: String },
}

pub struct Connection {
    sender: SendRequest<Full<Bytes>>,
    carried: JoinHandle<()>,
}

#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    #[error("connect: {0}")]
    Connect(#[source] io::Error),
    #[error("HTTP: {0}")]
    Http(#[from] hyper::Error),
    #[error("the connection broke: {0}")]
    Broken(#[source] io::Error),
    #[error("read the answer: {0}")]
    Body(Box<dyn std::error::Error + Send + Sync>),
    #[error("no answer within {} ms", .0.as_millis())]
    TimedOut(Duration),
}

// === impl Link ===

impl Link {
    /// Connects to `HOST:PORT`, TCP and TLS within `limit`.
    pub async fn connect(road: &Road, address: &str, limit: Duration) -> Result<Link, LinkError> {
        let connect = async {
            match road {
                Road::Tls(tls) => Ok(Link::Open(Connection::open(tls, address).await?)),
                Road::Played(network) => {
                    network.connect(address).await.map_err(LinkError::Connect)?;
                    Ok(Link::Played { network: network.clone(), address: address.to_owned() })
                }
            }
        };
        tokio::time::timeout(limit, connect).await.unwrap_or(Err(LinkError::TimedOut(limit)))
    }

    /// One request and its whole answer within `limit`.
    pub async fn send(
        &mut self,
        method: Method,
        path: &str,
        body: Bytes,
        limit: Duration,
    ) -> Result<(StatusCode, Bytes), LinkError> {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, "polis.internal")
            .header(header::CONTENT_TYPE, "application/json")
            .body(body)
            .expect("methods, paths and headers are constants of ours");
        let answer = async {
            match self {
                Link::Open(connection) => connection.send(request.map(Full::new)).await,
                Link::Played { network, address } => {
                    let answer = network.send(address, request).await.map_err(LinkError::Broken)?;
                    Ok((answer.status(), answer.into_body()))
                }
            }
        };
        tokio::time::timeout(limit, answer).await.unwrap_or(Err(LinkError::TimedOut(limit)))
    }
}

// === impl Connection ===

impl Connection {
    async fn open(tls: &Arc<ClientConfig>, address: &str) -> Result<Connection, LinkError> {
        let tcp = TcpStream::connect(address).await.map_err(LinkError::Connect)?;
        tcp.set_nodelay(true).map_err(LinkError::Connect)?;
        let tls = TlsConnector::from(tls.clone());
        let stream = tls.connect(identity::plain_name(), tcp).await;
        let stream = TokioIo::new(stream.map_err(LinkError::Connect)?);
        let mut builder = http1::Builder::new();
        builder.max_buf_size(READ_BUFFER_BYTES);
        let (sender, connection) = builder.handshake(stream).await?;
        let carried = rt::spawn(rt::TaskKind::Connection, "link", async move {
            // Its end shows as a failed request.
            let _ = connection.await;
        });
        Ok(Connection { sender, carried })
    }

    async fn send(
        &mut self,
        request: Request<Full<Bytes>>,
    ) -> Result<(StatusCode, Bytes), LinkError> {
        self.sender.ready().await?;
        let response = self.sender.send_request(request).await?;
        let status = response.status();
        let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await;
        Ok((status, body.map_err(LinkError::Body)?.to_bytes()))
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.carried.abort();
    }
}
