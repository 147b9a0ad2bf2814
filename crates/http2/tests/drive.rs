//! The driver, with hyper's client at the other end.

mod raw;

use std::{
    convert::Infallible,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    task::{Context, Poll},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use futures::channel::oneshot;
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt as _, Full, StreamBody, combinators::BoxBody};
use http2::{Body, Ended, Handler, Head, Limits, Manners, grpc, grpc::Answer};
use hyper::{body::Frame, client::conn::http2::SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream},
    sync::Notify,
    task::JoinHandle,
};

const MESSAGE_BYTES_MAX: usize = 3_000_000;

/// Echoes, at once or when told; counts what was dropped unanswered.
#[derive(Default)]
struct Echo {
    gate: Notify,
    waiting: AtomicUsize,
    dropped: Arc<AtomicUsize>,
    planned: AtomicUsize,
}

struct Dropped(Option<Arc<AtomicUsize>>);

impl Drop for Dropped {
    fn drop(&mut self) {
        if let Some(count) = &self.0 {
            count.fetch_add(1, SeqCst);
        }
    }
}

type Answered = BoxBody<Bytes, Infallible>;

impl Handler for Echo {
    type Plan = Bytes;
    type Body = Answered;

    fn unary(&self, head: &Arc<Head>) -> Option<Bytes> {
        self.planned.fetch_add(1, SeqCst);
        head.path.starts_with(b"/unary/").then(|| head.path.slice(7..))
    }

    fn message_bytes_max(&self) -> usize {
        MESSAGE_BYTES_MAX
    }

    async fn answer(self: Arc<Self>, plan: Bytes, message: Result<Bytes, grpc::Unread>) -> Answer {
        let mut dropped = Dropped(Some(self.dropped.clone()));
        let message = match message {
            Ok(message) => message,
            Err(unread) => return unread.into(),
        };
        match &plan[..] {
            b"refused" => {
                return Answer::Refused(grpc::status(9, "not now"));
            }
            b"later" => {
                self.waiting.fetch_add(1, SeqCst);
                self.gate.notified().await;
            }
            _ => {}
        }
        dropped.0 = None;
        let mut answer = grpc::prefixed(message.len());
        answer.extend_from_slice(&message);
        Answer::Message(answer.freeze())
    }

    async fn stream(self: Arc<Self>, request: Request<Body>) -> Response<Answered> {
        let mut dropped = Dropped(Some(self.dropped.clone()));
        match request.uri().path() {
            "/echo" => {
                dropped.0 = None;
                Response::new(request.into_body().map_err(|_| unreachable!()).boxed())
            }
            "/never" => std::future::pending().await,
            "/unread" => {
                dropped.0 = None;
                self.gate.notified().await;
                drop(request);
                Response::new(Full::from("done").boxed())
            }
            path => {
                dropped.0 = None;
                let mut trailers = HeaderMap::new();
                trailers.insert("x-end", "well".parse().expect("a value"));
                let text = format!("{} {path}", request.method());
                let frames = [Ok(Frame::data(text.into())), Ok(Frame::trailers(trailers))];
                Response::new(StreamBody::new(futures::stream::iter(frames)).boxed())
            }
        }
    }
}

fn manners() -> Manners {
    Manners {
        limits: Limits::default(),
        ping_every: Duration::from_secs(20),
        ping_answer_max: Duration::from_secs(5),
        stall_max: Duration::from_secs(60),
        send_buffer_bytes: 100_000,
    }
}

struct Served {
    echo: Arc<Echo>,
    drain: Option<oneshot::Sender<()>>,
    served: JoinHandle<Result<(), Ended>>,
}

fn serve(io: DuplexStream, manners: Manners) -> Served {
    let (drain, drained) = oneshot::channel();
    let echo = Arc::new(Echo::default());
    let drained = async { drained.await.unwrap_or(()) };
    let served = tokio::spawn(http2::drive(io, BytesMut::new(), echo.clone(), manners, drained));
    Served { echo, drain: Some(drain), served }
}

type Client = SendRequest<Full<Bytes>>;

async fn connect() -> (Client, Served) {
    let (ours, theirs) = tokio::io::duplex(1 << 16);
    let served = serve(theirs, manners());
    let handshake = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(ours));
    let (client, connection) = handshake.await.expect("a handshake");
    tokio::spawn(connection);
    (client, served)
}

fn post(path: &str, body: impl Into<Bytes>) -> Request<Full<Bytes>> {
    let uri = format!("http://localhost{path}");
    Request::post(uri).body(Full::new(body.into())).expect("a request")
}

fn message(text: &[u8]) -> Bytes {
    let mut out = grpc::prefixed(text.len());
    out.extend_from_slice(text);
    out.freeze()
}

/// The status, the body, and the trailers or, without a body, the headers.
async fn ask(client: &mut Client, request: Request<Full<Bytes>>) -> (u16, Bytes, HeaderMap) {
    client.ready().await.expect("there is room");
    let response = client.send_request(request).await.expect("an answer");
    let (head, body) = response.into_parts();
    let whole = body.collect().await.expect("a whole body");
    let trailers = whole.trailers().cloned().unwrap_or(head.headers);
    (head.status.as_u16(), whole.to_bytes(), trailers)
}

/// Polls until it is so; the runtime runs everything else meanwhile.
async fn until(mut is_so: impl FnMut() -> bool) {
    while !is_so() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn calls_are_answered_small_and_large_and_refused() {
    let (mut client, _served) = connect().await;
    let large = vec![7; 2_900_000];
    for text in [&b""[..], b"hello", &large[..]] {
        let (status, body, trailers) = ask(&mut client, post("/unary/now", message(text))).await;
        assert_eq!((status, &trailers["grpc-status"]), (200, &"0".parse().expect("a value")));
        assert!(body == message(text), "{} bytes", body.len());
    }
    let (_, body, fields) = ask(&mut client, post("/unary/refused", message(b"x"))).await;
    assert_eq!((body.len(), &fields["grpc-message"]), (0, &"not now".parse().expect("a value")));
    let (_, _, fields) = ask(&mut client, post("/unary/now", "")).await;
    assert_eq!(fields["grpc-message"], "Missing request message.");
    let too_large = vec![0; MESSAGE_BYTES_MAX + 1];
    let (_, _, fields) = ask(&mut client, post("/unary/now", message(&too_large))).await;
    assert_eq!(fields["grpc-status"], "11");
}

#[tokio::test]
async fn a_head_is_planned_for_once_however_often_it_comes() {
    let (mut client, served) = connect().await;
    for _ in 0..50 {
        ask(&mut client, post("/unary/now", message(b"x"))).await;
    }
    let planned = served.echo.planned.load(SeqCst);
    assert!(planned <= 3, "{planned} times");
}

#[tokio::test]
async fn what_is_no_unary_call_is_a_request_and_a_body_with_trailers() {
    let (mut client, _served) = connect().await;
    let (status, body, trailers) = ask(&mut client, post("/other?x", "")).await;
    assert_eq!(
        (status, &body[..], &trailers["x-end"]),
        (200, &b"POST /other"[..], &"well".parse().expect("a value"))
    );
    let large: Bytes = (0..5_000_000u32).map(|n| (n % 251) as u8).collect::<Vec<_>>().into();
    let (_, body, _) = ask(&mut client, post("/echo", large.clone())).await;
    assert!(body == large, "{} bytes", body.len());
    let head = Request::head("http://localhost/x").body(Full::default()).expect("a request");
    let (status, body, _) = ask(&mut client, head).await;
    assert_eq!((status, body.len()), (200, 0));
}

#[tokio::test]
async fn calls_wait_side_by_side_and_each_gets_its_own_answer() {
    let (client, served) = connect().await;
    let calls = (0..200u32).map(|n| {
        let mut client = client.clone();
        let text = n.to_string();
        async move {
            let (_, body, _) =
                ask(&mut client, post("/unary/later", message(text.as_bytes()))).await;
            assert_eq!(body, message(text.as_bytes()));
        }
    });
    let calls = futures::future::join_all(calls);
    let open = async {
        until(|| served.echo.waiting.load(SeqCst) == 200).await;
        served.echo.gate.notify_waiters();
    };
    futures::join!(calls, open);
    assert_eq!(served.echo.dropped.load(SeqCst), 0);
}

#[tokio::test]
async fn a_call_that_is_taken_back_is_dropped_where_it_stands() {
    let (mut client, served) = connect().await;
    for (n, path) in ["/unary/later", "/never"].into_iter().enumerate() {
        client.ready().await.expect("there is room");
        let call = tokio::spawn(client.send_request(post(path, message(b"x"))));
        tokio::task::yield_now().await;
        ask(&mut client, post("/unary/now", message(b"after it"))).await;
        call.abort();
        let echo = served.echo.clone();
        until(move || echo.dropped.load(SeqCst) == n + 1).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_past_its_deadline_is_dropped_and_told_so() {
    let (mut client, served) = connect().await;
    for (n, path) in ["/unary/later", "/never"].into_iter().enumerate() {
        let mut request = post(path, message(b"x"));
        request.headers_mut().insert("grpc-timeout", "50m".parse().expect("a value"));
        let (_, _, fields) = ask(&mut client, request).await;
        assert_eq!(
            (&fields["grpc-status"], &fields["grpc-message"]),
            (&"4".parse().expect("a value"), &"Timeout expired".parse().expect("a value"))
        );
        assert_eq!(served.echo.dropped.load(SeqCst), n + 1);
    }
}

#[tokio::test]
async fn a_drain_answers_what_was_begun_and_ends() {
    let (client, mut served) = connect().await;
    let mut waiting = client.clone();
    let call =
        tokio::spawn(async move { ask(&mut waiting, post("/unary/later", message(b"x"))).await });
    let echo = served.echo.clone();
    until(|| echo.waiting.load(SeqCst) == 1).await;
    served.drain.take().expect("not yet").send(()).expect("it is served");
    tokio::task::yield_now().await;
    assert!(!served.served.is_finished());
    served.echo.gate.notify_one();
    let (status, ..) = call.await.expect("no panic");
    assert_eq!(status, 200);
    served.served.await.expect("no panic").expect("a clean end");
    drop(client);
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_has_gone_silent_is_let_go_only_with_calls_under_way() {
    let (mut ours, theirs) = tokio::io::duplex(1 << 16);
    let served = serve(theirs, manners());
    ours.write_all(&raw::hello()).await.expect("it is read");
    tokio::time::sleep(Duration::from_secs(300)).await;
    assert!(!served.served.is_finished());
    let head = [&[0x83, 0x86, 0x04, 6][..], b"/never"].concat();
    ours.write_all(&raw::frame(1, 5, 1, &head)).await.expect("it is read");
    let start = tokio::time::Instant::now();
    let ended = served.served.await.expect("no panic").expect_err("no pong");
    assert!(matches!(ended, Ended::Silent), "{ended}");
    assert!(start.elapsed() <= Duration::from_secs(45), "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn answers_that_nobody_takes_end_the_connection_at_last() {
    let (mut ours, theirs) = tokio::io::duplex(1 << 16);
    let served = serve(theirs, manners());
    let mut pongs = ours_that_answers_pings(&mut ours, "/unary/now").await;
    let ended = tokio::select! {
        ended = served.served => ended.expect("no panic").expect_err("a stall"),
        () = &mut pongs => panic!("it does not end"),
    };
    assert!(matches!(ended, Ended::Stalled), "{ended}");
}

/// Asks for something with a window of nothing, then only answers pings.
async fn ours_that_answers_pings<'a>(
    io: &'a mut DuplexStream,
    path: &str,
) -> Pin<Box<dyn Future<Output = ()> + 'a>> {
    let head =
        [&[0x83, 0x86, 0x04, u8::try_from(path.len()).expect("short")], path.as_bytes()].concat();
    let asked = [
        raw::hello(),
        raw::frame(raw::SETTINGS, 0, 0, &raw::setting(4, 0)),
        raw::frame(raw::HEADERS, 4, 1, &head),
        raw::frame(raw::DATA, 1, 1, &message(b"hello")),
    ];
    io.write_all(&asked.concat()).await.expect("it is read");
    Box::pin(async move {
        let mut read = BytesMut::new();
        while let Ok(1..) = io.read_buf(&mut read).await {
            while read.len() >= 9 {
                let length = u32::from_be_bytes([0, read[0], read[1], read[2]]) as usize;
                if read.len() < 9 + length {
                    break;
                }
                let frame = read.split_to(9 + length);
                if (frame[3], frame[4]) == (raw::PING, 0) {
                    let pong = raw::frame(raw::PING, raw::ACK, 0, &frame[9..]);
                    let _ = io.write_all(&pong).await;
                }
            }
        }
        std::future::pending().await
    })
}

#[tokio::test]
async fn a_body_nobody_reads_waits_within_its_window_and_is_given_back() {
    let (ours, theirs) = tokio::io::duplex(1 << 16);
    let limits = Limits {
        stream_window_bytes: 70_000,
        connection_window_bytes: 200_000,
        ..Limits::default()
    };
    let served = serve(theirs, Manners { limits, ..manners() });
    let handshake = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(ours));
    let (mut client, connection) = handshake.await.expect("a handshake");
    tokio::spawn(connection);
    // More of them than the connection's window holds, one after the other.
    for _ in 0..10 {
        client.ready().await.expect("there is room");
        let call = client.send_request(post("/unread", vec![1; 60_000]));
        let call = tokio::spawn(call);
        ask(&mut client, post("/unary/now", message(b"beside it"))).await;
        served.echo.gate.notify_one();
        let response = call.await.expect("no panic").expect("an answer");
        assert_eq!(response.into_body().collect().await.expect("whole").to_bytes(), "done");
    }
}

#[tokio::test]
async fn a_fault_is_told_before_the_connection_ends() {
    let (mut ours, theirs) = tokio::io::duplex(1 << 16);
    let served = serve(theirs, manners());
    ours.write_all(&[raw::hello(), raw::frame(raw::PING, 0, 1, &[0; 8])].concat())
        .await
        .expect("read");
    let mut told = Vec::new();
    ours.read_to_end(&mut told).await.expect("an end");
    let reason = b"PING on a stream";
    assert!(told.ends_with(reason), "{told:?}");
    assert!(matches!(served.served.await.expect("no panic"), Err(Ended::Fault(_))));
}

/// A stream that counts how often it is written to.
struct Counting {
    io: DuplexStream,
    writes: Arc<AtomicUsize>,
}

impl tokio::io::AsyncRead for Counting {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut tokio::io::ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buffer)
    }
}

impl tokio::io::AsyncWrite for Counting {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        self.writes.fetch_add(1, SeqCst);
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

#[tokio::test]
async fn calls_that_come_together_are_answered_in_one_write() {
    let (mut ours, theirs) = tokio::io::duplex(1 << 20);
    let writes = Arc::new(AtomicUsize::new(0));
    let io = Counting { io: theirs, writes: writes.clone() };
    let echo = Arc::new(Echo::default());
    tokio::spawn(http2::drive(io, BytesMut::new(), echo, manners(), std::future::pending()));
    let head = [&[0x83, 0x86, 0x04, 10][..], b"/unary/now"].concat();
    let calls = (0..100).flat_map(|n| {
        let call = raw::frame(raw::HEADERS, 4, 2 * n + 1, &head);
        [call, raw::frame(raw::DATA, 1, 2 * n + 1, &message(b"x"))].concat()
    });
    let asked: Vec<_> = raw::hello().into_iter().chain(calls).collect();
    ours.write_all(&asked).await.expect("it is read");
    let mut told = vec![0; 100 * (11 + 9 + 6 + 10)];
    ours.read_exact(&mut told).await.expect("all of it");
    assert_eq!(writes.load(SeqCst), 1);
}
