//! The connection below: bytes of SPDY, or messages of a WebSocket.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures::{
    SinkExt as _, StreamExt as _,
    stream::{SplitSink, SplitStream},
};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, ReadHalf, WriteHalf};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        Message,
        protocol::{CloseFrame, Role, WebSocketConfig, frame::coding::CloseCode},
    },
};

use super::upgrade::{Upgrade, Wire};

type Io = TokioIo<Upgraded>;

/// A client's message; those of kubectl are of 32 KiB. A session holds one at a
/// time while it is being read.
const MESSAGE_BYTES_MAX: usize = 4 << 20;

const BUFFER: usize = 32 << 10;

/// A client that takes nothing for this long is given up. As long as somebody
/// may leave a pager open over a long lunch: what waits is bounded anyway.
const STALL_MAX: Duration = Duration::from_secs(3600);

pub(crate) enum Reader {
    Bare(ReadHalf<Io>),
    Messages(SplitStream<WebSocketStream<Io>>),
}

pub(crate) enum Writer {
    Bare(WriteHalf<Io>),
    Messages(SplitSink<WebSocketStream<Io>, Message>),
}

/// The client does not listen any more.
#[derive(Debug)]
pub(crate) struct Gone;

/// `None` if the client went away while it was answered.
pub(crate) async fn open(upgrade: Upgrade) -> Option<(Reader, Writer)> {
    let io = TokioIo::new(upgrade.on.await.ok()?);
    if upgrade.wire == Wire::Bare {
        let (reader, writer) = tokio::io::split(io);
        return Some((Reader::Bare(reader), Writer::Bare(writer)));
    }
    let config = WebSocketConfig::default()
        .read_buffer_size(BUFFER)
        .write_buffer_size(0)
        .max_message_size(Some(MESSAGE_BYTES_MAX))
        .max_frame_size(Some(MESSAGE_BYTES_MAX));
    let socket = WebSocketStream::from_raw_socket(io, Role::Server, Some(config)).await;
    let (writer, reader) = socket.split();
    Some((Reader::Messages(reader), Writer::Messages(writer)))
}

// === impl Reader ===

impl Reader {
    /// A message, or what bytes there are. `None` at the end, however it came.
    pub(crate) async fn next(&mut self) -> Option<Bytes> {
        match self {
            Reader::Bare(reader) => {
                let mut bytes = BytesMut::with_capacity(BUFFER);
                let read = reader.read_buf(&mut bytes).await.ok()?;
                (read > 0).then(|| bytes.freeze())
            }
            Reader::Messages(reader) => loop {
                match reader.next().await?.ok()? {
                    Message::Binary(bytes) => return Some(bytes),
                    Message::Text(text) => return Some(text.into()),
                    Message::Close(_) => return None,
                    // Pings are answered below.
                    Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => {}
                }
            },
        }
    }
}

// === impl Writer ===

impl Writer {
    /// One message, or some bytes.
    pub(crate) async fn write(&mut self, bytes: Bytes) -> Result<(), Gone> {
        let written = async {
            match self {
                Writer::Bare(writer) => {
                    writer.write_all(&bytes).await.map_err(|_| Gone)?;
                    writer.flush().await.map_err(|_| Gone)
                }
                Writer::Messages(writer) => {
                    writer.send(Message::Binary(bytes)).await.map_err(|_| Gone)
                }
            }
        };
        tokio::time::timeout(STALL_MAX, written).await.unwrap_or(Err(Gone))
    }

    /// Finds out whether anybody is there, where the protocol has a way.
    pub(crate) async fn ping(&mut self) -> Result<(), Gone> {
        match self {
            Writer::Bare(_) => Ok(()),
            Writer::Messages(writer) => {
                let ping = writer.send(Message::Ping(Bytes::new()));
                tokio::time::timeout(STALL_MAX, ping).await.map_err(|_| Gone)?.map_err(|_| Gone)
            }
        }
    }

    /// Nothing will follow.
    pub(crate) async fn close(&mut self) {
        let closed = async {
            match self {
                Writer::Bare(writer) => drop(writer.shutdown().await),
                Writer::Messages(writer) => {
                    let frame = CloseFrame { code: CloseCode::Normal, reason: "".into() };
                    drop(writer.send(Message::Close(Some(frame))).await);
                }
            }
        };
        let _ = tokio::time::timeout(STALL_MAX, closed).await;
    }
}
