//! A plain HTTP/1.1 GET of a page on this machine.

use std::time::Duration;

use anyhow::{Context, bail};
use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::{Request, Response, Uri, body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, task::JoinHandle};

/// Pages of ours are a few kilobytes.
const PAGE_BYTES_MAX: usize = 1024 * 1024;

/// What is stopped accepts connections, since its kernel does, and says nothing.
const ANSWER_MAX: Duration = Duration::from_secs(2);

/// The status of `http://HOST:PORT/PATH`, on a connection of its own.
pub async fn status(url: &str) -> anyhow::Result<u16> {
    let asked = async {
        let (response, connection) = get(url).await?;
        connection.abort();
        Ok(response.status().as_u16())
    };
    in_time(url, asked).await
}

/// The text of a page that is there.
pub async fn text(url: &str) -> anyhow::Result<String> {
    let asked = async {
        let (response, connection) = get(url).await?;
        if !response.status().is_success() {
            bail!("{url} answers {}", response.status());
        }
        let body = Limited::new(response.into_body(), PAGE_BYTES_MAX).collect().await;
        connection.abort();
        let body = body.map_err(|error| anyhow::anyhow!("read {url}: {error}"))?;
        Ok(String::from_utf8_lossy(&body.to_bytes()).into_owned())
    };
    in_time(url, asked).await
}

async fn in_time<T>(
    url: &str,
    asked: impl Future<Output = anyhow::Result<T>>,
) -> anyhow::Result<T> {
    let answered = tokio::time::timeout(ANSWER_MAX, asked).await;
    answered.with_context(|| format!("{url} does not answer"))?
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn nobody_waits_long_for_what_accepts_and_says_nothing() {
        let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}/metrics", silent.local_addr().expect("an address"));
        let error = text(&url).await.expect_err("it says nothing");
        assert!(error.to_string().contains("does not answer"), "{error:#}");
        assert!(status(&url).await.is_err());
    }
}
