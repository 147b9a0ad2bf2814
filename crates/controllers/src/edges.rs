//! Asking the edges whether they route by a version of the map yet, before the
//! old owner of a shard is drained: requests that an edge still sends there
//! would meet the fence and take another turn.
//!
//! A courtesy that is waited for shortly: an edge that is late costs its users
//! waiting, and nothing more. Edges are asked at their operators' address, one
//! request for a batch of shards, and answer as soon as all their threads have
//! the version; nothing is written anywhere, since every change of the map would
//! then be followed by a write of every edge.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use futures::future::join_all;
use http::{Request, header};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use tokio::net::TcpStream;
use topology::MapVersion;

use crate::network::Network;

/// Part of every planned hold, when an edge is silent.
const ACKNOWLEDGE_WAIT: Duration = Duration::from_millis(100);

/// `{"version": 7}`.
const ANSWER_BYTES_MAX: usize = 4 * 1024;

#[derive(Deserialize)]
struct Answer {
    version: MapVersion,
}

/// How many of the edges at these addresses routed by `version` in time.
pub async fn acknowledge(
    played: Option<&Arc<dyn Network>>,
    addresses: &[String],
    version: MapVersion,
) -> usize {
    acknowledge_within(ACKNOWLEDGE_WAIT, played, addresses, version).await
}

async fn acknowledge_within(
    limit: Duration,
    played: Option<&Arc<dyn Network>>,
    addresses: &[String],
    version: MapVersion,
) -> usize {
    let asked = addresses.iter().map(|address| async move {
        let answer = async {
            match played {
                Some(network) => ask_in(&**network, address, version).await,
                None => ask(address, version).await,
            }
        };
        match tokio::time::timeout(limit, answer).await {
            Ok(Some(seen)) => seen >= version,
            Ok(None) | Err(_) => false,
        }
    });
    join_all(asked).await.into_iter().filter(|in_time| *in_time).count()
}

/// As [`ask`], in a network that is played.
async fn ask_in(network: &dyn Network, address: &str, version: MapVersion) -> Option<MapVersion> {
    let request = question(version, Bytes::new());
    let answer = network.send(address, request).await.ok()?;
    Some(serde_json::from_slice::<Answer>(answer.body()).ok()?.version)
}

fn question<B>(version: MapVersion, body: B) -> Request<B> {
    Request::get(format!("/map/version?atLeast={version}"))
        .header(header::HOST, "polis.internal")
        .body(body)
        .expect("paths and headers are constants of ours")
}

/// What the edge routes by, once that is `version`; none without an answer.
async fn ask(address: &str, version: MapVersion) -> Option<MapVersion> {
    let stream = TcpStream::connect(address).await.ok()?;
    stream.set_nodelay(true).ok()?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.ok()?;
    let request = question(version, Empty::<Bytes>::new());
    let answer = async {
        let response = sender.send_request(request).await.ok()?;
        let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await.ok()?;
        serde_json::from_slice::<Answer>(&body.to_bytes()).ok()
    };
    // The connection moves only while it is polled. An edge may close it behind
    // its answer, which is then still to be read.
    let carried = async {
        let _ = connection.await;
        std::future::pending().await
    };
    tokio::select! {
        answer = answer => answer.map(|answer| answer.version),
        nothing = carried => nothing,
    }
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
    };

    use super::*;

    /// An edge that routes by this version; without one it is silent.
    async fn edge(version: Option<u64>) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address").to_string();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.expect("a connection");
            let mut head = [0; 512];
            let read = stream.read(&mut head).await.expect("a request");
            assert!(head[..read].starts_with(b"GET /map/version?atLeast=7 "));
            let Some(version) = version else { return std::future::pending().await };
            let body = format!("{{\"version\": {version}}}");
            let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len());
            stream.write_all(answer.as_bytes()).await.expect("answer");
        });
        address
    }

    #[tokio::test]
    async fn edges_that_route_by_the_version_count_and_nobody_else_is_waited_for_long() {
        let edges = [edge(Some(7)).await, edge(Some(8)).await, edge(Some(6)).await];
        let patient = Duration::from_secs(60);
        assert_eq!(acknowledge_within(patient, None, &edges, MapVersion(7)).await, 2);
        let silent = [edge(None).await, "127.0.0.1:1".to_owned()];
        assert_eq!(acknowledge(None, &silent, MapVersion(7)).await, 0);
    }
}
