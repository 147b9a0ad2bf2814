//! How much is served at once.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use crate::{failure::Failure, metrics::Metrics};

/// Requests served at once. Each holds at most a body of 3 MiB and an answer;
/// kube-apiserver's defaults add up to 600.
pub const IN_FLIGHT_MAX: i64 = 400;

/// Watches and log streams served at once: each holds a store watch and a
/// queue of frames.
pub const LONG_RUNNING_MAX: i64 = 2000;

/// Connections open at once; more are accepted and closed at once.
pub const CONNECTIONS_MAX: usize = 2000;

/// What a request that is no watch may take.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);

/// What a TLS handshake may take.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// What a request's head may take, over HTTP/1.1.
pub const HEAD_TIMEOUT: Duration = Duration::from_secs(30);

/// Size of a request's head.
pub const HEAD_BYTES_MAX: u32 = 64 * 1024;

/// Streams of one HTTP/2 connection at once.
pub const STREAMS_MAX: u32 = 250;

/// Read buffer of an HTTP/1.1 connection; hyper's default of 400 KiB is more
/// than a control plane's requests need.
pub const READ_BUFFER_BYTES: usize = 64 * 1024;

/// A place among those served; given back when dropped.
pub struct Ticket {
    metrics: Arc<Metrics>,
    pick: fn(&Metrics) -> &AtomicI64,
}

// === impl Ticket ===

impl Ticket {
    pub fn request(metrics: &Arc<Metrics>) -> Result<Ticket, Failure> {
        Ticket::take(metrics, |metrics| &metrics.in_flight, IN_FLIGHT_MAX)
    }

    pub fn long_running(metrics: &Arc<Metrics>) -> Result<Ticket, Failure> {
        Ticket::take(metrics, |metrics| &metrics.watches, LONG_RUNNING_MAX)
    }

    fn take(
        metrics: &Arc<Metrics>,
        pick: fn(&Metrics) -> &AtomicI64,
        max: i64,
    ) -> Result<Ticket, Failure> {
        let ticket = Ticket { metrics: metrics.clone(), pick };
        if pick(metrics).fetch_add(1, Ordering::Relaxed) >= max {
            return Err(Failure::too_many(
                "the server has received too many requests and has asked us to try again later",
            ));
        }
        Ok(ticket)
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        (self.pick)(&self.metrics).fetch_sub(1, Ordering::Relaxed);
    }
}
