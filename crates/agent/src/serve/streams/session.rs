//! Lanes of SPDY: the server's side of a connection whose client opens streams.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use rt::TaskKind;
use spdy::{Decoder, Encoder, Frame, Headers, RESET_PROTOCOL_ERROR, RESET_REFUSED, StreamId};
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, interval_at},
};

use super::{
    lane::{Cut, Input, Output, Pump, QUEUE},
    wire::{Gone, Reader, Writer},
};

/// Streams open at once; a forwarded connection takes two.
const STREAMS_MAX: usize = 512;

/// Frames are written together up to this.
const WRITE_BYTES: usize = 64 << 10;

const PING_EVERY: Duration = Duration::from_secs(30);

/// A stream that the client has opened.
pub(crate) struct Stream {
    pub headers: Headers,
    pub input: Input,
    pub output: Output,
    pub cut: Cut,
}

pub(crate) struct Session {
    opened: mpsc::Receiver<Stream>,
    /// Keeps the connection open while no stream is.
    _frames: mpsc::Sender<Frame>,
    pub cut: Cut,
    pub pump: Pump,
}

#[derive(Clone, Default)]
struct Streams(Arc<Mutex<HashMap<StreamId, Ends>>>);

/// What is left of a stream, seen from here.
struct Ends {
    /// Until the client has said all.
    input: Option<mpsc::Sender<Bytes>>,
    /// Until we have.
    speaking: bool,
    /// Dropped when the stream is reset.
    _alive: watch::Sender<()>,
}

// === impl Session ===

impl Session {
    pub(crate) fn open(reader: Reader, writer: Writer) -> Session {
        let streams = Streams::default();
        let (alive, cut) = watch::channel(());
        let (opened, receiver) = mpsc::channel(QUEUE);
        let (frames, queue) = mpsc::channel(QUEUE);
        let (of_reader, of_writer) = (streams.clone(), streams);
        let answers = frames.downgrade();
        let reader = rt::spawn(TaskKind::Connection, "spdy read", async move {
            if let Err(error) = read(reader, &of_reader, &opened, answers).await {
                tracing::debug!(%error, "a client breaks SPDY's rules");
            }
            of_reader.lock().clear();
            drop(alive);
        });
        let deaf = reader.abort_handle();
        let writer = rt::spawn(TaskKind::Connection, "spdy write", async move {
            if write(writer, queue, &of_writer).await.is_err() {
                deaf.abort();
                of_writer.lock().clear();
            }
        });
        let (cut, pump) = (Cut(cut), Pump { reader, writer });
        Session { opened: receiver, _frames: frames, cut, pump }
    }

    /// From here on streams are refused; those that are open hold the connection.
    pub(crate) fn into_parts(self) -> (Cut, Pump) {
        (self.cut, self.pump)
    }

    /// The next stream that the client opens; `None` when it is gone.
    pub(crate) async fn accept(&mut self) -> Option<Stream> {
        self.opened.recv().await
    }
}

async fn read(
    mut reader: Reader,
    streams: &Streams,
    opened: &mpsc::Sender<Stream>,
    answers: mpsc::WeakSender<Frame>,
) -> Result<(), spdy::Error> {
    let (mut decoder, mut buffer) = (Decoder::default(), BytesMut::new());
    while let Some(bytes) = reader.next().await {
        buffer.extend_from_slice(&bytes);
        while let Some(frame) = decoder.next(&mut buffer)? {
            // Over when all who speak have dropped their ends: we only answer.
            let Some(frames) = answers.upgrade() else { break };
            match frame {
                Frame::Open { id, fin, headers } => {
                    let answer = match streams.open(id, fin, headers, &frames) {
                        Ok(stream) => {
                            let headers = Headers::default();
                            let _ = frames.send(Frame::Reply { id, fin: false, headers }).await;
                            opened.send(stream).await.is_ok().then_some(()).ok_or(RESET_REFUSED)
                        }
                        Err(status) => Err(status),
                    };
                    if let Err(status) = answer {
                        let _ = frames.send(Frame::Reset { id, status }).await;
                    }
                }
                Frame::Data { id, fin, bytes } => {
                    let input = streams.input(id);
                    if let Some(input) = input.filter(|_| !bytes.is_empty()) {
                        // Whoever took it may have ended; its client is told so.
                        let _ = input.send(bytes).await;
                    }
                    if fin {
                        streams.heard_all(id);
                    }
                }
                Frame::Reset { id, .. } => drop(streams.lock().remove(&id)),
                Frame::Ping(number) if number % 2 == 1 => {
                    let _ = frames.send(Frame::Ping(number)).await;
                }
                Frame::Reply { .. }
                | Frame::Headers { .. }
                | Frame::Ping(_)
                | Frame::GoAway { .. } => {}
            }
        }
    }
    Ok(())
}

async fn write(
    mut writer: Writer,
    mut frames: mpsc::Receiver<Frame>,
    streams: &Streams,
) -> Result<(), Gone> {
    let (mut encoder, mut buffer) = (Encoder::default(), BytesMut::new());
    let mut pings = interval_at(Instant::now() + PING_EVERY, PING_EVERY);
    let mut ping = 0_u32;
    loop {
        let frame = tokio::select! {
            frame = frames.recv() => frame,
            _ = pings.tick() => {
                ping = ping.wrapping_add(2);
                Some(Frame::Ping(ping))
            }
        };
        let Some(mut frame) = frame else { break };
        loop {
            if let Frame::Data { id, fin: true, .. } = frame {
                streams.said_all(id);
            }
            encoder.put(&frame, &mut buffer);
            match frames.try_recv() {
                Ok(next) if buffer.len() < WRITE_BYTES => frame = next,
                Ok(next) => {
                    writer.write(buffer.split().freeze()).await?;
                    frame = next;
                }
                Err(_) => break,
            }
        }
        writer.write(buffer.split().freeze()).await?;
    }
    encoder.put(&Frame::GoAway { last: 0, status: 0 }, &mut buffer);
    writer.write(buffer.freeze()).await?;
    writer.close().await;
    Ok(())
}

// === impl Streams ===

impl Streams {
    /// An error is the status of a reset.
    fn open(
        &self,
        id: StreamId,
        fin: bool,
        headers: Headers,
        frames: &mpsc::Sender<Frame>,
    ) -> Result<Stream, u32> {
        let mut streams = self.lock();
        if id.is_multiple_of(2) || streams.contains_key(&id) {
            return Err(RESET_PROTOCOL_ERROR);
        }
        if streams.len() >= STREAMS_MAX {
            return Err(RESET_REFUSED);
        }
        let (sender, input) = mpsc::channel(QUEUE);
        let (alive, cut) = watch::channel(());
        let ends = Ends { input: (!fin).then_some(sender), speaking: true, _alive: alive };
        streams.insert(id, ends);
        let output = Output::Stream(id, frames.clone());
        Ok(Stream { headers, input, output, cut: Cut(cut) })
    }

    fn input(&self, id: StreamId) -> Option<mpsc::Sender<Bytes>> {
        self.lock().get(&id)?.input.clone()
    }

    fn heard_all(&self, id: StreamId) {
        let mut streams = self.lock();
        let over = streams.get_mut(&id).is_some_and(|ends| {
            ends.input = None;
            !ends.speaking
        });
        if over {
            streams.remove(&id);
        }
    }

    fn said_all(&self, id: StreamId) {
        let mut streams = self.lock();
        let over = streams.get_mut(&id).is_some_and(|ends| {
            ends.speaking = false;
            ends.input.is_none()
        });
        if over {
            streams.remove(&id);
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<StreamId, Ends>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
