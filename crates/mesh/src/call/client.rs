//! A client's connection: its calls go their ways side by side, and answers go
//! back as they come.
//!
//! What one client may have under way is bounded in calls and bytes: beyond
//! it, nothing more is read until some are answered.

use std::{
    cell::{Cell, RefCell},
    io,
    rc::Rc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use bytes::BytesMut;
use hop::{Io, Stream};
use http::StatusCode;
use tokio::{
    net::TcpStream,
    time::{Instant, MissedTickBehavior, interval_at},
};

use super::{
    frame::{Frame, Lane, What, Wire},
    walk,
};
use crate::{
    exchange::Client,
    handover::{Described, Heir, Moving},
    refusal::Refusal,
    upstream::keep_waker,
    worker::Worker,
};

/// Calls of one connection under way; a pool of threads in Java has hundreds.
const CALLS_MAX: usize = 2_048;
/// Bytes of these calls, beyond which the next waits: one frame may be as large.
const HELD_BYTES_MAX: usize = 16 << 20;
/// Answers that the client does not take; beyond it, it is not read from.
const OUT_BYTES_MAX: usize = 1 << 20;
/// Between two looks at the clock.
const TICK: Duration = Duration::from_secs(5);
const DRAIN_TICK: Duration = Duration::from_millis(100);
/// A connection that is to be given away and always has a call under way is not
/// read for one of so many [`DRAIN_TICK`]s, so that its calls may end; in the
/// second half of the drain it is not read at all, as longer ones may end then.
const BREATH: u32 = 10;
/// During a drain, a client that calls nothing for so long is done.
const QUIET: Duration = Duration::from_millis(500);

/// What the connection and its calls share.
pub(crate) struct Caller {
    pub(super) client: Client,
    out: RefCell<BytesMut>,
    calls: Cell<usize>,
    held_bytes: Cell<usize>,
    gone: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

/// A call that counts against the bounds of its connection.
pub(super) struct Held {
    caller: Rc<Caller>,
    bytes: usize,
}

struct Connection {
    worker: Rc<Worker>,
    listener: Rc<str>,
    wire: Wire,
    io: Io,
    caller: Rc<Caller>,
    bounds: Bounds,
    /// Whether more is read; not after the client's end.
    reading: bool,
    /// There were whole frames and no room for them.
    held_up: bool,
    /// When the frame began of which a part has come.
    half_since: Option<Instant>,
    heard: Instant,
    called: Instant,
    /// The client is a proxy of ours.
    heeds: Option<Lane>,
    drain: Option<Instant>,
    /// The successor goes on with it, once no call is under way.
    leaving: bool,
    /// Of the clock, since the drain began.
    ticks: u32,
}

/// How far a connection was carried.
enum Carried {
    Ended,
    /// No call is under way, and nothing was read that was not taken.
    BetweenCalls,
}

/// As the plan has them when the connection begins.
struct Bounds {
    frame_bytes: usize,
    stall: Duration,
    idle: Duration,
    drain: Duration,
}

enum Moved {
    Read,
    Room,
    Ended,
    Done,
    Leave,
}

pub(crate) async fn serve(
    worker: Rc<Worker>,
    listener: Rc<str>,
    client: Client,
    io: Io,
    wire: Wire,
) -> io::Result<()> {
    let limits = &worker.plan().shared.config.limits;
    let bounds = Bounds {
        frame_bytes: limits.frame_bytes,
        stall: limits.stall_timeout.0,
        idle: limits.idle_timeout.0,
        drain: limits.drain_timeout.0,
    };
    let caller = Rc::new(Caller {
        client,
        out: RefCell::default(),
        calls: Cell::new(0),
        held_bytes: Cell::new(0),
        gone: Cell::new(false),
        waker: RefCell::default(),
    });
    let now = Instant::now();
    let mut connection = Connection {
        worker,
        listener,
        wire,
        io,
        caller: caller.clone(),
        bounds,
        reading: true,
        held_up: false,
        half_since: None,
        heard: now,
        called: now,
        heeds: None,
        drain: None,
        leaving: false,
        ticks: 0,
    };
    let carried = loop {
        match connection.carry().await {
            Ok(Carried::Ended) => break Ok(()),
            Err(error) => break Err(error),
            Ok(Carried::BetweenCalls) => match connection.give_away().await {
                Ok(Some(back)) => connection = back,
                Ok(None) => break Ok(()),
                Err(error) => break Err(error),
            },
        }
    };
    caller.gone.set(true);
    carried
}

// === impl Connection ===

impl Connection {
    async fn carry(&mut self) -> io::Result<Carried> {
        let ticks = |every| {
            let mut ticks = interval_at(Instant::now() + every, every);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            ticks
        };
        let mut clock = match self.drain {
            None => ticks(TICK.min(self.bounds.stall).max(DRAIN_TICK)),
            Some(_) => ticks(DRAIN_TICK),
        };
        let worker = self.worker.clone();
        let mut drained = std::pin::pin!(worker.drained());
        loop {
            self.take_all()?;
            tokio::select! {
                biased;
                moved = std::future::poll_fn(|cx| self.poll(cx)) => match moved? {
                    Moved::Read => self.heard = Instant::now(),
                    Moved::Room => {}
                    Moved::Ended => self.reading = false,
                    Moved::Done => return Ok(Carried::Ended),
                    Moved::Leave => return Ok(Carried::BetweenCalls),
                },
                () = drained.as_mut(), if self.drain.is_none() => {
                    self.begin_drain();
                    clock = ticks(DRAIN_TICK);
                }
                now = clock.tick() => {
                    self.ticks = self.ticks.wrapping_add(1);
                    if self.is_over(now)? {
                        return Ok(Carried::Ended);
                    }
                }
            }
        }
    }

    /// Writes answers, then reads once.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Moved>> {
        keep_waker(&self.caller.waker, cx);
        loop {
            if self.io.output.is_empty() {
                if self.caller.out.borrow().is_empty() {
                    break;
                }
                self.io.output = self.caller.out.take();
            }
            if self.io.poll_flush(cx)?.is_pending() {
                break;
            }
        }
        let idle = self.io.output.is_empty() && self.caller.calls.get() == 0;
        if !self.reading && idle {
            return Poll::Ready(Ok(Moved::Done));
        }
        let whole = self.io.input.is_empty();
        if self.leaving && whole && self.reading {
            if idle {
                return Poll::Ready(Ok(Moved::Leave));
            }
            let late = self.drain.is_some_and(|began| began.elapsed() >= self.bounds.drain / 2);
            if late || self.ticks.is_multiple_of(BREATH) {
                return Poll::Pending;
            }
        }
        let room = self.caller.has_room();
        if self.held_up && room {
            return Poll::Ready(Ok(Moved::Room));
        }
        if !self.reading || !room {
            return Poll::Pending;
        }
        self.io.poll_fill(cx).map_ok(|read| if read == 0 { Moved::Ended } else { Moved::Read })
    }

    fn take_all(&mut self) -> io::Result<()> {
        let before = self.io.input.len();
        self.held_up = false;
        loop {
            if !self.caller.has_room() {
                self.held_up = !self.io.input.is_empty();
                self.half_since = None;
                return Ok(());
            }
            match self.wire.next(&mut self.io.input, self.bounds.frame_bytes) {
                Ok(Some(frame)) => self.take(frame),
                Ok(None) => break,
                Err(error) => {
                    self.worker.metrics.malformed.add(1);
                    return Err(io::Error::other(error));
                }
            }
        }
        let left = self.io.input.len();
        if left == 0 {
            self.half_since = None;
        } else if left < before || self.half_since.is_none() {
            self.half_since = Some(Instant::now());
        }
        Ok(())
    }

    fn take(&mut self, frame: Frame) {
        match frame.what() {
            What::Heartbeat => self.caller.put(frame.heartbeat_answer()),
            What::Hello => {
                let lane = frame.lane();
                self.heeds = Some(lane);
                if let Lane::Bolt(_) = lane {
                    self.caller.put(frame.heartbeat_answer());
                }
                if self.drain.is_some() {
                    self.leaving = false;
                    self.caller.put(lane.goodbye());
                }
            }
            What::Call { two_way } => {
                self.called = Instant::now();
                if self.drain.is_some_and(|began| self.called >= began + self.bounds.drain * 3 / 4)
                {
                    return self.too_late(&frame);
                }
                let held = Held::new(&self.caller, frame.bytes());
                let (worker, listener) = (self.worker.clone(), self.listener.clone());
                let caller = self.caller.clone();
                tokio::task::spawn_local(async move {
                    let _held = held;
                    walk::relay(&worker, &listener, &caller, frame, two_way).await;
                });
            }
            What::Answer | What::Goodbye | What::Noise => {}
        }
    }

    /// Who has not left by now is told so before it is cut off: nothing is lost.
    fn too_late(&self, frame: &Frame) {
        let message = "this proxy is about to end; nothing was done";
        let status = StatusCode::SERVICE_UNAVAILABLE;
        let refusal = Refusal::new(status, errors::MESH_OVERFLOW, message);
        if let Some(answer) = frame.refuse(&refusal) {
            self.caller.put(answer);
        }
    }

    fn begin_drain(&mut self) {
        self.drain = Some(Instant::now());
        self.ticks = 0;
        let plan = self.worker.plan();
        let listener = plan.listener(&self.listener).map(|at| &plan.shared.listeners[at]);
        let told = self.wire == Wire::Dubbo && listener.is_some_and(|listener| listener.readonly);
        if let Some(lane) = self.heeds.or(told.then_some(Lane::Dubbo)) {
            self.caller.put(lane.goodbye());
        } else {
            let heir = self.worker.heir();
            let takes = |heir: &Heir| heir.takes(&self.listener, self.wire);
            self.leaving = self.io.is_plain() && heir.is_some_and(takes);
        }
    }

    /// Gives the connection to the successor; it comes back if that is gone.
    async fn give_away(mut self) -> io::Result<Option<Connection>> {
        self.leaving = false;
        let worker = self.worker.clone();
        let (Some(heir), Some(stream)) = (worker.heir(), self.io.into_plain()) else {
            return Ok(None);
        };
        let client = &self.caller.client;
        let described = Described {
            listener: self.listener.to_string(),
            wire: self.wire,
            client: client.address,
            destination: client.destination,
        };
        match heir.give(Moving { described, stream: stream.into_std()? }).await {
            Ok(()) => Ok(None),
            Err(Moving { stream, .. }) => {
                self.io = Io::new(Stream::Plain(TcpStream::from_std(stream)?));
                Ok(Some(self))
            }
        }
    }

    /// Looks at the clock: whether the connection has served its time.
    fn is_over(&self, now: Instant) -> io::Result<bool> {
        let since = |then: Instant| now.saturating_duration_since(then);
        if self.half_since.is_some_and(|half| since(half) >= self.bounds.stall) {
            self.worker.metrics.malformed.add(1);
            return Err(io::ErrorKind::TimedOut.into());
        }
        let idle = self.caller.calls.get() == 0 && self.io.output.is_empty();
        let quiet =
            !self.leaving && self.drain.is_some_and(|began| since(began.max(self.called)) >= QUIET);
        Ok(idle && (quiet || since(self.heard) >= self.bounds.idle))
    }
}

// === impl Caller ===

impl Caller {
    /// Sends a frame to the client, if it is still there.
    pub(super) fn put(&self, frame: Frame) {
        if self.gone.get() {
            return;
        }
        self.out.borrow_mut().extend_from_slice(&frame.into_bytes());
        self.wake();
    }

    pub(super) fn is_gone(&self) -> bool {
        self.gone.get()
    }

    fn has_room(&self) -> bool {
        self.calls.get() < CALLS_MAX
            && self.held_bytes.get() < HELD_BYTES_MAX
            && self.out.borrow().len() < OUT_BYTES_MAX
    }

    fn wake(&self) {
        if let Some(waker) = self.waker.borrow().as_ref() {
            waker.wake_by_ref();
        }
    }
}

// === impl Held ===

impl Held {
    fn new(caller: &Rc<Caller>, bytes: usize) -> Held {
        caller.calls.set(caller.calls.get() + 1);
        caller.held_bytes.set(caller.held_bytes.get() + bytes);
        Held { caller: caller.clone(), bytes }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let caller = &self.caller;
        caller.calls.set(caller.calls.get() - 1);
        caller.held_bytes.set(caller.held_bytes.get() - self.bytes);
        caller.wake();
    }
}
