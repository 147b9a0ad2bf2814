//! HTTP/1.1 as far as a generator needs it: one request under way on a
//! connection that is kept, and as much of an answer looked at as tells its
//! status and where it ends.

use anyhow::{Context as _, bail};
use bytes::{Buf as _, Bytes, BytesMut};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::target::{Stream, Target};

pub(crate) const OK: u16 = 200;
pub(crate) const CREATED: u16 = 201;

const READ_BYTES: usize = 64 * 1024;

/// A head that is longer is none.
const HEAD_BYTES_MAX: usize = 64 * 1024;

/// A chunk that is longer is refused: nobody sends such ones.
const CHUNK_BYTES_MAX: usize = 64 * 1024 * 1024;

pub(crate) struct Connection {
    stream: Stream,
    inbox: BytesMut,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub status: u16,
    pub body_bytes: usize,
}

/// How long a body is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Body {
    Known(usize),
    Chunked,
}

// === impl Connection ===

impl Connection {
    pub async fn open(target: &Target) -> anyhow::Result<Connection> {
        let stream = target.connect().await.context("connect")?;
        Ok(Connection { stream, inbox: BytesMut::with_capacity(READ_BYTES) })
    }

    /// The answer, whose body is dropped.
    pub async fn ask(&mut self, request: &[u8]) -> anyhow::Result<Answer> {
        let (status, body) = self.begin(request).await?;
        let body_bytes = match body {
            Body::Known(bytes) => {
                self.skip(bytes).await?;
                bytes
            }
            Body::Chunked => {
                let mut bytes = 0;
                while let Some(chunk) = self.chunk_head().await? {
                    self.skip(chunk + 2).await?;
                    bytes += chunk;
                }
                bytes
            }
        };
        Ok(Answer { status, body_bytes })
    }

    /// The answer's body, whole.
    pub async fn read(&mut self, request: &[u8]) -> anyhow::Result<(u16, Vec<u8>)> {
        let (status, body) = self.begin(request).await?;
        let mut read = Vec::new();
        match body {
            Body::Known(bytes) => read.extend_from_slice(&self.take(bytes).await?),
            Body::Chunked => {
                while let Some(chunk) = self.chunk().await? {
                    read.extend_from_slice(&chunk);
                }
            }
        }
        Ok((status, read))
    }

    /// An answer that goes on: its body is read by [`Connection::chunk`].
    pub async fn follow(&mut self, request: &[u8]) -> anyhow::Result<()> {
        match self.begin(request).await? {
            (OK, Body::Chunked) => Ok(()),
            (status, _) => bail!("a watch was answered with {status}"),
        }
    }

    /// The next piece of the body, none at its end.
    pub async fn chunk(&mut self) -> anyhow::Result<Option<Bytes>> {
        let Some(bytes) = self.chunk_head().await? else { return Ok(None) };
        let chunk = self.take(bytes).await?;
        self.skip(2).await?;
        Ok(Some(chunk))
    }

    async fn begin(&mut self, request: &[u8]) -> anyhow::Result<(u16, Body)> {
        self.stream.write_all(request).await.context("send a request")?;
        self.stream.flush().await.context("send a request")?;
        loop {
            if let Some((bytes, status, body)) = head(&self.inbox)? {
                self.inbox.advance(bytes);
                return Ok((status, body));
            }
            if self.inbox.len() > HEAD_BYTES_MAX {
                bail!("an answer's head does not end");
            }
            self.fill().await?;
        }
    }

    /// The length of the next chunk; at the last one, what ends the body is
    /// taken too.
    async fn chunk_head(&mut self) -> anyhow::Result<Option<usize>> {
        loop {
            if let Some(end) = self.inbox.windows(2).position(|bytes| bytes == b"\r\n") {
                let text = std::str::from_utf8(&self.inbox[..end]).context("read a chunk")?;
                let bytes = usize::from_str_radix(text.trim(), 16).context("read a chunk")?;
                if bytes > CHUNK_BYTES_MAX {
                    bail!("a chunk of {bytes} bytes");
                }
                self.inbox.advance(end + 2);
                if bytes == 0 {
                    self.skip(2).await?;
                    return Ok(None);
                }
                return Ok(Some(bytes));
            }
            self.fill().await?;
        }
    }

    async fn take(&mut self, bytes: usize) -> anyhow::Result<Bytes> {
        while self.inbox.len() < bytes {
            self.fill().await?;
        }
        Ok(self.inbox.split_to(bytes).freeze())
    }

    async fn skip(&mut self, bytes: usize) -> anyhow::Result<()> {
        let mut left = bytes;
        while left > self.inbox.len() {
            left -= self.inbox.len();
            self.inbox.clear();
            self.fill().await?;
        }
        self.inbox.advance(left);
        Ok(())
    }

    async fn fill(&mut self) -> anyhow::Result<()> {
        self.inbox.reserve(READ_BYTES / 2);
        match self.stream.read_buf(&mut self.inbox).await.context("read an answer")? {
            0 => bail!("the connection was closed instead of an answer"),
            _ => Ok(()),
        }
    }
}

/// None until it is whole.
fn head(inbox: &[u8]) -> anyhow::Result<Option<(usize, u16, Body)>> {
    let Some(end) = inbox.windows(4).position(|bytes| bytes == b"\r\n\r\n") else {
        return Ok(None);
    };
    let text = std::str::from_utf8(&inbox[..end]).context("read an answer's head")?;
    let mut lines = text.split("\r\n");
    let status = lines.next().and_then(|line| line.strip_prefix("HTTP/1.1 ")?.get(..3));
    let status = status.and_then(|status| status.parse().ok()).context("no answer of HTTP/1.1")?;
    let mut body = None;
    for (name, value) in lines.filter_map(|line| line.split_once(':')) {
        if name.eq_ignore_ascii_case("content-length") {
            body = Some(Body::Known(value.trim().parse().context("read a length")?));
        } else if name.eq_ignore_ascii_case("transfer-encoding") {
            body = Some(Body::Chunked);
        }
    }
    let body = body.context("an answer without a length")?;
    Ok(Some((end + 4, status, body)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_read_once_it_is_whole() {
        let read = |text: &str| head(text.as_bytes());
        let whole = "HTTP/1.1 201 Created\r\nDate: x\r\nContent-Length: 12\r\n\r\nab";
        let found = read(whole).expect("it is right").expect("it is whole");
        assert_eq!(found, (whole.len() - 2, 201, Body::Known(12)));
        assert!(read(&whole[..20]).expect("it may become right").is_none());
        let chunked = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
        assert!(matches!(read(chunked), Ok(Some((_, 200, Body::Chunked)))));
        assert!(read("HTTP/1.0 200 OK\r\n\r\n").is_err());
    }
}
