//! One connection to an endpoint that carries calls of many clients: under ids
//! of ours, answered in any order.
//!
//! It belongs to one thread. Whoever sends puts a frame into its output and
//! wakes its task, which writes all that came together at once. When it
//! breaks, everybody who waits is told whether his call was written: what was
//! not may be sent again elsewhere, of the rest the outcome is unknown.

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    io,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use hop::Io;
use tokio::{
    sync::{Mutex, Notify, oneshot},
    time::{Instant, MissedTickBehavior, interval},
};

use super::{Busy, Endpoint, Local, LocalEndpoint, connect};
use crate::call::frame::{Frame, Lane, What};

/// Between two looks at how quiet the endpoint has been.
const TICK: Duration = Duration::from_secs(5);
/// As clients of SOFARPC have it: after so long without a word it is asked.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// Three questions without an answer.
const SILENCE_MAX: Duration = Duration::from_secs(60);
/// What may wait to be written before callers wait too: a few large frames.
const OUT_BYTES_MAX: usize = 4 << 20;
/// While an endpoint that is about to go does not accept any more, calls go on
/// over the old connection and do not all try for a new one first.
const RETRY: Duration = Duration::from_millis(200);
/// An endpoint that said goodbye is left alone for so long: it ends in that
/// time, and a new one in its place begins.
const GOING: Duration = Duration::from_secs(3);
/// One that cannot be connected to, so that not every call tries it first.
const REFUSED: Duration = Duration::from_millis(500);

/// A thread's connections to one endpoint, one for each version spoken.
#[derive(Default)]
pub(crate) struct Channels {
    open: RefCell<Vec<Rc<Channel>>>,
    /// Held while one is being made.
    connecting: Mutex<()>,
    failed: Cell<Option<Instant>>,
}

/// The task ends when nobody holds it any more.
pub(crate) struct Channel(Rc<Link>);

/// What callers and the task share.
struct Link {
    lane: Lane,
    out: RefCell<BytesMut>,
    /// Bytes ever put into `out`.
    queued: Cell<u64>,
    waiting: RefCell<HashMap<u64, Waiting>>,
    last_id: Cell<u64>,
    state: Cell<State>,
    waker: RefCell<Option<Waker>>,
    room: Notify,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Open,
    /// The endpoint has said goodbye, and serves what still comes.
    Leaving,
    /// Nobody holds it.
    Unowned,
    Closed,
}

struct Waiting {
    answer: oneshot::Sender<Result<Frame, Lost>>,
    /// Where in all that was queued its frame begins.
    begins: u64,
}

/// A call that was sent and not yet answered. Dropped, its answer is nobody's.
pub(crate) struct Ticket {
    channel: Rc<Channel>,
    id: u64,
    answer: oneshot::Receiver<Result<Frame, Lost>>,
}

/// The connection ended first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Lost {
    /// Nothing of the call was written.
    pub(crate) unsent: bool,
}

enum Moved {
    Read,
    Ended,
}

/// The connection that [`open`] would give, if it is there and takes more.
pub(crate) fn ready(endpoint: &LocalEndpoint, lane: Lane) -> Option<Rc<Channel>> {
    endpoint.channels.find(lane, State::Open).filter(|channel| channel.0.has_room())
}

/// The thread's connection to the endpoint for frames of this lane, and room
/// in it: who has waited for that may send at once.
pub(crate) async fn open(
    cluster: &Local,
    endpoint: &Rc<LocalEndpoint>,
    lane: Lane,
    frame_bytes_max: usize,
) -> Result<Rc<Channel>, connect::Error> {
    let channel = connected(cluster, endpoint, lane, frame_bytes_max).await?;
    channel.0.wait_for_room().await;
    Ok(channel)
}

async fn connected(
    cluster: &Local,
    endpoint: &Rc<LocalEndpoint>,
    lane: Lane,
    frame_bytes_max: usize,
) -> Result<Rc<Channel>, connect::Error> {
    let asked = Instant::now();
    let channels = &endpoint.channels;
    if let Some(channel) = channels.find(lane, State::Open) {
        return Ok(channel);
    }
    let _connecting = channels.connecting.lock().await;
    if let Some(channel) = channels.find(lane, State::Open) {
        return Ok(channel);
    }
    let leaving = channels.find(lane, State::Leaving);
    let patience = if leaving.is_some() { RETRY } else { Duration::ZERO };
    if channels.failed.get().is_some_and(|failed| failed + patience > asked) {
        // Who waited meanwhile is told the same.
        return leaving.ok_or(connect::Error::JustFailed);
    }
    let connected = async {
        let busy = cluster.room(endpoint).await?;
        Ok((busy, connect::io(&cluster.shared, endpoint).await?))
    };
    match connected.await {
        Ok((busy, io)) => {
            let channel = Channel::start(lane, io, busy, frame_bytes_max, endpoint.shared.clone());
            channels.put(channel.clone());
            Ok(channel)
        }
        Err(error) => {
            let now = Instant::now();
            channels.failed.set(Some(now));
            endpoint.shared.state.leave(now + REFUSED);
            leaving.ok_or(error)
        }
    }
}

// === impl Channels ===

impl Channels {
    fn find(&self, lane: Lane, state: State) -> Option<Rc<Channel>> {
        let open = self.open.borrow();
        let fits = |link: &Link| link.state.get() == state && link.lane.shares_with(lane);
        open.iter().find(|channel| fits(&channel.0)).cloned()
    }

    fn put(&self, channel: Rc<Channel>) {
        let mut open = self.open.borrow_mut();
        open.retain(|channel| channel.0.state.get() != State::Closed);
        open.push(channel);
    }
}

// === impl Channel ===

impl Channel {
    fn start(
        lane: Lane,
        io: Io,
        busy: Busy,
        frame_bytes_max: usize,
        endpoint: Arc<Endpoint>,
    ) -> Rc<Channel> {
        let link = Rc::new(Link {
            lane,
            out: RefCell::default(),
            queued: Cell::new(0),
            waiting: RefCell::default(),
            last_id: Cell::new(0),
            state: Cell::new(State::Open),
            waker: RefCell::default(),
            room: Notify::new(),
        });
        let id = link.next_id();
        link.put(&lane.hello(id).into_bytes());
        let channel = Rc::new(Channel(link.clone()));
        tokio::task::spawn_local(async move {
            let _busy = busy;
            let why = link.carry(io, frame_bytes_max, &endpoint).await;
            tracing::debug!(endpoint = %endpoint.address, why, "connection to an endpoint ended");
        });
        channel
    }

    /// Sends a call under an id of ours; the frame as it was sent comes back
    /// too. None of it was sent if the connection has ended.
    pub(crate) fn send(
        self: &Rc<Channel>,
        mut frame: Frame,
        two_way: bool,
    ) -> Result<(Option<Ticket>, Bytes), Box<Frame>> {
        let link = &self.0;
        if link.is_closed() {
            return Err(Box::new(frame));
        }
        let id = link.next_id();
        frame.set_id(id);
        let ticket = two_way.then(|| {
            let (sender, answer) = oneshot::channel();
            let waiting = Waiting { answer: sender, begins: link.queued.get() };
            link.waiting.borrow_mut().insert(id, waiting);
            Ticket { channel: self.clone(), id, answer }
        });
        let bytes = frame.into_bytes();
        link.put(&bytes);
        Ok((ticket, bytes))
    }
}

impl Drop for Channel {
    fn drop(&mut self) {
        if !self.0.is_closed() {
            self.0.state.set(State::Unowned);
            self.0.wake();
        }
    }
}

// === impl Ticket ===

impl Ticket {
    pub(crate) async fn answer(mut self) -> Result<Frame, Lost> {
        let answer = (&mut self.answer).await;
        answer.unwrap_or(Err(Lost { unsent: false }))
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.channel.0.waiting.borrow_mut().remove(&self.id);
    }
}

// === impl Link ===

impl Link {
    fn is_closed(&self) -> bool {
        self.state.get() == State::Closed
    }

    fn has_room(&self) -> bool {
        self.out.borrow().len() < OUT_BYTES_MAX || self.is_closed()
    }

    /// Until what others have sent leaves room.
    async fn wait_for_room(&self) {
        loop {
            let room = self.room.notified();
            if self.has_room() {
                return;
            }
            room.await;
        }
    }

    /// One that nobody waits for: after four billion calls they come again.
    fn next_id(&self) -> u64 {
        let mut id = self.last_id.get();
        loop {
            id = self.lane.id_after(id);
            if !self.waiting.borrow().contains_key(&id) {
                self.last_id.set(id);
                return id;
            }
        }
    }

    fn put(&self, bytes: &[u8]) {
        self.out.borrow_mut().extend_from_slice(bytes);
        self.queued.set(self.queued.get() + bytes.len() as u64);
        self.wake();
    }

    fn wake(&self) {
        if let Some(waker) = self.waker.borrow().as_ref() {
            waker.wake_by_ref();
        }
    }

    /// Until it ends; why, for the log.
    async fn carry(&self, mut io: Io, frame_bytes_max: usize, endpoint: &Endpoint) -> String {
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut heard = Instant::now();
        let why = loop {
            tokio::select! {
                biased;
                moved = std::future::poll_fn(|cx| self.poll(&mut io, cx)) => match moved {
                    Err(error) => break error.to_string(),
                    Ok(Moved::Ended) => break "closed".to_owned(),
                    Ok(Moved::Read) => heard = Instant::now(),
                },
                now = ticks.tick() => {
                    let silence = now.saturating_duration_since(heard);
                    if silence >= SILENCE_MAX {
                        break "silent".to_owned();
                    }
                    if silence >= HEARTBEAT {
                        self.put(&self.lane.heartbeat(self.next_id()).into_bytes());
                    }
                }
            }
            if let Err(error) = self.take_all(&mut io, frame_bytes_max, endpoint) {
                break error.to_string();
            }
        };
        self.state.set(State::Closed);
        let unwritten = self.out.borrow().len() + io.output.len();
        let written = self.queued.get() - unwritten as u64;
        for (_, waiting) in self.waiting.take() {
            let _ = waiting.answer.send(Err(Lost { unsent: waiting.begins >= written }));
        }
        self.room.notify_waiters();
        why
    }

    /// Writes what there is, then reads once.
    fn poll(&self, io: &mut Io, cx: &mut Context<'_>) -> Poll<io::Result<Moved>> {
        keep(&self.waker, cx);
        loop {
            if io.output.is_empty() {
                if self.out.borrow().is_empty() {
                    if self.state.get() == State::Unowned {
                        return Poll::Ready(Ok(Moved::Ended));
                    }
                    break;
                }
                io.output = self.out.take();
                self.room.notify_waiters();
            }
            if io.poll_flush(cx)?.is_pending() {
                break;
            }
        }
        io.poll_fill(cx).map_ok(|read| if read == 0 { Moved::Ended } else { Moved::Read })
    }

    fn take_all(
        &self,
        io: &mut Io,
        frame_bytes_max: usize,
        endpoint: &Endpoint,
    ) -> Result<(), crate::call::frame::Malformed> {
        while let Some(frame) = self.lane.wire().next(&mut io.input, frame_bytes_max)? {
            match frame.what() {
                What::Answer => {
                    let waiting = self.waiting.borrow_mut().remove(&frame.id());
                    if let Some(waiting) = waiting {
                        let _ = waiting.answer.send(Ok(frame));
                    }
                }
                What::Heartbeat => self.put(&frame.heartbeat_answer().into_bytes()),
                What::Goodbye if self.state.get() == State::Open => {
                    tracing::info!(endpoint = %endpoint.address, "endpoint is about to go");
                    self.state.set(State::Leaving);
                    endpoint.state.leave(Instant::now() + GOING);
                }
                // Calls of a provider to its client are not carried.
                What::Goodbye | What::Call { .. } | What::Hello | What::Noise => {}
            }
        }
        Ok(())
    }
}

/// Remembers whom to wake.
pub(crate) fn keep(waker: &RefCell<Option<Waker>>, cx: &Context<'_>) {
    let mut waker = waker.borrow_mut();
    if !waker.as_ref().is_some_and(|known| known.will_wake(cx.waker())) {
        *waker = Some(cx.waker().clone());
    }
}
