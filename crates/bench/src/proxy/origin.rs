//! What proxies stand before: two units that answer at once, and an echo.
//!
//! An answer begins with the unit where its request arrived and with whether
//! it was stamped, so that whoever asked can judge what lies between.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use bytes::{Buf as _, Bytes, BytesMut};
use http_body_util::Full;
use http2::grpc::{self, Answer, Unread};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpSocket, TcpStream},
};

use super::{
    calls::CALL,
    users::{STAMP, STAMP_HEADER, Unit, VERDICT_BYTES, verdict},
};

#[derive(Clone, Copy, Debug)]
pub struct Origin {
    pub a: SocketAddr,
    pub b: SocketAddr,
    /// Gives back what comes.
    pub echo: SocketAddr,
    /// Of an answer's body.
    pub bytes: usize,
}

/// All clients connect at once, through a proxy that may do so too. A connection
/// that finds no place waits a second for its next attempt.
const BACKLOG: u32 = 4_096;

const READ_BYTES: usize = 16 * 1024;
const MESSAGE_BYTES_MAX: usize = 2 * 1024 * 1024;

/// How HTTP/2 begins, as far as it takes to tell it from a method.
const PREFACE_START: &[u8] = b"PRI ";

const MANNERS: http2::Manners = http2::Manners {
    limits: http2::Limits {
        streams: 4096,
        stream_window_bytes: 2 * 1024 * 1024,
        connection_window_bytes: 4 * 1024 * 1024,
        head_bytes: 64 * 1024,
        output_bytes: 256 * 1024,
    },
    ping_every: Duration::from_secs(3600),
    ping_answer_max: Duration::from_secs(20),
    stall_max: Duration::from_secs(300),
    send_buffer_bytes: 256 * 1024,
};

/// One unit's answers, made beforehand.
struct Answers {
    unit: Unit,
    /// To a request without the stamp, and to one with it.
    bodies: [Bytes; 2],
    whole: [Bytes; 2],
}

/// Serves until the process is ended.
pub async fn serve_origin(origin: Origin) -> anyhow::Result<()> {
    let unit = |unit, address| async move {
        let answers = Arc::new(Answers::new(unit, origin.bytes));
        accept(address, move |stream| answer(stream, answers.clone())).await
    };
    tokio::try_join!(unit(Unit::A, origin.a), unit(Unit::B, origin.b), accept(origin.echo, echo))?;
    Ok(())
}

async fn accept<F>(address: SocketAddr, serve: impl Fn(TcpStream) -> F) -> anyhow::Result<()>
where
    F: Future<Output = std::io::Result<()>> + Send + 'static,
{
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    let listener = socket.listen(BACKLOG)?;
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        // A client that goes away is no event.
        rt::spawn(rt::TaskKind::Connection, "connection", serve(stream));
    }
}

async fn echo(mut stream: TcpStream) -> std::io::Result<()> {
    let mut piece = vec![0; READ_BYTES];
    loop {
        match stream.read(&mut piece).await? {
            0 => return Ok(()),
            count => stream.write_all(&piece[..count]).await?,
        }
    }
}

async fn answer(mut stream: TcpStream, answers: Arc<Answers>) -> std::io::Result<()> {
    let mut inbox = BytesMut::with_capacity(READ_BYTES);
    let mut outbox = BytesMut::with_capacity(READ_BYTES);
    loop {
        inbox.reserve(READ_BYTES / 2);
        if stream.read_buf(&mut inbox).await? == 0 {
            return Ok(());
        }
        if inbox.starts_with(PREFACE_START) {
            let _ = http2::drive(stream, inbox, answers, MANNERS, std::future::pending()).await;
            return Ok(());
        }
        // Nobody sends a body here.
        while let Some(end) = inbox.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
            let is_stamped = is_stamped(&inbox[..end]);
            outbox.extend_from_slice(&answers.whole[usize::from(is_stamped)]);
            inbox.advance(end + 4);
        }
        stream.write_all_buf(&mut outbox).await?;
    }
}

fn is_stamped(head: &[u8]) -> bool {
    let stamped = |line: &[u8]| {
        let (name, value) = line.split_at_checked(STAMP_HEADER.len())?;
        let value = value.strip_prefix(b":")?.trim_ascii();
        name.eq_ignore_ascii_case(STAMP_HEADER.as_bytes()).then_some(value == STAMP.as_bytes())
    };
    head.split(|byte| *byte == b'\n').find_map(stamped).unwrap_or(false)
}

// === impl Answers ===

impl Answers {
    fn new(unit: Unit, bytes: usize) -> Answers {
        let bodies = [false, true].map(|stamped| {
            let mut body = vec![b'.'; bytes.max(VERDICT_BYTES)];
            body[..VERDICT_BYTES].copy_from_slice(&verdict(unit, stamped));
            Bytes::from(body)
        });
        let whole = bodies.each_ref().map(|body| {
            let length = body.len();
            let head = format!(
                "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: {length}\r\n\r\n"
            );
            [head.as_bytes(), body].concat().into()
        });
        Answers { unit, bodies, whole }
    }
}

impl http2::Handler for Answers {
    /// Whether it is stamped.
    type Plan = bool;
    type Body = Full<Bytes>;

    fn unary(&self, head: &Arc<http2::Head>) -> Option<bool> {
        let stamp = head.get(STAMP_HEADER);
        (head.path == CALL).then(|| stamp.is_some_and(|stamp| stamp == STAMP))
    }

    fn message_bytes_max(&self) -> usize {
        MESSAGE_BYTES_MAX
    }

    /// Gives the message back, but for its beginning.
    async fn answer(self: Arc<Self>, is_stamped: bool, message: Result<Bytes, Unread>) -> Answer {
        let message = match message {
            Ok(message) => message,
            Err(unread) => return unread.into(),
        };
        let mut out = grpc::prefixed(message.len());
        out.extend_from_slice(&message);
        let start = out.iter_mut().skip(grpc::PREFIX_BYTES);
        start.zip(verdict(self.unit, is_stamped)).for_each(|(place, byte)| *place = byte);
        Answer::Message(out.freeze())
    }

    async fn stream(
        self: Arc<Self>,
        request: http::Request<http2::Body>,
    ) -> http::Response<Full<Bytes>> {
        let stamp = request.headers().get(STAMP_HEADER);
        let is_stamped = stamp.is_some_and(|stamp| stamp == STAMP);
        let body = self.bodies[usize::from(is_stamped)].clone();
        let response = http::Response::builder()
            .header("content-type", "text/plain")
            .header("content-length", body.len());
        response.body(Full::new(body)).expect("its headers are right")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_is_seen_wherever_it_stands_and_only_with_its_value() {
        for (head, expected) in [
            ("GET / HTTP/1.1\r\nhost: x\r\npolis-stamp: bench", true),
            ("GET / HTTP/1.1\r\nPolis-Stamp:bench\r\nhost: x", true),
            ("GET / HTTP/1.1\r\npolis-stamp: other", false),
            ("GET /polis-stamp:bench HTTP/1.1\r\nhost: x", false),
        ] {
            assert_eq!(is_stamped(head.as_bytes()), expected, "{head}");
        }
    }
}
