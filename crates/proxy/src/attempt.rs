//! One try: a request on a connection to an owner, and the answer on it.

use std::{
    future::poll_fn,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use hop::{Body, Bounds, Cut, End, Outgoing, Pump, Rest, Sink, Source};
use http::{StatusCode, response};

use crate::pool::Checkout;

/// Of an answer's head.
const HEAD_BOUNDS: Bounds = Bounds { bytes: 64 << 10, headers: 100 };

/// An owner's answer.
pub(crate) struct Answer {
    pub(crate) parts: response::Parts,
    pub(crate) tail: Tail,
}

/// What follows an answer's head, and the connection that it comes on.
pub(crate) struct Tail {
    rest: Rest,
    checkout: Checkout,
    /// The connection serves another request after this one.
    keep: bool,
}

/// Why there is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failed {
    /// Not a byte of the request has left.
    Unsent,
    /// The connection broke.
    Lost,
}

/// Writes the request and waits for the head of the answer.
pub(crate) async fn ask(
    checkout: Checkout,
    request: Outgoing<'_>,
    body: Bytes,
) -> Result<Answer, Failed> {
    let call = &checkout.call;
    let (mut sink, mut waiting) = call.send(request).map_err(|_| Failed::Unsent)?;
    let bytes = sink.held() + body.len() as u64;
    let mut body = Body::once(Source::Whole(body));
    let mut up = Pump::new(body.is_end());
    let mut has_broken = false;
    let answered = poll_fn(|cx| {
        if !up.is_done()
            && !has_broken
            && let Poll::Ready(Err(_)) = up.poll(&mut body, &mut sink, cx)
        {
            if sink.held() == bytes {
                return Poll::Ready(Err(Failed::Unsent));
            }
            // It may have answered before it stopped to listen.
            has_broken = true;
        }
        call.poll_answer(&mut waiting, HEAD_BOUNDS, cx).map_err(|_| Failed::Lost)
    })
    .await?;
    if answered.parts.status == StatusCode::SWITCHING_PROTOCOLS {
        // Nobody asked for that.
        return Err(Failed::Lost);
    }
    let hop::Answer { parts, rest, keep } = answered;
    let keep = keep && up.is_done();
    Ok(Answer { parts, tail: Tail { rest, checkout, keep } })
}

// === impl Tail ===

impl Tail {
    /// Its length, if it was said.
    pub(crate) fn said(&self) -> Option<u64> {
        self.checkout.call.source(self.rest.clone()).said()
    }

    /// Moves it to `sink`, unless either side stands still for `stall` or
    /// `gone` says that nobody takes it.
    pub(crate) async fn move_to(
        self,
        sink: &mut Sink<'_>,
        stall: Duration,
        mut gone: impl FnMut(&mut Context<'_>) -> Poll<()>,
    ) -> Result<(), Cut> {
        let Tail { rest, checkout, keep } = self;
        let mut body = Body::once(checkout.call.source(rest));
        let pump = Pump::new(body.said() == Some(0));
        let mut pump = pump.patiently(End::Source, stall).patiently(End::Sink, stall);
        poll_fn(|cx| match pump.poll(&mut body, sink, cx) {
            Poll::Pending if pump.has_all() => Poll::Ready(Ok(())),
            Poll::Pending => gone(cx).map(|()| Err(Cut::Sink)),
            moved => moved,
        })
        .await?;
        drop(body);
        // For the next, however slowly the user takes what is left.
        if keep {
            checkout.finish();
        }
        if pump.is_done() {
            return Ok(());
        }
        poll_fn(|cx| pump.poll(&mut Body::once(Source::Empty), sink, cx)).await
    }
}
