//! The plainest relay there could be: calls of any number of clients share one
//! connection to each provider, chosen by the user a call is about.

mod bolt;
mod dubbo;

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::{Bytes, BytesMut};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream, tcp::OwnedWriteHalf},
    sync::mpsc,
};

pub use self::{bolt::Bolt, dubbo::Dubbo};

/// What the relay asks of a protocol.
pub trait Wire: Send + Sync + 'static {
    type Frame: Send;

    fn next(input: &mut BytesMut) -> Option<Self::Frame>;
    fn id(frame: &Self::Frame) -> u64;
    fn set_id(frame: &mut Self::Frame, id: u64);
    /// Of a frame that asks whether we are there.
    fn heartbeat_answer(frame: &Self::Frame) -> Option<Self::Frame>;
    fn expects_answer(frame: &Self::Frame) -> bool;
    fn named_user(frame: &Self::Frame) -> Option<String>;
    fn user_of_argument(frame: &Self::Frame) -> Option<String>;
    fn stamp(frame: &mut Self::Frame);
    fn refuse(frame: &Self::Frame, why: Why) -> Option<Self::Frame>;
    fn go_away() -> Option<Self::Frame>;
    fn bytes(frame: Self::Frame) -> Bytes;
}

#[derive(Clone, Copy)]
pub enum Why {
    Busy,
    Nobody,
}

/// Users whose calls no provider gets.
const BUSY: &str = "2088000000000428";
const NOBODY: &str = "2088000000000429";

/// What is written to one connection, in order.
type Out = mpsc::UnboundedSender<Bytes>;

pub struct Relay<W> {
    /// Of even users and of odd ones.
    homes: Mutex<[Arc<Upstream<W>>; 2]>,
    clients: Mutex<Vec<Out>>,
    pub seen: Seen,
}

#[derive(Default)]
pub struct Seen {
    pub calls: AtomicU64,
    pub by_name: AtomicU64,
    pub by_argument: AtomicU64,
    pub heartbeats: AtomicU64,
}

/// One connection to one provider.
pub struct Upstream<W> {
    out: Out,
    waiting: Mutex<HashMap<u64, Waiting>>,
    next_id: AtomicU64,
    wire: std::marker::PhantomData<W>,
}

struct Waiting {
    client: Out,
    id: u64,
}

// === impl Relay ===

impl<W: Wire> Relay<W> {
    /// Serves on a port of loopback, which it gives.
    pub async fn start(even: u16, odd: u16) -> (Arc<Relay<W>>, u16) {
        let homes = Mutex::new([Upstream::connect(even).await, Upstream::connect(odd).await]);
        let (clients, seen) = (Mutex::default(), Seen::default());
        let relay = Arc::new(Relay { homes, clients, seen });
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let port = listener.local_addr().expect("it is bound").port();
        let accepting = relay.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(accepting.clone().client(stream));
            }
        });
        (relay, port)
    }

    /// New calls of even users go to another provider; gives the connection on
    /// which the others are still under way.
    pub async fn replace_even(&self, port: u16) -> Arc<Upstream<W>> {
        let upstream = Upstream::connect(port).await;
        std::mem::replace(&mut lock(&self.homes)[0], upstream)
    }

    /// Asks clients to call elsewhere.
    pub fn go_away(&self) {
        for client in lock(&self.clients).iter() {
            let frame = W::go_away().expect("the protocol knows how");
            let _ = client.send(W::bytes(frame));
        }
    }

    pub fn is_idle(&self) -> bool {
        lock(&self.homes).iter().all(|home| home.is_idle())
    }

    async fn client(self: Arc<Self>, stream: TcpStream) {
        let (mut from, to) = stream.into_split();
        let client = writer(to);
        lock(&self.clients).push(client.clone());
        let mut input = BytesMut::new();
        while matches!(from.read_buf(&mut input).await, Ok(1..)) {
            while let Some(frame) = W::next(&mut input) {
                self.take(frame, &client);
            }
        }
    }

    fn take(&self, mut frame: W::Frame, client: &Out) {
        if let Some(answer) = W::heartbeat_answer(&frame) {
            self.seen.heartbeats.fetch_add(1, Ordering::SeqCst);
            let _ = client.send(W::bytes(answer));
            return;
        }
        self.seen.calls.fetch_add(1, Ordering::SeqCst);
        let named = W::named_user(&frame);
        let how = if named.is_some() { &self.seen.by_name } else { &self.seen.by_argument };
        how.fetch_add(1, Ordering::SeqCst);
        let user = named.or_else(|| W::user_of_argument(&frame)).expect("every call has a user");
        let why = match &user[..] {
            BUSY => Some(Why::Busy),
            NOBODY => Some(Why::Nobody),
            _ => None,
        };
        if let Some(why) = why {
            let answer = W::refuse(&frame, why).expect("an answer is expected");
            let _ = client.send(W::bytes(answer));
            return;
        }
        W::stamp(&mut frame);
        let odd = user.as_bytes().last().map_or(0, |digit| digit & 1);
        // Held while it is sent, so that none follows after a replacement.
        let homes = lock(&self.homes);
        homes[usize::from(odd)].send(frame, client);
    }
}

// === impl Upstream ===

impl<W: Wire> Upstream<W> {
    async fn connect(port: u16) -> Arc<Upstream<W>> {
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let stream = TcpStream::connect(address).await.expect("the provider serves");
        let (mut from, to) = stream.into_split();
        let out = writer(to);
        let (waiting, next_id) = (Mutex::default(), AtomicU64::new(1));
        let upstream = Arc::new(Upstream { out, waiting, next_id, wire: std::marker::PhantomData });
        let reading = upstream.clone();
        tokio::spawn(async move {
            let mut input = BytesMut::new();
            while matches!(from.read_buf(&mut input).await, Ok(1..)) {
                while let Some(frame) = W::next(&mut input) {
                    reading.answer(frame);
                }
            }
        });
        upstream
    }

    pub fn is_idle(&self) -> bool {
        lock(&self.waiting).is_empty()
    }

    fn send(&self, mut frame: W::Frame, client: &Out) {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        if W::expects_answer(&frame) {
            let waiting = Waiting { client: client.clone(), id: W::id(&frame) };
            lock(&self.waiting).insert(id, waiting);
        }
        W::set_id(&mut frame, id);
        self.out.send(W::bytes(frame)).expect("the provider is there");
    }

    fn answer(&self, mut frame: W::Frame) {
        if let Some(answer) = W::heartbeat_answer(&frame) {
            let _ = self.out.send(W::bytes(answer));
            return;
        }
        let Some(waiting) = lock(&self.waiting).remove(&W::id(&frame)) else { return };
        W::set_id(&mut frame, waiting.id);
        let _ = waiting.client.send(W::bytes(frame));
    }
}

fn writer(mut to: OwnedWriteHalf) -> Out {
    let (out, mut queue) = mpsc::unbounded_channel::<Bytes>();
    tokio::spawn(async move {
        while let Some(bytes) = queue.recv().await {
            if to.write_all(&bytes).await.is_err() {
                return;
            }
        }
    });
    out
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("no test panics holding it")
}
