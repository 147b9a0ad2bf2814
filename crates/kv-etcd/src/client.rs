//! One connection to a store, shared by all keyspaces of this process.
//!
//! The connection is made on first use and again after each failure; whoever
//! holds a [`Keyspace`] notices only errors. Silence is noticed too: HTTP/2
//! pings tell a dead or paused store from an idle one within
//! [`PING_EVERY`] + [`PING_ANSWER_MAX`].

use std::{sync::Arc, time::Duration};

use kv::{Error, KeyspaceName};
use tonic::transport::{Channel, Endpoint};

use crate::{connect::Connector, handle::Keyspace};

/// One ping in this time while nothing else moves: 0.2 packets a second and
/// connection cost nothing, and detection stays within seconds.
pub const PING_EVERY: Duration = Duration::from_secs(5);
/// A store that is alive answers a ping in microseconds; three seconds outlast
/// a long fsync or a swapped-out process.
pub const PING_ANSWER_MAX: Duration = Duration::from_secs(3);
/// etcd's own request timeout is 5 s plus election time; so long may an answer
/// take before we call its outcome unknown.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(7);

/// What the store may send in one stream before somebody reads it, and so what
/// an unread watch costs at most. A list of megabytes takes some round trips.
const STREAM_WINDOW_BYTES: u32 = 512 * 1024;
/// In all streams together so much that it never binds, because a watch that
/// nobody reads must stop itself and not every request beside it. Memory stays
/// bounded by the streams' own windows.
const CONNECTION_WINDOW_BYTES: u32 = 1 << 30;

/// Where the store is and who we are.
#[derive(Clone)]
pub struct Config {
    /// `https://HOST:PORT`, or `http://HOST:PORT` without TLS.
    pub endpoint: String,
    /// Roots to trust and our client certificate; needed for `https`.
    pub tls: Option<Arc<rustls::ClientConfig>>,
    /// How long an answer may take; [`REQUEST_TIMEOUT`] unless told.
    pub request_timeout: Duration,
}

/// Cheap to clone.
#[derive(Clone)]
pub struct Client {
    channel: Channel,
    request_timeout: Duration,
}

// === impl Config ===

impl Config {
    #[must_use]
    pub fn new(endpoint: impl Into<String>, tls: Option<Arc<rustls::ClientConfig>>) -> Config {
        Config { endpoint: endpoint.into(), tls, request_timeout: REQUEST_TIMEOUT }
    }
}

// === impl Client ===

impl Client {
    /// Checks the configuration and connects on first use. Must be called
    /// inside a tokio runtime.
    pub fn connect(config: Config) -> Result<Client, Error> {
        let bad = |why: String| Error::Unreachable(format!("{}: {why}", config.endpoint));
        let endpoint =
            Endpoint::from_shared(config.endpoint.clone()).map_err(|e| bad(e.to_string()))?;
        let tls = match (endpoint.uri().scheme_str(), config.tls) {
            (Some("https"), Some(tls)) => Some(tls),
            (Some("https"), None) => return Err(bad("https needs a TLS configuration".into())),
            (Some("http"), _) => None,
            _ => return Err(bad("an endpoint is https://HOST:PORT or http://HOST:PORT".into())),
        };
        if endpoint.uri().port_u16().is_none() {
            return Err(bad("an endpoint names its port".into()));
        }
        let channel = endpoint
            .http2_keep_alive_interval(PING_EVERY)
            .keep_alive_timeout(PING_ANSWER_MAX)
            .keep_alive_while_idle(true)
            .tcp_nodelay(true)
            .initial_stream_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .connect_with_connector_lazy(Connector::new(tls));
        Ok(Client { channel, request_timeout: config.request_timeout })
    }

    /// Fails with [`Error::InvalidKeyspace`].
    pub fn keyspace(&self, name: &str) -> Result<Keyspace, Error> {
        let name = KeyspaceName::new(name)?;
        Ok(Keyspace::new(self.channel.clone(), name, self.request_timeout))
    }
}
