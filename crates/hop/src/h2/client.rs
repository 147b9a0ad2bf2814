//! A connection to an endpoint, shared by this thread's requests to it.

use std::{rc::Rc, task::Poll};

use http::{HeaderMap, Method, Uri, header, uri::PathAndQuery};
use http2::{Asked, Code, Connection, Limits};
use tokio::time::Instant;

use super::{
    stream::Held,
    wire::{Drive, Ended, Turn, Wire},
};
use crate::io::Io;

/// What one stream, and all of a connection, may have on its way to us.
const STREAM_WINDOW_BYTES: u32 = 256 << 10;
const CONNECTION_WINDOW_BYTES: u32 = 1 << 20;
/// Requests under way at once, if the endpoint takes so many.
const STREAMS_MAX: u32 = 10_000;
/// Fields of one answer.
const HEAD_BYTES_MAX: u32 = 64 << 10;

/// Whoever asks holds one; with the last, the connection ends.
pub struct Sender {
    wire: Rc<Wire>,
}

/// Takes the connection up; what it needs for that goes out with the first
/// request. Calls `over` when it is.
pub fn start(io: Io, over: impl FnOnce(Result<(), Ended>) + 'static) -> Rc<Sender> {
    let limits = Limits {
        streams: STREAMS_MAX,
        stream_window_bytes: STREAM_WINDOW_BYTES,
        connection_window_bytes: CONNECTION_WINDOW_BYTES,
        head_bytes: HEAD_BYTES_MAX,
        ..Limits::default()
    };
    let wire = Wire::new(Connection::client(limits));
    let drive = Drive::new(io, Instant::now());
    tokio::task::spawn_local(run(wire.clone(), drive, over));
    Rc::new(Sender { wire })
}

async fn run(wire: Rc<Wire>, mut drive: Drive, over: impl FnOnce(Result<(), Ended>)) {
    let ended = std::future::poll_fn(|cx| {
        let turn = drive.turn(
            &wire,
            |event, _| {
                wire.deliver(event);
                Ok(())
            },
            cx,
        );
        match turn {
            Err(ended) => Poll::Ready(Err(ended)),
            Ok(Turn::Gone) => Poll::Ready(Ok(())),
            Ok(Turn::Waits) if wire.is_done() => Poll::Ready(Ok(())),
            Ok(Turn::Waits) => Poll::Pending,
        }
    })
    .await;
    if ended.is_ok() {
        wire.say(|connection| connection.go_away_now(Code::NO_ERROR));
    }
    // Who asks from now on asks another; what has been said still goes out.
    drive.close(&wire).await;
    over(ended);
}

// === impl Sender ===

impl Sender {
    /// False if this connection takes no request any more.
    pub async fn ready(&self) -> bool {
        loop {
            {
                let state = self.wire.state.borrow();
                if state.connection.has_room() && !state.is_over {
                    return true;
                }
                if state.is_over || state.connection.is_leaving() || state.connection.is_worn() {
                    return false;
                }
            }
            self.wire.freed.notified().await;
        }
    }

    /// Begins a request; its stream takes the body, unless there is none.
    pub fn ask(&self, method: &Method, uri: &Uri, headers: &HeaderMap, end: bool) -> Option<Held> {
        let host = headers.get(header::HOST).map_or(&b"localhost"[..], |host| host.as_bytes());
        let asked = Asked {
            method: method.as_str().as_bytes(),
            scheme: b"http",
            authority: host,
            path: uri.path_and_query().map_or("/", PathAndQuery::as_str).as_bytes(),
        };
        let fields = http2::fields(headers).filter(|(name, _)| *name != b"host");
        if self.wire.state.borrow().is_over {
            return None;
        }
        let id = self.wire.say(|connection| connection.ask(&asked, fields, end))?;
        // One that was waked by the end of a stream may leave room for more.
        self.wire.freed.notify_one();
        Some(Held::new(self.wire.add(id, Instant::now())))
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        self.wire.leave_unused();
    }
}
