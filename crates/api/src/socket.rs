//! A watch over a WebSocket (RFC 6455): a message for each event, in text what
//! is JSON, in bytes what is protobuf. For browsers, which can read a stream no
//! other way.

use std::time::Duration;

use bytes::Bytes;
use futures::{SinkExt as _, StreamExt as _};
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Empty};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use rt::TaskKind;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::mpsc,
};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        Message,
        handshake::derive_accept_key,
        protocol::{CloseFrame, Role, WebSocketConfig, frame::coding::CloseCode},
    },
};

use crate::{
    failure::Failure,
    request::accept::Encoding,
    response::Body,
    streams::{asks_for_upgrade, without_tokens},
};

/// Clients have nothing to say here but that they are done.
const MESSAGE_BYTES_MAX: usize = 4 << 10;

/// Read and written in one piece, if it is so long.
const BUFFER: usize = 16 << 10;

/// For the client to answer our closing.
const CLOSE_WAIT: Duration = Duration::from_secs(5);

/// Before the length of a protobuf frame of a plain stream, which messages need
/// not tell.
const FRAME_PREFIX: usize = 4;

/// An agreed WebSocket, not yet opened.
pub struct Socket {
    on: OnUpgrade,
    accept: HeaderValue,
    protocol: Option<HeaderValue>,
}

// === impl Socket ===

impl Socket {
    /// None for who wants a plain stream.
    pub fn wanted(
        headers: &HeaderMap,
        upgrade: Option<&OnUpgrade>,
    ) -> Result<Option<Socket>, Failure> {
        let to = headers.get(header::UPGRADE).and_then(|to| to.to_str().ok()).unwrap_or_default();
        if !to.eq_ignore_ascii_case("websocket") || !asks_for_upgrade(headers) {
            return Ok(None);
        }
        let bad = Failure::bad_request;
        let on = upgrade.ok_or_else(|| bad("a WebSocket needs a connection of HTTP/1.1"))?.clone();
        let version = headers.get(header::SEC_WEBSOCKET_VERSION).map(HeaderValue::as_bytes);
        if version != Some(b"13") {
            return Err(bad("Sec-WebSocket-Version: only 13 is served"));
        }
        let key = headers.get(header::SEC_WEBSOCKET_KEY).map(HeaderValue::as_bytes);
        let key = key.filter(|key| !key.is_empty());
        let key = key.ok_or_else(|| bad("Sec-WebSocket-Key is missing"))?;
        let accept = HeaderValue::from_str(&derive_accept_key(key)).expect("base64 is plain");
        Ok(Some(Socket { on, accept, protocol: protocol(headers) }))
    }

    /// Switches over and passes on `frames` until they end or the client does.
    pub fn answer(self, encoding: Encoding, frames: mpsc::Receiver<Bytes>) -> Response<Body> {
        let mut response = Response::new(Empty::new().boxed_unsync());
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        let headers = response.headers_mut();
        headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
        headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
        headers.insert(header::SEC_WEBSOCKET_ACCEPT, self.accept);
        if let Some(protocol) = self.protocol {
            headers.insert(header::SEC_WEBSOCKET_PROTOCOL, protocol);
        }
        let on = self.on;
        rt::spawn(TaskKind::Connection, "watch socket", async move {
            // A client that went away meanwhile is seen by the watch.
            if let Ok(upgraded) = on.await {
                pass(TokioIo::new(upgraded), encoding, frames).await;
            }
        });
        response
    }
}

/// What is spoken inside is always the same; who offers names is told the first.
fn protocol(headers: &HeaderMap) -> Option<HeaderValue> {
    let offered = without_tokens(headers.get(header::SEC_WEBSOCKET_PROTOCOL)?);
    let first = offered.to_str().ok()?.split(',').next()?.trim().to_owned();
    HeaderValue::from_str(&first).ok().filter(|first| !first.is_empty())
}

async fn pass<S>(io: S, encoding: Encoding, mut frames: mpsc::Receiver<Bytes>)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let config = WebSocketConfig::default()
        .read_buffer_size(BUFFER)
        .write_buffer_size(0)
        .max_message_size(Some(MESSAGE_BYTES_MAX))
        .max_frame_size(Some(MESSAGE_BYTES_MAX));
    let mut socket = WebSocketStream::from_raw_socket(io, Role::Server, Some(config)).await;
    loop {
        tokio::select! {
            frame = frames.recv() => {
                let Some(frame) = frame else { break };
                if socket.send(message(encoding, frame)).await.is_err() {
                    return;
                }
            }
            // Pings are answered below; what else it says is not listened to.
            said = socket.next() => match said {
                Some(Ok(Message::Close(_)) | Err(_)) | None => return,
                Some(Ok(_)) => {}
            },
        }
    }
    let close = CloseFrame { code: CloseCode::Normal, reason: "".into() };
    let ended = async {
        socket.close(Some(close)).await?;
        while socket.next().await.transpose()?.is_some() {}
        Ok::<_, tokio_tungstenite::tungstenite::Error>(())
    };
    let _ = tokio::time::timeout(CLOSE_WAIT, ended).await;
}

fn message(encoding: Encoding, mut frame: Bytes) -> Message {
    match encoding {
        Encoding::Protobuf => {
            let _length = frame.split_to(FRAME_PREFIX.min(frame.len()));
            Message::Binary(frame)
        }
        Encoding::Json | Encoding::Yaml => match frame.try_into() {
            Ok(text) => Message::Text(text),
            Err(_) => unreachable!("JSON is UTF-8"),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn client(
        encoding: Encoding,
        frames: mpsc::Receiver<Bytes>,
    ) -> WebSocketStream<tokio::io::DuplexStream> {
        let (ours, theirs) = tokio::io::duplex(1 << 16);
        tokio::spawn(pass(ours, encoding, frames));
        WebSocketStream::from_raw_socket(theirs, Role::Client, None).await
    }

    #[tokio::test]
    async fn every_event_is_a_message_and_the_end_is_said() {
        let (sender, frames) = mpsc::channel(4);
        let mut client = client(Encoding::Json, frames).await;
        sender.send(Bytes::from_static(b"{\"type\":\"ADDED\"}\n")).await.expect("room");
        let said = client.next().await.expect("a message").expect("well formed");
        assert_eq!(said, Message::text("{\"type\":\"ADDED\"}\n"));
        client.send(Message::Ping(Bytes::from_static(b"hm"))).await.expect("sent");
        let said = client.next().await.expect("a message").expect("well formed");
        assert_eq!(said, Message::Pong(Bytes::from_static(b"hm")));
        drop(sender);
        let said = client.next().await.expect("a message").expect("well formed");
        assert!(matches!(said, Message::Close(Some(close)) if close.code == CloseCode::Normal));
    }

    #[tokio::test]
    async fn a_client_that_leaves_ends_the_watch() {
        let (sender, frames) = mpsc::channel(4);
        let mut client = client(Encoding::Protobuf, frames).await;
        sender.send(Bytes::from_static(b"\0\0\0\x01x")).await.expect("room");
        let said = client.next().await.expect("a message").expect("well formed");
        assert_eq!(said, Message::binary(&b"x"[..]));
        client.close(None).await.expect("sent");
        sender.closed().await;
    }

    #[test]
    fn the_first_protocol_is_taken_and_tokens_are_not_said_back() {
        let check = |offered: &'static str, expected: Option<&str>| {
            let name = header::SEC_WEBSOCKET_PROTOCOL;
            let headers = HeaderMap::from_iter([(name, HeaderValue::from_static(offered))]);
            let protocol = protocol(&headers);
            assert_eq!(protocol.as_ref().and_then(|one| one.to_str().ok()), expected, "{offered}");
        };
        check("a, b", Some("a"));
        check(
            "base64url.bearer.authorization.k8s.io.c2VjcmV0, base64.channel.k8s.io",
            Some("base64.channel.k8s.io"),
        );
        check("base64url.bearer.authorization.k8s.io.c2VjcmV0", None);
    }
}
