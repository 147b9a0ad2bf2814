//! A proxy in this process, origins that do what each test tells them, and
//! clients that send bytes.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use bytes::BytesMut;
use mesh::{Config, Options, Outcome, Proxy};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpSocket, TcpStream},
    sync::{Notify, watch},
    task::{JoinHandle, JoinSet},
    time::{sleep, timeout},
};

/// Nothing here takes long; what never comes fails the test.
pub const LIMIT: Duration = Duration::from_secs(30);

pub struct Serving {
    address: SocketAddr,
    trigger: rt::Trigger,
    running: JoinHandle<Result<Outcome, mesh::Error>>,
}

/// A connection to it.
pub struct Client {
    stream: TcpStream,
    input: BytesMut,
}

/// An endpoint. It answers with its port and two headers of its own.
pub struct Origin {
    pub address: SocketAddr,
    connections: Arc<AtomicUsize>,
    way: watch::Sender<Way>,
    asked: watch::Receiver<Vec<Message>>,
    leaving: Arc<Notify>,
}

/// What an origin does with requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    Answer(u16),
    /// With 200, after so long.
    Late(Duration),
    /// Nothing, until there is another way for what is held.
    Hold,
    /// Ends the connection instead.
    HangUp,
}

/// Accepts nobody: its queue is full, so that a SYN has no answer.
pub struct Deaf {
    pub address: SocketAddr,
    _held: (TcpListener, TcpStream),
}

/// A request or an answer; its head says how long its body is.
#[derive(Clone, Debug)]
pub struct Message {
    pub start: String,
    fields: Vec<(String, String)>,
    pub body: String,
}

/// One route to one cluster, and what else is said of them; origins are its
/// endpoints, as `{ENDPOINTS}`.
pub fn one(route: &str, cluster: &str) -> String {
    format!(
        "limits = {{ threads = 1 }}\n{{LISTENER}}
[[listener.route]]\nname = 'all'\ncluster = 'one'\n{route}
[[cluster]]\nname = 'one'\nendpoints = {{ENDPOINTS}}\n{cluster}"
    )
}

/// With lines of its head, and a body.
pub fn request(method: &str, path: &str, lines: &[&str], body: &str) -> String {
    let lines: String = lines.iter().map(|line| format!("{line}\r\n")).collect();
    let length = body.len();
    format!("{method} {path} HTTP/1.1\r\nhost: a\r\n{lines}content-length: {length}\r\n\r\n{body}")
}

// === impl Serving ===

impl Serving {
    /// One listener of HTTP, whose routes and clusters are the test's; `{A}` to
    /// `{D}` stand for endpoints, `{ENDPOINTS}` for all of them.
    pub async fn start(rest: &str, endpoints: &[SocketAddr]) -> Serving {
        let listener = "[[listener]]\nname = 'web'\naddress = '127.0.0.1:0'\n";
        let all: Vec<_> = endpoints.iter().map(|at| format!("{{ address = '{at}' }}")).collect();
        let all = format!("[{}]", all.join(", "));
        let mut text = rest.replace("{LISTENER}", listener).replace("{ENDPOINTS}", &all);
        for (name, address) in ["{A}", "{B}", "{C}", "{D}"].iter().zip(endpoints) {
            text = text.replace(name, &address.to_string());
        }
        let config = Config::parse(&text, "test").expect("sound");
        let proxy = Proxy::build(config, Options::default()).expect("free");
        let address = proxy.addresses()["web"];
        let (trigger, drain) = rt::drain::channel();
        Serving { address, trigger, running: tokio::spawn(proxy.run(drain)) }
    }

    /// On a connection of its own.
    pub fn get(&self, path: &str) -> impl Future<Output = Message> + use<> {
        self.send(request("GET", path, &[], ""))
    }

    /// On a connection of its own.
    pub fn send(&self, request: String) -> impl Future<Output = Message> + use<> {
        let address = self.address;
        async move {
            let stream = TcpStream::connect(address).await.expect("it listens");
            Client::new(stream).send(&request).await
        }
    }

    pub async fn client(&self, from: Ipv4Addr) -> Client {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.bind((from, 0).into()).expect("an address of ours");
        Client::new(socket.connect(self.address).await.expect("it listens"))
    }

    /// So many at once.
    pub fn get_all(&self, count: usize) -> JoinSet<Message> {
        (0..count).map(|_| self.get("/")).collect()
    }

    /// Ends it, for which everybody must have got his answer or have left.
    pub async fn drain(self) {
        let _ = self.trigger.drain(LIMIT).await;
        timeout(LIMIT, self.running).await.expect("it ends").expect("whole").expect("well");
    }
}

/// The next of them to be answered.
pub async fn next(asking: &mut JoinSet<Message>) -> Message {
    asking.join_next().await.expect("one is left").expect("whole")
}

// === impl Client ===

impl Client {
    fn new(stream: TcpStream) -> Client {
        Client { stream, input: BytesMut::new() }
    }

    pub async fn get(&mut self) -> Message {
        self.send(&request("GET", "/", &[], "")).await
    }

    pub async fn send(&mut self, request: &str) -> Message {
        self.stream.write_all(request.as_bytes()).await.expect("it reads");
        let answer = Message::read(&mut self.stream, &mut self.input);
        timeout(LIMIT, answer).await.expect("in time").expect("an answer")
    }
}

// === impl Origin ===

impl Origin {
    pub async fn start(way: Way) -> Origin {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let address = listener.local_addr().expect("bound");
        let (way, ways) = watch::channel(way);
        let (asks, asked) = watch::channel(Vec::new());
        let (connections, leaving) = (Arc::new(AtomicUsize::new(0)), Arc::new(Notify::new()));
        let (counted, left) = (connections.clone(), leaving.clone());
        tokio::spawn(async move {
            let mut open = JoinSet::new();
            loop {
                let accepted = tokio::select! {
                    accepted = listener.accept() => accepted,
                    () = left.notified() => break,
                };
                counted.fetch_add(1, SeqCst);
                let stream = accepted.expect("accepted").0;
                open.spawn(serve(stream, address.port(), ways.clone(), asks.clone()));
            }
            // In this order: who loses his connection finds nobody to connect to.
            drop(listener);
            drop(open);
        });
        Origin { address, connections, way, asked, leaving }
    }

    pub fn does(&self, way: Way) {
        self.way.send_replace(way);
    }

    /// Its connections end, and nobody listens there any more.
    pub fn leave(&self) {
        self.leaving.notify_one();
    }

    /// All that was ever asked, answered or not.
    pub fn asked(&self) -> Vec<Message> {
        self.asked.borrow().clone()
    }

    pub fn count(&self) -> usize {
        self.asked.borrow().len()
    }

    /// Waits until so many requests have come.
    pub async fn asks(&self, count: usize) {
        let mut asked = self.asked.clone();
        let enough = asked.wait_for(|asked| asked.len() >= count);
        timeout(LIMIT, enough).await.expect("they come").expect("it serves");
    }

    pub fn connections(&self) -> usize {
        self.connections.load(SeqCst)
    }

    /// Whether this one has given the answer.
    pub fn gave(&self, answer: &Message) -> bool {
        answer.body == self.address.port().to_string()
    }
}

async fn serve(
    mut stream: TcpStream,
    port: u16,
    mut ways: watch::Receiver<Way>,
    asked: watch::Sender<Vec<Message>>,
) {
    let mut input = BytesMut::new();
    while let Some(message) = Message::read(&mut stream, &mut input).await {
        asked.send_modify(|asked| asked.push(message));
        let Ok(way) = ways.wait_for(|way| *way != Way::Hold).await.map(|way| *way) else { return };
        let status = match way {
            Way::Answer(status) => status,
            Way::Late(time) => {
                sleep(time).await;
                200
            }
            Way::Hold | Way::HangUp => return,
        };
        let body = port.to_string();
        let answer = format!(
            "HTTP/1.1 {status} x\r\nserver: origin\r\nx-tag: origin\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        if stream.write_all(answer.as_bytes()).await.is_err() {
            return;
        }
    }
}

// === impl Deaf ===

impl Deaf {
    pub async fn start() -> Deaf {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.bind((Ipv4Addr::LOCALHOST, 0).into()).expect("a port is free");
        let listener = socket.listen(0).expect("bound");
        let address = listener.local_addr().expect("bound");
        // A queue of length 0 has room for one.
        let queued = TcpStream::connect(address).await.expect("the first");
        Deaf { address, _held: (listener, queued) }
    }
}

// === impl Message ===

impl Message {
    /// The next; none at the end of the connection.
    async fn read(stream: &mut TcpStream, input: &mut BytesMut) -> Option<Message> {
        loop {
            if let Some(message) = Message::take(input) {
                return Some(message);
            }
            if !matches!(stream.read_buf(input).await, Ok(1..)) {
                return None;
            }
        }
    }

    fn take(input: &mut BytesMut) -> Option<Message> {
        let end = input.windows(4).position(|bytes| bytes == b"\r\n\r\n")?;
        let head = String::from_utf8_lossy(&input[..end]).into_owned();
        let mut lines = head.split("\r\n");
        let start = lines.next()?.to_owned();
        let fields = lines.filter_map(|line| line.split_once(": "));
        let fields = fields.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        let mut message = Message { start, fields, body: String::new() };
        let length: usize = message.value("content-length").unwrap_or("0").parse().expect("digits");
        if input.len() < end + 4 + length {
            return None;
        }
        let whole = input.split_to(end + 4 + length);
        message.body = String::from_utf8_lossy(&whole[end + 4..]).into_owned();
        Some(message)
    }

    pub fn status(&self) -> u16 {
        self.start.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("an answer")
    }

    /// What a request is for.
    pub fn target(&self) -> &str {
        self.start.split(' ').nth(1).expect("a request")
    }

    pub fn values(&self, name: &str) -> Vec<&str> {
        let named = self.fields.iter().filter(|(known, _)| known.eq_ignore_ascii_case(name));
        named.map(|(_, value)| value.as_str()).collect()
    }

    pub fn value(&self, name: &str) -> Option<&str> {
        self.values(name).first().copied()
    }

    /// Status and code of a refusal by the proxy; no code in what a service says.
    pub fn told(&self) -> (u16, Option<&str>) {
        (self.status(), self.value("polis-code"))
    }
}
