//! Writes of one connection, gathered.
//!
//! Answers become ready one by one, by the dozen, and each asks for a flush.
//! A system call for each would cost more than all else about a small answer.
//! So the first flush steps back behind the tasks that are ready to run: what
//! they answer meanwhile goes out with it, in one write.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Kept until a flush; beyond it, written at once. Two of HTTP/2's frames.
const PENDING_BYTES_MAX: usize = 32 * 1024;

/// A stream that writes as late as it may.
pub struct Gather<T> {
    io: T,
    pending: Vec<u8>,
    /// Of `pending`, what is written already.
    written: usize,
    has_stepped_back: bool,
}

// === impl Gather ===

impl<T> Gather<T> {
    #[must_use]
    pub fn new(io: T) -> Gather<T> {
        Gather { io, pending: Vec::new(), written: 0, has_stepped_back: false }
    }
}

impl<T: AsyncWrite + Unpin> Gather<T> {
    fn poll_write_pending(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.written < self.pending.len() {
            let rest = &self.pending[self.written..];
            match ready!(Pin::new(&mut self.io).poll_write(cx, rest))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                count => self.written += count,
            }
        }
        self.pending.clear();
        self.written = 0;
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Gather<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buffer)
    }
}

/// Not vectored, so that whoever writes hands over headers and bodies in one
/// piece.
impl<T: AsyncWrite + Unpin> AsyncWrite for Gather<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if !self.pending.is_empty() && self.pending.len() + bytes.len() > PENDING_BYTES_MAX {
            ready!(self.poll_write_pending(cx))?;
        }
        if bytes.len() > PENDING_BYTES_MAX {
            return Pin::new(&mut self.io).poll_write(cx, bytes);
        }
        self.pending.extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.pending.is_empty() {
            if !std::mem::replace(&mut self.has_stepped_back, true) {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            ready!(self.poll_write_pending(cx))?;
        }
        self.has_stepped_back = false;
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_write_pending(cx))?;
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    /// Whether the next flush, polled once, is not done yet.
    async fn steps_back(gather: &mut (impl AsyncWrite + Unpin)) -> bool {
        let polled = |cx: &mut Context<'_>| Poll::Ready(Pin::new(&mut *gather).poll_flush(cx));
        std::future::poll_fn(polled).await.is_pending()
    }

    #[tokio::test]
    async fn what_is_answered_while_a_flush_steps_back_goes_out_with_it() {
        let (ours, mut theirs) = tokio::io::duplex(1 << 20);
        let mut gather = Gather::new(ours);
        gather.write_all(b"one").await.expect("it is kept");
        assert!(steps_back(&mut gather).await);
        gather.write_all(b" two").await.expect("it is kept");
        gather.flush().await.expect("it is written");
        let mut read = [0; 64];
        let count = theirs.read(&mut read).await.expect("both");
        assert_eq!(&read[..count], b"one two");
        // The next flush steps back for itself.
        gather.write_all(b"three").await.expect("it is kept");
        assert!(steps_back(&mut gather).await);
        gather.shutdown().await.expect("it is written");
        assert_eq!(theirs.read(&mut read).await.expect("the rest"), 5);
    }

    #[tokio::test]
    async fn a_slow_reader_gets_every_byte_in_order() {
        let (ours, mut theirs) = tokio::io::duplex(1000);
        let mut gather = Gather::new(ours);
        let sent: Vec<u8> = (0..300_000u32).map(|n| (n % 251) as u8).collect();
        let sending = async {
            for piece in [&sent[..10], &sent[10..40_000], &sent[40_000..70_000], &sent[70_000..]] {
                gather.write_all(piece).await.expect("it is taken");
            }
            gather.shutdown().await.expect("it is written");
        };
        let mut received = Vec::new();
        let (read, ()) = tokio::join!(theirs.read_to_end(&mut received), sending);
        assert_eq!((read.expect("all of it"), received == sent), (sent.len(), true));
    }
}
