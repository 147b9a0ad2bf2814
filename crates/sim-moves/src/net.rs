//! What one process says to another: each request is a message there and one
//! back, by roads that have a weather of their own in each direction.
//!
//! A message is late, overtaken, doubled or lost. Whoever waits for an answer
//! that was lost hears of a broken connection after a while; by a road that is
//! cut, which sends no resets, only after very long. A process that is paused
//! takes what is sent to it and works on it when it goes on; one that is dead
//! refuses; one that dies with work in its hands breaks the connection.

use std::{
    collections::{BTreeMap, VecDeque},
    future::Future,
    io,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard},
};

use rt::random::Random;
use tokio::{
    runtime::Handle,
    sync::{mpsc, oneshot},
};

use crate::{
    edge::Edge,
    layout::{Process, SPOTS},
};

/// Cheap to clone; clones are one network.
#[derive(Clone)]
pub struct Net(Arc<Mutex<State>>);

struct State {
    random: Random,
    now_ms: u64,
    /// By the time at which they are due, then in the order of asking.
    jobs: BTreeMap<(u64, u64), Job>,
    asked: u64,
    /// From spot to spot.
    weather: [[Weather; SPOTS]; SPOTS],
    lives: BTreeMap<Process, Life>,
}

type Job = Box<dyn FnOnce(&Net) + Send>;
type Work<T> = Pin<Box<dyn Future<Output = T> + Send>>;
/// Starts work with what answers where a message arrives.
type Begin<T> = dyn Fn(&Face) -> Option<Work<T>> + Send + Sync;

/// One life of a process, as others reach it.
#[derive(Clone)]
pub struct Life {
    pub machine: Handle,
    pub face: Face,
}

/// What answers there.
#[derive(Clone)]
pub enum Face {
    Store(Arc<store::Store>),
    Center { api: api::Handler, drain: rt::Drain, edge: Edge },
    Ledger(ledger::Service),
}

/// How the road from one spot to another is.
#[derive(Clone, Copy, Debug, Default)]
pub struct Weather {
    /// Nothing gets through, and nobody is told.
    pub cut: bool,
    /// So many in a thousand messages are lost.
    pub lost_per_mille: u64,
    /// Messages take up to this much longer.
    pub slow_ms: u64,
    /// So many in a thousand of those that may come twice do.
    pub doubled_per_mille: u64,
}

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Trouble {
    /// Certainly not done.
    #[error("connection refused")]
    Refused,
    /// Done, or not, or it will be.
    #[error("connection reset")]
    Lost,
}

/// Whether a message may arrive twice: what a connection carries arrives once,
/// what is asked again over another one may arrive as often as it is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Times {
    Once,
    Repeated,
}

type Asker<T> = oneshot::Sender<Result<T, Trouble>>;

/// Carries an answer back; dropped without one, it says that whoever was asked
/// has died.
struct Reply<T: Send + 'static> {
    net: Net,
    road: (Process, Process),
    asker: Option<Asker<T>>,
}

/// Items that travel one after the other.
pub struct Outlet<T: Send + 'static> {
    net: Net,
    road: (Process, Process),
    queue: Arc<Mutex<Queue<T>>>,
}

struct Queue<T> {
    items: VecDeque<(u64, T)>,
    last_due_ms: u64,
    blocked_since_ms: Option<u64>,
    receiver: Option<mpsc::UnboundedSender<T>>,
}

const TRAVEL_MS_MAX: u64 = 3;
/// Until a broken connection is noticed, and until one that only is silent is.
const NOTICE_MS_MAX: u64 = 300;
const SILENCE_MS: u64 = 15_000;
/// How much later than its copy, or than its asker gave up, a message arrives.
const LATE_MS_MAX: u64 = 4_000;
/// How often what is held up by a cut tries again, and until when.
const STREAM_RETRY_MS: u64 = 40;
const STREAM_PATIENCE_MS: u64 = 8_000;

// === impl Trouble ===

impl From<Trouble> for io::Error {
    fn from(trouble: Trouble) -> io::Error {
        let kind = match trouble {
            Trouble::Refused => io::ErrorKind::ConnectionRefused,
            Trouble::Lost => io::ErrorKind::ConnectionReset,
        };
        io::Error::new(kind, trouble)
    }
}

// === impl Net ===

impl Net {
    #[must_use]
    pub fn new(random: Random) -> Net {
        Net(Arc::new(Mutex::new(State {
            random,
            now_ms: 0,
            jobs: BTreeMap::new(),
            asked: 0,
            weather: [[Weather::default(); SPOTS]; SPOTS],
            lives: BTreeMap::new(),
        })))
    }

    #[must_use]
    pub fn now_ms(&self) -> u64 {
        self.state().now_ms
    }

    pub fn begin_life(&self, process: Process, life: Life) {
        self.state().lives.insert(process, life);
    }

    /// Nobody reaches it any more.
    pub fn end_life(&self, process: Process) {
        let ended = self.state().lives.remove(&process);
        // Its parts may speak when they go.
        drop(ended);
    }

    #[must_use]
    pub fn is_up(&self, process: Process) -> bool {
        self.state().lives.contains_key(&process)
    }

    pub fn set_weather(&self, from: usize, to: usize, weather: Weather) {
        self.state().weather[from][to] = weather;
    }

    #[must_use]
    pub fn weather(&self, from: usize, to: usize) -> Weather {
        self.state().weather[from][to]
    }

    /// Has `begin` called where `to` is, with what answers there, and waits for
    /// what comes of it.
    pub async fn ask<T: Send + 'static>(
        &self,
        from: Process,
        to: Process,
        times: Times,
        begin: impl Fn(&Face) -> Option<Work<T>> + Send + Sync + 'static,
    ) -> Result<T, Trouble> {
        let (asker, answered) = oneshot::channel();
        self.send((from, to), times, asker, Arc::new(begin));
        answered.await.unwrap_or(Err(Trouble::Lost))
    }

    /// Whether the machine takes a connection: a process that is paused has its
    /// system do that.
    pub async fn connect(&self, from: Process, to: Process) -> Result<(), Trouble> {
        let (asker, answered) = oneshot::channel();
        {
            let mut state = self.state();
            let lost = state.loses((from, to)) || state.loses((to, from));
            let travels = state.travels((from, to)) + state.travels((to, from));
            let silence = state.silence((from, to));
            if lost {
                state.after(silence, move |_| tell(asker, Err(Trouble::Lost)));
            } else {
                state.after(travels, move |net| {
                    let answer = if net.is_up(to) { Ok(()) } else { Err(Trouble::Refused) };
                    tell(asker, answer);
                });
            }
        }
        answered.await.unwrap_or(Err(Trouble::Lost))
    }

    fn send<T: Send + 'static>(
        &self,
        road: (Process, Process),
        times: Times,
        asker: Asker<T>,
        begin: Arc<Begin<T>>,
    ) {
        let mut state = self.state();
        let travels = state.travels(road);
        let weather = state.weather(road);
        if times == Times::Repeated && state.random.below(1_000) < weather.doubled_per_mille {
            let later = travels + state.random.below(LATE_MS_MAX);
            let begin = begin.clone();
            state.after(later, move |net| net.arrive(road, None, &*begin));
        }
        if !state.loses(road) {
            state.after(travels, move |net| net.arrive(road, Some(asker), &*begin));
            return;
        }
        let silence = state.silence(road);
        state.after(silence, move |_| tell(asker, Err(Trouble::Lost)));
        // What is lost on the way may only be very late.
        if !weather.cut && state.random.below(2) == 0 {
            let later = travels + state.random.below(LATE_MS_MAX);
            state.after(later, move |net| net.arrive(road, None, &*begin));
        }
    }

    fn arrive<T: Send + 'static>(
        &self,
        road: (Process, Process),
        asker: Option<Asker<T>>,
        begin: &Begin<T>,
    ) {
        let reply = Reply { net: self.clone(), road: (road.1, road.0), asker };
        let life = self.state().lives.get(&road.1).cloned();
        let Some(Life { machine, face }) = life else { return reply.send(Err(Trouble::Refused)) };
        let _there = machine.enter();
        match begin(&face) {
            Some(work) => drop(machine.spawn(async move { reply.send(Ok(work.await)) })),
            None => reply.send(Err(Trouble::Refused)),
        }
    }

    /// A stream of items from one process to another.
    #[must_use]
    pub fn outlet<T: Send + 'static>(
        &self,
        road: (Process, Process),
        receiver: mpsc::UnboundedSender<T>,
    ) -> Outlet<T> {
        let queue = Queue {
            items: VecDeque::new(),
            last_due_ms: 0,
            blocked_since_ms: None,
            receiver: Some(receiver),
        };
        Outlet { net: self.clone(), road, queue: Arc::new(Mutex::new(queue)) }
    }

    /// Does what is due.
    pub fn run_until(&self, now_ms: u64) {
        loop {
            let mut state = self.state();
            let due = state.jobs.first_key_value().map(|(due, _)| *due);
            let Some(due) = due.filter(|(at, _)| *at <= now_ms) else {
                state.now_ms = now_ms;
                return;
            };
            state.now_ms = state.now_ms.max(due.0);
            let job = state.jobs.remove(&due).expect("it was just there");
            drop(state);
            job(self);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("one thread")
    }
}

// === impl Reply ===

impl<T: Send + 'static> Reply<T> {
    fn send(mut self, answer: Result<T, Trouble>) {
        if let Some(asker) = self.asker.take() {
            let mut state = self.net.state();
            if state.loses(self.road) {
                let silence = state.silence(self.road);
                state.after(silence, move |_| tell(asker, Err(Trouble::Lost)));
            } else {
                let travels = state.travels(self.road);
                state.after(travels, move |_| tell(asker, answer));
            }
        }
    }
}

impl<T: Send + 'static> Drop for Reply<T> {
    fn drop(&mut self) {
        if let Some(asker) = self.asker.take() {
            let mut state = self.net.state();
            let silence = state.silence(self.road);
            state.after(silence, move |_| tell(asker, Err(Trouble::Lost)));
        }
    }
}

// === impl Outlet ===

impl<T: Send + 'static> Outlet<T> {
    /// False when nobody receives any more.
    pub fn push(&self, item: T) -> bool {
        let due_ms = {
            let mut state = self.net.state();
            let now_ms = state.now_ms;
            now_ms + state.travels(self.road)
        };
        let mut queue = self.queue.lock().expect("one thread");
        if queue.receiver.as_ref().is_none_or(mpsc::UnboundedSender::is_closed) {
            return false;
        }
        let due_ms = due_ms.max(queue.last_due_ms);
        queue.last_due_ms = due_ms;
        queue.items.push_back((due_ms, item));
        drop(queue);
        Outlet::<T>::wake(&self.net, self.road, self.queue.clone(), due_ms);
        true
    }

    fn wake(net: &Net, road: (Process, Process), queue: Arc<Mutex<Queue<T>>>, at_ms: u64) {
        let mut state = net.state();
        let wait = at_ms.saturating_sub(state.now_ms);
        state.after(wait, move |net| Outlet::<T>::deliver(net, road, queue));
    }

    fn deliver(net: &Net, road: (Process, Process), queue: Arc<Mutex<Queue<T>>>) {
        let (now_ms, cut) = {
            let state = net.state();
            (state.now_ms, state.weather(road).cut)
        };
        let mut waiting = queue.lock().expect("one thread");
        if cut {
            let since = *waiting.blocked_since_ms.get_or_insert(now_ms);
            if now_ms - since > STREAM_PATIENCE_MS {
                waiting.receiver = None;
                return;
            }
            drop(waiting);
            return Outlet::<T>::wake(net, road, queue, now_ms + STREAM_RETRY_MS);
        }
        waiting.blocked_since_ms = None;
        while let Some((_, item)) = waiting.items.pop_front_if(|(due, _)| *due <= now_ms) {
            let sent = waiting.receiver.as_ref().is_some_and(|to| to.send(item).is_ok());
            if !sent {
                waiting.receiver = None;
                return;
            }
        }
    }
}

/// Who has gone does not hear it.
fn tell<T>(asker: Asker<T>, answer: Result<T, Trouble>) {
    let _gone = asker.send(answer);
}

// === impl State ===

impl State {
    fn weather(&self, road: (Process, Process)) -> Weather {
        match road.0.spot() == road.1.spot() {
            true => Weather::default(),
            false => self.weather[road.0.spot()][road.1.spot()],
        }
    }

    fn loses(&mut self, road: (Process, Process)) -> bool {
        let weather = self.weather(road);
        weather.cut || self.random.below(1_000) < weather.lost_per_mille
    }

    /// How long it takes to learn that nothing comes any more.
    fn silence(&mut self, road: (Process, Process)) -> u64 {
        let back = (road.1, road.0);
        match self.weather(road).cut || self.weather(back).cut {
            true => SILENCE_MS,
            false => 1 + self.random.below(NOTICE_MS_MAX),
        }
    }

    fn travels(&mut self, road: (Process, Process)) -> u64 {
        let slow_ms = self.weather(road).slow_ms;
        self.random.below(TRAVEL_MS_MAX + 1) + self.random.below(slow_ms + 1)
    }

    fn after(&mut self, ms: u64, job: impl FnOnce(&Net) + Send + 'static) {
        self.asked += 1;
        self.jobs.insert((self.now_ms + ms, self.asked), Box::new(job));
    }
}
