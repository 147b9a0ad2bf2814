//! A client's connection: heads one after the other, each answered before the
//! next is looked at.

use std::{
    cell::{Cell, RefCell},
    io,
    rc::Rc,
    time::Duration,
};

use http::Method;
use tokio::time::timeout;

use super::{Malformed, RequestHead, Version, request};
use crate::{
    flow::Source,
    io::{Io, fill, flush},
    reply::{Own, Reply},
    serve::{After, Handler, Request, Unread},
};

/// What is not read any more is waited for so long, so that a refusal arrives
/// before the connection is reset.
const LINGER: Duration = Duration::from_millis(500);
const LINGER_BYTES_MAX: usize = 256 << 10;

/// What came instead of a request.
enum NoRequest {
    Ended,
    Malformed(Malformed),
    TooSlow,
}

pub(crate) async fn serve<H: Handler>(handler: &Rc<H>, io: Io) -> io::Result<()> {
    let io = RefCell::new(io);
    let mut fresh = true;
    loop {
        let head = match next(&**handler, &io, fresh).await {
            Ok(head) => head,
            Err(NoRequest::Ended) => return Ok(()),
            Err(NoRequest::Malformed(why)) => {
                let unread = Unread::Malformed { status: why.status(), why: why.to_string() };
                return refuse(&io, handler.refuse(unread)).await;
            }
            Err(NoRequest::TooSlow) => return refuse(&io, handler.refuse(Unread::TooSlow)).await,
        };
        fresh = false;
        let reply = Reply::H1 {
            io: &io,
            version: head.version,
            head_only: head.parts.method == Method::HEAD,
            keep: head.keep_alive,
            draining: handler.draining(),
            expects_continue: head.expects_continue
                && !head.body.is_done()
                && io.borrow().input.is_empty(),
        };
        let body = if head.body.is_done() {
            Source::Empty
        } else {
            Source::H1 { io: &io, decoder: head.body }
        };
        let request = Request { head: head.parts, body, upgrade: head.upgrade };
        // Boxed: a connection that waits for its next request is small.
        let after = Box::pin(handler.answer(request, reply)).await;
        // Our own answers are small: who does not take one is not waited for.
        within(handler.limits().stall_timeout, flush(&io)).await?;
        match after {
            After::Keep => {}
            After::Close => return linger(&io).await,
            After::Tunnel(tunnel) => return handler.tunnel(io.into_inner(), tunnel).await,
        }
    }
}

/// The next head. A connection may idle long, a head that has begun may not
/// take long.
async fn next(
    handler: &impl Handler,
    io: &RefCell<Io>,
    fresh: bool,
) -> Result<RequestHead, NoRequest> {
    let limits = handler.limits();
    let mut scanned = 0;
    if io.borrow().input.is_empty() {
        let read = async {
            tokio::select! {
                biased;
                read = fill(io) => read.unwrap_or(0),
                () = handler.idle_over(fresh) => 0,
            }
        };
        if timeout(limits.idle_timeout, read).await.unwrap_or(0) == 0 {
            return Err(NoRequest::Ended);
        }
    }
    let mut look = || {
        request(&mut io.borrow_mut().input, &mut scanned, limits.head).map_err(NoRequest::Malformed)
    };
    if let Some(head) = look()? {
        return Ok(head);
    }
    let rest = async {
        loop {
            if fill(io).await.unwrap_or(0) == 0 {
                return Err(NoRequest::Ended);
            }
            if let Some(head) = look()? {
                return Ok(head);
            }
        }
    };
    timeout(limits.head_timeout, rest).await.unwrap_or(Err(NoRequest::TooSlow))
}

async fn within(stall: Duration, flushed: impl Future<Output = io::Result<()>>) -> io::Result<()> {
    if stall.is_zero() {
        return flushed.await;
    }
    timeout(stall, flushed).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

async fn refuse(io: &RefCell<Io>, own: Option<Own>) -> io::Result<()> {
    let Some(own) = own else { return Ok(()) };
    let mut reply = Reply::H1 {
        io,
        version: Version::V11,
        head_only: false,
        keep: false,
        draining: &Cell::new(false),
        expects_continue: false,
    };
    if reply.own(own, false).is_ok() {
        within(LINGER, flush(io)).await?;
    }
    linger(io).await
}

/// Ends our side and reads what still comes: closing at once would reset the
/// connection, and the client could lose the answer.
async fn linger(io: &RefCell<Io>) -> io::Result<()> {
    within(LINGER, std::future::poll_fn(|cx| io.borrow_mut().poll_shutdown(cx))).await?;
    let rest = async {
        let mut read = 0;
        while read < LINGER_BYTES_MAX {
            match fill(io).await {
                Ok(more) if more > 0 => read += more,
                _ => return,
            }
            io.borrow_mut().input.clear();
        }
    };
    let _ = timeout(LINGER, rest).await;
    Ok(())
}
