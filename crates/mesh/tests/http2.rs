//! HTTP/2 from a client to a service, both of them by hand: what ends, leaves
//! or stands still at one end does so at the other.

use std::{net::SocketAddr, time::Duration};

use bytes::{Bytes, BytesMut};
use http2::{Asked, Code, Connection, Event, Limits, StreamId};
use mesh::{Config, Options, Outcome, Proxy};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
    time::timeout,
};

/// Nothing here takes long; what never comes fails the test.
const LIMIT: Duration = Duration::from_secs(30);

const CONFIG: &str = "[limits]\nthreads = 1\n\
    [[listener]]\nname = 'web'\naddress = '127.0.0.1:0'\n\
    [[listener.route]]\nname = 'all'\ncluster = 'a'\ntimeout = '0s'\n\
    [[cluster]]\nname = 'a'\nprotocol = 'http2'\nendpoints = [{ address = '{A}' }]\n";

struct Serving {
    address: SocketAddr,
    trigger: rt::Trigger,
    running: JoinHandle<Result<Outcome, mesh::Error>>,
}

/// Either end of a connection.
struct Peer {
    stream: TcpStream,
    connection: Connection,
    input: BytesMut,
}

// === impl Serving ===

impl Serving {
    async fn start(service: &TcpListener) -> Serving {
        Serving::start_by(CONFIG, service).await
    }

    async fn start_by(config: &str, service: &TcpListener) -> Serving {
        let service = service.local_addr().expect("bound").to_string();
        let config = Config::parse(&config.replace("{A}", &service), "test").expect("sound");
        let proxy = Proxy::build(config, Options::default()).expect("free");
        let address = proxy.addresses()["web"];
        let (trigger, drain) = rt::drain::channel();
        Serving { address, trigger, running: tokio::spawn(proxy.run(drain)) }
    }

    async fn connect(&self) -> Peer {
        let stream = TcpStream::connect(self.address).await.expect("it listens");
        Peer::new(stream, Connection::client(Limits::default()))
    }

    async fn drain(self) {
        let _ = self.trigger.drain(LIMIT).await;
        timeout(LIMIT, self.running).await.expect("it ends").expect("whole").expect("well");
    }
}

// === impl Peer ===

impl Peer {
    fn new(stream: TcpStream, connection: Connection) -> Peer {
        Peer { stream, connection, input: BytesMut::new() }
    }

    async fn accept(service: &TcpListener, limits: Limits) -> Peer {
        let accepted = timeout(LIMIT, service.accept()).await.expect("somebody connects");
        Peer::new(accepted.expect("accepted").0, Connection::new(limits))
    }

    fn ask(&mut self, method: &str, end: bool) -> StreamId {
        let method = method.as_bytes();
        let asked = Asked { method, scheme: b"http", authority: b"a", path: b"/" };
        self.connection.ask(&asked, [], end).expect("there is room")
    }

    fn answer(&mut self, stream: StreamId) {
        self.connection.respond(stream, 200, [], true);
    }

    async fn flush(&mut self) {
        loop {
            let bytes = std::mem::take(self.connection.output());
            if bytes.is_empty() {
                return;
            }
            self.stream.write_all(&bytes).await.expect("it is taken");
            self.connection.pump();
        }
    }

    /// Reads once; false at the end.
    async fn read(&mut self) -> bool {
        self.flush().await;
        let read = self.stream.read_buf(&mut self.input);
        let count = timeout(LIMIT, read).await.expect("something comes").expect("read");
        self.connection.receive(&mut self.input).expect("sound frames");
        count > 0
    }

    /// What comes next; none at the end.
    async fn next(&mut self) -> Option<Event> {
        loop {
            self.flush().await;
            if let Some(event) = self.connection.next_event() {
                return Some(event);
            }
            if !self.read().await {
                return None;
            }
        }
    }

    async fn request(&mut self) -> StreamId {
        match self.next().await {
            Some(Event::Request { stream, .. }) => stream,
            other => panic!("no request: {other:?}"),
        }
    }

    async fn status(&mut self) -> u16 {
        match self.next().await {
            Some(Event::Response { head, .. }) => head.status,
            other => panic!("no answer: {other:?}"),
        }
    }
}

#[tokio::test]
async fn what_the_client_takes_back_is_taken_back_at_the_service() {
    let service = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
    let proxy = Serving::start(&service).await;
    let mut client = proxy.connect().await;
    let asked = client.ask("GET", true);
    client.flush().await;
    let mut held = Peer::accept(&service, Limits::default()).await;
    let stream = held.request().await;
    client.connection.reset(asked, Code::CANCEL);
    client.flush().await;
    assert_eq!(held.next().await, Some(Event::Reset { stream, code: Code::CANCEL }));
    // The connection goes on at both ends.
    client.ask("GET", true);
    client.flush().await;
    let stream = held.request().await;
    held.answer(stream);
    held.flush().await;
    assert_eq!(client.status().await, 200);
    drop(client);
    proxy.drain().await;
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_no_whole_one() {
    let service = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
    let proxy = Serving::start(&service).await;
    let mut client = proxy.connect().await;
    let asked = client.ask("GET", true);
    client.flush().await;
    let mut held = Peer::accept(&service, Limits::default()).await;
    let stream = held.request().await;
    held.connection.respond(stream, 200, [], false);
    held.connection.data(stream, Bytes::from("half"), false);
    held.flush().await;
    assert_eq!(client.status().await, 200);
    assert!(matches!(client.next().await, Some(Event::Data { end: false, .. })));
    held.connection.reset(stream, Code::INTERNAL_ERROR);
    held.flush().await;
    let broken = Event::Reset { stream: asked, code: Code::INTERNAL_ERROR };
    assert_eq!(client.next().await, Some(broken));
    drop(client);
    proxy.drain().await;
}

#[tokio::test]
async fn what_a_leaving_service_has_not_seen_goes_to_its_next_connection() {
    let service = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
    let proxy = Serving::start(&service).await;
    let mut client = proxy.connect().await;
    client.ask("POST", true);
    client.flush().await;
    let mut leaving = Peer::accept(&service, Limits::default()).await;
    leaving.request().await;
    // The last stream it has seen is none.
    let go_away = [0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    leaving.stream.write_all(&go_away).await.expect("it is taken");
    let mut next = Peer::accept(&service, Limits::default()).await;
    let stream = next.request().await;
    next.answer(stream);
    next.flush().await;
    assert_eq!(client.status().await, 200);
    // Nothing was left on the first, so that it is closed.
    while leaving.next().await.is_some() {}
    drop(client);
    proxy.drain().await;
}

#[tokio::test]
async fn more_requests_than_the_service_takes_wait_for_their_turn() {
    const COUNT: usize = 40;
    let service = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
    let proxy = Serving::start(&service).await;
    let mut client = proxy.connect().await;
    client.ask("GET", true);
    client.flush().await;
    let mut busy = Peer::accept(&service, Limits { streams: 2, ..Limits::default() }).await;
    let first = busy.request().await;
    busy.answer(first);
    busy.flush().await;
    assert_eq!(client.status().await, 200);
    for _ in 0..COUNT {
        client.ask("GET", true);
    }
    client.flush().await;
    // Two at a time: one more would be refused, and be seen as such.
    for _ in 0..COUNT / 2 {
        for stream in [busy.request().await, busy.request().await] {
            busy.answer(stream);
        }
        busy.flush().await;
    }
    for _ in 0..COUNT {
        assert_eq!(client.status().await, 200);
    }
    drop(client);
    proxy.drain().await;
}

#[tokio::test]
async fn large_bodies_pass_both_ways_at_once_through_small_windows() {
    const BYTES: usize = 3 << 20;
    let service = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
    let proxy = Serving::start(&service).await;
    let mut client = proxy.connect().await;
    let small = Limits { stream_window_bytes: 70_000, ..Limits::default() };
    let asked = client.ask("POST", false);
    let sent: Vec<u8> = (0..BYTES).map(|at| (at % 251) as u8).collect();
    client.connection.data(asked, sent.clone().into(), true);
    let echo = async {
        let mut held = Peer::accept(&service, small).await;
        let stream = held.request().await;
        held.connection.respond(stream, 200, [], false);
        loop {
            match held.next().await {
                Some(Event::Data { stream, bytes, credit, end }) => {
                    held.connection.release(stream, credit);
                    held.connection.data(stream, bytes, end);
                    if end {
                        break;
                    }
                }
                other => panic!("no data: {other:?}"),
            }
        }
        // What is left waits for windows.
        while held.connection.is_open(stream) {
            held.read().await;
        }
        held.flush().await;
        held
    };
    let hear = async {
        assert_eq!(client.status().await, 200);
        let mut heard = Vec::new();
        while let Some(Event::Data { stream, bytes, credit, end }) = client.next().await {
            client.connection.release(stream, credit);
            heard.extend_from_slice(&bytes);
            if end {
                break;
            }
        }
        (client, heard)
    };
    let (held, (client, heard)) = tokio::join!(echo, hear);
    assert!(heard == sent, "{} of {BYTES} bytes came back, or others", heard.len());
    drop((client, held));
    proxy.drain().await;
}

/// A call that is open keeps its connection from idling; a head that stands still
/// has its time all the same.
#[tokio::test]
async fn a_head_that_never_ends_ends_its_connection() {
    const HEADERS: u8 = 1;
    const GET: u8 = 0x82;
    let service = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
    let config = CONFIG.replace("threads = 1\n", "threads = 1\nhead_timeout = '300ms'\n");
    let proxy = Serving::start_by(&config, &service).await;
    let mut client = proxy.connect().await;
    client.ask("GET", true);
    client.flush().await;
    let mut server = Peer::accept(&service, Limits::default()).await;
    while !matches!(server.next().await, Some(Event::Request { .. })) {}
    // Nothing of ours may come between the parts of a head.
    while !client.connection.is_greeted() {
        assert!(client.read().await);
    }
    client.flush().await;
    let half = [0, 0, 1, HEADERS, 0, 0, 0, 0, 3, GET];
    client.stream.write_all(&half).await.expect("it is taken");
    while let Some(event) = client.next().await {
        assert!(!matches!(event, Event::GoAway { .. }), "it is right as far as it goes");
    }
    drop((client, server));
    proxy.drain().await;
}
