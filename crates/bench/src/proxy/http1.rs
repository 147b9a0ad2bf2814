//! HTTP/1.1 as a load generator speaks it: one request after the other on each
//! connection, and as much of an answer read as tells whether it is right.

use anyhow::{Context, bail};
use bytes::{Buf as _, BytesMut};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    time::Instant,
};

use super::{
    traffic::Traffic,
    users::{USER_BYTES, USER_HEADER, VERDICT_BYTES},
};
use crate::target::Stream;

/// An answer's head and body fit.
const READ_BYTES: usize = 16 * 1024;

/// What an answer's head says.
struct Head {
    bytes: usize,
    body_bytes: usize,
}

pub(crate) async fn drive(streams: Vec<Stream>, traffic: &Traffic<'_>) -> anyhow::Result<()> {
    let clients = streams.into_iter().map(|stream| one_connection(stream, traffic));
    futures::future::try_join_all(clients).await.map(drop)
}

async fn one_connection(mut stream: Stream, traffic: &Traffic<'_>) -> anyhow::Result<()> {
    let mut request =
        format!("GET /accounts/balance HTTP/1.1\r\nhost: bank\r\n{USER_HEADER}: ").into_bytes();
    let user_at = request.len();
    request.extend_from_slice(&[b'0'; USER_BYTES]);
    request.extend_from_slice(b"\r\nuser-agent: polis-bench\r\naccept: */*\r\n\r\n");
    let mut inbox = BytesMut::with_capacity(READ_BYTES);
    while traffic.pace.next().await {
        let (user, since) = (traffic.next_user(), Instant::now());
        request[user_at..user_at + USER_BYTES].copy_from_slice(user.id.as_bytes());
        stream.write_all(&request).await.context("send a request")?;
        stream.flush().await.context("send a request")?;
        let start = answer(&mut stream, &mut inbox, traffic.bytes).await?;
        traffic.check(user, start)?;
        if !traffic.answered(since) {
            break;
        }
    }
    Ok(())
}

async fn answer(
    stream: &mut Stream,
    inbox: &mut BytesMut,
    bytes: usize,
) -> anyhow::Result<[u8; VERDICT_BYTES]> {
    loop {
        if let Some(head) = head(inbox)? {
            if head.body_bytes != bytes {
                bail!("an answer of {} bytes instead of {bytes}", head.body_bytes);
            }
            if inbox.len() >= head.bytes + bytes {
                inbox.advance(head.bytes);
                let start = [inbox[0], inbox[1]];
                inbox.advance(bytes);
                return Ok(start);
            }
        }
        inbox.reserve(READ_BYTES / 2);
        if stream.read_buf(inbox).await.context("read an answer")? == 0 {
            bail!("the connection was closed instead of an answer");
        }
    }
}

/// None until it is whole.
fn head(inbox: &[u8]) -> anyhow::Result<Option<Head>> {
    let Some(end) = inbox.windows(4).position(|bytes| bytes == b"\r\n\r\n") else {
        return Ok(None);
    };
    let head = &inbox[..end];
    if !head.starts_with(b"HTTP/1.1 200") {
        bail!("refused: {}", String::from_utf8_lossy(head));
    }
    const NAME: &[u8] = b"content-length:";
    let length = head.split(|byte| *byte == b'\n').find_map(|line| {
        let (name, value) = line.split_at_checked(NAME.len())?;
        let value = std::str::from_utf8(value).ok()?;
        name.eq_ignore_ascii_case(NAME).then(|| value.trim().parse().ok())?
    });
    let body_bytes = length.context("an answer without a length")?;
    Ok(Some(Head { bytes: end + 4, body_bytes }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_read_once_it_is_whole_and_only_a_good_one() {
        let read = |text: &str| head(text.as_bytes());
        let whole = "HTTP/1.1 200 OK\r\nDate: x\r\nContent-Length: 12\r\n\r\nab";
        let found = read(whole).expect("it is right").expect("it is whole");
        assert_eq!((found.bytes, found.body_bytes), (whole.len() - 2, 12));
        assert!(read(&whole[..20]).expect("it may become right").is_none());
        assert!(read("HTTP/1.1 503 Service Unavailable\r\n\r\n").is_err());
        assert!(read("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").is_err());
    }
}
