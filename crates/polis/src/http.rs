//! A plain HTTP/1.1 GET or POST to a service on this machine.

use anyhow::{Context, bail};
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::{Method, Request, Uri, client::conn::http1};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// Largest answer read; an audit of a shard is a few KiB.
const ANSWER_BYTES_MAX: usize = 4 * 1024 * 1024;

#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub body: Bytes,
}

pub async fn get(url: &str) -> anyhow::Result<Answer> {
    send(Method::GET, url, &[], Bytes::new()).await
}

/// One request on a connection of its own.
pub async fn send(
    method: Method,
    url: &str,
    headers: &[(&str, &str)],
    body: Bytes,
) -> anyhow::Result<Answer> {
    let uri: Uri = url.parse().with_context(|| format!("parse {url}"))?;
    let Some(authority) = uri.authority().filter(|_| uri.scheme_str() == Some("http")) else {
        bail!("{url:?} is not of the form http://HOST:PORT/PATH");
    };
    let stream = TcpStream::connect(authority.as_str())
        .await
        .with_context(|| format!("connect to {authority}"))?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let connection = tokio::spawn(connection);
    let mut request = Request::builder()
        .method(method)
        .uri(uri.path_and_query().map_or("/", |path| path.as_str()))
        .header("host", authority.as_str());
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let response = sender.send_request(request.body(Full::new(body))?).await?;
    let status = response.status().as_u16();
    let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX)
        .collect()
        .await
        .map_err(|error| anyhow::anyhow!("read the answer of {url}: {error}"))?
        .to_bytes();
    connection.abort();
    Ok(Answer { status, body })
}
