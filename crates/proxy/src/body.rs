//! Bodies: a request's is kept whole so that it can be replayed, an answer's
//! streams through.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, StatusCode, header};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::{Instant, Sleep, sleep, timeout_at};

use crate::{pool::Checkout, refusal::Refusal};

/// Reads a request's body, at most `bytes_max` of it and until `deadline`.
pub(crate) async fn collect<B>(
    mut body: B,
    headers: &HeaderMap,
    bytes_max: usize,
    deadline: Instant,
) -> Result<Bytes, Refusal>
where
    B: Body<Data = Bytes> + Unpin,
{
    if body.is_end_stream() {
        return Ok(Bytes::new());
    }
    let too_large = || {
        let message = format!("the body is larger than {bytes_max} bytes");
        Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, errors::BODY_TOO_LARGE, message)
    };
    let declared = headers
        .get(header::CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.parse::<u64>().ok());
    if declared.is_some_and(|length| length > bytes_max as u64) {
        return Err(too_large());
    }
    let mut whole = BytesMut::new();
    loop {
        let frame = std::future::poll_fn(|cx| Pin::new(&mut body).poll_frame(cx));
        let Ok(frame) = timeout_at(deadline, frame).await else {
            let message = "the body did not arrive in time";
            return Err(Refusal::new(StatusCode::REQUEST_TIMEOUT, errors::BODY_TOO_SLOW, message));
        };
        let Some(frame) = frame else { return Ok(whole.freeze()) };
        let Ok(frame) = frame else {
            let message = "the body ended before it was complete";
            return Err(Refusal::bad_request(errors::BODY_BROKEN, message));
        };
        // Trailers mean nothing to the ledger and are left out.
        let Ok(data) = frame.into_data() else { continue };
        if whole.len() + data.len() > bytes_max {
            return Err(too_large());
        }
        // The usual body is one frame, which then needs no copy.
        if whole.is_empty() && body.is_end_stream() {
            return Ok(data);
        }
        whole.extend_from_slice(&data);
    }
}

/// The body of an answer to a user.
pub(crate) enum ReplyBody {
    /// The edge's own words.
    Own(Option<Bytes>),
    Relayed(Relayed),
}

/// A ledger's answer on its way. Gives the connection back when it has ended;
/// dropped earlier (the user left), it closes it.
pub(crate) struct Relayed {
    incoming: Incoming,
    checkout: Option<Checkout>,
    stall_timeout: Duration,
    stalled: Option<Pin<Box<Sleep>>>,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum RelayError {
    #[error("the owner broke off its answer: {0}")]
    Broken(#[from] hyper::Error),
    #[error("the owner stopped in the middle of its answer")]
    Stalled,
}

// === impl Relayed ===

impl Relayed {
    pub(crate) fn new(incoming: Incoming, checkout: Checkout, stall_timeout: Duration) -> Relayed {
        let mut relayed =
            Relayed { incoming, checkout: Some(checkout), stall_timeout, stalled: None };
        relayed.finish_at_end();
        relayed
    }

    fn finish_at_end(&mut self) {
        if self.incoming.is_end_stream() {
            self.finish();
        }
    }

    fn finish(&mut self) {
        if let Some(checkout) = self.checkout.take() {
            checkout.finish();
        }
    }

    fn poll_stalled(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let stall_timeout = self.stall_timeout;
        self.stalled.get_or_insert_with(|| Box::pin(sleep(stall_timeout))).as_mut().poll(cx)
    }
}

impl Body for Relayed {
    type Data = Bytes;
    type Error = RelayError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, RelayError>>> {
        let this = &mut *self;
        let Poll::Ready(frame) = Pin::new(&mut this.incoming).poll_frame(cx) else {
            ready!(this.poll_stalled(cx));
            return Poll::Ready(Some(Err(RelayError::Stalled)));
        };
        this.stalled = None;
        match frame {
            Some(Ok(frame)) => {
                this.finish_at_end();
                Poll::Ready(Some(Ok(frame)))
            }
            Some(Err(error)) => Poll::Ready(Some(Err(error.into()))),
            None => {
                this.finish();
                Poll::Ready(None)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}

// === impl ReplyBody ===

impl From<Bytes> for ReplyBody {
    fn from(bytes: Bytes) -> ReplyBody {
        ReplyBody::Own((!bytes.is_empty()).then_some(bytes))
    }
}

impl Body for ReplyBody {
    type Data = Bytes;
    type Error = RelayError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, RelayError>>> {
        match self.get_mut() {
            ReplyBody::Own(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            ReplyBody::Relayed(relayed) => Pin::new(relayed).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            ReplyBody::Own(bytes) => bytes.is_none(),
            ReplyBody::Relayed(relayed) => relayed.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            ReplyBody::Own(bytes) => {
                SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64))
            }
            ReplyBody::Relayed(relayed) => relayed.size_hint(),
        }
    }
}
