//! One connection through the proxy: packets up, bytes down, and its end.

use std::{
    collections::{HashMap, VecDeque},
    io,
    sync::{Mutex, MutexGuard},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{
        TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::watch,
    time::timeout,
};

use super::{Control, Flow, command::Command, rule::Fault};

const HEADER: usize = 4;

/// Begins a command; packets of a login have higher numbers.
const FIRST: u8 = 0;

/// Of a client's first packet: what follows is not readable here.
const CAPABILITY_COMPRESS: u32 = 1 << 5;
const CAPABILITY_SSL: u32 = 1 << 11;
const CAPABILITY_ZSTD: u32 = 1 << 26;

const COM_STMT_PREPARE: u8 = 0x16;

/// Of a prepared statement's text; COMMITs are shorter.
const TEXT_MAX: usize = 1024;

/// A server that is down answers nothing; a cut after its answer waits no
/// longer.
const ANSWER_LIMIT: Duration = Duration::from_secs(30);

/// Prepared statements of one connection.
#[derive(Default)]
struct Statements {
    /// Asked for and not answered yet, in order.
    asked: VecDeque<Bytes>,
    by_number: HashMap<u32, Bytes>,
}

/// How the plain relay ended.
enum End {
    Closed,
    Struck(Fault, Bytes),
}

/// Relays until one side closes, a fault strikes or everything is cut.
pub async fn relay(client: TcpStream, control: &Control) {
    let mut cut = control.cut.subscribe();
    cut.mark_unchanged();
    let mut flow = control.flow.subscribe();
    // A stalled network lets nobody through to the server.
    if open(&mut flow).await.is_err() {
        return;
    }
    let Ok(server) = TcpStream::connect(("127.0.0.1", control.upstream)).await else { return };
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let statements = Mutex::new(Statements::default());
    let mut flow_down = flow.clone();
    let end = tokio::select! {
        end = up(&mut from_client, &mut to_server, &mut flow, &statements, control) => end,
        _ = down(&mut from_server, &mut to_client, &mut flow_down, &statements) => Ok(End::Closed),
        _ = cut.changed() => return,
    };
    let Ok(End::Struck(fault, packet)) = end else { return };
    let struck = async {
        match fault {
            Fault::CutBefore | Fault::Delay(_) => {}
            Fault::CutAfter => {
                let _ = carry_out(&mut to_server, &mut from_server, &packet).await;
            }
            Fault::CutAndLate(pause) => {
                drop((from_client, to_client));
                tokio::time::sleep(pause).await;
                let _ = carry_out(&mut to_server, &mut from_server, &packet).await;
            }
            Fault::SwallowBefore => swallow(&mut from_client).await,
            Fault::SwallowAfter => {
                let _ = carry_out(&mut to_server, &mut from_server, &packet).await;
                swallow(&mut from_client).await;
            }
        }
    };
    tokio::select! {
        () = struck => {}
        _ = cut.changed() => {}
    }
}

/// Whole packets, so that a fault strikes between them.
async fn up(
    from: &mut OwnedReadHalf,
    to: &mut OwnedWriteHalf,
    flow: &mut watch::Receiver<Flow>,
    statements: &Mutex<Statements>,
    control: &Control,
) -> io::Result<End> {
    let mut buffer = BytesMut::new();
    let mut is_opaque = false;
    let mut is_first = true;
    loop {
        if from.read_buf(&mut buffer).await? == 0 {
            return Ok(End::Closed);
        }
        open(flow).await?;
        if is_opaque {
            to.write_all_buf(&mut buffer).await?;
            continue;
        }
        while let Some(packet) = take_packet(&mut buffer) {
            let (number, payload) = (packet[3], packet.slice(HEADER..));
            if std::mem::take(&mut is_first) {
                is_opaque = hides_what_follows(&payload);
            } else if number == FIRST
                && let Some(fault) = judge(&payload, statements, control)
            {
                match fault {
                    Fault::Delay(pause) => tokio::time::sleep(pause).await,
                    fault => return Ok(End::Struck(fault, packet)),
                }
            }
            to.write_all(&packet).await?;
        }
    }
}

fn judge(payload: &Bytes, statements: &Mutex<Statements>, control: &Control) -> Option<Fault> {
    let mut statements = lock(statements);
    if payload.first() == Some(&COM_STMT_PREPARE) {
        let text = payload.slice(1..payload.len().min(TEXT_MAX));
        statements.asked.push_back(text);
    }
    let prepared = |number| statements.by_number.get(&number).map(|text| &text[..]);
    let command = Command::parse(payload, prepared)?;
    control.judge(&command)
}

/// Bytes as they come, with a look at the answers to preparations.
async fn down(
    from: &mut OwnedReadHalf,
    to: &mut OwnedWriteHalf,
    flow: &mut watch::Receiver<Flow>,
    statements: &Mutex<Statements>,
) -> io::Result<()> {
    let mut answers = Answers::default();
    let mut buffer = BytesMut::with_capacity(64 << 10);
    while from.read_buf(&mut buffer).await? != 0 {
        open(flow).await?;
        answers.follow(&buffer, &mut lock(statements));
        to.write_all_buf(&mut buffer).await?;
        buffer.reserve(64 << 10);
    }
    Ok(())
}

async fn carry_out(
    to: &mut OwnedWriteHalf,
    from: &mut OwnedReadHalf,
    packet: &Bytes,
) -> io::Result<()> {
    to.write_all(packet).await?;
    // Its first byte comes when it is done.
    let answered = timeout(ANSWER_LIMIT, from.read_u8()).await;
    answered.map_err(io::Error::other)?.map(drop)
}

/// Reads until the client closes.
async fn swallow(from: &mut OwnedReadHalf) {
    let mut bytes = vec![0; 64 << 10];
    while from.read(&mut bytes).await.is_ok_and(|count| count > 0) {}
}

/// Waits while the flow is stalled.
async fn open(flow: &mut watch::Receiver<Flow>) -> io::Result<()> {
    flow.wait_for(|flow| *flow == Flow::Open).await.map(drop).map_err(io::Error::other)
}

fn take_packet(buffer: &mut BytesMut) -> Option<Bytes> {
    let whole = HEADER + length(buffer.get(..HEADER)?);
    (buffer.len() >= whole).then(|| buffer.split_to(whole).freeze())
}

fn hides_what_follows(login: &[u8]) -> bool {
    let capabilities = login.first_chunk().map_or(0, |bytes| u32::from_le_bytes(*bytes));
    capabilities & (CAPABILITY_COMPRESS | CAPABILITY_SSL | CAPABILITY_ZSTD) != 0
}

fn lock(statements: &Mutex<Statements>) -> MutexGuard<'_, Statements> {
    statements.lock().expect("no holder panics")
}

/// Of the payload, from a header's first three bytes.
fn length(header: &[u8]) -> usize {
    usize::from(header[0]) | usize::from(header[1]) << 8 | usize::from(header[2]) << 16
}

/// Follows a server's packets through chunks cut anywhere, as far as needed to
/// learn the numbers of prepared statements. They are right for a client that
/// waits for each answer.
#[derive(Default)]
struct Answers {
    /// Of the present packet: its first bytes, and how many are still to come.
    head: Vec<u8>,
    rest: usize,
}

/// Header, status byte and statement number.
const HEAD: usize = HEADER + 5;

/// The first packet of an answer.
const ANSWER: u8 = 1;

// === impl Answers ===

impl Answers {
    fn follow(&mut self, mut chunk: &[u8], statements: &mut Statements) {
        while !chunk.is_empty() {
            if self.head.len() < HEADER {
                let take = (HEADER - self.head.len()).min(chunk.len());
                self.head.extend(&chunk[..take]);
                chunk = &chunk[take..];
                if self.head.len() < HEADER {
                    return;
                }
                self.rest = length(&self.head);
            }
            let take = self.rest.min(chunk.len());
            let keep = take.min(HEAD.saturating_sub(self.head.len()));
            self.head.extend(&chunk[..keep]);
            self.rest -= take;
            chunk = &chunk[take..];
            if self.rest == 0 {
                statements.answered(&self.head);
                self.head.clear();
            }
        }
    }
}

// === impl Statements ===

impl Statements {
    fn answered(&mut self, head: &[u8]) {
        if head[3] != ANSWER || self.asked.is_empty() {
            return;
        }
        let text = self.asked.pop_front().expect("it is not empty");
        // Anything else is an error.
        if let [0, number @ ..] = &head[HEADER..]
            && let Some(number) = number.first_chunk()
        {
            self.by_number.insert(u32::from_le_bytes(*number), text);
        }
    }
}
