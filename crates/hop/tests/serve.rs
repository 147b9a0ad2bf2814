//! A handler behind both wires, asked by calls of both, and by bytes.

use std::{
    cell::{Cell, RefCell},
    future::poll_fn,
    io,
    net::SocketAddr,
    rc::Rc,
    time::Duration,
};

use bytes::Bytes;
use hop::{
    After, Body, Bounds, Call, Handler, Io, Limits, Outgoing, Own, Pump, Reply, Request, Source,
    Stream, Unread,
};
use http::{HeaderMap, Method, StatusCode, Uri};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::Notify,
    task::LocalSet,
};

const BOUNDS: Bounds = Bounds { bytes: 4 << 10, headers: 16 };
/// Long enough for a loaded machine, short enough to fail a test run.
const PATIENCE: Duration = Duration::from_secs(20);

/// Gives bodies back; `/never` is not answered, `/refused` without its body.
#[derive(Default)]
struct Echo {
    draining: Cell<bool>,
    drain: Notify,
    asked: Cell<u32>,
    /// Requests whose client left before the answer.
    left: Cell<u32>,
    news: Notify,
}

// === impl Echo ===

impl Echo {
    fn count(&self, which: &Cell<u32>) {
        which.set(which.get() + 1);
        self.news.notify_one();
    }

    async fn reaches(&self, which: &Cell<u32>, count: u32) {
        while which.get() < count {
            self.news.notified().await;
        }
    }

    fn drain(&self) {
        self.draining.set(true);
        self.drain.notify_waiters();
    }
}

impl Handler for Echo {
    type Tunnel = ();

    fn limits(&self) -> Limits {
        Limits {
            head: BOUNDS,
            head_timeout: PATIENCE,
            idle_timeout: PATIENCE,
            stall_timeout: PATIENCE,
            streams: 16,
            stream_window_bytes: 64 << 10,
            connection_window_bytes: 256 << 10,
        }
    }

    fn draining(&self) -> &Cell<bool> {
        &self.draining
    }

    async fn drained(&self) {
        while !self.draining.get() {
            self.drain.notified().await;
        }
    }

    async fn idle_over(&self, _fresh: bool) {
        self.drained().await;
    }

    async fn answer(&self, request: Request<'_>, mut reply: Reply<'_>) -> After<()> {
        self.count(&self.asked);
        let (mut parts, ()) = http::Response::new(()).into_parts();
        match request.head.uri.path() {
            "/never" => {
                poll_fn(|cx| reply.poll_gone(cx)).await;
                self.count(&self.left);
                return After::Close;
            }
            "/refused" => {
                parts.status = StatusCode::PAYLOAD_TOO_LARGE;
                reply.head(parts, Some(0), request.body.is_end()).expect("a client");
                return if reply.keeps() { After::Keep } else { After::Close };
            }
            "/tunnel" if request.upgrade.is_some() => {
                parts.status = StatusCode::SWITCHING_PROTOCOLS;
                parts.headers.extend(request.upgrade.map(|to| (http::header::UPGRADE, to)));
                assert!(reply.switch(parts));
                return After::Tunnel(());
            }
            _ => {}
        }
        reply.go_on().await.expect("a client");
        let mut body = Body::again(request.body);
        let whole = poll_whole(&mut body).await;
        let mut sink = reply.head(parts, Some(whole.len() as u64), true).expect("a client");
        let mut source = Body::once(Source::Whole(whole));
        let mut pump = Pump::new(source.is_end());
        let moved = poll_fn(|cx| pump.poll(&mut source, &mut sink, cx)).await;
        if moved.is_ok() && reply.keeps() { After::Keep } else { After::Close }
    }

    fn refuse(&self, unread: Unread) -> Option<Own> {
        let Unread::Malformed { status, why } = unread else { return None };
        Some(Own { status, headers: HeaderMap::new(), body: why.into() })
    }

    fn flooded(&self) {}

    async fn tunnel(&self, mut io: Io, (): ()) -> io::Result<()> {
        io.output.extend_from_slice(b"tunnelled ");
        io.output.unsplit(io.input.split());
        poll_fn(|cx| io.poll_flush(cx)).await
    }
}

async fn poll_whole(body: &mut Body<'_>) -> Bytes {
    body.whole().await.expect("a sound body").expect("a small body")
}

/// Serves for as long as `test` runs.
async fn with<F: Future<Output = ()>>(test: impl FnOnce(SocketAddr, Rc<Echo>) -> F) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
    let address = listener.local_addr().expect("an address");
    let echo = Rc::new(Echo::default());
    let serving = echo.clone();
    let serve = async move {
        loop {
            let (stream, _) = listener.accept().await.expect("accept");
            let served = hop::serve(serving.clone(), Io::new(Stream::Plain(stream)), None);
            tokio::task::spawn_local(served);
        }
    };
    let both = async {
        tokio::select! {
            () = test(address, echo) => {}
            () = serve => {}
        }
    };
    let both = LocalSet::new().run_until(tokio::time::timeout(PATIENCE, both)).await;
    both.expect("this should not take so long");
}

async fn io(address: SocketAddr) -> Io {
    Io::new(Stream::Plain(TcpStream::connect(address).await.expect("connect")))
}

/// One request with its answer; the body comes back as it was given.
async fn ask(call: &Call, path: &'static str, body: &[u8]) -> (StatusCode, Bytes, bool) {
    let mut headers = HeaderMap::new();
    headers.insert("host", "polis.test".parse().expect("a value"));
    let outgoing = Outgoing {
        method: &Method::POST,
        uri: &Uri::from_static(path),
        headers: &headers,
        length: Some(body.len() as u64),
        upgrade: None,
    };
    let (mut sink, mut waiting) = call.send(outgoing).expect("an open connection");
    let mut source = Body::once(Source::Whole(Bytes::copy_from_slice(body)));
    let mut up = Pump::new(source.is_end());
    let answer = poll_fn(|cx| {
        if !up.is_done() {
            let _ = up.poll(&mut source, &mut sink, cx);
        }
        call.poll_answer(&mut waiting, BOUNDS, cx)
    });
    let answer = answer.await.expect("an answer");
    let whole = poll_whole(&mut Body::again(call.source(answer.rest))).await;
    (answer.parts.status, whole, answer.keep)
}

/// Says `bytes` and reads what comes back until the connection ends.
async fn raw(address: SocketAddr, bytes: &str) -> String {
    let mut stream = TcpStream::connect(address).await.expect("connect");
    stream.write_all(bytes.as_bytes()).await.expect("write");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("read");
    answer
}

#[tokio::test]
async fn a_connection_of_either_version_carries_one_request_after_the_other() {
    with(|address, _| async move {
        let large = vec![b'x'; 60 << 10];
        let mut line = Box::new(RefCell::new(io(address).await));
        for body in [&b""[..], b"small", &large] {
            let call = Call::h1(line);
            let (status, back, keep) = ask(&call, "/", body).await;
            assert!(status == StatusCode::OK && back == body && keep);
            line = call.into_io().expect("a line of its own");
        }
        let sender = hop::start(io(address).await, |_| {});
        for body in [&b""[..], b"small", &large] {
            assert!(sender.ready().await);
            let (status, back, _) = ask(&Call::h2(sender.clone()), "/", body).await;
            assert!(status == StatusCode::OK && back == body);
        }
    })
    .await;
}

#[tokio::test]
async fn what_two_could_read_differently_is_refused_and_ends_the_connection() {
    with(|address, echo| async move {
        let check = async |head: &str, status: &str| {
            let answer = raw(address, &format!("{head}\r\n\r\nGET / HTTP/1.1\r\n\r\n")).await;
            assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{head:?}: {answer}");
            assert_eq!(answer.matches("HTTP/1.1").count(), 1, "{head:?}: {answer}");
        };
        check("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\ncontent-length: 1", "400").await;
        check("GET / HTTP/1.1\nhost: a", "400").await;
        check("GET / HTTP/1.1", "400").await;
        check("POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: gzip", "501").await;
        check(&format!("GET / HTTP/1.1\r\nhost: a\r\nx: {}", "y".repeat(5 << 10)), "431").await;
        assert_eq!(echo.asked.get(), 0);
    })
    .await;
}

#[tokio::test]
async fn a_body_is_asked_for_when_somebody_wants_it() {
    with(|address, _| async move {
        let head = "HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\nexpect: 100-continue\r\n\r\n";
        let refused = raw(address, &format!("POST /refused {head}")).await;
        assert!(refused.starts_with("HTTP/1.1 413"), "{refused}");
        let mut stream = TcpStream::connect(address).await.expect("connect");
        stream.write_all(format!("POST / {head}").as_bytes()).await.expect("write");
        let mut word = [0; b"HTTP/1.1 100 Continue\r\n\r\n".len()];
        stream.read_exact(&mut word).await.expect("read");
        assert_eq!(&word[..], b"HTTP/1.1 100 Continue\r\n\r\n");
        stream.write_all(b"ok").await.expect("write");
        stream.shutdown().await.expect("no more");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("read");
        assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("\r\n\r\nok"), "{answer}");
    })
    .await;
}

#[tokio::test]
async fn a_client_that_leaves_is_noticed_while_its_answer_is_made() {
    with(|address, echo| async move {
        let mut stream = TcpStream::connect(address).await.expect("connect");
        stream.write_all(b"GET /never HTTP/1.1\r\nhost: a\r\n\r\n").await.expect("write");
        echo.reaches(&echo.asked, 1).await;
        drop(stream);
        echo.reaches(&echo.left, 1).await;

        let sender = hop::start(io(address).await, |_| {});
        assert!(sender.ready().await);
        let call = Call::h2(sender.clone());
        let asking = tokio::task::spawn_local(async move { ask(&call, "/never", b"").await });
        echo.reaches(&echo.asked, 2).await;
        asking.abort();
        echo.reaches(&echo.left, 2).await;
    })
    .await;
}

#[tokio::test]
async fn a_drain_ends_what_idles_and_finishes_what_was_begun() {
    with(|address, echo| async move {
        let (mut idle, mut begun) = (None, None);
        for stream in [&mut idle, &mut begun] {
            let mut connected = TcpStream::connect(address).await.expect("connect");
            connected.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.expect("write");
            let mut head = [0; 256];
            assert!(connected.read(&mut head).await.expect("read") > 0);
            *stream = Some(connected);
        }
        let (mut idle, mut begun) = (idle.expect("two"), begun.expect("two"));
        let head = b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\n";
        begun.write_all(head).await.expect("write");
        echo.reaches(&echo.asked, 3).await;
        echo.drain();
        assert_eq!(idle.read(&mut [0; 1]).await.expect("read"), 0);
        begun.write_all(b"ok").await.expect("write");
        let mut answer = String::new();
        begun.read_to_string(&mut answer).await.expect("read");
        assert!(answer.contains("connection: close") && answer.ends_with("ok"), "{answer}");
    })
    .await;
}

#[tokio::test]
async fn a_connection_that_leaves_http_takes_along_what_was_read() {
    with(|address, _| async move {
        let head = "GET /tunnel HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n";
        let answer = raw(address, &format!("{head}more")).await;
        assert!(answer.starts_with("HTTP/1.1 101"), "{answer}");
        assert!(answer.ends_with("\r\n\r\ntunnelled more"), "{answer}");
    })
    .await;
}
