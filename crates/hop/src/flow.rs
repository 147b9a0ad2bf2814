//! Bodies on their way: a source gives pieces, a sink takes them, a pump moves
//! them, whichever wires the two ends are.

use std::{
    cell::RefCell,
    io,
    rc::Rc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http::HeaderMap;
use http2::Code;

use crate::{
    h1::{Coder, Decoded, Decoder, Malformed},
    h2::Stream,
    io::Io,
    patience::{End, Patience},
};

/// A sink with more than this to write takes no more before it has written.
const OUTPUT_BYTES_MAX: usize = 64 << 10;
/// As much of a body as is kept for another try.
const KEPT_BYTES_MAX: usize = 64 << 10;

#[derive(Clone, Debug)]
pub enum Piece {
    Data(Bytes),
    Trailers(HeaderMap),
}

/// Where a body comes from.
pub enum Source<'a> {
    Empty,
    Whole(Bytes),
    H1 { io: &'a RefCell<Io>, decoder: Decoder },
    H2 { stream: Rc<Stream> },
}

/// A body that may be sent again: what was taken of it is kept while it is
/// small enough.
pub struct Body<'a> {
    source: Source<'a>,
    kept: Vec<Piece>,
    kept_bytes: usize,
    /// How much of what is kept has been given in this round.
    given: usize,
    keeping: bool,
    touched: bool,
}

/// Where a body goes.
pub enum Sink<'a> {
    Nowhere,
    H1 { io: &'a RefCell<Io>, coder: Coder },
    H2 { stream: Rc<Stream> },
}

/// Why a body ended before its end.
#[derive(Debug, thiserror::Error)]
pub enum Broken {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("{0}")]
    Malformed(#[from] Malformed),
    #[error("the stream was reset: {0:?}")]
    Reset(Code),
    #[error("the endpoint answered {0}")]
    Answered(http::StatusCode),
    #[error("it comes too slowly")]
    TooSlow,
}

/// Which end broke.
#[derive(Debug)]
pub enum Cut {
    Source(Broken),
    Sink,
}

/// Moves pieces until the source has ended and the sink has all of it.
pub struct Pump {
    ended: bool,
    done: bool,
    /// Bytes that the source has given.
    taken: u64,
    /// Whom it stands still for.
    awaited: End,
    /// With either end, if it is one that may not be slow.
    patience: [Option<Patience>; 2],
}

// === impl Source ===

impl Source<'_> {
    /// Whether nothing is to come, as far as is known without looking.
    pub fn is_end(&self) -> bool {
        match self {
            Source::Empty => true,
            Source::Whole(bytes) => bytes.is_empty(),
            Source::H1 { decoder, .. } => decoder.is_done(),
            Source::H2 { stream } => stream.is_end(),
        }
    }

    /// The length, if it was said.
    pub fn said(&self) -> Option<u64> {
        match self {
            Source::Empty => Some(0),
            Source::Whole(bytes) => Some(bytes.len() as u64),
            Source::H1 { decoder, .. } => decoder.said(),
            Source::H2 { stream } if stream.is_end() => Some(0),
            Source::H2 { .. } => None,
        }
    }

    pub fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Piece>, Broken>> {
        match self {
            Source::Empty => Poll::Ready(Ok(None)),
            Source::Whole(bytes) => {
                let bytes = std::mem::take(bytes);
                Poll::Ready(Ok((!bytes.is_empty()).then_some(Piece::Data(bytes))))
            }
            Source::H1 { io, decoder } => {
                let mut io = io.borrow_mut();
                loop {
                    let ended = io.ended;
                    match decoder.decode(&mut io.input, ended)? {
                        Decoded::Piece(piece) => return Poll::Ready(Ok(Some(piece))),
                        Decoded::End => return Poll::Ready(Ok(None)),
                        Decoded::NeedMore => {
                            ready!(io.poll_fill(cx))?;
                        }
                    }
                }
            }
            Source::H2 { stream } => stream.poll_piece(cx),
        }
    }
}

// === impl Body ===

impl<'a> Body<'a> {
    /// Given once.
    pub fn once(source: Source<'a>) -> Body<'a> {
        Body { source, kept: Vec::new(), kept_bytes: 0, given: 0, keeping: false, touched: false }
    }

    /// Given again as long as it has at most [`KEPT_BYTES_MAX`].
    pub fn again(source: Source<'a>) -> Body<'a> {
        Body { keeping: true, ..Body::once(source) }
    }

    /// Begins anew; false if that cannot be.
    pub fn rewind(&mut self) -> bool {
        self.given = 0;
        self.keeping
    }

    /// Whether [`Body::rewind`] would be true.
    pub fn rewind_is_possible(&self) -> bool {
        self.keeping
    }

    /// Whether anything of it has been given out.
    pub fn was_given(&self) -> bool {
        self.touched
    }

    /// Whether all has been taken from where it comes.
    pub fn is_taken(&self) -> bool {
        self.source.is_end()
    }

    pub fn is_end(&self) -> bool {
        self.given == self.kept.len() && self.source.is_end()
    }

    /// The length as a whole, if it is known, as long as nothing of it is gone.
    pub fn said(&self) -> Option<u64> {
        if matches!(self.kept.last(), Some(Piece::Trailers(_))) {
            return None;
        }
        self.source.said().map(|left| left + self.kept_bytes as u64)
    }

    /// Takes all of it in; none if it is larger than what is kept, and then
    /// nothing of it is lost either.
    pub async fn whole(&mut self) -> Result<Option<Bytes>, Broken> {
        while self.keeping {
            let piece = std::future::poll_fn(|cx| self.source.poll_piece(cx)).await?;
            let Some(piece) = piece else {
                let data = self.kept.iter().filter_map(|piece| match piece {
                    Piece::Data(data) => Some(data.clone()),
                    Piece::Trailers(_) => None,
                });
                let mut data: Vec<Bytes> = data.collect();
                let one = data.len() == 1;
                return Ok(Some(if one { data.remove(0) } else { data.concat().into() }));
            };
            self.kept_bytes += piece.bytes();
            self.keeping = self.kept_bytes <= KEPT_BYTES_MAX;
            self.kept.push(piece);
        }
        Ok(None)
    }

    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Piece>, Broken>> {
        if let Some(piece) = self.kept.get(self.given) {
            self.given += 1;
            self.touched = true;
            return Poll::Ready(Ok(Some(piece.clone())));
        }
        let piece = ready!(self.source.poll_piece(cx))?;
        self.touched |= piece.is_some();
        if let Some(piece) = piece.as_ref().filter(|_| self.keeping) {
            self.kept_bytes += piece.bytes();
            self.keeping = self.kept_bytes <= KEPT_BYTES_MAX;
            if self.keeping {
                self.kept.push(piece.clone());
            } else {
                self.kept.clear();
            }
            self.given = self.kept.len();
        }
        Poll::Ready(Ok(piece))
    }
}

// === impl Piece ===

impl Piece {
    fn bytes(&self) -> usize {
        match self {
            Piece::Data(data) => data.len(),
            Piece::Trailers(_) => 0,
        }
    }
}

// === impl Sink ===

impl Sink<'_> {
    /// Whether it takes another piece.
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        match self {
            Sink::Nowhere => Poll::Ready(Ok(())),
            Sink::H1 { io, .. } => {
                let mut io = io.borrow_mut();
                if io.output.len() > OUTPUT_BYTES_MAX {
                    ready!(io.poll_flush(cx))?;
                }
                Poll::Ready(Ok(()))
            }
            Sink::H2 { stream } => stream.poll_ready(cx),
        }
    }

    /// `last` if nothing follows.
    fn send(&mut self, piece: Piece, last: bool) -> Result<(), Broken> {
        match (self, piece) {
            (Sink::Nowhere, _) => {}
            (Sink::H1 { io, coder }, Piece::Data(data)) => {
                let output = &mut io.borrow_mut().output;
                coder.data(&data, output);
                if last {
                    coder.end(None, output);
                }
            }
            (Sink::H1 { io, coder }, Piece::Trailers(trailers)) => {
                coder.end(Some(&trailers), &mut io.borrow_mut().output);
                *coder = Coder::Plain;
            }
            (Sink::H2 { stream }, Piece::Data(data)) => stream.data(data, last)?,
            (Sink::H2 { stream }, Piece::Trailers(trailers)) => stream.trailers(&trailers)?,
        }
        Ok(())
    }

    /// All has been sent.
    fn end(&mut self) -> Result<(), Broken> {
        match self {
            Sink::Nowhere => {}
            Sink::H1 { io, coder } => coder.end(None, &mut io.borrow_mut().output),
            Sink::H2 { stream } => stream.data(Bytes::new(), true)?,
        }
        Ok(())
    }

    pub fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        match self {
            Sink::Nowhere => Poll::Ready(Ok(())),
            Sink::H1 { io, .. } => io.borrow_mut().poll_flush(cx).map_err(Broken::Io),
            Sink::H2 { stream } => stream.poll_flush(cx),
        }
    }

    /// Bytes that it has and could not send yet.
    pub fn held(&self) -> u64 {
        match self {
            Sink::Nowhere => 0,
            Sink::H1 { io, .. } => io.borrow().output.len() as u64,
            Sink::H2 { stream } => stream.pending() as u64,
        }
    }

    /// Gives up in the middle, so that the other side does not take what it
    /// has for the whole.
    pub fn break_off(&mut self, code: Code) {
        if let Sink::H2 { stream } = self {
            stream.reset(code);
        }
    }
}

// === impl Pump ===

impl Pump {
    /// `nothing` if there is no body at all and the head has said so.
    pub fn new(nothing: bool) -> Pump {
        Pump { ended: nothing, done: false, taken: 0, awaited: End::Source, patience: [None, None] }
    }

    /// With somebody at this end who may be slow, but not too slow.
    pub fn patiently(mut self, end: End, stall: Duration) -> Pump {
        self.patience[end as usize] = Some(Patience::new(end, stall));
        self
    }

    pub fn is_done(&self) -> bool {
        self.done
    }

    /// Whether the source has ended: what is left is the sink's.
    pub fn has_all(&self) -> bool {
        self.ended
    }

    pub fn poll(
        &mut self,
        source: &mut Body<'_>,
        sink: &mut Sink<'_>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Cut>> {
        let polled = self.advance(source, sink, cx);
        if polled.is_ready() {
            return polled;
        }
        let moved = match self.awaited {
            End::Source => self.taken,
            End::Sink => self.taken.saturating_sub(sink.held()),
        };
        for patience in self.patience.iter_mut().flatten() {
            if patience.poll_out(self.awaited, moved, cx).is_ready() {
                return Poll::Ready(Err(match self.awaited {
                    End::Source => Cut::Source(Broken::TooSlow),
                    End::Sink => Cut::Sink,
                }));
            }
        }
        polled
    }

    fn advance(
        &mut self,
        source: &mut Body<'_>,
        sink: &mut Sink<'_>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Cut>> {
        loop {
            self.awaited = End::Sink;
            if self.ended {
                ready!(sink.poll_flush(cx)).map_err(|_| Cut::Sink)?;
                self.done = true;
                return Poll::Ready(Ok(()));
            }
            ready!(sink.poll_ready(cx)).map_err(|_| Cut::Sink)?;
            match source.poll_piece(cx) {
                Poll::Ready(Ok(Some(piece))) => {
                    let is_last = matches!(piece, Piece::Trailers(_)) || source.is_end();
                    self.taken += piece.bytes() as u64;
                    sink.send(piece, is_last).map_err(|_| Cut::Sink)?;
                    self.ended = is_last;
                }
                Poll::Ready(Ok(None)) => {
                    sink.end().map_err(|_| Cut::Sink)?;
                    self.ended = true;
                }
                Poll::Ready(Err(broken)) => return Poll::Ready(Err(Cut::Source(broken))),
                Poll::Pending => {
                    self.awaited = End::Source;
                    // What is there goes out before more is waited for.
                    if let Poll::Ready(flushed) = sink.poll_flush(cx) {
                        flushed.map_err(|_| Cut::Sink)?;
                    }
                    return Poll::Pending;
                }
            }
        }
    }
}
