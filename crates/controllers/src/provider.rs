//! Who makes places for rented units, and takes them back: the contract, and
//! a provider that is spoken with over HTTP.
//!
//! A place is somewhere in a center where an agent follows the Pods of one
//! unit, with an identity of that unit. The caller chooses its id, and may ask
//! for the same again at any time, also after it died: what exists is not made
//! twice, and what is gone is gone. So nobody needs to know what came of an
//! earlier request. A provider must remember its places over its own death.

use std::{path::PathBuf, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use http::{Method, Request, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use resources::PortRange;
use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, UnixStream},
};
use topology::{CenterName, CityName, UnitName};

/// A provider answers at once and works on afterwards.
const ANSWER_MAX: Duration = Duration::from_secs(2);

/// One place.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// Makes places. Every call may be repeated.
#[async_trait]
pub trait Provider: Send + Sync + 'static {
    /// Makes the place, or finds that it is there. It need not be ready yet.
    async fn create(&self, id: &str, order: &PlaceOrder) -> Result<Place, ProviderError>;

    /// None when there is no such place.
    async fn status(&self, id: &str) -> Result<Option<Place>, ProviderError>;

    /// Takes it back. True once nothing of it is left.
    async fn destroy(&self, id: &str) -> Result<bool, ProviderError>;
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlaceOrder {
    pub unit: UnitName,
    pub center: CenterName,
    pub city: CityName,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    pub id: String,
    pub unit: UnitName,
    pub center: CenterName,
    pub state: PlaceState,
    /// Host ports that are the unit's.
    pub ports: PortRange,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum PlaceState {
    Creating,
    Ready,
    /// It does not run. It may come back by itself; until then nothing of it
    /// does anything.
    Lost,
}

#[derive(Debug, thiserror::Error)]
pub enum ProviderError {
    /// It will not make this place, now or later: full, or not allowed.
    #[error("{0}")]
    Refused(String),
    /// What came of it is not known.
    #[error("the provider does not answer: {0}")]
    Unavailable(String),
}

/// A provider at the other end of HTTP/1.1.
///
/// ```text
/// PUT    /v1/places/ID  {"unit", "center", "city"}  200 PLACE, or 409 {"message"}: refused
/// GET    /v1/places/ID                              200 PLACE, or 404
/// DELETE /v1/places/ID                              202: going on, or 204: gone
/// PLACE  {"id", "unit", "center", "state": "Creating"|"Ready"|"Lost", "ports": {"first", "last"}}
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpProvider {
    address: Address,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Address {
    /// Only who may enter its folder reaches it.
    Unix(PathBuf),
    Tcp(String),
}

#[derive(Deserialize)]
struct Refusal {
    message: String,
}

// === impl HttpProvider ===

impl HttpProvider {
    /// At `unix:/PATH` or `http://HOST:PORT`; none for any other text.
    #[must_use]
    pub fn at(address: &str) -> Option<HttpProvider> {
        let address = match address.split_once(':')? {
            ("unix", path) if path.starts_with('/') => Address::Unix(path.into()),
            ("http", rest) => Address::Tcp(rest.strip_prefix("//")?.trim_end_matches('/').into()),
            _ => return None,
        };
        Some(HttpProvider { address })
    }

    async fn ask(
        &self,
        method: Method,
        id: &str,
        body: Vec<u8>,
    ) -> Result<(StatusCode, Bytes), ProviderError> {
        let asked = async {
            match &self.address {
                Address::Unix(path) => {
                    send(UnixStream::connect(path).await?, method, id, body).await
                }
                Address::Tcp(host) => send(TcpStream::connect(host).await?, method, id, body).await,
            }
        };
        match tokio::time::timeout(ANSWER_MAX, asked).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => Err(ProviderError::Unavailable(error.to_string())),
            Err(_) => Err(ProviderError::Unavailable("it is silent".into())),
        }
    }
}

#[async_trait]
impl Provider for HttpProvider {
    async fn create(&self, id: &str, order: &PlaceOrder) -> Result<Place, ProviderError> {
        let body = serde_json::to_vec(order).expect("names and words are JSON");
        let (status, body) = self.ask(Method::PUT, id, body).await?;
        if status == StatusCode::CONFLICT {
            let refusal = serde_json::from_slice::<Refusal>(&body);
            let message = refusal.map_or_else(|_| "it says no".into(), |refusal| refusal.message);
            return Err(ProviderError::Refused(message));
        }
        place(status, &body)
    }

    async fn status(&self, id: &str) -> Result<Option<Place>, ProviderError> {
        match self.ask(Method::GET, id, Vec::new()).await? {
            (StatusCode::NOT_FOUND, _) => Ok(None),
            (status, body) => place(status, &body).map(Some),
        }
    }

    async fn destroy(&self, id: &str) -> Result<bool, ProviderError> {
        match self.ask(Method::DELETE, id, Vec::new()).await? {
            (StatusCode::NO_CONTENT | StatusCode::NOT_FOUND, _) => Ok(true),
            (StatusCode::ACCEPTED, _) => Ok(false),
            (status, _) => Err(ProviderError::Unavailable(format!("it answers {status}"))),
        }
    }
}

fn place(status: StatusCode, body: &[u8]) -> Result<Place, ProviderError> {
    if !status.is_success() {
        return Err(ProviderError::Unavailable(format!("it answers {status}")));
    }
    let malformed = |error| ProviderError::Unavailable(format!("read its answer: {error}"));
    serde_json::from_slice(body).map_err(malformed)
}

type Failed = Box<dyn std::error::Error + Send + Sync>;

async fn send(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    method: Method,
    id: &str,
    body: Vec<u8>,
) -> Result<(StatusCode, Bytes), Failed> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let request = Request::builder()
        .method(method)
        .uri(format!("/v1/places/{id}"))
        .header(header::HOST, "polis.internal")
        .header(header::CONTENT_TYPE, "application/json")
        .body(Full::new(Bytes::from(body)))?;
    let connection = rt::spawn(rt::TaskKind::Connection, "provider", async move {
        // Its end shows as a failed request.
        let _ = connection.await;
    });
    let response = sender.send_request(request).await?;
    let status = response.status();
    let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await?;
    connection.abort();
    Ok((status, body.to_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_provider_is_at_a_socket_or_a_host() {
        assert!(HttpProvider::at("unix:/run/provider.sock").is_some());
        assert!(HttpProvider::at("http://127.0.0.1:7000/").is_some());
        for bad in ["", "unix:run", "https://a:1", "127.0.0.1:7000"] {
            assert!(HttpProvider::at(bad).is_none(), "{bad}");
        }
    }
}
