//! The turns of one connection.

use std::{
    collections::HashMap,
    hash::BuildHasherDefault,
    io,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite},
    time::{Instant, Sleep, sleep},
};

use super::{
    Ended, Handler, Manners,
    body::pipe,
    bridge,
    calls::{At, Calls},
    pulse::{Deadlines, Pulse},
    streams::{State, Stream, Streams},
    wakes::Wakes,
};
use crate::{
    Code, Connection, Event, Head, StreamId,
    connection::Spread,
    grpc::{self, Answer, Unread},
};

/// Read at once: a frame, or a hundred small calls.
const READ_BYTES: usize = 16 * 1024;
/// Reads before others get their turn.
const READS_MAX: usize = 8;
/// What an output may keep for the next time.
const KEPT_BYTES: usize = 64 * 1024;
/// Parts of unary messages that wait for the rest, on one connection: dozens of
/// the largest, and less than a machine misses.
const GATHERED_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Heads whose plans are known; as many as the connection remembers.
const PLANNED_MAX: usize = 8;
/// A peer that does not take our farewell does without.
const CLOSE_MAX: Duration = Duration::from_secs(2);

const BAD_REQUEST: u16 = 400;

pub struct Driver<H: Handler, IO, C, F> {
    io: IO,
    handler: Arc<H>,
    /// Of unary calls.
    answer: C,
    manners: Manners,

    connection: Connection,
    inbox: BytesMut,
    outbox: Vec<u8>,
    /// Of `outbox`, what is written already.
    written: usize,
    needs_flush: bool,
    has_stepped_back: bool,

    under_way: HashMap<StreamId, Call<H::Plan>, BuildHasherDefault<Spread>>,
    calls: Calls<F>,
    streams: Streams<H>,
    woken: Vec<usize>,
    gathered_bytes: usize,
    planned: Vec<(Arc<Head>, Planned<H::Plan>)>,
    /// Which of them goes next.
    hand: usize,

    pulse: Pulse,
    deadlines: Deadlines,
    /// Only what is written is still to be sent, until then.
    closing: Option<Closing>,
}

struct Closing {
    ended: Result<(), Ended>,
    sleep: Pin<Box<Sleep>>,
}

/// What a head says about all calls that have it.
#[derive(Clone)]
struct Planned<P> {
    plan: Option<P>,
    timeout: Option<Duration>,
}

enum Call<P> {
    Gathering { plan: P, timeout: Option<Duration>, body: BytesMut },
    Waiting { at: At, deadline: Option<Instant> },
    Streaming { at: usize, deadline: Option<Instant> },
}

/// How a turn's reading ended.
#[derive(PartialEq, Eq)]
enum Read {
    /// For more to come, or for room to answer it.
    Waits,
    More,
    Gone,
}

// === impl Driver ===

impl<H, IO, C, F> Driver<H, IO, C, F>
where
    H: Handler,
    IO: AsyncRead + AsyncWrite + Unpin,
    C: Fn(H::Plan, Result<Bytes, Unread>) -> F,
    F: Future<Output = Answer>,
{
    pub fn new(
        io: IO,
        input: BytesMut,
        handler: Arc<H>,
        answer: C,
        manners: Manners,
    ) -> Driver<H, IO, C, F> {
        let now = Instant::now();
        let wakes = Wakes::default();
        Driver {
            io,
            handler,
            answer,
            connection: Connection::new(manners.limits),
            inbox: input,
            outbox: Vec::new(),
            written: 0,
            needs_flush: false,
            has_stepped_back: false,
            under_way: HashMap::default(),
            streams: Streams::new(wakes.beside()),
            calls: Calls::new(wakes),
            woken: Vec::new(),
            gathered_bytes: 0,
            planned: Vec::new(),
            hand: 0,
            pulse: Pulse::new(now, &manners),
            deadlines: Deadlines::new(now),
            closing: None,
            manners,
        }
    }

    /// Begins nothing more, and ends when all is answered.
    pub fn go_away(&mut self) {
        self.connection.go_away();
        self.pulse.leave(Instant::now());
    }

    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Ended>> {
        if self.closing.is_none() {
            let ended = match self.turn(cx) {
                Ok(Read::Gone) if self.connection.streams() == 0 => return Poll::Ready(Ok(())),
                Ok(Read::Gone) => {
                    return Poll::Ready(Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()));
                }
                Ok(Read::Waits | Read::More) if !self.connection.is_finished() => {
                    return Poll::Pending;
                }
                Ok(Read::Waits | Read::More) => Ok(()),
                Err(Ended::Io(error)) => return Poll::Ready(Err(error.into())),
                Err(Ended::Fault(fatal)) => Err(fatal.into()),
                Err(ended) => {
                    self.connection.go_away_now(Code::ENHANCE_YOUR_CALM);
                    Err(ended)
                }
            };
            self.closing = Some(Closing { ended, sleep: Box::pin(sleep(CLOSE_MAX)) });
        }
        self.poll_close(cx)
    }

    fn turn(&mut self, cx: &mut Context<'_>) -> Result<Read, Ended> {
        self.calls.register(cx);
        self.pulse.poll(cx, &mut self.connection, &self.manners)?;
        while let Poll::Ready(stream) = self.deadlines.poll(cx) {
            self.expire(stream);
        }
        let read = self.read(cx)?;
        if read == Read::Gone {
            return Ok(read);
        }
        self.go_on();
        self.connection.pump();
        let was_full = self.connection.is_full();
        let is_written = self.write(cx)?;
        if read == Read::More || (is_written && was_full) {
            cx.waker().wake_by_ref();
        }
        Ok(read)
    }

    // === in ===

    fn read(&mut self, cx: &mut Context<'_>) -> Result<Read, Ended> {
        // What came before, or had to wait for room to answer it.
        if !self.inbox.is_empty() {
            self.take()?;
        }
        for _ in 0..READS_MAX {
            if self.connection.is_full() {
                return Ok(Read::Waits);
            }
            let spare = self.inbox.capacity() - self.inbox.len();
            if spare < READ_BYTES && !self.inbox.try_reclaim(READ_BYTES) && spare < READ_BYTES / 4 {
                self.inbox.reserve(READ_BYTES);
            }
            match pin!(self.io.read_buf(&mut self.inbox)).poll(cx)? {
                Poll::Pending => return Ok(Read::Waits),
                Poll::Ready(0) => return Ok(Read::Gone),
                Poll::Ready(_) => {
                    self.pulse.heard(Instant::now(), &mut self.connection);
                    self.take()?;
                }
            }
        }
        Ok(Read::More)
    }

    fn take(&mut self) -> Result<(), Ended> {
        self.connection.receive(&mut self.inbox)?;
        while let Some(event) = self.connection.next_event() {
            self.event(event);
        }
        Ok(())
    }

    fn event(&mut self, event: Event) {
        match event {
            Event::Request { stream, head, end } => self.request(stream, head, end),
            Event::Data { stream, bytes, credit, end } => self.data(stream, bytes, credit, end),
            Event::Trailers { stream, fields } => match self.under_way.get(&stream) {
                Some(Call::Gathering { .. }) => self.gathered(stream),
                Some(Call::Streaming { at, .. }) => {
                    if let Some(inlet) = self.streams.inlet(*at) {
                        inlet.end(bridge::map(&fields));
                    }
                }
                Some(Call::Waiting { .. }) | None => {}
            },
            Event::Reset { stream, .. } => self.stop(stream),
            Event::GoAway { .. } => self.connection.go_away_now(Code::NO_ERROR),
            // Servers are not answered.
            Event::Response { .. } | Event::Pong => {}
        }
    }

    fn request(&mut self, stream: StreamId, head: Arc<Head>, end: bool) {
        let Planned { plan, timeout } = self.plan(&head);
        let Some(plan) = plan else { return self.open(stream, &head, timeout, end) };
        if end {
            return self.start(stream, plan, timeout, Err(Unread::Missing));
        }
        // Most often all of it came at once.
        if let Some(Event::Data { stream: of, end: true, .. }) = self.connection.peek_event()
            && *of == stream
            && let Some(Event::Data { bytes, credit, .. }) = self.connection.next_event()
        {
            self.connection.release(stream, credit);
            let message = grpc::message(&bytes, self.handler.message_bytes_max());
            return self.start(stream, plan, timeout, message);
        }
        let body = BytesMut::new();
        self.under_way.insert(stream, Call::Gathering { plan, timeout, body });
    }

    fn plan(&mut self, head: &Arc<Head>) -> Planned<H::Plan> {
        let known = self.planned.iter().find(|(known, _)| Arc::ptr_eq(known, head));
        if let Some((_, planned)) = known {
            return planned.clone();
        }
        // The connection remembers it as well, so it will come again.
        let is_remembered = Arc::strong_count(head) > 1;
        let planned = Planned { plan: self.handler.unary(head), timeout: grpc::timeout(head) };
        if is_remembered {
            let kept = (head.clone(), planned.clone());
            match self.planned.len() < PLANNED_MAX {
                true => self.planned.push(kept),
                false => self.planned[self.hand] = kept,
            }
            self.hand = (self.hand + 1) % PLANNED_MAX;
        }
        planned
    }

    fn data(&mut self, stream: StreamId, bytes: Bytes, credit: u32, end: bool) {
        let limit = self.handler.message_bytes_max();
        match self.under_way.get_mut(&stream) {
            Some(Call::Streaming { at, .. }) => {
                if let Some(inlet) = self.streams.inlet(*at) {
                    inlet.data(bytes, credit);
                    if end {
                        inlet.end(None);
                    }
                }
            }
            Some(Call::Gathering { body, .. }) => {
                self.connection.release(stream, credit);
                // What follows a message is passed over.
                let more = (grpc::PREFIX_BYTES + limit).saturating_sub(body.len());
                let more = &bytes[..bytes.len().min(more)];
                body.extend_from_slice(more);
                self.gathered_bytes += more.len();
                let is_wrong = grpc::length(body, limit).is_err();
                if end || is_wrong {
                    self.gathered(stream);
                } else if self.gathered_bytes > GATHERED_BYTES_MAX {
                    self.connection.reset(stream, Code::ENHANCE_YOUR_CALM);
                    self.stop(stream);
                }
            }
            Some(Call::Waiting { .. }) | None => self.connection.release(stream, credit),
        }
    }

    // === calls ===

    fn gathered(&mut self, stream: StreamId) {
        let Some(Call::Gathering { plan, timeout, body }) = self.under_way.remove(&stream) else {
            return;
        };
        self.gathered_bytes -= body.len();
        let message = grpc::message(&body.freeze(), self.handler.message_bytes_max());
        self.start(stream, plan, timeout, message);
    }

    fn start(
        &mut self,
        stream: StreamId,
        plan: H::Plan,
        timeout: Option<Duration>,
        message: Result<Bytes, Unread>,
    ) {
        let call = (self.answer)(plan, message);
        match self.calls.start(stream, call) {
            Ok(answer) => self.say(stream, answer),
            Err(at) => {
                let deadline = self.deadlines.add(timeout, stream);
                self.under_way.insert(stream, Call::Waiting { at, deadline });
            }
        }
    }

    fn open(&mut self, stream: StreamId, head: &Arc<Head>, timeout: Option<Duration>, end: bool) {
        let (at, waker) = self.streams.place();
        let (inlet, body) = pipe(head.content_length, end, waker);
        let Some(request) = bridge::request(head, body) else {
            self.streams.give_back(at);
            return self.connection.respond(stream, BAD_REQUEST, [], true);
        };
        let is_head = request.method() == http::Method::HEAD;
        let state = State::Asked(Box::pin(self.handler.clone().stream(request)));
        self.streams.put(at, Stream { id: stream, is_head, inlet, state });
        let deadline = self.deadlines.add(timeout, stream);
        self.under_way.insert(stream, Call::Streaming { at, deadline });
        self.go_on_with(at);
    }

    /// Those that were woken.
    fn go_on(&mut self) {
        let mut woken = std::mem::take(&mut self.woken);
        self.calls.woken(&mut woken);
        for at in woken.drain(..) {
            let Some((stream, answer)) = self.calls.poll(at) else { continue };
            if let Some(Call::Waiting { deadline, .. }) = self.under_way.remove(&stream) {
                self.deadlines.remove(deadline, stream);
            }
            self.say(stream, answer);
        }
        self.streams.woken(&self.connection, self.manners.send_buffer_bytes, &mut woken);
        for at in woken.drain(..) {
            self.go_on_with(at);
        }
        self.woken = woken;
    }

    fn go_on_with(&mut self, at: usize) {
        let buffer_bytes = self.manners.send_buffer_bytes;
        let Some(stream) = self.streams.poll(at, &mut self.connection, buffer_bytes) else {
            return;
        };
        if let Some(Call::Streaming { deadline, .. }) = self.under_way.remove(&stream) {
            self.deadlines.remove(deadline, stream);
        }
    }

    fn say(&mut self, stream: StreamId, answer: Answer) {
        match answer {
            Answer::Message(message) => self.connection.answer(stream, message),
            Answer::Refused(fields) => self.connection.refuse_call(stream, &fields),
        }
    }

    /// Drops a call that nobody waits for.
    fn stop(&mut self, stream: StreamId) {
        match self.under_way.remove(&stream) {
            Some(Call::Gathering { body, .. }) => self.gathered_bytes -= body.len(),
            Some(Call::Waiting { at, deadline }) => {
                self.calls.stop(at);
                self.deadlines.remove(deadline, stream);
            }
            Some(Call::Streaming { at, deadline }) => {
                let left = self.streams.close(at);
                self.connection.release(stream, left);
                self.deadlines.remove(deadline, stream);
            }
            None => {}
        }
    }

    /// Its deadline is over.
    fn expire(&mut self, stream: StreamId) {
        let fields = grpc::status(grpc::DEADLINE_EXCEEDED, "Timeout expired");
        match self.under_way.get(&stream) {
            Some(Call::Streaming { at, .. }) if self.streams.has_answered(*at) => {
                self.connection.trailers(stream, fields);
            }
            Some(_) => self.connection.refuse_call(stream, &fields),
            None => {}
        }
        self.stop(stream);
    }

    // === out ===

    /// True when nothing is left to be written.
    fn write(&mut self, cx: &mut Context<'_>) -> Result<bool, Ended> {
        loop {
            if self.written == self.outbox.len() {
                self.outbox.clear();
                self.outbox.shrink_to(KEPT_BYTES);
                self.written = 0;
                if self.connection.output().is_empty() {
                    break;
                }
                let may_gather = !(self.calls.is_empty() && self.streams.is_empty());
                if may_gather && !std::mem::replace(&mut self.has_stepped_back, true) {
                    cx.waker().wake_by_ref();
                    return Ok(false);
                }
                std::mem::swap(&mut self.outbox, self.connection.output());
            }
            match Pin::new(&mut self.io).poll_write(cx, &self.outbox[self.written..])? {
                Poll::Pending => return Ok(false),
                Poll::Ready(0) => return Err(io::Error::from(io::ErrorKind::WriteZero).into()),
                Poll::Ready(count) => self.written += count,
            }
            self.needs_flush = true;
        }
        self.has_stepped_back = false;
        if self.needs_flush {
            if Pin::new(&mut self.io).poll_flush(cx)?.is_pending() {
                return Ok(false);
            }
            self.needs_flush = false;
        }
        Ok(true)
    }

    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Ended>> {
        // Nobody answers any more.
        self.has_stepped_back = true;
        let is_written = self.write(cx);
        let closing = self.closing.as_mut().expect("its caller made it");
        let is_over = match is_written {
            Ok(false) => false,
            Ok(true) => Pin::new(&mut self.io).poll_shutdown(cx).is_ready(),
            Err(_) => true,
        };
        if !is_over && closing.sleep.as_mut().poll(cx).is_pending() {
            return Poll::Pending;
        }
        Poll::Ready(std::mem::replace(&mut closing.ended, Ok(())))
    }
}
