//! One connection: its state, shared by its streams, and the turns of the task
//! that drives it.

use std::{
    cell::RefCell,
    collections::HashMap,
    hash::BuildHasherDefault,
    io,
    rc::Rc,
    task::{Context, Poll, Waker, ready},
    time::Duration,
};

use http2::{Code, Connection, Event, Fatal, Spread, StreamId};
use tokio::{sync::Notify, time::Instant};

use super::stream::{Lost, Stream};
use crate::io::Io;

/// Reads of one connection before others get their turn.
const READS_MAX: usize = 4;
/// What an output may keep while nothing is under way.
const KEPT_BYTES: usize = 4 * 1024;
/// A peer that does not take our farewell does without.
pub(crate) const CLOSE_MAX: Duration = Duration::from_secs(2);

/// What the streams of a connection share.
pub struct Wire {
    pub(crate) state: RefCell<State>,
    /// A client's: a stream is over, and another may begin.
    pub(crate) freed: Notify,
}

pub(crate) struct State {
    pub(crate) connection: Connection,
    streams: HashMap<StreamId, Rc<Stream>, BuildHasherDefault<Spread>>,
    /// Streams that wait for room.
    blocked: Vec<StreamId>,
    /// Wakes the task that drives it, unless that was told already.
    driver: Option<Waker>,
    /// A client's: nobody asks on it any more.
    is_unused: bool,
    /// Nothing comes or goes any more.
    pub(crate) is_over: bool,
}

/// The driver's side: the stream, and what is on its way out.
pub(crate) struct Drive {
    pub(crate) io: Io,
    outbox: Vec<u8>,
    /// Of `outbox`, what is written already.
    written: usize,
    has_stepped_back: bool,
    /// Up to when time was told to the connection.
    rested: Instant,
}

/// How a turn's reading ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// For more to come, or for room to answer it.
    Waits,
    Gone,
}

/// Why a connection ended before it was finished.
#[derive(Debug, thiserror::Error)]
pub enum Ended {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("{0}")]
    Fault(#[from] Fatal),
}

// === impl Wire ===

impl Wire {
    pub(crate) fn new(connection: Connection) -> Rc<Wire> {
        let state = State {
            connection,
            streams: HashMap::default(),
            blocked: Vec::new(),
            driver: None,
            is_unused: false,
            is_over: false,
        };
        Rc::new(Wire { state: RefCell::new(state), freed: Notify::new() })
    }

    /// A stream that has just begun.
    pub(crate) fn add(self: &Rc<Wire>, id: StreamId, began: Instant) -> Rc<Stream> {
        let stream = Rc::new(Stream::new(self.clone(), id, began));
        self.state.borrow_mut().streams.insert(id, stream.clone());
        stream
    }

    /// Streams that somebody relays.
    pub(crate) fn streams(&self) -> usize {
        self.state.borrow().streams.len()
    }

    /// Says something on the connection, and has it written.
    pub(crate) fn say<T>(&self, say: impl FnOnce(&mut Connection) -> T) -> T {
        let mut state = self.state.borrow_mut();
        let said = say(&mut state.connection);
        state.tell();
        said
    }

    /// Nobody asks on it any more.
    pub(crate) fn leave_unused(&self) {
        let mut state = self.state.borrow_mut();
        state.is_unused = true;
        state.wake();
    }

    /// Nothing is under way, and nothing more is to be.
    pub(crate) fn is_done(&self) -> bool {
        self.state.borrow().is_done()
    }

    /// Looks again at a stream when some of what it waits with has gone.
    pub(crate) fn block(&self, id: StreamId) {
        let blocked = &mut self.state.borrow_mut().blocked;
        if !blocked.contains(&id) {
            blocked.push(id);
        }
    }

    /// Nobody relays it any more; what was not taken of it is given back.
    pub(crate) fn forget(&self, id: StreamId, credit: u32) {
        let state = &mut *self.state.borrow_mut();
        state.streams.remove(&id);
        if credit > 0 {
            state.connection.release(id, credit);
        }
        state.connection.leave(id, Code::CANCEL);
        if state.is_done() {
            state.wake()
        } else {
            state.tell()
        }
        self.freed.notify_one();
    }

    /// What came for a stream goes into its mail.
    pub(crate) fn deliver(&self, event: Event) {
        let mut state = self.state.borrow_mut();
        let id = match &event {
            Event::Response { stream, .. }
            | Event::Data { stream, .. }
            | Event::Trailers { stream, .. }
            | Event::Reset { stream, .. } => *stream,
            Event::Request { .. } | Event::GoAway { .. } | Event::Pong => return,
        };
        match (state.streams.get(&id), event) {
            (Some(stream), event) => stream.take(event),
            (None, Event::Data { credit, .. }) => state.connection.release(id, credit),
            (None, _) => {}
        }
    }

    /// The connection is over, and every stream that was not.
    fn end(&self) {
        let mut state = self.state.borrow_mut();
        state.is_over = true;
        state.streams.values().for_each(|stream| stream.lose(Lost::Connection));
        self.freed.notify_waiters();
    }
}

// === impl Ended ===

impl Ended {
    /// The peer meant to make work for nothing.
    pub(crate) fn is_flood(&self) -> bool {
        matches!(self, Ended::Fault(fatal) if fatal.code == Code::ENHANCE_YOUR_CALM)
    }
}

// === impl State ===

impl State {
    pub(crate) fn stream(&self, id: StreamId) -> Option<&Rc<Stream>> {
        self.streams.get(&id)
    }

    /// Has what was said written.
    fn tell(&mut self) {
        if !self.connection.output().is_empty() {
            self.wake();
        }
    }

    /// Has the driver look again.
    fn wake(&mut self) {
        if let Some(driver) = self.driver.take() {
            driver.wake();
        }
    }

    fn is_done(&self) -> bool {
        let is_last = self.is_unused || self.connection.is_finished();
        is_last && self.streams.is_empty()
    }

    /// Wakes those who have room again.
    fn unblock(&mut self) {
        let State { connection, streams, blocked, .. } = self;
        blocked.retain(|id| {
            let pending = connection.pending(*id);
            streams.get(id).is_some_and(|stream| !stream.has_room(pending))
        });
    }
}

// === impl Drive ===

impl Drive {
    pub(crate) fn new(io: Io, now: Instant) -> Drive {
        Drive { io, outbox: Vec::new(), written: 0, has_stepped_back: false, rested: now }
    }

    /// Reads, hands `each` what came, and writes what there is to say.
    pub(crate) fn turn(
        &mut self,
        wire: &Rc<Wire>,
        mut each: impl FnMut(Event, Instant) -> Result<(), Fatal>,
        cx: &mut Context<'_>,
    ) -> Result<Turn, Ended> {
        wire.state.borrow_mut().driver = None;
        let read = self.read(wire, &mut each, cx)?;
        if read == Turn::Gone {
            return Ok(read);
        }
        if self.poll_write(wire, cx)?.is_ready() {
            let mut state = wire.state.borrow_mut();
            state.driver = Some(cx.waker().clone());
        }
        Ok(read)
    }

    fn read(
        &mut self,
        wire: &Rc<Wire>,
        each: &mut impl FnMut(Event, Instant) -> Result<(), Fatal>,
        cx: &mut Context<'_>,
    ) -> Result<Turn, Ended> {
        // What came before, or had to wait for room to answer it.
        if !self.io.input.is_empty() {
            self.take(wire, each)?;
        }
        for _ in 0..READS_MAX {
            if wire.state.borrow().connection.is_full() {
                return Ok(Turn::Waits);
            }
            match self.io.poll_fill(cx)? {
                Poll::Pending => return Ok(Turn::Waits),
                Poll::Ready(0) => return Ok(Turn::Gone),
                Poll::Ready(_) => self.take(wire, each)?,
            }
        }
        cx.waker().wake_by_ref();
        Ok(Turn::Waits)
    }

    fn take(
        &mut self,
        wire: &Rc<Wire>,
        each: &mut impl FnMut(Event, Instant) -> Result<(), Fatal>,
    ) -> Result<(), Ended> {
        let now = Instant::now();
        let received = {
            let mut state = wire.state.borrow_mut();
            let seconds = now.saturating_duration_since(self.rested).as_secs();
            if seconds > 0 {
                state.connection.rest(u32::try_from(seconds).unwrap_or(u32::MAX));
                self.rested = now;
            }
            let before = state.connection.is_greeted();
            let received = state.connection.receive(&mut self.io.input);
            if !before && state.connection.is_greeted() {
                wire.freed.notify_waiters();
            }
            received
        };
        if self.io.input.is_empty() {
            // What idles keeps nothing.
            self.io.input = bytes::BytesMut::new();
        }
        loop {
            let event = wire.state.borrow_mut().connection.next_event();
            let Some(event) = event else { break };
            each(event, now)?;
        }
        received?;
        wire.state.borrow_mut().unblock();
        Ok(())
    }

    /// Ready when nothing is left to be written.
    fn poll_write(&mut self, wire: &Rc<Wire>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            if self.written == self.outbox.len() {
                self.outbox.clear();
                self.written = 0;
                let mut state = wire.state.borrow_mut();
                if state.connection.output().is_empty() {
                    if state.streams.is_empty() {
                        self.outbox.shrink_to(KEPT_BYTES);
                        state.connection.output().shrink_to(KEPT_BYTES);
                    }
                    break;
                }
                // Whoever was woken by what came has something to say as well.
                if !state.streams.is_empty() && !std::mem::replace(&mut self.has_stepped_back, true)
                {
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                let was_full = state.connection.is_full();
                std::mem::swap(&mut self.outbox, state.connection.output());
                state.connection.pump();
                state.unblock();
                if was_full {
                    // There may be input that waits for the room.
                    cx.waker().wake_by_ref();
                }
            }
            self.written += ready!(self.io.poll_write(&self.outbox[self.written..], cx))?;
        }
        self.has_stepped_back = false;
        self.io.poll_written(cx)
    }

    /// Ends the connection, with what is still to be said.
    pub(crate) async fn close(&mut self, wire: &Rc<Wire>) {
        wire.end();
        self.has_stepped_back = true;
        let said = std::future::poll_fn(|cx| {
            self.has_stepped_back = true;
            ready!(self.poll_write(wire, cx))?;
            self.io.poll_shutdown(cx)
        });
        let _ = tokio::time::timeout(CLOSE_MAX, said).await;
    }
}
