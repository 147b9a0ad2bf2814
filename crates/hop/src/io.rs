//! A stream with what was read and not yet taken, and what is to be written.
//!
//! A connection that idles keeps no buffer at all: reading goes through one
//! scratch buffer a thread, and what is kept is as large as what came.

use std::{
    cell::RefCell,
    io,
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf as _, BytesMut};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

use crate::transport::Stream;

/// One read: as much as the kernel's buffer usually has.
const SCRATCH_BYTES: usize = 64 << 10;

thread_local! {
    static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; SCRATCH_BYTES].into());
}

pub struct Io {
    stream: Stream,
    /// Read and not yet taken.
    pub input: BytesMut,
    /// To be written.
    pub output: BytesMut,
    /// The peer will send no more.
    pub ended: bool,
}

// === impl Io ===

impl Io {
    pub fn new(stream: Stream) -> Io {
        Io { stream, input: BytesMut::new(), output: BytesMut::new(), ended: false }
    }

    /// What a server has agreed to speak, where TLS asked it.
    pub fn alpn(&self) -> Option<Option<&[u8]>> {
        match &self.stream {
            Stream::Connected(stream) => Some(stream.get_ref().1.alpn_protocol()),
            _ => None,
        }
    }

    /// Where the peer has come in.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.stream.tcp().local_addr()
    }

    pub fn is_plain(&self) -> bool {
        matches!(self.stream, Stream::Plain(_))
    }

    /// The connection alone, if it has no state but the kernel's.
    pub fn into_plain(self) -> Option<TcpStream> {
        match self.stream {
            Stream::Plain(stream) => Some(stream),
            Stream::Accepted(_) | Stream::Connected(_) => None,
        }
    }

    /// Reads once; 0 is the end.
    pub fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        SCRATCH.with_borrow_mut(|scratch| {
            let mut buf = ReadBuf::new(scratch);
            ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buf))?;
            let read = buf.filled();
            self.ended |= read.is_empty();
            self.input.extend_from_slice(read);
            Poll::Ready(Ok(read.len()))
        })
    }

    /// Writes what is taken at once, past the output.
    pub fn poll_write(&mut self, bytes: &[u8], cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        match ready!(Pin::new(&mut self.stream).poll_write(cx, bytes))? {
            0 => Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
            written => Poll::Ready(Ok(written)),
        }
    }

    /// Has all that was written go out.
    pub fn poll_written(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    /// Writes all of the output.
    pub fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.output.is_empty() {
            return Poll::Ready(Ok(()));
        }
        while !self.output.is_empty() {
            let written = ready!(Pin::new(&mut self.stream).poll_write(cx, &self.output))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.output.advance(written);
        }
        self.output = BytesMut::new();
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    /// Reads once from here and writes to `to` what it takes at once; what it
    /// does not take becomes its output. 0 is the end.
    pub fn poll_pass(&mut self, to: &mut Io, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        SCRATCH.with_borrow_mut(|scratch| {
            let mut buf = ReadBuf::new(scratch);
            ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buf))?;
            let read = buf.filled();
            self.ended |= read.is_empty();
            let mut sent = 0;
            if to.output.is_empty()
                && !read.is_empty()
                && let Poll::Ready(written) = Pin::new(&mut to.stream).poll_write(cx, read)
            {
                sent = written?;
            }
            to.output.extend_from_slice(&read[sent..]);
            Poll::Ready(Ok(read.len()))
        })
    }

    pub fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_flush(cx))?;
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    /// Whether nothing has come, the end included, since it was put away. What
    /// TLS says to itself, such as tickets for later, is nothing.
    pub fn is_quiet(&mut self, cx: &mut Context<'_>) -> bool {
        self.input.is_empty()
            && !self.ended
            && (self.stream.tcp().poll_read_ready(cx).is_pending()
                || self.poll_fill(cx).is_pending())
    }
}

/// Reads until `input` has grown or the peer has ended.
pub async fn fill(io: &RefCell<Io>) -> io::Result<usize> {
    std::future::poll_fn(|cx| io.borrow_mut().poll_fill(cx)).await
}

pub async fn flush(io: &RefCell<Io>) -> io::Result<()> {
    std::future::poll_fn(|cx| io.borrow_mut().poll_flush(cx)).await
}
