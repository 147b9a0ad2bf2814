//! A plain HTTP/1.1 GET of a page on this machine, for its status.

use anyhow::{Context, bail};
use bytes::Bytes;
use http_body_util::Empty;
use hyper::{Request, Uri, client::conn::http1};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// The status of `http://HOST:PORT/PATH`, on a connection of its own.
pub async fn status(url: &str) -> anyhow::Result<u16> {
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
    connection.abort();
    Ok(response.status().as_u16())
}
