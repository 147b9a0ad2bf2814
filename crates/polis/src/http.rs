//! A plain HTTP/1.1 GET of a page on this machine.

use anyhow::{Context, bail};
use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::{Request, Response, Uri, body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, task::JoinHandle};

/// Pages of ours are a few kilobytes.
const PAGE_BYTES_MAX: usize = 1024 * 1024;

/// The status of `http://HOST:PORT/PATH`, on a connection of its own.
pub async fn status(url: &str) -> anyhow::Result<u16> {
    let (response, connection) = get(url).await?;
    connection.abort();
    Ok(response.status().as_u16())
}

/// The text of a page that is there.
pub async fn text(url: &str) -> anyhow::Result<String> {
    let (response, connection) = get(url).await?;
    if !response.status().is_success() {
        bail!("{url} answers {}", response.status());
    }
    let body = Limited::new(response.into_body(), PAGE_BYTES_MAX).collect().await;
    connection.abort();
    let body = body.map_err(|error| anyhow::anyhow!("read {url}: {error}"))?;
    Ok(String::from_utf8_lossy(&body.to_bytes()).into_owned())
}

async fn get(url: &str) -> anyhow::Result<(Response<Incoming>, JoinHandle<hyper::Result<()>>)> {
    let uri: Uri = url.parse().with_context(|| format!("parse {url}"))?;
    let Some(authority) = uri.authority().filter(|_| uri.scheme_str() == Some("http")) else {
        bail!("{url:?} is not of the form http://HOST:PORT/PATH");
    };
    let stream = TcpStream::connect(authority.as_str())
        .await
        .with_context(|| format!("connect to {authority}"))?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let connection = tokio::spawn(connection);
    let request = Request::get(uri.path_and_query().map_or("/", |path| path.as_str()))
        .header("host", authority.as_str())
        .body(Empty::<Bytes>::new())?;
    let response = sender.send_request(request).await?;
    Ok((response, connection))
}
