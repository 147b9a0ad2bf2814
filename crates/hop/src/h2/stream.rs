//! One stream: what has come of it, and its side of the connection.

use std::{
    cell::RefCell,
    collections::VecDeque,
    rc::Rc,
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use http2::{Code, Event, Field, Response, StreamId};
use tokio::time::Instant;

use super::wire::Wire;
use crate::flow::{Broken, Piece};

/// More than this that waits for a peer's windows takes no more.
const PENDING_BYTES_MAX: usize = 64 << 10;

/// What nobody has taken yet in pieces smaller than this is put together: each
/// piece costs its place, whatever its size.
const CRUMB_BYTES_MAX: usize = 1024;

pub struct Stream {
    wire: Rc<Wire>,
    id: StreamId,
    pub(crate) began: Instant,
    mail: RefCell<Mail>,
}

/// Whose it is: when it goes, the stream ends.
pub struct Held(Rc<Stream>);

/// How a stream ended before its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lost {
    Reset(Code),
    Connection,
}

#[derive(Default)]
struct Mail {
    head: Option<Response>,
    data: VecDeque<(Bytes, u32)>,
    trailers: Option<Vec<Field>>,
    /// The peer has said everything.
    is_whole: bool,
    lost: Option<Lost>,
    /// The one task that relays it.
    task: Option<Waker>,
    /// It waits until no more than this is on its way out.
    room: Option<usize>,
}

// === impl Stream ===

impl Stream {
    pub(crate) fn new(wire: Rc<Wire>, id: StreamId, began: Instant) -> Stream {
        Stream { wire, id, began, mail: RefCell::default() }
    }

    // === in ===

    pub(crate) fn take(&self, event: Event) {
        let mut mail = self.mail.borrow_mut();
        match event {
            Event::Response { head, end, .. } => (mail.head, mail.is_whole) = (Some(head), end),
            Event::Data { bytes, credit, end, .. } => {
                match mail.data.back_mut() {
                    Some((last, before)) if last.len() + bytes.len() <= CRUMB_BYTES_MAX => {
                        *last = [&last[..], &bytes].concat().into();
                        *before += credit;
                    }
                    _ => mail.data.push_back((bytes, credit)),
                }
                mail.is_whole = end;
            }
            Event::Trailers { fields, .. } => {
                (mail.trailers, mail.is_whole) = (Some(fields), true);
            }
            Event::Reset { code, .. } => mail.lost = Some(Lost::Reset(code)),
            Event::Request { .. } | Event::GoAway { .. } | Event::Pong => {}
        }
        mail.wake();
    }

    pub(crate) fn lose(&self, lost: Lost) {
        let mut mail = self.mail.borrow_mut();
        mail.lost.get_or_insert(lost);
        mail.wake();
    }

    /// There is no body.
    pub(crate) fn is_heard(&self) {
        self.mail.borrow_mut().is_whole = true;
    }

    pub(crate) fn is_lost(&self) -> bool {
        self.mail.borrow().lost.is_some()
    }

    /// The answer's head, and whether there is a body.
    pub fn poll_head(&self, cx: &mut Context<'_>) -> Poll<Result<(Response, bool), Broken>> {
        let mut mail = self.mail.borrow_mut();
        match (mail.head.take(), mail.lost) {
            (Some(head), _) => Poll::Ready(Ok((head, !mail.is_end()))),
            (None, Some(lost)) => Poll::Ready(Err(lost.into())),
            (None, None) => mail.wait(cx),
        }
    }

    pub fn poll_piece(&self, cx: &mut Context<'_>) -> Poll<Result<Option<Piece>, Broken>> {
        let mut mail = self.mail.borrow_mut();
        while let Some((bytes, credit)) = mail.data.pop_front() {
            self.wire.say(|connection| connection.release(self.id, credit));
            if !bytes.is_empty() {
                return Poll::Ready(Ok(Some(Piece::Data(bytes))));
            }
        }
        if mail.is_whole {
            let trailers = mail.trailers.take().map(|fields| http2::map(&fields));
            return match trailers {
                None => Poll::Ready(Ok(None)),
                Some(Some(map)) => Poll::Ready(Ok(Some(Piece::Trailers(map)))),
                Some(None) => Poll::Ready(Err(Lost::Reset(Code::PROTOCOL_ERROR).into())),
            };
        }
        match mail.lost {
            Some(lost) => Poll::Ready(Err(lost.into())),
            None => mail.wait(cx),
        }
    }

    /// Whether nothing is to come, as far as is known without looking.
    pub fn is_end(&self) -> bool {
        self.mail.borrow().is_end()
    }

    /// Ready when the peer has taken it back.
    pub fn poll_lost(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut mail = self.mail.borrow_mut();
        if mail.lost.is_some() { Poll::Ready(()) } else { mail.wait(cx) }
    }

    // === out ===

    pub fn respond(
        &self,
        status: StatusCode,
        headers: &HeaderMap,
        end: bool,
    ) -> Result<(), Broken> {
        self.sound()?;
        let fields = http2::fields(headers);
        self.wire.say(|connection| connection.respond(self.id, status.as_u16(), fields, end));
        Ok(())
    }

    /// More of the body; `end` if it is the last.
    pub fn data(&self, bytes: Bytes, end: bool) -> Result<(), Broken> {
        self.sound()?;
        self.wire.say(|connection| connection.data(self.id, bytes, end));
        Ok(())
    }

    pub fn trailers(&self, trailers: &HeaderMap) -> Result<(), Broken> {
        self.sound()?;
        let fields = http2::trailers(trailers);
        self.wire.say(|connection| connection.trailers(self.id, fields));
        Ok(())
    }

    /// Whether more may be said.
    pub fn poll_ready(&self, cx: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        self.poll_room(PENDING_BYTES_MAX, cx)
    }

    /// Whether all that was said has gone.
    pub fn poll_flush(&self, cx: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        self.poll_room(0, cx)
    }

    fn poll_room(&self, most: usize, cx: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        self.sound()?;
        if self.pending() <= most {
            return Poll::Ready(Ok(()));
        }
        self.wire.block(self.id);
        let mut mail = self.mail.borrow_mut();
        mail.room = Some(most);
        mail.wait(cx)
    }

    /// Bytes that wait for the peer's windows.
    pub fn pending(&self) -> usize {
        self.wire.state.borrow().connection.pending(self.id)
    }

    /// So many wait now; wakes who waited for that.
    pub(crate) fn has_room(&self, pending: usize) -> bool {
        let mut mail = self.mail.borrow_mut();
        let has_room = mail.room.is_none_or(|room| pending <= room);
        if has_room {
            mail.room = None;
            mail.wake();
        }
        has_room
    }

    pub fn reset(&self, code: Code) {
        self.wire.say(|connection| connection.reset(self.id, code));
    }

    /// What is said on a stream that is lost is said to nobody.
    fn sound(&self) -> Result<(), Broken> {
        match self.mail.borrow().lost {
            None => Ok(()),
            Some(lost) => Err(lost.into()),
        }
    }
}

// === impl Held ===

impl Held {
    pub(crate) fn new(stream: Rc<Stream>) -> Held {
        Held(stream)
    }

    pub fn stream(&self) -> &Rc<Stream> {
        &self.0
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let Stream { wire, id, mail, .. } = &*self.0;
        let mail = std::mem::take(&mut *mail.borrow_mut());
        let credit = mail.data.iter().map(|(_, credit)| credit).sum();
        wire.forget(*id, credit);
    }
}

// === impl Mail ===

impl Mail {
    fn is_end(&self) -> bool {
        self.is_whole && self.data.is_empty() && self.trailers.is_none()
    }

    fn wait<T>(&mut self, cx: &mut Context<'_>) -> Poll<T> {
        if !self.task.as_ref().is_some_and(|task| task.will_wake(cx.waker())) {
            self.task = Some(cx.waker().clone());
        }
        Poll::Pending
    }

    fn wake(&self) {
        if let Some(task) = &self.task {
            task.wake_by_ref();
        }
    }
}

// === impl Lost ===

impl From<Lost> for Broken {
    fn from(lost: Lost) -> Broken {
        match lost {
            Lost::Reset(code) => Broken::Reset(code),
            Lost::Connection => Broken::Io(std::io::ErrorKind::ConnectionReset.into()),
        }
    }
}
