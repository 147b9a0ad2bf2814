//! Connections of a client to ports of a Pod.
//!
//! With SPDY each connection is a pair of streams, one for data and one for a
//! word about what went wrong; the older way has a pair of channels for each
//! port, dialed once.

use std::{collections::HashMap, io, sync::Arc, time::Duration};

use rt::Drain;
use runtime::Runtime;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpStream, tcp::OwnedReadHalf},
    task::JoinSet,
    time::Instant,
};

use super::{
    channels::Channels,
    lane::{Cut, Input, Output, Piece},
    options::Forward,
    session::{Session, Stream},
    upgrade::{Upgrade, Wire},
    wire,
};
use crate::pod::PodRef;

const PIECE: usize = 32 << 10;

/// For the second stream of a pair: a kubelet's.
const PAIRING_MAX: Duration = Duration::from_secs(30);

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Whose ports.
struct Target {
    pod: PodRef,
    runtime: Arc<Runtime>,
}

/// One connection, seen from its client.
struct Connection {
    port: u16,
    input: Input,
    output: Output,
    error: Output,
    cut: Cut,
}

/// Streams of a pair, by the client's number for it.
#[derive(Default)]
struct Pair {
    since: Option<Instant>,
    data: Option<Stream>,
    error: Option<Stream>,
}

pub(crate) async fn run(
    upgrade: Upgrade,
    options: Forward,
    pod: PodRef,
    runtime: Arc<Runtime>,
    drain: Drain,
) {
    let kind = upgrade.wire;
    let Some((reader, writer)) = wire::open(upgrade).await else { return };
    let target = Arc::new(Target { pod, runtime });
    match kind {
        Wire::Channels => {
            // Two for each port; there are few.
            let count = u8::try_from(options.ports.len() * 2).unwrap_or(u8::MAX);
            let channels = Channels::open(reader, writer, count);
            of_channels(channels, &options.ports, &target, drain).await;
        }
        Wire::Tunnel | Wire::Bare => {
            of_streams(Session::open(reader, writer), target, drain).await;
        }
    }
}

async fn of_channels(mut channels: Channels, ports: &[u16], target: &Arc<Target>, drain: Drain) {
    let mut connections = JoinSet::new();
    for (number, port) in (0_u8..).step_by(2).zip(ports) {
        let (output, error) = (channels.output(number), channels.output(number + 1));
        // Each begins with its port, in little endian.
        let _ = output.say(&port.to_le_bytes()).await;
        let _ = error.say(&port.to_le_bytes()).await;
        let Some(input) = channels.input(number) else { continue };
        let cut = channels.cut.clone();
        let connection = Connection { port: *port, input, output, error, cut };
        connections.spawn(serve(connection, target.clone()));
    }
    let (mut cut, pump) = channels.into_parts();
    tokio::select! {
        () = async { while connections.join_next().await.is_some() {} } => {}
        () = drain.started() => {}
        () = cut.wait() => {}
    }
    connections.shutdown().await;
    pump.finish().await;
}

async fn of_streams(mut session: Session, target: Arc<Target>, drain: Drain) {
    let mut pairs: HashMap<String, Pair> = HashMap::new();
    let mut connections = JoinSet::new();
    loop {
        let stream = tokio::select! {
            stream = session.accept() => stream,
            _ = connections.join_next(), if !connections.is_empty() => continue,
            () = drain.started() => None,
        };
        let Some(stream) = stream else { break };
        pairs.retain(|_, pair| pair.since.is_some_and(|since| since.elapsed() < PAIRING_MAX));
        let Some((id, port)) = named(&stream) else {
            let _ = stream.output.say(b"streams need the headers port and requestid").await;
            stream.output.finish().await;
            continue;
        };
        let pair = pairs.entry(id.clone()).or_default();
        pair.since.get_or_insert_with(Instant::now);
        match stream.headers.get("streamtype") {
            Some("error") => pair.error = Some(stream),
            Some("data") => pair.data = Some(stream),
            _ => {}
        }
        if let Pair { data: Some(_), error: Some(_), .. } = pair
            && let Some(Pair { data: Some(data), error: Some(error), .. }) = pairs.remove(&id)
        {
            let Stream { input, output, cut, .. } = data;
            let connection = Connection { port, input, output, error: error.output, cut };
            connections.spawn(serve(connection, target.clone()));
        }
    }
    connections.shutdown().await;
    drop(pairs);
    session.into_parts().1.finish().await;
}

fn named(stream: &Stream) -> Option<(String, u16)> {
    let port = stream.headers.get("port")?.parse().ok().filter(|port| *port > 0)?;
    Some((stream.headers.get("requestid")?.to_owned(), port))
}

async fn serve(connection: Connection, target: Arc<Target>) {
    let Connection { port, input, output, error, mut cut } = connection;
    let served = async {
        let stream = target.connect(port).await?;
        let _ = stream.set_nodelay(true);
        let (reader, mut writer) = stream.into_split();
        let to_target = async move {
            let mut input = input;
            while let Some(bytes) = input.recv().await {
                if writer.write_all(&bytes).await.is_err() {
                    return;
                }
            }
            let _ = writer.shutdown().await;
            // The other half may go on: what it says ends the connection.
        };
        // Whatever the client still sends after the target's last word is lost, as
        // it is with a connection that is closed.
        tokio::select! {
            ended = answer(reader, &output) => ended,
            never = async { to_target.await; std::future::pending().await } => never,
        }
    };
    let ended = tokio::select! {
        ended = served => ended,
        // It was reset, or nobody is there.
        () = cut.wait() => return,
    };
    output.finish().await;
    if let Err(why) = ended {
        let PodRef { name, uid, .. } = &target.pod;
        let text = format!("error forwarding port {port} to pod {name}, uid {uid}: {why}");
        let _ = error.say(text.as_bytes()).await;
    }
    error.finish().await;
}

/// What the target says, to its end.
async fn answer(reader: OwnedReadHalf, output: &Output) -> io::Result<()> {
    let mut reader = reader;
    loop {
        let mut piece = Piece::with_room(PIECE);
        if reader.read_buf(&mut piece.0).await? == 0 || output.send(piece).await.is_err() {
            return Ok(());
        }
    }
}

// === impl Target ===

impl Target {
    async fn connect(&self, port: u16) -> io::Result<TcpStream> {
        let (runtime, uid) = (self.runtime.clone(), self.pod.uid.clone());
        let found = tokio::task::spawn_blocking(move || runtime.listener(&uid, port)).await;
        let Some(address) = found.map_err(io::Error::other)? else {
            let why = format!("no process of the pod listens on port {port}");
            return Err(io::Error::new(io::ErrorKind::ConnectionRefused, why));
        };
        match tokio::time::timeout(CONNECT_TIMEOUT, TcpStream::connect(address)).await {
            Ok(connected) => connected,
            Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, "timed out")),
        }
    }
}
