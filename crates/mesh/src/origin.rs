//! A client's connection, and what is asked on it.

use std::{cell::Cell, io, rc::Rc};

use hop::{After, Handler, Io, Limits, Own, Reply, Request, Unread};
use http::StatusCode;

use crate::{
    exchange::{Client, Tunnel, relay},
    refusal::Refusal,
    tunnel::both_ways,
    worker::Worker,
};

/// What one stream, and all of a connection, may have on its way to us.
const STREAM_WINDOW_BYTES: u32 = 128 << 10;
const CONNECTION_WINDOW_BYTES: u32 = 1 << 20;

pub(crate) struct Origin {
    pub(crate) worker: Rc<Worker>,
    /// The listener's name: plans come and go.
    pub(crate) listener: Rc<str>,
    pub(crate) client: Client,
}

// === impl Origin ===

impl Handler for Origin {
    type Tunnel = Tunnel;

    fn limits(&self) -> Limits {
        let plan = self.worker.plan();
        let limits = &plan.shared.config.limits;
        Limits {
            head: self.worker.bounds(),
            head_timeout: limits.head_timeout.0,
            idle_timeout: limits.idle_timeout.0,
            stall_timeout: limits.stall_timeout.0,
            streams: limits.streams,
            stream_window_bytes: STREAM_WINDOW_BYTES,
            connection_window_bytes: CONNECTION_WINDOW_BYTES,
        }
    }

    fn draining(&self) -> &Cell<bool> {
        &self.worker.draining
    }

    async fn drained(&self) {
        self.worker.drained().await;
    }

    async fn idle_over(&self, fresh: bool) {
        self.worker.idle_over(fresh).await;
    }

    async fn answer(&self, request: Request<'_>, reply: Reply<'_>) -> After<Tunnel> {
        let Origin { worker, listener, client } = self;
        let plan = worker.plan();
        // Its listener is gone, and it with it.
        let Some(at) = plan.listener(listener) else { return After::Close };
        relay(worker, &plan, at, client, request, reply).await
    }

    fn refuse(&self, unread: Unread) -> Option<Own> {
        let refusal = match unread {
            Unread::Malformed { status, why } => {
                self.worker.metrics.malformed.add(1);
                Refusal::new(status, errors::MESH_MALFORMED, why)
            }
            Unread::TooSlow => {
                let message = "the head did not arrive in time";
                Refusal::new(StatusCode::REQUEST_TIMEOUT, errors::BODY_TOO_SLOW, message)
            }
        };
        Some(refusal.answer(false))
    }

    fn flooded(&self) {
        self.worker.metrics.floods.add(1);
    }

    async fn tunnel(&self, mut io: Io, (mut upstream, _busy): Tunnel) -> io::Result<()> {
        let metrics = &self.worker.metrics;
        metrics.tunnels.add(1);
        let idle = self.worker.plan().shared.config.limits.idle_timeout.0;
        let (bytes_in, bytes_out) = both_ways(&mut io, &mut upstream, idle).await?;
        metrics.bytes_in.add(bytes_in);
        metrics.bytes_out.add(bytes_out);
        Ok(())
    }
}
