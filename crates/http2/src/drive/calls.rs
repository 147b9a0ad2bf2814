//! Unary calls that are waited for, in slots that are used again.

use std::{
    pin::Pin,
    task::{Context, Poll, Waker},
};

use super::wakes::Wakes;
use crate::{StreamId, grpc::Answer};

pub struct Calls<F> {
    slots: Vec<Slot<F>>,
    free: Vec<usize>,
    wakes: Wakes,
}

struct Slot<F> {
    stream: StreamId,
    /// In place: nothing moves and nothing is allocated from the second call on.
    call: Pin<Box<Option<F>>>,
    waker: Waker,
}

/// Where a call that was not answered at once is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct At(usize);

// === impl Calls ===

impl<F: Future<Output = Answer>> Calls<F> {
    pub fn new(wakes: Wakes) -> Calls<F> {
        Calls { slots: Vec::new(), free: Vec::new(), wakes }
    }

    pub fn is_empty(&self) -> bool {
        self.free.len() == self.slots.len()
    }

    pub fn start(&mut self, stream: StreamId, call: F) -> Result<Answer, At> {
        let at = self.free.pop().unwrap_or_else(|| {
            let waker = self.wakes.waker(self.slots.len());
            self.slots.push(Slot { stream, call: Box::pin(None), waker });
            self.slots.len() - 1
        });
        self.slots[at].stream = stream;
        self.slots[at].call.set(Some(call));
        self.poll(at).map(|(_, answer)| answer).ok_or(At(at))
    }

    pub fn stop(&mut self, At(at): At) {
        self.slots[at].call.set(None);
        self.free.push(at);
    }

    pub fn register(&self, cx: &Context<'_>) {
        self.wakes.register(cx);
    }

    /// Appends the slots that were woken.
    pub fn woken(&self, woken: &mut Vec<usize>) {
        self.wakes.take(woken);
    }

    /// Goes on with one; a slot that was given up since it was woken is no news.
    pub fn poll(&mut self, at: usize) -> Option<(StreamId, Answer)> {
        let slot = &mut self.slots[at];
        let call = slot.call.as_mut().as_pin_mut()?;
        let Poll::Ready(answer) = call.poll(&mut Context::from_waker(&slot.waker)) else {
            return None;
        };
        let stream = slot.stream;
        self.stop(At(at));
        Some((stream, answer))
    }
}
