//! A client's HTTP/2 connection: one task for it, one for each stream.

use std::{
    cell::Cell,
    io,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::{Buf as _, BytesMut};
use http::{StatusCode, header};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, sleep_until, timeout},
};

use crate::{
    exchange::{Client, Ended, Request, relay},
    flow::Source,
    refusal::Refusal,
    reply::Reply,
    transport::Stream,
    worker::Worker,
};

/// What one stream, and all of a connection, may have on its way to us.
const STREAM_WINDOW_BYTES: u32 = 128 << 10;
const CONNECTION_WINDOW_BYTES: u32 = 1 << 20;
const SEND_BUFFER_BYTES: usize = 256 << 10;
/// Streams that a client opened and reset before we had seen them. Honest
/// clients have a few; a connection with more is a rapid reset and ends.
const RESET_STREAMS_MAX: usize = 64;

/// Streams that a client resets within so short a time, and how many of those,
/// if they are more than every second stream, end its connection: each may have
/// cost a connection to a service. As Envoy has it.
const PREMATURE: Duration = Duration::from_secs(1);
const PREMATURE_STREAMS_MAX: u64 = 500;

/// A stream of which something has been read already.
pub(crate) struct Prefixed {
    prefix: BytesMut,
    stream: Stream,
}

/// What has become of the streams of a connection so far.
#[derive(Default)]
struct Streams {
    under_way: Cell<usize>,
    all: Cell<u64>,
    premature: Cell<u64>,
}

pub(crate) async fn serve(
    worker: Rc<Worker>,
    listener: Rc<str>,
    client: Client,
    stream: Prefixed,
) -> Result<(), h2::Error> {
    let metrics = worker.metrics.clone();
    let served = carry(worker, listener, client, stream).await;
    if let Err(error) = &served
        && error.reason() == Some(h2::Reason::ENHANCE_YOUR_CALM)
    {
        metrics.floods.add(1);
    }
    served
}

async fn carry(
    worker: Rc<Worker>,
    listener: Rc<str>,
    client: Client,
    stream: Prefixed,
) -> Result<(), h2::Error> {
    let limits = worker.plan().shared.config.limits.clone();
    let handshake = h2::server::Builder::new()
        .initial_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_send_buffer_size(SEND_BUFFER_BYTES)
        .max_concurrent_streams(limits.streams)
        .max_header_list_size(u32::try_from(limits.head_bytes).unwrap_or(u32::MAX))
        .max_pending_accept_reset_streams(RESET_STREAMS_MAX)
        // Answers of many streams become ready together: one write for them.
        .handshake(rt::Gather::new(stream));
    let Ok(connection) = timeout(limits.head_timeout.0, handshake).await else { return Ok(()) };
    let mut connection = connection?;
    let streams = Rc::new(Streams::default());
    let mut ending = false;
    let mut idle_since = Instant::now();
    loop {
        let idle_until = idle_since + limits.idle_timeout.0;
        let accepted = tokio::select! {
            biased;
            accepted = connection.accept() => accepted,
            () = worker.drained(), if !ending => {
                connection.graceful_shutdown();
                ending = true;
                continue;
            }
            () = sleep_until(idle_until), if !ending => {
                if streams.under_way.get() == 0 {
                    connection.graceful_shutdown();
                    ending = true;
                }
                idle_since = Instant::now();
                continue;
            }
        };
        let Some(accepted) = accepted else { return Ok(()) };
        let (request, respond) = accepted?;
        idle_since = Instant::now();
        if streams.are_a_flood() {
            connection.abrupt_shutdown(h2::Reason::ENHANCE_YOUR_CALM);
            worker.metrics.floods.add(1);
            ending = true;
            continue;
        }
        streams.begin();
        let (worker, listener, client) = (worker.clone(), listener.clone(), client.clone());
        let (streams, began) = (streams.clone(), Instant::now());
        tokio::task::spawn_local(async move {
            let taken = stream_of(&worker, &listener, &client, request, respond).await;
            streams.end(!taken && began.elapsed() < PREMATURE);
        });
    }
}

/// Whether the client has stayed for its answer.
async fn stream_of(
    worker: &Rc<Worker>,
    listener: &str,
    client: &Client,
    request: http::Request<h2::RecvStream>,
    respond: h2::server::SendResponse<bytes::Bytes>,
) -> bool {
    let plan = worker.plan();
    let (mut head, stream) = request.into_parts();
    let mut reply = Reply::H2(respond);
    let Some(at) = plan.listener(listener) else { return true };
    if let Err((status, message)) = plain(&mut head, worker.bounds().headers) {
        worker.metrics.malformed.add(1);
        let refusal = Refusal::new(status, errors::MESH_MALFORMED, message);
        return reply.refuse(&refusal, false, true).is_ok();
    }
    let body = if stream.is_end_stream() {
        Source::Empty
    } else {
        Source::H2 { stream, data_ended: false }
    };
    let request = Request { head, body, upgrade: None };
    !matches!(relay(worker, &plan, at, client, request, reply).await, Ended::Close)
}

/// What would be read differently behind us, in HTTP/1.1, is refused; cookies
/// are one header again (RFC 9113 section 8.2.3).
fn plain(
    head: &mut http::request::Parts,
    headers_max: usize,
) -> Result<(), (StatusCode, &'static str)> {
    if head.headers.len() > headers_max {
        let status = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
        return Err((status, "there are more headers than allowed"));
    }
    unambiguous(head).map_err(|message| (StatusCode::BAD_REQUEST, message))
}

fn unambiguous(head: &mut http::request::Parts) -> Result<(), &'static str> {
    let headers = &mut head.headers;
    if headers.get_all(header::CONTENT_LENGTH).iter().nth(1).is_some() {
        return Err("the length of the body is said twice");
    }
    if headers
        .get(header::CONTENT_LENGTH)
        .is_some_and(|value| !value.as_bytes().iter().all(u8::is_ascii_digit))
    {
        return Err("the length of the body is no number");
    }
    let hosts: Vec<_> = headers.get_all(header::HOST).iter().collect();
    let authority = head.uri.authority().map(http::uri::Authority::as_str);
    match (authority, hosts.as_slice()) {
        (_, []) => {}
        (Some(authority), [host]) if authority.as_bytes() == host.as_bytes() => {}
        (None, [_]) => {}
        _ => return Err("there must be exactly one host"),
    }
    if headers.get_all(header::COOKIE).iter().nth(1).is_some() {
        let all: Vec<&[u8]> =
            headers.get_all(header::COOKIE).iter().map(|value| value.as_bytes()).collect();
        let joined = http::HeaderValue::from_bytes(&all.join(&b"; "[..]))
            .map_err(|_| "a cookie is no text")?;
        headers.insert(header::COOKIE, joined);
    }
    Ok(())
}

// === impl Streams ===

impl Streams {
    fn begin(&self) {
        self.all.set(self.all.get() + 1);
        self.under_way.set(self.under_way.get() + 1);
    }

    fn end(&self, premature: bool) {
        self.premature.set(self.premature.get() + u64::from(premature));
        self.under_way.set(self.under_way.get() - 1);
    }

    fn are_a_flood(&self) -> bool {
        let premature = self.premature.get();
        premature > PREMATURE_STREAMS_MAX && premature > self.all.get() / 2
    }
}

// === impl Prefixed ===

impl Prefixed {
    pub(crate) fn new(stream: Stream, prefix: BytesMut) -> Prefixed {
        Prefixed { prefix, stream }
    }
}

impl AsyncRead for Prefixed {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.prefix.is_empty() {
            return Pin::new(&mut self.stream).poll_read(cx, buf);
        }
        let now = self.prefix.len().min(buf.remaining());
        buf.put_slice(&self.prefix[..now]);
        self.prefix.advance(now);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Prefixed {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
