//! Which protocol a connection speaks, from its first bytes.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::{Buf as _, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf};

/// Longer request lines than this are HTTP/1's to refuse.
const LINE_BYTES_MAX: usize = 8 * 1024;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tongue {
    Http2,
    Http1,
    /// Not to be answered in a language that was not asked for: a client whose
    /// HTTP/2 is broken cannot read an error of HTTP/1.
    Neither,
}

/// What is spoken, once the first bytes say so; what was read stays in `input`.
/// A peer that leaves meanwhile has said nothing.
pub(crate) async fn tongue(
    io: &mut (impl AsyncRead + Unpin),
    input: &mut BytesMut,
) -> io::Result<Tongue> {
    loop {
        let count = input.len().min(http2::PREFACE.len());
        if input[..count] == http2::PREFACE[..count] {
            if count == http2::PREFACE.len() {
                return Ok(Tongue::Http2);
            }
        } else if let Some(end) = input.iter().position(|byte| *byte == b'\n') {
            let line = input[..end].trim_ascii_end();
            let is_http1 = [&b" HTTP/1.1"[..], b" HTTP/1.0"].iter().any(|end| line.ends_with(end));
            return Ok(if is_http1 { Tongue::Http1 } else { Tongue::Neither });
        } else if input.len() >= LINE_BYTES_MAX {
            return Ok(Tongue::Http1);
        }
        if io.read_buf(input).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}

/// A stream of which the beginning was read already.
pub(crate) struct Begun<IO> {
    pub input: BytesMut,
    pub io: IO,
}

// === impl Begun ===

impl<IO: AsyncRead + Unpin> AsyncRead for Begun<IO> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.input.is_empty() {
            return Pin::new(&mut self.io).poll_read(cx, buffer);
        }
        let count = self.input.len().min(buffer.remaining());
        buffer.put_slice(&self.input[..count]);
        self.input.advance(count);
        Poll::Ready(Ok(()))
    }
}

impl<IO: AsyncWrite + Unpin> AsyncWrite for Begun<IO> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt as _;

    use super::*;

    #[tokio::test]
    async fn the_first_bytes_decide_and_none_of_them_is_lost() {
        for (said, expected) in [
            (&b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nrest"[..], Some(Tongue::Http2)),
            (b"POST / HTTP/1.1\r\n\r\n", Some(Tongue::Http1)),
            (b"GET /health HTTP/1.0\n\n", Some(Tongue::Http1)),
            (b"PRI * HTTP/1.1\r\n\r\n", Some(Tongue::Http1)),
            (b"INVALID CONNECTION PREFACE\r\n\r\n", Some(Tongue::Neither)),
            (b"PRI * HTTP/2.0\r\n\r\nSM\r\r\n\r", Some(Tongue::Neither)),
            (b"PRI * HTTP/2", None),
            (b"GET /health HTTP", None),
            (b"", None),
        ] {
            let (mut theirs, mut ours) = tokio::io::duplex(1024);
            theirs.write_all(said).await.expect("there is room");
            drop(theirs);
            let mut input = BytesMut::new();
            assert_eq!(tongue(&mut ours, &mut input).await.ok(), expected);
            let mut all = Vec::new();
            Begun { input, io: ours }.read_to_end(&mut all).await.expect("all of it");
            assert_eq!(all, said);
        }
    }
}
