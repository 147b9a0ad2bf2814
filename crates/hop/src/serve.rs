//! From a client's bytes to whoever answers: [`Handler`] is what a server of
//! HTTP/1.1 and HTTP/2 is asked for, and all that it has to be.

use std::{cell::Cell, io, rc::Rc, time::Duration};

use http::{HeaderValue, StatusCode, request};
use http2::PREFACE;
use tokio::time::timeout;

use crate::{
    flow::Source,
    h1::{self, Bounds},
    h2::{self, Ended},
    io::Io,
    reply::{Own, Reply},
};

/// One connection's; requests of HTTP/2 share it.
pub trait Handler: 'static {
    /// What a connection is handed over to that leaves HTTP.
    type Tunnel;

    /// Asked again before each request of HTTP/1.1.
    fn limits(&self) -> Limits;

    /// Connections come to their end.
    fn draining(&self) -> &Cell<bool>;

    fn drained(&self) -> impl Future<Output = ()>;

    /// Resolves when a connection without a request is to be closed: `fresh`
    /// if it never had one.
    fn idle_over(&self, fresh: bool) -> impl Future<Output = ()>;

    /// Answers one request. Dropped if its connection, or its stream, ends first.
    fn answer(
        &self,
        request: Request<'_>,
        reply: Reply<'_>,
    ) -> impl Future<Output = After<Self::Tunnel>>;

    /// What is said to what is no request; none ends the connection in silence.
    fn refuse(&self, unread: Unread) -> Option<Own>;

    /// A connection was ended because its peer made work for nothing.
    fn flooded(&self);

    /// Goes on with a connection that has left HTTP.
    fn tunnel(&self, io: Io, tunnel: Self::Tunnel) -> impl Future<Output = io::Result<()>>;
}

/// What one connection may take of us.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub head: Bounds,
    /// For a head that has begun to arrive.
    pub head_timeout: Duration,
    /// Without any request.
    pub idle_timeout: Duration,
    /// For a client to take an answer that is written; zero is for ever.
    pub stall_timeout: Duration,
    /// Requests of one connection of HTTP/2 at once.
    pub streams: u32,
    /// What one stream, and all of a connection, may have on its way to us.
    pub stream_window_bytes: u32,
    pub connection_window_bytes: u32,
}

pub struct Request<'a> {
    pub head: request::Parts,
    pub body: Source<'a>,
    /// The protocol to go over to.
    pub upgrade: Option<HeaderValue>,
}

/// What becomes of a client's connection of HTTP/1.1.
#[derive(Debug)]
pub enum After<T> {
    Keep,
    Close,
    Tunnel(T),
}

/// What came instead of a request.
#[derive(Debug)]
pub enum Unread {
    Malformed { status: StatusCode, why: String },
    TooSlow,
}

/// Serves one connection until it ends; the protocol is `alpn` or, where TLS
/// did not settle it, what the client begins with.
pub async fn serve<H: Handler>(
    handler: Rc<H>,
    mut io: Io,
    alpn: Option<&[u8]>,
) -> Result<(), Ended> {
    let is_h2 = match alpn {
        Some(alpn) => alpn == b"h2",
        None => begins_h2(&*handler, &mut io).await?,
    };
    if is_h2 {
        // Boxed: most connections of a server are not of this kind.
        return Box::pin(h2::serve(&handler, io)).await;
    }
    Ok(h1::serve(&handler, io).await?)
}

/// Whether the client begins with HTTP/2's preface.
async fn begins_h2(handler: &impl Handler, io: &mut Io) -> io::Result<bool> {
    let look = async {
        loop {
            let seen = io.input.len().min(PREFACE.len());
            if io.input[..seen] != PREFACE[..seen] {
                return Ok(false);
            }
            if seen == PREFACE.len() {
                return Ok(true);
            }
            let read = tokio::select! {
                biased;
                read = std::future::poll_fn(|cx| io.poll_fill(cx)) => read?,
                () = handler.idle_over(true) => 0,
            };
            if read == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    };
    // Who says nothing at all is closed like one that idles.
    let patience = handler.limits().head_timeout;
    timeout(patience, look).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}
