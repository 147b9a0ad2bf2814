//! The body of a request that is handed on as it comes.
//!
//! Bounded by the stream's window: what is taken out is what the peer is given
//! credit for.

use std::{
    collections::VecDeque,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard},
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Frame, SizeHint};

/// Read by whoever answers, in whichever task.
#[derive(Debug)]
pub struct Body {
    pipe: Arc<Pipe>,
}

/// The call was taken back, or the connection ended, before the body did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the request was cut off")]
pub struct Cut;

/// The connection's end of it.
pub(super) struct Inlet {
    pipe: Arc<Pipe>,
}

#[derive(Debug)]
struct Pipe {
    state: Mutex<State>,
    length: Option<u64>,
}

#[derive(Debug)]
struct State {
    queue: VecDeque<(Bytes, u32)>,
    trailers: Option<HeaderMap>,
    end: End,
    reader: Option<Waker>,
    /// Taken out, and not given back to the peer yet.
    credit: u32,
    /// The connection looks after this anyway before it rests.
    is_attended: bool,
    connection: Waker,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Open,
    Whole,
    Cut,
}

/// `connection` is woken when there is credit to give back.
pub(super) fn pipe(length: Option<u64>, is_over: bool, connection: Waker) -> (Inlet, Body) {
    let state = State {
        queue: VecDeque::new(),
        trailers: None,
        end: if is_over { End::Whole } else { End::Open },
        reader: None,
        credit: 0,
        is_attended: true,
        connection,
    };
    let length = if is_over { Some(0) } else { length };
    let pipe = Arc::new(Pipe { state: Mutex::new(state), length });
    (Inlet { pipe: pipe.clone() }, Body { pipe })
}

// === impl Pipe ===

impl Pipe {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nobody panics while holding it")
    }
}

// === impl Inlet ===

impl Inlet {
    pub fn data(&self, bytes: Bytes, credit: u32) {
        self.change(|state| state.queue.push_back((bytes, credit)));
    }

    pub fn end(&self, trailers: Option<HeaderMap>) {
        self.change(|state| (state.trailers, state.end) = (trailers, End::Whole));
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        let reader = {
            let mut state = self.pipe.state();
            change(&mut state);
            state.reader.take()
        };
        if let Some(reader) = reader {
            reader.wake();
        }
    }

    /// From here on credit needs no wake,
    pub fn attend(&self) {
        self.pipe.state().is_attended = true;
    }

    /// and from here on it does: all there is until now.
    pub fn take_credit(&self) -> u32 {
        let mut state = self.pipe.state();
        state.is_attended = false;
        std::mem::take(&mut state.credit)
    }

    /// For one that is over: what nobody has read comes back with it, whoever
    /// still holds the other end.
    pub fn take_all_credit(&self) -> u32 {
        let mut state = self.pipe.state();
        let unread: u32 = state.queue.drain(..).map(|(_, credit)| credit).sum();
        unread + std::mem::take(&mut state.credit)
    }
}

impl Drop for Inlet {
    fn drop(&mut self) {
        self.change(|state| {
            if state.end == End::Open {
                state.end = End::Cut;
            }
        });
    }
}

// === impl Body ===

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = Cut;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        let mut state = self.pipe.state();
        if let Some((bytes, credit)) = state.queue.pop_front() {
            state.give(credit);
            return Poll::Ready(Some(Ok(Frame::data(bytes))));
        }
        match state.end {
            End::Whole => {
                Poll::Ready(state.trailers.take().map(|fields| Ok(Frame::trailers(fields))))
            }
            End::Cut => Poll::Ready(Some(Err(Cut))),
            End::Open => {
                if !state.reader.as_ref().is_some_and(|reader| reader.will_wake(cx.waker())) {
                    state.reader = Some(cx.waker().clone());
                }
                Poll::Pending
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        let state = self.pipe.state();
        state.queue.is_empty() && state.end == End::Whole && state.trailers.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        self.pipe.length.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

/// Whoever does not read on gives back what came, so that others are not kept
/// waiting for it.
impl Drop for Body {
    fn drop(&mut self) {
        let mut state = self.pipe.state();
        let rest = state.queue.drain(..).map(|(_, credit)| credit).sum();
        state.give(rest);
    }
}

// === impl State ===

impl State {
    fn give(&mut self, credit: u32) {
        let had_none = self.credit == 0;
        self.credit += credit;
        if !self.is_attended && had_none && credit > 0 {
            self.connection.wake_by_ref();
        }
    }
}
