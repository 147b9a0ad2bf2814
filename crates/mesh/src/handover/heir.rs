//! Connections that are given to the successor between two calls.
//!
//! Old clients of Bolt and Dubbo know no goodbye: closing a connection of theirs
//! may cross a call that they have just sent. So the proxy that leaves gives the
//! connection itself, as soon as no call of it is under way; its client sees
//! nothing. What the client sends meanwhile waits in the kernel and goes with it.
//!
//! On the stream of the handover, after both have said their words, the successor
//! says what it [`Takes`]; then comes a [`Described`] and a socket for each
//! connection, until the leaving side has none left. A process that knows nothing
//! of this closes the stream instead, and no connection is given.

use std::{io, net::SocketAddr, sync::Arc};

use serde::{Deserialize, Serialize};
use tokio::{
    net::UnixStream,
    sync::{mpsc, oneshot},
    time::timeout,
};

use super::{ANSWER, is_end, wire};
use crate::call::frame::Wire;

/// Connections on their way, beyond which the next waits with its thread.
const UNDER_WAY_MAX: usize = 64;

/// What a successor goes on with.
#[derive(Debug, Default, Deserialize, Serialize)]
pub(crate) struct Takes {
    pub(crate) calls: Vec<(String, Wire)>,
}

/// Whose connection it is, and where it came in.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub(crate) struct Described {
    pub(crate) listener: String,
    pub(crate) wire: Wire,
    pub(crate) client: SocketAddr,
    /// Whom the client meant, if the connection was intercepted.
    pub(crate) destination: Option<SocketAddr>,
}

/// A connection without calls, nothing of which has been read and not taken.
#[derive(Debug)]
pub(crate) struct Moving {
    pub(crate) described: Described,
    pub(crate) stream: std::net::TcpStream,
}

/// Where a connection is given to the successor.
#[derive(Clone)]
pub(crate) struct Heir {
    takes: Arc<Takes>,
    moving: mpsc::Sender<(Moving, oneshot::Sender<Moving>)>,
}

/// The leaving side's end of the stream.
pub(crate) struct Bequest {
    stream: UnixStream,
    moving: mpsc::Receiver<(Moving, oneshot::Sender<Moving>)>,
}

/// The successor's end of the stream.
#[derive(Clone)]
pub(crate) struct Inheritance {
    stream: Arc<UnixStream>,
}

/// What comes of the proxy before.
pub(crate) enum Next {
    Connection(Moving),
    /// One that could not be taken, for want of file descriptors.
    Lost(io::Error),
    End,
}

/// What the successor says of connections; nothing, if it is of an older version.
pub(crate) async fn ask(stream: UnixStream) -> Option<(Heir, Bequest)> {
    let takes: Takes = timeout(ANSWER, wire::receive(&stream)).await.ok()?.ok()?;
    let (give, moving) = mpsc::channel(UNDER_WAY_MAX);
    let heir = Heir { takes: Arc::new(takes), moving: give };
    Some((heir, Bequest { stream, moving }))
}

// === impl Heir ===

impl Heir {
    pub(crate) fn takes(&self, listener: &str, wire: Wire) -> bool {
        self.takes.calls.iter().any(|(name, spoken)| name == listener && *spoken == wire)
    }

    /// Gives a connection away; it comes back if the successor is gone.
    pub(crate) async fn give(&self, moving: Moving) -> Result<(), Moving> {
        let (kept, comes_back) = oneshot::channel();
        self.moving.send((moving, kept)).await.map_err(|unsent| unsent.0.0)?;
        comes_back.await.map_or(Ok(()), Err)
    }
}

// === impl Bequest ===

impl Bequest {
    /// Sends whatever is given, until the successor is gone. Never ends before,
    /// since a thread may always have one more.
    pub(crate) async fn deliver(mut self) {
        while let Some((moving, kept)) = self.moving.recv().await {
            if let Err(error) = self.send(&moving).await {
                tracing::warn!(%error, "the successor takes no connections any more");
                let _ = kept.send(moving);
                break;
            }
        }
        self.moving.close();
        while let Some((moving, kept)) = self.moving.recv().await {
            let _ = kept.send(moving);
        }
    }

    async fn send(&self, moving: &Moving) -> io::Result<()> {
        let send = async {
            wire::send(&self.stream, &moving.described).await?;
            wire::send_fds(&self.stream, &[std::os::fd::AsFd::as_fd(&moving.stream)]).await
        };
        timeout(ANSWER, send).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
    }
}

// === impl Inheritance ===

impl Inheritance {
    /// Says what is taken, which the proxy before waits for.
    pub(super) async fn accept(stream: UnixStream, takes: &Takes) -> io::Result<Inheritance> {
        wire::send(&stream, takes).await?;
        Ok(Inheritance { stream: Arc::new(stream) })
    }

    pub(crate) async fn next(&self) -> io::Result<Next> {
        let described = match wire::receive(&self.stream).await {
            Ok(described) => described,
            Err(error) if is_end(&error) => return Ok(Next::End),
            Err(error) => return Err(error),
        };
        let socket = timeout(ANSWER, wire::receive_fds(&self.stream, 1)).await;
        match socket.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
            Ok(mut one) => Ok(one.pop().map_or(Next::End, |socket| {
                Next::Connection(Moving { described, stream: socket.into() })
            })),
            Err(error) if error.kind() == wire::NO_ROOM => Ok(Next::Lost(error)),
            Err(error) if is_end(&error) => Ok(Next::End),
            Err(error) => Err(error),
        }
    }

    /// Takes no more: the proxy before keeps what it has not sent, and what it
    /// has sent still comes.
    pub(crate) fn close(&self) {
        let _ = rustix::net::shutdown(&*self.stream, rustix::net::Shutdown::Read);
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read as _, Write as _},
        net::{TcpListener, TcpStream},
    };

    use super::*;

    fn connection() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("listen");
        let client = TcpStream::connect(listener.local_addr().expect("bound")).expect("connect");
        (client, listener.accept().expect("queued").0)
    }

    fn moving(stream: TcpStream) -> Moving {
        let client = stream.peer_addr().expect("connected");
        let destination = Some("10.0.0.7:12200".parse().expect("an address"));
        let described =
            Described { listener: "calls".into(), wire: Wire::Bolt, client, destination };
        Moving { described, stream }
    }

    fn takes() -> Takes {
        Takes { calls: vec![("calls".into(), Wire::Bolt)] }
    }

    async fn next(inheritance: &Inheritance) -> Option<Moving> {
        match inheritance.next().await.expect("it is there") {
            Next::Connection(moving) => Some(moving),
            Next::Lost(error) => panic!("{error}"),
            Next::End => None,
        }
    }

    /// It drains itself, say: nothing is between the two.
    #[tokio::test]
    async fn what_is_on_its_way_to_a_successor_that_takes_no_more_still_comes() {
        let (old, new) = UnixStream::pair().expect("a pair");
        let takes = takes();
        let (asked, inheritance) = tokio::join!(ask(old), Inheritance::accept(new, &takes));
        let (heir, bequest) = asked.expect("it takes some");
        let inheritance = inheritance.expect("said");
        let delivering = tokio::spawn(bequest.deliver());
        let (_first, server) = connection();
        heir.give(moving(server)).await.expect("sent");
        inheritance.close();
        let (second, server) = connection();
        let back = heir.give(moving(server)).await.expect_err("it takes no more");
        assert_eq!(back.stream.peer_addr().ok(), second.local_addr().ok());
        assert!(next(&inheritance).await.is_some(), "what was sent before");
        assert!(next(&inheritance).await.is_none());
        delivering.await.expect("it ends");
    }

    #[tokio::test]
    async fn a_connection_arrives_as_it_was_with_what_its_client_says_meanwhile() {
        let (old, new) = UnixStream::pair().expect("a pair");
        let takes = takes();
        let (asked, inheritance) = tokio::join!(ask(old), Inheritance::accept(new, &takes));
        let (heir, bequest) = asked.expect("it takes some");
        let inheritance = inheritance.expect("said");
        assert!(heir.takes("calls", Wire::Bolt));
        assert!(!heir.takes("calls", Wire::Dubbo) && !heir.takes("web", Wire::Bolt));
        let delivering = tokio::spawn(bequest.deliver());
        for _ in 0..3 {
            let (mut client, server) = connection();
            let given = moving(server);
            let described = given.described.clone();
            client.write_all(b"meanwhile").expect("sent");
            heir.give(given).await.expect("taken");
            let mut arrived = next(&inheritance).await.expect("one");
            assert_eq!(arrived.described, described);
            let mut said = [0; 9];
            arrived.stream.read_exact(&mut said).expect("there");
            assert_eq!(&said, b"meanwhile");
            arrived.stream.write_all(b"heard").expect("sent");
            drop(arrived);
            let mut heard = String::new();
            client.read_to_string(&mut heard).expect("nobody else holds it open");
            assert_eq!(heard, "heard");
        }
        delivering.abort();
    }

    #[tokio::test]
    async fn a_connection_comes_back_from_a_successor_that_is_gone() {
        let (old, new) = UnixStream::pair().expect("a pair");
        let takes = takes();
        let (asked, inheritance) = tokio::join!(ask(old), Inheritance::accept(new, &takes));
        let (heir, bequest) = asked.expect("it takes some");
        let delivering = tokio::spawn(bequest.deliver());
        drop(inheritance);
        for _ in 0..2 {
            let (client, server) = connection();
            let back = heir.give(moving(server)).await.expect_err("nobody is there");
            assert_eq!(back.stream.peer_addr().ok(), client.local_addr().ok());
        }
        delivering.await.expect("it ends");
    }

    #[tokio::test]
    async fn a_successor_of_an_older_version_is_given_none() {
        let (old, new) = UnixStream::pair().expect("a pair");
        drop(new);
        assert!(ask(old).await.is_none());
    }
}
