//! Live upgrade: a running proxy gives its listening sockets to the next one.
//!
//! The running one listens on a unix socket, its door. A process started with
//! the same door asks there and is given every listening socket, the door
//! included; it makes all that it needs, accepts, and only then says that it
//! serves. Up to that word the running one serves as if nothing had been, so
//! that a successor may fail at any step; from it on, it drains. Since both hold
//! the same sockets, what the kernel has queued is lost by neither.
//!
//! Connections of protocols that have no goodbye follow between two calls
//! ([`heir`]). HTTP/1.1 and HTTP/2 have one that clients understand, a tunnel
//! lives until the drain timeout, and TLS cannot be given away.

mod heir;
mod wire;

use std::{
    fs, io,
    net::{SocketAddr, TcpListener},
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::net::UnixListener,
    },
    path::{Path, PathBuf},
    time::Duration,
};

use rustix::fs::Mode;
use serde::{Deserialize, Serialize};
use tokio::{net::UnixStream, time::timeout};

pub(crate) use heir::{Described, Heir, Inheritance, Moving, Next, Takes, ask as ask_heir};

/// Of the conversation; another one is refused before anything is given.
const VERSION: u32 = 1;
/// Either side answers at once or is stuck.
const ANSWER: Duration = Duration::from_secs(10);
/// A successor that reads certificates and starts threads has so long to serve.
const SERVING: Duration = Duration::from_secs(60);
/// Nobody has more: 64 listeners of 128 threads.
const SOCKETS_MAX: usize = 8_192;
/// A proxy that dies while it is asked leaves nobody, or its own successor.
const ASK_TIMES: u32 = 3;
const ASK_RETRY: Duration = Duration::from_millis(100);
const REFUSED_RETRY: Duration = Duration::from_millis(100);

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("listen at {path}: {source}")]
    Door { path: String, source: io::Error },
    #[error("ask the proxy behind {path}: {source}")]
    Ask { path: String, source: io::Error },
    #[error("the proxy behind {path} refuses: {reason}")]
    Refused { path: String, reason: String },
}

#[derive(Debug, Deserialize, Serialize)]
struct Hello {
    version: u32,
    pid: u32,
}

/// What is given: the door first, then these in this order.
#[derive(Debug, Default, Deserialize, Serialize)]
struct Given {
    refused: Option<String>,
    listeners: Vec<GivenListener>,
    admin: Option<SocketAddr>,
}

#[derive(Debug, Deserialize, Serialize)]
struct GivenListener {
    name: String,
    /// As the configuration has it.
    asked: SocketAddr,
    sockets: usize,
}

#[derive(Debug, PartialEq, Eq, Deserialize, Serialize)]
enum Word {
    Serving,
    Draining,
}

/// Sockets of one listener, each with a queue of its own in the kernel.
#[derive(Debug)]
pub(crate) struct Held {
    pub(crate) name: String,
    pub(crate) asked: SocketAddr,
    pub(crate) sockets: Vec<TcpListener>,
}

/// All that a successor is given.
#[derive(Debug, Default)]
pub(crate) struct Holding {
    pub(crate) listeners: Vec<Held>,
    pub(crate) admin: Option<(SocketAddr, TcpListener)>,
}

/// A place in the line of proxies behind one door.
#[derive(Debug)]
pub struct Handover {
    path: PathBuf,
    door: UnixListener,
    predecessor: Option<UnixStream>,
    inherited: Holding,
}

/// Where successors ask.
pub(crate) struct Door {
    path: PathBuf,
    listener: tokio::net::UnixListener,
}

// === impl Handover ===

impl Handover {
    /// Asks behind `path` for sockets; where nobody is, this is the first in line.
    pub async fn join(path: &Path) -> Result<Handover, Error> {
        for _ in 1..ASK_TIMES {
            match Handover::join_once(path).await {
                Err(Error::Ask { source, .. }) if is_end(&source) => {
                    tracing::warn!("the proxy before ended while it was asked");
                    tokio::time::sleep(ASK_RETRY).await;
                }
                joined => return joined,
            }
        }
        Handover::join_once(path).await
    }

    async fn join_once(path: &Path) -> Result<Handover, Error> {
        let name = || path.display().to_string();
        let failed = |source| Error::Ask { path: name(), source };
        match UnixStream::connect(path).await {
            Ok(predecessor) => {
                let asked = timeout(ANSWER, ask(&predecessor)).await;
                let (given, fds) = asked
                    .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
                    .map_err(failed)?;
                if let Some(reason) = given.refused {
                    return Err(Error::Refused { path: name(), reason });
                }
                let (door, inherited) = sort(given, fds).map_err(failed)?;
                Ok(Handover {
                    path: path.to_owned(),
                    door,
                    predecessor: Some(predecessor),
                    inherited,
                })
            }
            Err(error) if is_nobody(&error) => {
                let door = open(path).map_err(|source| Error::Door { path: name(), source })?;
                let inherited = Holding::default();
                Ok(Handover { path: path.to_owned(), door, predecessor: None, inherited })
            }
            Err(error) => Err(failed(error)),
        }
    }

    /// Whether somebody serves until we do.
    #[must_use]
    pub fn has_predecessor(&self) -> bool {
        self.predecessor.is_some()
    }

    /// The sockets of a listener, if they were given: of the same address, or
    /// of the same name where any port will do.
    pub(crate) fn take(&mut self, name: &str, asked: SocketAddr) -> Option<Vec<TcpListener>> {
        let same = |held: &Held| held.asked == asked && (asked.port() != 0 || held.name == name);
        let at = self.inherited.listeners.iter().position(same)?;
        Some(self.inherited.listeners.swap_remove(at).sockets)
    }

    pub(crate) fn take_admin(&mut self, asked: SocketAddr) -> Option<TcpListener> {
        self.inherited.admin.take_if(|(address, _)| *address == asked).map(|(_, socket)| socket)
    }

    /// Tells the predecessor that its work is done, and opens the door to
    /// successors. What was given and not taken is closed here, as its listener
    /// in the configuration no more. What is taken of its connections comes in
    /// behind.
    pub(crate) async fn serve(self, takes: &Takes) -> io::Result<(Door, Option<Inheritance>)> {
        let Handover { path, door, predecessor, inherited } = self;
        drop(inherited);
        let mut inheritance = None;
        if let Some(predecessor) = predecessor {
            match timeout(ANSWER, say_serving(&predecessor)).await {
                Ok(Ok(())) => {
                    tracing::info!("the proxy before drains");
                    inheritance = Inheritance::accept(predecessor, takes).await.ok();
                }
                // It ended in between: there is nobody else, and we serve.
                told => tracing::warn!(?told, "the proxy before did not say that it drains"),
            }
        }
        let listener = tokio::net::UnixListener::from_std(door)?;
        Ok((Door { path, listener }, inheritance))
    }
}

async fn ask(predecessor: &UnixStream) -> io::Result<(Given, Vec<OwnedFd>)> {
    wire::send(predecessor, &Hello { version: VERSION, pid: std::process::id() }).await?;
    let given: Given = wire::receive(predecessor).await?;
    let sockets: usize = given.listeners.iter().map(|listener| listener.sockets).sum();
    if given.refused.is_some() {
        return Ok((given, Vec::new()));
    }
    if sockets > SOCKETS_MAX {
        return Err(io::Error::other(format!("{sockets} sockets are more than anybody has")));
    }
    let expected = 1 + sockets + usize::from(given.admin.is_some());
    let fds = wire::receive_fds(predecessor, expected).await?;
    Ok((given, fds))
}

async fn say_serving(predecessor: &UnixStream) -> io::Result<()> {
    wire::send(predecessor, &Word::Serving).await?;
    wire::receive::<Word>(predecessor).await.map(drop)
}

fn sort(given: Given, fds: Vec<OwnedFd>) -> io::Result<(UnixListener, Holding)> {
    let mut fds = fds.into_iter();
    let missing = || io::Error::other("fewer sockets came than were announced");
    let door = UnixListener::from(fds.next().ok_or_else(missing)?);
    let mut inherited = Holding::default();
    for GivenListener { name, asked, sockets } in given.listeners {
        let sockets: Vec<TcpListener> = fds.by_ref().take(sockets).map(TcpListener::from).collect();
        if sockets.is_empty() {
            return Err(missing());
        }
        inherited.listeners.push(Held { name, asked, sockets });
    }
    if let Some(asked) = given.admin {
        inherited.admin = Some((asked, fds.next().ok_or_else(missing)?.into()));
    }
    Ok((door, inherited))
}

/// Nobody listens there: there is no file, or one that was left behind.
fn is_nobody(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused)
}

/// The other side ended in the middle of a word.
fn is_end(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionReset, UnexpectedEof};
    matches!(error.kind(), BrokenPipe | ConnectionReset | UnexpectedEof)
}

/// For our own user alone: who comes in takes our traffic.
fn open(path: &Path) -> io::Result<UnixListener> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let door = UnixListener::bind(path)?;
    rustix::fs::chmod(path, Mode::RUSR | Mode::WUSR)?;
    door.set_nonblocking(true)?;
    Ok(door)
}

// === impl Door ===

impl Door {
    /// Resolves once a successor serves, with the stream to it. `holding` tells
    /// what there is to give at the moment one asks.
    pub(crate) async fn successor(&self, holding: impl Fn() -> io::Result<Holding>) -> UnixStream {
        loop {
            let given = async {
                let (stream, _) = self.listener.accept().await?;
                let pid = self.give(&stream, &holding).await?;
                Ok::<_, io::Error>((pid, stream))
            };
            match given.await {
                Ok((pid, stream)) => {
                    tracing::info!(pid, "handed over to another process; draining");
                    return stream;
                }
                Err(error) => {
                    tracing::warn!(%error, "a handover did not come about; serving on");
                    tokio::time::sleep(REFUSED_RETRY).await;
                }
            }
        }
    }

    async fn give(
        &self,
        successor: &UnixStream,
        holding: &impl Fn() -> io::Result<Holding>,
    ) -> io::Result<u32> {
        let late = |_| io::Error::from(io::ErrorKind::TimedOut);
        let hello: Hello = timeout(ANSWER, wire::receive(successor)).await.map_err(late)??;
        if let Some(refused) = refusal(&hello, successor)? {
            let given = Given { refused: Some(refused.clone()), ..Given::default() };
            timeout(ANSWER, wire::send(successor, &given)).await.map_err(late)??;
            return Err(io::Error::other(refused));
        }
        let holding = holding()?;
        let listeners = holding.listeners.iter().map(|held| GivenListener {
            name: held.name.clone(),
            asked: held.asked,
            sockets: held.sockets.len(),
        });
        let given = Given {
            refused: None,
            listeners: listeners.collect(),
            admin: holding.admin.as_ref().map(|(asked, _)| *asked),
        };
        let sockets = holding.listeners.iter().flat_map(|held| &held.sockets);
        let sockets = sockets.chain(holding.admin.as_ref().map(|(_, socket)| socket));
        let fds: Vec<BorrowedFd<'_>> =
            std::iter::once(self.listener.as_fd()).chain(sockets.map(AsFd::as_fd)).collect();
        let send = async {
            wire::send(successor, &given).await?;
            wire::send_fds(successor, &fds).await
        };
        timeout(ANSWER, send).await.map_err(late)??;
        let word: Word = timeout(SERVING, wire::receive(successor)).await.map_err(late)??;
        if word != Word::Serving {
            return Err(io::Error::other("the successor said something else than that it serves"));
        }
        // From here on it is the successor's; whether it hears this or not.
        let _ = timeout(ANSWER, wire::send(successor, &Word::Draining)).await;
        Ok(hello.pid)
    }

    /// Nobody serves here any more.
    pub(crate) fn remove(self) {
        let _ = fs::remove_file(&self.path);
    }
}

fn refusal(hello: &Hello, successor: &UnixStream) -> io::Result<Option<String>> {
    let uid = successor.peer_cred()?.uid();
    let ours = rustix::process::geteuid().as_raw();
    Ok(if uid != 0 && uid != ours {
        Some(format!("user {uid} may not take the sockets of user {ours}"))
    } else if hello.version != VERSION {
        Some(format!("version {} of the handover is asked for, this is {VERSION}", hello.version))
    } else {
        None
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn door() -> (PathBuf, Door) {
        static NEXT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let number = NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let name = format!("polis-door-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        let listener = open(&path).expect("open a door");
        let listener = tokio::net::UnixListener::from_std(listener).expect("non-blocking");
        (path.clone(), Door { path, listener })
    }

    fn listening() -> (SocketAddr, TcpListener) {
        let socket = TcpListener::bind("127.0.0.1:0").expect("listen");
        (socket.local_addr().expect("bound"), socket)
    }

    fn holding(socket: &TcpListener) -> io::Result<Holding> {
        let asked = socket.local_addr()?;
        let held = Held { name: "web".into(), asked, sockets: vec![socket.try_clone()?] };
        Ok(Holding { listeners: vec![held], admin: None })
    }

    #[tokio::test]
    async fn a_successor_is_given_the_very_sockets_and_the_door() {
        let (path, door) = door();
        let (address, socket) = listening();
        let client = std::net::TcpStream::connect(address).expect("queued with the old one");
        let join = async {
            let mut next = Handover::join(&path).await.expect("joined");
            assert!(next.has_predecessor());
            assert!(next.take("web", "127.0.0.1:1".parse().expect("an address")).is_none());
            let taken = next.take("other", address).expect("its address is the same");
            let (_, peer) = taken[0].accept().expect("what was queued is not lost");
            assert_eq!(peer, client.local_addr().expect("connected"));
            next.serve(&Takes::default()).await.expect("a door of its own").0
        };
        let (_, next) = tokio::join!(door.successor(|| holding(&socket)), join);
        drop(door);
        // The line goes on behind the same door.
        let join = Handover::join(&path);
        let join = async { join.await.expect("joined").serve(&Takes::default()).await };
        let (_, last) = tokio::join!(next.successor(|| holding(&socket)), join);
        last.expect("a door").0.remove();
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn a_successor_that_fails_at_any_step_changes_nothing() {
        let (path, door) = door();
        let (_, socket) = listening();
        let attempts = async {
            // It connects and dies.
            drop(UnixStream::connect(&path).await.expect("connected"));
            // It asks and dies.
            let stream = UnixStream::connect(&path).await.expect("connected");
            wire::send(&stream, &Hello { version: VERSION, pid: 1 }).await.expect("asked");
            drop(stream);
            // It has the sockets and dies.
            drop(Handover::join(&path).await.expect("joined"));
            // It is of another age.
            let stream = UnixStream::connect(&path).await.expect("connected");
            wire::send(&stream, &Hello { version: 9, pid: 1 }).await.expect("asked");
            let given: Given = wire::receive(&stream).await.expect("answered");
            assert!(given.refused.expect("refused").contains("version 9"));
            // It talks nonsense.
            let stream = UnixStream::connect(&path).await.expect("connected");
            wire::send(&stream, &"hello?").await.expect("said");
            drop(stream);
            let last = Handover::join(&path).await.expect("joined");
            last.serve(&Takes::default()).await.expect("serves")
        };
        let (_, (next, _)) = tokio::join!(door.successor(|| holding(&socket)), attempts);
        next.remove();
    }

    #[tokio::test]
    async fn a_door_that_was_left_behind_is_nobody_s() {
        let (path, door) = door();
        drop(door);
        let first = Handover::join(&path).await.expect("the first in line");
        assert!(!first.has_predecessor());
        first.serve(&Takes::default()).await.expect("a door").0.remove();
    }
}
