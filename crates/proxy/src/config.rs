//! What an edge is told, and every bound it keeps, each with its reason.

use std::{net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use tokio::sync::watch;
use topology::{CenterName, CityName, UnitName};

use crate::{hold::HoldLimits, table::View};

pub struct Config {
    /// Where users come in. Port 0 takes a free one.
    pub listen: SocketAddr,
    /// Metrics, health and the map, for operators: keep it off public networks.
    pub admin: SocketAddr,
    /// Threads that carry requests; none means one per core.
    pub threads: Option<usize>,
    pub place: Place,
    pub upstream: Upstream,
    pub source: Source,
    /// Where the last good map is kept; none keeps none.
    pub snapshot: Option<PathBuf>,
    pub limits: Limits,
}

/// Where this edge stands, for its metrics and logs.
#[derive(Clone, Debug)]
pub struct Place {
    pub city: CityName,
    pub center: CenterName,
    pub unit: UnitName,
}

/// How ledgers are reached.
#[derive(Clone, Debug)]
pub enum Upstream {
    /// Mutual TLS. The peer must be exactly service account `ledger` in
    /// namespace `payments` of the unit that the request is routed to.
    Mesh { credentials: identity::Credentials, trust_domain: String },
    /// No TLS: for tests and measurements on one machine.
    Plain,
}

/// Where the view of the world comes from.
pub enum Source {
    /// The federation's API: list and watch.
    Api(client::Config),
    /// Somebody else keeps it up to date.
    Given(watch::Receiver<Arc<View>>),
}

#[derive(Clone, Debug)]
pub struct Limits {
    /// Connections from users per thread; one more is closed at once.
    pub connections_max: usize,
    /// Requests in flight per thread, waiting ones included. With whole bodies
    /// kept for replay this bounds memory at 64 KiB each in the worst case.
    pub requests_max: usize,
    pub hold: HoldLimits,
    pub body_bytes_max: usize,
    pub body_timeout: Duration,
    /// For a whole head to arrive; an idle keep-alive connection counts too.
    pub head_timeout: Duration,
    pub head_bytes_max: usize,
    pub headers_max: usize,
    /// Streams per HTTP/2 connection.
    pub streams_max: u32,
    pub deadline_default: Duration,
    pub deadline_max: Duration,
    /// First and longest wait before the first in line tries again.
    pub retry_first: Duration,
    pub retry_max: Duration,
    pub connect_timeout: Duration,
    pub handshake_timeout: Duration,
    /// Connections to one endpoint per thread, idle ones among them, and how
    /// many may be opening at once: a burst of released requests shares a few
    /// handshakes instead of making one each.
    pub upstream_connections_max: usize,
    pub upstream_idle_max: usize,
    pub upstream_connecting_max: usize,
    pub upstream_idle_timeout: Duration,
    /// Between two pieces of an answer's body, from the ledger and to the user.
    pub stall_timeout: Duration,
    /// From the start of a drain until what is left is cut off.
    pub drain_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            connections_max: 4_096,
            requests_max: 4_096,
            // Ten seconds of a thread's share of 40 lost shards at 500 requests a second.
            hold: HoldLimits {
                requests_max: 2_048,
                bytes_max: 16 << 20,
                requests_per_shard_max: 512,
            },
            body_bytes_max: 64 << 10,
            body_timeout: Duration::from_secs(5),
            head_timeout: Duration::from_secs(30),
            head_bytes_max: 16 << 10,
            headers_max: 64,
            streams_max: 128,
            deadline_default: Duration::from_secs(10),
            deadline_max: Duration::from_secs(30),
            retry_first: Duration::from_millis(50),
            retry_max: Duration::from_millis(200),
            connect_timeout: Duration::from_millis(250),
            // Longer than connecting: it costs both sides CPU, which is scarce
            // exactly when a city has just been lost.
            handshake_timeout: Duration::from_secs(1),
            upstream_connections_max: 64,
            // As many as a burst has opened may stay until they are old; fewer
            // would make every burst open them again.
            upstream_idle_max: 64,
            upstream_connecting_max: 4,
            upstream_idle_timeout: Duration::from_secs(10),
            stall_timeout: Duration::from_secs(30),
            drain_timeout: Duration::from_secs(10),
        }
    }
}
