//! A connection that speaks HTTP no more, or never did: bytes both ways.

use std::{
    io,
    task::{Context, Poll, ready},
    time::Duration,
};

use hop::Io;
use tokio::time::{Instant, sleep};

/// Copies bytes both ways until both have ended, or until none have moved for
/// `idle`. Gives how many went each way.
pub async fn both_ways(left: &mut Io, right: &mut Io, idle: Duration) -> io::Result<(u64, u64)> {
    let mut there = Way::default();
    let mut back = Way::default();
    // What was read before the tunnel began goes first.
    there.bytes += left.input.len() as u64;
    right.output.unsplit(left.input.split());
    back.bytes += right.input.len() as u64;
    left.output.unsplit(right.input.split());
    let mut alarm = std::pin::pin!(sleep(idle));
    let mut seen = 0;
    std::future::poll_fn(|cx| {
        let first = there.poll(left, right, cx)?;
        let second = back.poll(right, left, cx)?;
        if first.is_ready() && second.is_ready() {
            return Poll::Ready(Ok((there.bytes, back.bytes)));
        }
        while alarm.as_mut().poll(cx).is_ready() {
            let moved = there.bytes + back.bytes;
            if moved == seen {
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
            seen = moved;
            alarm.as_mut().reset(Instant::now() + idle);
        }
        Poll::Pending
    })
    .await
}

/// One direction of a tunnel.
#[derive(Default)]
struct Way {
    bytes: u64,
    done: bool,
}

// === impl Way ===

impl Way {
    fn poll(&mut self, from: &mut Io, to: &mut Io, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.done {
            ready!(to.poll_flush(cx))?;
            if from.ended {
                ready!(to.poll_shutdown(cx))?;
                self.done = true;
                break;
            }
            self.bytes += ready!(from.poll_pass(to, cx))? as u64;
        }
        Poll::Ready(Ok(()))
    }
}
