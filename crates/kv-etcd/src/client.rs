//! One connection to a store, shared by all keyspaces of this process.
//!
//! The connection is made on first use and again after each failure; whoever
//! holds a [`Keyspace`] notices only errors. Silence is noticed too: HTTP/2
//! pings tell a dead or paused store from an idle one within
//! [`PING_EVERY`] + [`PING_ANSWER_MAX`].

use std::{sync::Arc, time::Duration};

use kv::{Error, KeyspaceName};
use tonic::transport::Channel;

pub use crate::connect::{PING_ANSWER_MAX, PING_EVERY};
use crate::{connect, handle::Keyspace};

/// etcd's own request timeout is 5 s plus election time; so long may an answer
/// take before we call its outcome unknown.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(7);

/// Where the store is and who we are.
#[derive(Clone)]
pub struct Config {
    /// `https://HOST:PORT`, or `http://HOST:PORT` without TLS.
    pub endpoint: String,
    /// Other members of the same cluster, for when that one cannot be reached.
    pub others: Vec<String>,
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
        Config {
            endpoint: endpoint.into(),
            others: Vec::new(),
            tls,
            request_timeout: REQUEST_TIMEOUT,
        }
    }
}

// === impl Client ===

impl Client {
    /// Checks the configuration and connects on first use. Must be called
    /// inside a tokio runtime.
    pub fn connect(config: Config) -> Result<Client, Error> {
        let endpoints = [vec![config.endpoint], config.others].concat();
        let channel = connect::channel_to_any(&endpoints, config.tls)?;
        Ok(Client { channel, request_timeout: config.request_timeout })
    }

    /// Fails with [`Error::InvalidKeyspace`].
    pub fn keyspace(&self, name: &str) -> Result<Keyspace, Error> {
        let name = KeyspaceName::new(name)?;
        Ok(Keyspace::new(self.channel.clone(), name, self.request_timeout))
    }
}
