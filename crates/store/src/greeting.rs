//! Which protocol a connection speaks, from its first bytes.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::{Buf as _, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf};

/// Whether it is HTTP/2, once its first bytes say so; what was read stays in
/// `input`. A peer that leaves meanwhile has said neither.
pub(crate) async fn is_http2(
    io: &mut (impl AsyncRead + Unpin),
    input: &mut BytesMut,
) -> io::Result<bool> {
    loop {
        let count = input.len().min(http2::PREFACE.len());
        if input[..count] != http2::PREFACE[..count] {
            return Ok(false);
        }
        if count == http2::PREFACE.len() {
            return Ok(true);
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
            (&b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nrest"[..], Some(true)),
            (b"POST / HTTP/1.1\r\n\r\n", Some(false)),
            (b"PRI * HTTP/1.1\r\n\r\n", Some(false)),
            (b"PRI * HTTP/2", None),
            (b"", None),
        ] {
            let (mut theirs, mut ours) = tokio::io::duplex(1024);
            theirs.write_all(said).await.expect("there is room");
            drop(theirs);
            let mut input = BytesMut::new();
            assert_eq!(is_http2(&mut ours, &mut input).await.ok(), expected);
            let mut all = Vec::new();
            Begun { input, io: ours }.read_to_end(&mut all).await.expect("all of it");
            assert_eq!(all, said);
        }
    }
}
