//! A client's connection: one task for it, one for each stream.

use std::{
    pin::{Pin, pin},
    rc::Rc,
    task::{Context, Poll},
    time::Duration,
};

use http2::{Code, Connection, Event, Fatal, Head, Limits, StreamId};
use tokio::time::{Instant, Sleep, sleep_until};

use super::{
    head::plain,
    stream::{Held, Stream},
    wire::{Drive, Ended, Turn, Wire},
};
use crate::{
    flow::Source,
    io::Io,
    reply::Reply,
    serve::{Handler, Request, Unread},
};

/// Streams that a client resets within so short a time, and how many of those,
/// if they are more than every second stream, end its connection: each may have
/// cost a connection to a service. As Envoy has it.
const PREMATURE: Duration = Duration::from_secs(1);
const PREMATURE_STREAMS_MAX: u64 = 500;

/// A client that has not heard our farewell by now has had its time to begin
/// requests: a round trip to anywhere, and a pause.
const FAREWELL_MAX: Duration = Duration::from_secs(1);

const BAD_REQUEST: u16 = 400;

/// What has become of the streams of a connection so far.
#[derive(Default)]
struct Streams {
    all: u64,
    premature: u64,
}

/// What happens because time goes by.
struct Clock {
    sleep: Pin<Box<Sleep>>,
    idle_timeout: Duration,
    head_timeout: Duration,
    began: Instant,
    idle_since: Instant,
    /// When the last stream is named, once we are leaving.
    farewell: Option<Instant>,
    /// A head of which more is to come, and since when.
    half_head: Option<(StreamId, Instant)>,
}

pub(crate) async fn serve<H: Handler>(handler: &Rc<H>, io: Io) -> Result<(), Ended> {
    let limits = handler.limits();
    let now = Instant::now();
    let clock = Clock::new(now, limits.idle_timeout, limits.head_timeout);
    let wire = Wire::new(Connection::new(Limits {
        streams: limits.streams,
        stream_window_bytes: limits.stream_window_bytes,
        connection_window_bytes: limits.connection_window_bytes,
        head_bytes: u32::try_from(limits.head.bytes).unwrap_or(u32::MAX),
        ..Limits::default()
    }));
    let mut drive = Drive::new(io, now);
    let served = carry(handler, &wire, &mut drive, clock).await;
    if served.as_ref().is_err_and(Ended::is_flood) {
        handler.flooded();
        wire.say(|connection| connection.go_away_now(Code::ENHANCE_YOUR_CALM));
    }
    drive.close(&wire).await;
    served
}

async fn carry<H: Handler>(
    handler: &Rc<H>,
    wire: &Rc<Wire>,
    drive: &mut Drive,
    mut clock: Clock,
) -> Result<(), Ended> {
    let mut drained = pin!(handler.drained());
    let mut is_draining = false;
    let mut streams = Streams::default();
    std::future::poll_fn(|cx| {
        if !is_draining && drained.as_mut().poll(cx).is_ready() {
            is_draining = true;
            clock.leave(wire);
        }
        let each = |event, now| {
            if let Event::Request { .. } = &event {
                clock.idle_since = now;
            }
            streams.event(handler, wire, event, now)
        };
        match drive.turn(wire, each, cx) {
            Err(ended) => return Poll::Ready(Err(ended)),
            Ok(Turn::Gone) => return Poll::Ready(Ok(())),
            Ok(Turn::Waits) => {}
        }
        clock.watch_head(wire.state.borrow().connection.half_head());
        let is_late = clock.poll(wire, cx).is_ready();
        if is_late || wire.is_done() { Poll::Ready(Ok(())) } else { Poll::Pending }
    })
    .await
}

fn begin<H: Handler>(
    handler: &Rc<H>,
    wire: &Rc<Wire>,
    id: StreamId,
    head: &Head,
    end: bool,
    now: Instant,
) {
    let Some(request) = http2::request(head, ()) else {
        return wire.say(|connection| connection.respond(id, BAD_REQUEST, [], true));
    };
    let stream = wire.add(id, now);
    if end {
        stream.is_heard();
    }
    let held = Held::new(stream);
    let handler = handler.clone();
    tokio::task::spawn_local(async move { answer(&*handler, request.into_parts().0, held).await });
}

async fn answer(handler: &impl Handler, mut head: http::request::Parts, held: Held) {
    if held.stream().is_lost() {
        return;
    }
    let stream = held.stream().clone();
    let mut reply = Reply::H2(held);
    if let Err((status, why)) = plain(&mut head, handler.limits().head.headers) {
        let own = handler.refuse(Unread::Malformed { status, why: why.into() });
        let _ = own.map(|own| reply.own(own, true));
        return;
    }
    let body = if stream.is_end() { Source::Empty } else { Source::H2 { stream } };
    let request = Request { head, body, upgrade: None };
    handler.answer(request, reply).await;
}

// === impl Streams ===

impl Streams {
    fn event<H: Handler>(
        &mut self,
        handler: &Rc<H>,
        wire: &Rc<Wire>,
        event: Event,
        now: Instant,
    ) -> Result<(), Fatal> {
        match event {
            Event::Request { stream, head, end } => {
                self.all += 1;
                let mut state = wire.state.borrow_mut();
                if let Some(Event::Reset { stream: of, .. }) = state.connection.peek_event()
                    && *of == stream
                {
                    // Taken back in the same breath.
                    state.connection.next_event();
                    self.premature += 1;
                    return self.check();
                }
                drop(state);
                begin(handler, wire, stream, &head, end, now);
                Ok(())
            }
            Event::Reset { stream, .. } => {
                let is_premature =
                    |stream: &Rc<Stream>| now.duration_since(stream.began) < PREMATURE;
                let is_premature = wire.state.borrow().stream(stream).is_some_and(is_premature);
                self.premature += u64::from(is_premature);
                wire.deliver(event);
                self.check()
            }
            Event::GoAway { .. } => {
                wire.say(|connection| connection.go_away_now(Code::NO_ERROR));
                Ok(())
            }
            event => {
                wire.deliver(event);
                Ok(())
            }
        }
    }

    fn check(&self) -> Result<(), Fatal> {
        if self.premature > PREMATURE_STREAMS_MAX && self.premature > self.all / 2 {
            let reason = "too many requests taken back";
            return Err(Fatal { code: Code::ENHANCE_YOUR_CALM, reason });
        }
        Ok(())
    }
}

// === impl Clock ===

impl Clock {
    fn new(now: Instant, idle_timeout: Duration, head_timeout: Duration) -> Clock {
        Clock {
            sleep: Box::pin(sleep_until(now + head_timeout)),
            idle_timeout,
            head_timeout,
            began: now,
            idle_since: now,
            farewell: None,
            half_head: None,
        }
    }

    /// A head is to be whole within its time, as in HTTP/1.1.
    fn watch_head(&mut self, half: Option<StreamId>) {
        if half == self.half_head.map(|(stream, _)| stream) {
            return;
        }
        let now = Instant::now();
        self.half_head = half.map(|stream| (stream, now));
        let by = now + self.head_timeout;
        if half.is_some() && by < self.sleep.deadline() {
            self.sleep.as_mut().reset(by);
        }
    }

    /// Asks the client to begin nothing more.
    fn leave(&mut self, wire: &Wire) {
        if self.farewell.is_none() {
            wire.say(Connection::go_away);
            let by = Instant::now() + FAREWELL_MAX;
            self.farewell = Some(by);
            self.sleep.as_mut().reset(by);
        }
    }

    /// Ready when the client was too slow to greet us, or to say a head.
    fn poll(&mut self, wire: &Wire, cx: &mut Context<'_>) -> Poll<()> {
        while self.sleep.as_mut().poll(cx).is_ready() {
            let now = Instant::now();
            let greeted = wire.state.borrow().connection.is_greeted();
            let half_since = self.half_head.map(|(_, since)| since);
            let slow_since = half_since.or((!greeted).then_some(self.began));
            if slow_since.is_some_and(|since| now >= since + self.head_timeout) {
                return Poll::Ready(());
            }
            let next = match self.farewell {
                Some(by) if by <= now => {
                    wire.say(|connection| connection.go_away_now(Code::NO_ERROR));
                    now + self.idle_timeout
                }
                Some(by) => by,
                None => {
                    if wire.streams() > 0 {
                        self.idle_since = now;
                    }
                    let idle_until = self.idle_since + self.idle_timeout;
                    if idle_until <= now {
                        self.leave(wire);
                        continue;
                    }
                    idle_until
                }
            };
            let by = half_since.map_or(next, |since| next.min(since + self.head_timeout));
            self.sleep.as_mut().reset(by);
        }
        Poll::Pending
    }
}
