//! One task that drives one connection.
//!
//! A turn of it: read what there is, begin the calls in it, go on with those
//! that were woken, write all that is to be said in one piece. Before it writes
//! it steps back once behind the tasks that are ready to run, if calls are
//! under way: what they answer meanwhile leaves with the rest.
//!
//! A call with one small message each way ([`Handler::unary`]) lives in a slot
//! of this task: one that is answered at once takes no allocation beyond its
//! answer's bytes. Everything else gets an `http::Request` and answers with an
//! `http_body::Body`, polled here as well: its flow control is this
//! connection's, and a reset drops it where it stands. What must not keep a
//! connection's other calls waiting is spawned by whoever answers.

mod body;
mod bridge;
mod calls;
mod driver;
mod pulse;
mod streams;
mod wakes;

use std::{io, sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite};

pub use body::{Body, Cut};
pub use bridge::{fields, map, request, trailers};

use crate::{
    Fatal, Head, Limits,
    grpc::{Answer, Unread},
};
use driver::Driver;

/// Who answers on a connection.
pub trait Handler: Send + Sync + 'static {
    /// What [`Handler::unary`] found out about a head. Kept with the head, for
    /// as long as a client repeats it: it must hold for every call that says
    /// the same.
    type Plan: Clone + Send;

    /// Of answers that are not unary.
    type Body: http_body::Body<Data = Bytes, Error: std::fmt::Display> + Send + 'static;

    /// Chooses the calls of gRPC with one message each way.
    fn unary(&self, head: &Arc<Head>) -> Option<Self::Plan>;

    /// The largest message of one.
    fn message_bytes_max(&self) -> usize;

    /// Answers one of those. Dropped when nobody waits for it any more.
    fn answer(
        self: Arc<Self>,
        plan: Self::Plan,
        message: Result<Bytes, Unread>,
    ) -> impl Future<Output = Answer> + Send + 'static;

    /// Answers everything else.
    fn stream(
        self: Arc<Self>,
        request: http::Request<Body>,
    ) -> impl Future<Output = http::Response<Self::Body>> + Send + 'static;
}

/// How a connection is kept.
#[derive(Clone, Copy, Debug)]
pub struct Manners {
    pub limits: Limits,
    /// A peer with calls under way that has been silent for so long is asked
    /// whether it is there,
    pub ping_every: Duration,
    /// and has so long to say so.
    pub ping_answer_max: Duration,
    /// Answers that a peer does not take are held for so long.
    pub stall_max: Duration,
    /// Bytes of one answer that wait for their windows, before whoever gives
    /// them has to wait.
    pub send_buffer_bytes: usize,
}

/// Why a connection ended before it was finished.
#[derive(Debug, thiserror::Error)]
pub enum Ended {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("{0}")]
    Fault(#[from] Fatal),
    #[error("a ping was not answered")]
    Silent,
    #[error("answers were not taken")]
    Stalled,
}

/// Serves one connection, `input` being what was read of it already, until the
/// peer leaves; until all is answered, once `drain` has come.
pub async fn drive<H: Handler>(
    io: impl AsyncRead + AsyncWrite + Unpin,
    input: BytesMut,
    handler: Arc<H>,
    manners: Manners,
    drain: impl Future<Output = ()>,
) -> Result<(), Ended> {
    // One budget for many calls would make the later ones wait for nothing.
    let answer = |plan, message| tokio::task::unconstrained(handler.clone().answer(plan, message));
    let mut drain = std::pin::pin!(drain);
    let mut is_draining = false;
    let mut driver = Driver::new(io, input, handler.clone(), answer, manners);
    std::future::poll_fn(|cx| {
        if !is_draining && drain.as_mut().poll(cx).is_ready() {
            is_draining = true;
            driver.go_away();
        }
        driver.poll(cx)
    })
    .await
}
