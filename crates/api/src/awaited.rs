//! A connection whose other end has to say something before long: who finished
//! a handshake and is silent would keep a place from others for ever. Neither
//! telling HTTP/1 from HTTP/2 by the first bytes nor HTTP/2's greeting, which may
//! fail to come even where ALPN agreed on it, has a bound of its own.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Sleep, sleep},
};

/// As long as HTTP/2's greeting; a request of HTTP/1.1 with a host is longer.
const FIRST_BYTES: usize = 24;

pub struct Awaited<S> {
    io: S,
    missing: usize,
    /// Gone once nothing is missing.
    deadline: Option<Pin<Box<Sleep>>>,
}

// === impl Awaited ===

impl<S> Awaited<S> {
    /// Must be called within a runtime.
    pub fn new(io: S, patience: Duration) -> Awaited<S> {
        Awaited { io, missing: FIRST_BYTES, deadline: Some(Box::pin(sleep(patience))) }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Awaited<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let read = Pin::new(&mut self.io).poll_read(cx, buf);
        let Some(deadline) = &mut self.deadline else { return read };
        if read.is_pending() {
            ready!(deadline.as_mut().poll(cx));
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        self.missing = self.missing.saturating_sub(buf.filled().len() - before);
        if self.missing == 0 {
            self.deadline = None;
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Awaited<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
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
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(30);

    #[tokio::test(start_paused = true)]
    async fn who_says_too_little_is_not_waited_for_and_who_spoke_may_be_silent() {
        let long = [b'x'; FIRST_BYTES];
        for (said, waits) in [(&b""[..], false), (b"PRI * HTTP", false), (&long, true)] {
            let (mut client, server) = duplex(64);
            let mut server = Awaited::new(server, PATIENCE);
            client.write_all(said).await.expect("room");
            let mut heard = vec![0; said.len()];
            server.read_exact(&mut heard).await.expect("what was said");
            let more = tokio::time::timeout(2 * PATIENCE, server.read_u8()).await;
            match more {
                Err(_) => assert!(waits, "{said:?}"),
                Ok(read) => {
                    assert!(!waits, "{said:?}");
                    assert_eq!(read.expect_err("no more").kind(), io::ErrorKind::TimedOut);
                }
            }
        }
    }
}
