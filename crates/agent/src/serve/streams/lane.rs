//! One stream of many in a connection, whatever protocol they share.

use bytes::Bytes;
use spdy::{Frame, StreamId};
use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
};

use super::wire::Gone;

/// Pieces that may wait in a lane for whoever takes them, of 32 KiB as kubectl
/// cuts them. Beyond, the connection waits, and its other lanes with it: that is
/// how Kubernetes' clients know it, which have no windows either.
pub(crate) const QUEUE: usize = 4;

/// After our last word, for the client's.
const CLOSE_WAIT: std::time::Duration = std::time::Duration::from_secs(5);

/// What the client sends. It ends with the lane or with the connection.
pub(crate) type Input = mpsc::Receiver<Bytes>;

/// What the client is sent.
#[derive(Clone, Debug)]
pub(crate) enum Output {
    /// By number, in a message of its own.
    Channel(u8, mpsc::Sender<Bytes>),
    Stream(StreamId, mpsc::Sender<Frame>),
}

/// Ends when the lane is cut or the connection is gone.
#[derive(Clone, Debug)]
pub(crate) struct Cut(pub watch::Receiver<()>);

/// A piece of output, with room before it for a channel's number: it is read
/// from its source and sent without being copied.
pub(crate) struct Piece(pub Vec<u8>);

/// The tasks of a connection.
pub(crate) struct Pump {
    pub reader: JoinHandle<()>,
    pub writer: JoinHandle<()>,
}

// === impl Output ===

impl Output {
    pub(crate) async fn send(&self, piece: Piece) -> Result<(), Gone> {
        let Piece(mut bytes) = piece;
        match self {
            Output::Channel(number, messages) => {
                bytes[0] = *number;
                messages.send(bytes.into()).await.map_err(|_| Gone)
            }
            Output::Stream(id, frames) => {
                let bytes = Bytes::from(bytes).slice(1..);
                let frame = Frame::Data { id: *id, fin: false, bytes };
                frames.send(frame).await.map_err(|_| Gone)
            }
        }
    }

    pub(crate) async fn say(&self, text: &[u8]) -> Result<(), Gone> {
        let mut piece = Piece::with_room(text.len());
        piece.0.extend_from_slice(text);
        self.send(piece).await
    }

    /// Nothing will follow here. Channels have no sign for it from this side.
    pub(crate) async fn finish(&self) {
        if let Output::Stream(id, frames) = self {
            let _ = frames.send(Frame::Data { id: *id, fin: true, bytes: Bytes::new() }).await;
        }
    }
}

// === impl Cut ===

impl Cut {
    pub(crate) async fn wait(&mut self) {
        // Nothing is ever sent; the sender is dropped.
        while self.0.changed().await.is_ok() {}
    }
}

// === impl Piece ===

impl Piece {
    pub(crate) fn with_room(bytes: usize) -> Piece {
        let mut buffer = Vec::with_capacity(1 + bytes);
        buffer.push(0);
        Piece(buffer)
    }
}

// === impl Pump ===

impl Pump {
    /// All outputs were dropped: lets the last words be written, and the client
    /// close. Closing at once would take back what it has not read yet, if it is
    /// still sending.
    pub(crate) async fn finish(mut self) {
        let _ = self.writer.await;
        if tokio::time::timeout(CLOSE_WAIT, &mut self.reader).await.is_err() {
            self.reader.abort();
        }
    }
}
