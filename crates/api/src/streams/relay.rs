//! Bytes between a client and an agent, both ways, at the slower side's pace.

use std::{sync::Mutex, time::Duration};

use http::{HeaderMap, header};
use rt::Drain;
use serde_json::json;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, split};

use super::frames::{self, Boundary};
use crate::failure::Failure;

/// Held for each direction: what one side may be ahead of the other.
const BUFFER: usize = 32 << 10;

/// An agent gives a sign of life every 30 s. One that misses three is lost.
const SILENCE_MAX: Duration = Duration::from_secs(100);

/// For the client to take the last bytes and close.
const CLOSE_WAIT: Duration = Duration::from_secs(5);

/// Where commands say how they ended.
const ERROR_CHANNEL: u8 = 3;

/// What can be put between an agent's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    /// A WebSocket with a channel for errors.
    Channels,
    /// A WebSocket.
    Messages,
    /// Nothing that we know.
    Opaque,
}

pub(crate) struct Relay {
    pub node: String,
    pub framing: Framing,
    pub drain: Drain,
}

/// How the agent's side ended.
enum End {
    Closed,
    /// With or without a word: nobody knows what became of the command.
    Lost,
    ClientGone,
    Draining,
}

// === impl Framing ===

impl Framing {
    pub(crate) fn of(answer: &HeaderMap, has_errors: bool) -> Framing {
        match answer.contains_key(header::SEC_WEBSOCKET_ACCEPT) {
            true if has_errors => Framing::Channels,
            true => Framing::Messages,
            false => Framing::Opaque,
        }
    }
}

// === impl Relay ===

impl Relay {
    /// Until either side is done.
    pub(crate) async fn run<C, A>(self, client: C, agent: A)
    where
        C: AsyncRead + AsyncWrite + Unpin,
        A: AsyncRead + AsyncWrite + Unpin,
    {
        let (mut client_reader, mut client_writer) = split(client);
        let (mut agent_reader, mut agent_writer) = split(agent);
        let boundary = Mutex::new(Boundary::default());
        let to_agent = async {
            let _ = copy(&mut client_reader, &mut agent_writer).await;
            // The client has said all; the agent answers by closing.
            let _ = agent_writer.shutdown().await;
        };
        let to_client = async {
            let mut buffer = vec![0; BUFFER];
            loop {
                let read = agent_reader.read(&mut buffer);
                let read = match tokio::time::timeout(SILENCE_MAX, read).await {
                    Ok(Ok(0)) | Ok(Err(_)) => return End::Closed,
                    Ok(Ok(read)) => read,
                    Err(_) => return End::Lost,
                };
                if send(&mut client_writer, &buffer[..read]).await.is_err() {
                    return End::ClientGone;
                }
                lock(&boundary).pass(&buffer[..read]);
            }
        };
        let end = tokio::select! {
            end = to_client => end,
            never = async {
                to_agent.await;
                std::future::pending().await
            } => never,
            () = self.drain.started() => End::Draining,
        };
        if matches!(end, End::ClientGone) {
            return;
        }
        let last = self.last_words(&end, &lock(&boundary));
        let ended = async {
            if !last.is_empty() {
                send(&mut client_writer, &last).await?;
            }
            client_writer.shutdown().await?;
            // Closing on bytes that were not read would take back our own.
            let mut rest = vec![0; BUFFER];
            while client_reader.read(&mut rest).await? > 0 {}
            Ok::<_, std::io::Error>(())
        };
        let _ = tokio::time::timeout(CLOSE_WAIT, ended).await;
    }

    /// What the agent should have said, where that can be said. Nothing if it
    /// has closed in order.
    fn last_words(&self, end: &End, boundary: &Boundary) -> Vec<u8> {
        if self.framing == Framing::Opaque || !boundary.is_clear() {
            return Vec::new();
        }
        let why = match end {
            End::Draining => "the API server is shutting down".to_owned(),
            _ => format!("the connection to the agent of node {:?} was lost", self.node),
        };
        let mut words = match self.framing {
            Framing::Channels => {
                let mut status = Failure::internal(why).to_value();
                status["metadata"] = json!({});
                frames::message(ERROR_CHANNEL, &status.to_string())
            }
            Framing::Messages | Framing::Opaque => Vec::new(),
        };
        words.extend(frames::close());
        words
    }
}

async fn copy(
    from: &mut (impl AsyncRead + Unpin),
    to: &mut (impl AsyncWrite + Unpin),
) -> std::io::Result<()> {
    let mut buffer = vec![0; BUFFER];
    loop {
        match from.read(&mut buffer).await? {
            0 => return Ok(()),
            read => send(to, &buffer[..read]).await?,
        }
    }
}

async fn send(to: &mut (impl AsyncWrite + Unpin), bytes: &[u8]) -> std::io::Result<()> {
    to.write_all(bytes).await?;
    to.flush().await
}

fn lock(boundary: &Mutex<Boundary>) -> std::sync::MutexGuard<'_, Boundary> {
    boundary.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
