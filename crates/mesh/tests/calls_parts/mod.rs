//! A proxy in this process, a provider of Bolt whose behaviour each call asks
//! for by its method, and a client that sees frames.

use std::{
    net::SocketAddr,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use bytes::BytesMut;
use mesh::{Config, Handover, Options, Outcome, Proxy};
use rpc::bolt::{self, Command, FRAME_BYTES_MAX, Frame, Head, Kind, sofa};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinHandle,
    time::timeout,
};

/// Nothing here takes long; what never comes fails the test.
pub const LIMIT: Duration = Duration::from_secs(30);

pub struct Serving {
    pub address: SocketAddr,
    trigger: rt::Trigger,
    running: JoinHandle<Result<Outcome, mesh::Error>>,
}

pub struct Provider {
    pub address: SocketAddr,
    pub connections: Arc<AtomicUsize>,
    /// Calls that were ever held.
    held: watch::Receiver<usize>,
}

pub struct Client {
    stream: TcpStream,
    input: BytesMut,
}

/// A call as SOFARPC sends it, of this method.
pub fn call(id: u32, method: &str) -> Frame {
    let recorded = include_bytes!("../../../rpc/tests/golden/sofa.requests");
    let mut frame = next(&mut BytesMut::from(&recorded[..])).expect("recorded");
    frame.set_header(sofa::METHOD, method).expect("there is room");
    frame.set_id(id);
    frame
}

pub fn next(input: &mut BytesMut) -> Option<Frame> {
    bolt::next(input, FRAME_BYTES_MAX).expect("sound frames")
}

/// Id and status of an answer, and what it says.
pub fn told(answer: &Frame) -> (u32, u16, String) {
    let Kind::Response { status } = answer.head().kind else { panic!("no answer: {answer:?}") };
    (answer.head().id, status, String::from_utf8_lossy(answer.content()).into_owned())
}

// === impl Serving ===

impl Serving {
    /// One listener of Bolt, whose routes and clusters are the test's; `{A}`
    /// and `{B}` stand for providers.
    pub async fn start(rest: &str, providers: &[&Provider]) -> Serving {
        Serving::start_with(rest, providers, Options::default())
    }

    /// Takes over from whoever is behind `door`.
    pub async fn start_behind(door: &Path, rest: &str, providers: &[&Provider]) -> Serving {
        let handover = Some(Handover::join(door).await.expect("joined"));
        Serving::start_with(rest, providers, Options { handover, ..Options::default() })
    }

    fn start_with(rest: &str, providers: &[&Provider], options: Options) -> Serving {
        let listener = "[[listener]]\nname = 'calls'\naddress = '127.0.0.1:0'\nprotocol = 'bolt'\n";
        let mut text = format!("{rest}\n").replace("{LISTENER}", listener);
        for (name, provider) in ["{A}", "{B}"].iter().zip(providers) {
            text = text.replace(name, &provider.address.to_string());
        }
        let proxy = Proxy::build(Config::parse(&text, "test").expect("sound"), options);
        let proxy = proxy.expect("free");
        let address = *proxy.addresses().values().next().expect("it listens");
        let (trigger, drain) = rt::drain::channel();
        Serving { address, trigger, running: tokio::spawn(proxy.run(drain)) }
    }

    /// Ends it, for which everybody must have got his answer.
    pub async fn drain(self) {
        let _ = self.trigger.drain(LIMIT).await;
        timeout(LIMIT, self.running).await.expect("it ends").expect("whole").expect("well");
    }

    /// Waits for its end, which a successor brings about.
    pub async fn succeeded(self) {
        let outcome = timeout(LIMIT, self.running).await.expect("it ends").expect("whole");
        assert_eq!(outcome.expect("well"), Outcome::HandedOver);
    }
}

// === impl Provider ===

impl Provider {
    pub async fn start() -> Provider {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let address = listener.local_addr().expect("bound");
        let connections = Arc::new(AtomicUsize::new(0));
        let counted = connections.clone();
        let (holds, held) = watch::channel(0);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                counted.fetch_add(1, SeqCst);
                tokio::spawn(serve(stream, address, holds.clone()));
            }
        });
        Provider { address, connections, held }
    }

    /// A server of bytes, which does not wait until it is asked.
    pub async fn greeter() -> Provider {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let address = listener.local_addr().expect("bound");
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let _ = stream.write_all(b"I speak first\n").await;
                    let _ = tokio::io::copy(&mut stream, &mut tokio::io::sink()).await;
                });
            }
        });
        let (_, held) = watch::channel(0);
        Provider { address, connections: Arc::default(), held }
    }

    /// Waits until so many calls are here: those that meet on one connection
    /// come in no order.
    pub async fn holds(&self, count: usize) {
        let mut held = self.held.clone();
        let enough = held.wait_for(|held| *held >= count);
        timeout(LIMIT, enough).await.expect("they come").expect("it serves");
    }
}

/// `say` is answered with the provider's port, `left` with the timeout that the
/// call came with, `hold` when the next comes,
/// `never` not at all; `die` ends the connection, `leave` says goodbye first.
async fn serve(mut stream: TcpStream, address: SocketAddr, holds: watch::Sender<usize>) {
    let mut input = BytesMut::new();
    let mut held: Vec<Frame> = Vec::new();
    while matches!(stream.read_buf(&mut input).await, Ok(1..)) {
        while let Some(frame) = next(&mut input) {
            let mut out = Vec::new();
            let port = address.port().to_string();
            match sofa::header(&frame, sofa::METHOD) {
                None => out.push(frame.heartbeat_answer()),
                Some("die") => return,
                Some("never") => {}
                Some("left") => {
                    let Kind::Request { timeout_ms } = frame.head().kind else { return };
                    out.push(answer(&frame, &timeout_ms.to_string()));
                }
                Some("hold") => {
                    held.push(frame);
                    holds.send_modify(|held| *held += 1);
                }
                Some("leave") => {
                    out.push(Frame::go_away(frame.head().version, 0));
                    out.push(answer(&frame, &port));
                }
                Some(_) => {
                    out.push(answer(&frame, &port));
                    out.extend(held.drain(..).map(|held| answer(&held, "held")));
                }
            }
            for frame in out {
                let bytes = frame.into_parts().into_bytes();
                if stream.write_all(&bytes).await.is_err() {
                    return;
                }
            }
        }
    }
}

fn answer(frame: &Frame, text: &str) -> Frame {
    let kind = Kind::Response { status: 0 };
    let head = Head { kind, command: Command::RESPONSE, ..frame.head() };
    Frame::new(head, "", text.as_bytes())
}

// === impl Client ===

impl Client {
    pub async fn connect(address: SocketAddr) -> Client {
        let stream = TcpStream::connect(address).await.expect("it listens");
        Client { stream, input: BytesMut::new() }
    }

    pub async fn send(&mut self, frame: Frame) {
        self.send_bytes(&frame.into_parts().into_bytes()).await;
    }

    pub async fn send_bytes(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.expect("it reads");
    }

    /// The next frame; none at the end of the connection.
    pub async fn receive(&mut self) -> Option<Frame> {
        loop {
            if let Some(frame) = next(&mut self.input) {
                return Some(frame);
            }
            let read = timeout(LIMIT, self.stream.read_buf(&mut self.input)).await;
            if matches!(read.expect("in time"), Ok(0) | Err(_)) {
                return None;
            }
        }
    }

    /// So many bytes, of whatever protocol.
    pub async fn read(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count];
        let read = timeout(LIMIT, self.stream.read_exact(&mut bytes)).await;
        read.expect("in time").expect("so many come");
        bytes
    }

    pub async fn ask(&mut self, id: u32, method: &str) -> (u32, u16, String) {
        self.send(call(id, method)).await;
        told(&self.receive().await.expect("an answer"))
    }
}
