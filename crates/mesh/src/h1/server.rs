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
    exchange::{Client, Ended, Request, relay},
    flow::{Source, both_ways},
    io::{Io, fill, flush},
    refusal::Refusal,
    reply::Reply,
    worker::Worker,
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

pub(crate) async fn serve(
    worker: Rc<Worker>,
    listener: Rc<str>,
    client: Client,
    io: Io,
) -> io::Result<()> {
    let io = RefCell::new(io);
    let mut fresh = true;
    loop {
        let head = match next(&worker, &io, fresh).await {
            Ok(head) => head,
            Err(NoRequest::Ended) => return Ok(()),
            Err(NoRequest::Malformed(why)) => {
                worker.metrics.malformed.add(1);
                let refusal = Refusal::new(why.status(), errors::MESH_MALFORMED, why.to_string());
                return refuse(&io, &refusal).await;
            }
            Err(NoRequest::TooSlow) => {
                let status = http::StatusCode::REQUEST_TIMEOUT;
                let message = "the head did not arrive in time";
                return refuse(&io, &Refusal::new(status, errors::BODY_TOO_SLOW, message)).await;
            }
        };
        fresh = false;
        let plan = worker.plan();
        // Its listener is gone, and it with it.
        let Some(at) = plan.listener(&listener) else { return Ok(()) };
        if head.expects_continue && !head.body.is_done() && io.borrow().input.is_empty() {
            io.borrow_mut().output.extend_from_slice(b"HTTP/1.1 100 Continue\r\n\r\n");
            flush(&io).await?;
        }
        let reply = Reply::H1 {
            io: &io,
            version: head.version,
            head_only: head.parts.method == Method::HEAD,
            keep: head.keep_alive,
            draining: &worker.draining,
        };
        let body = if head.body.is_done() {
            Source::Empty
        } else {
            Source::H1 { io: &io, decoder: head.body }
        };
        let request = Request { head: head.parts, body, upgrade: head.upgrade };
        // Boxed: a connection that waits for its next request is small.
        let ended = Box::pin(relay(&worker, &plan, at, &client, request, reply)).await;
        drop(plan);
        // Our own answers are small: who does not take one is not waited for.
        let stall = worker.plan().shared.config.limits.stall_timeout.0;
        match ended {
            Ended::Keep => within(stall, flush(&io)).await?,
            Ended::Close => {
                within(stall, flush(&io)).await?;
                return linger(&io).await;
            }
            Ended::Tunnel(mut upstream, _busy) => {
                within(stall, flush(&io)).await?;
                let mut io = io.into_inner();
                worker.metrics.tunnels.add(1);
                let idle = worker.plan().shared.config.limits.idle_timeout.0;
                let (bytes_in, bytes_out) = both_ways(&mut io, &mut upstream, idle).await?;
                worker.metrics.bytes_in.add(bytes_in);
                worker.metrics.bytes_out.add(bytes_out);
                return Ok(());
            }
        }
    }
}

/// The next head. A connection may idle long, a head that has begun may not
/// take long.
async fn next(worker: &Worker, io: &RefCell<Io>, fresh: bool) -> Result<RequestHead, NoRequest> {
    let bounds = worker.bounds();
    let mut scanned = 0;
    if io.borrow().input.is_empty() {
        let idle = worker.plan().shared.config.limits.idle_timeout.0;
        let read = async {
            tokio::select! {
                biased;
                read = fill(io) => read.unwrap_or(0),
                () = worker.idle_over(fresh) => 0,
            }
        };
        if timeout(idle, read).await.unwrap_or(0) == 0 {
            return Err(NoRequest::Ended);
        }
    }
    let mut look =
        || request(&mut io.borrow_mut().input, &mut scanned, bounds).map_err(NoRequest::Malformed);
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
    let patience = worker.plan().shared.config.limits.head_timeout.0;
    timeout(patience, rest).await.unwrap_or(Err(NoRequest::TooSlow))
}

async fn within(stall: Duration, flushed: impl Future<Output = io::Result<()>>) -> io::Result<()> {
    if stall.is_zero() {
        return flushed.await;
    }
    timeout(stall, flushed).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

async fn refuse(io: &RefCell<Io>, refusal: &Refusal) -> io::Result<()> {
    let mut reply = Reply::H1 {
        io,
        version: Version::V11,
        head_only: false,
        keep: false,
        draining: &Cell::new(false),
    };
    if reply.refuse(refusal, false, false).is_ok() {
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
