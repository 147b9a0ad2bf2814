//! Endpoints, and how they are asked.

use std::{net::SocketAddr, path::PathBuf};

use serde::{Deserialize, Serialize};
use toml::Spanned;

use super::Name;
use crate::span::Span;

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Cluster {
    pub name: Name,
    #[serde(default)]
    pub protocol: Upstream,
    #[serde(default)]
    pub balance: Balance,
    #[serde(default)]
    pub endpoints: Vec<Endpoint>,
    /// Instead of endpoints: wherever an intercepted connection was to go.
    #[serde(default)]
    pub original: bool,
    pub tls: Option<ClientTls>,
    /// Endpoints are told first who the client is.
    pub proxy_protocol: Option<ProxyProtocol>,
    #[serde(default = "Cluster::connect_timeout")]
    pub connect_timeout: Span,
    #[serde(default = "Cluster::idle_timeout")]
    pub idle_timeout: Span,
    #[serde(default)]
    pub limits: Breakers,
    pub outlier: Option<Outlier>,
    pub health: Option<Health>,
    /// Whether endpoints elsewhere may serve when those of our place cannot.
    #[serde(default)]
    pub spill: Spill,
}

/// By a line of text, or in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ProxyProtocol {
    V1,
    V2,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Upstream {
    /// HTTP/1.1 over connections kept alive.
    #[default]
    Http1,
    /// HTTP/2, by prior knowledge or ALPN: gRPC.
    Http2,
    /// Bytes.
    Tcp,
    /// SOFARPC: calls of many clients over one connection a thread.
    Bolt,
    /// Dubbo 2, as Bolt.
    Dubbo,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Balance {
    /// The better of two drawn: requests under way times a moving average of
    /// latency that follows peaks at once.
    #[default]
    LeastRequest,
    RoundRobin,
    Random,
    /// The same key, the same endpoint, by rendezvous hashing.
    Hash,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Endpoint {
    pub address: Spanned<SocketAddr>,
    #[serde(default)]
    pub city: String,
    #[serde(default)]
    pub center: String,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Spill {
    /// Center, then city, then everywhere.
    #[default]
    Everywhere,
    City,
    /// Never out of the center.
    Never,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ClientTls {
    pub ca: PathBuf,
    /// Our own certificate, for servers that ask.
    pub cert: Option<PathBuf>,
    pub key: Option<PathBuf>,
    /// The name to check and to send; with `servers` it is only sent, and
    /// without it none is.
    pub server_name: Option<Spanned<String>>,
    /// The server shows exactly one URI, one of these: `spiffe://bank/ns/pay/sa/api`.
    #[serde(default)]
    pub servers: Vec<Spanned<String>>,
}

/// Circuit breakers: what one cluster may take of us.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Breakers {
    /// Connections, all threads together.
    pub connections: u32,
    /// Requests that wait for a connection.
    pub pending: u32,
    /// Requests under way.
    pub requests: u32,
}

/// Endpoints that fail are left alone for a while.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Outlier {
    /// Failures in a row: no connection, no answer, or a status of 5xx.
    pub consecutive: u32,
    /// Times the number of ejections so far.
    pub base: Span,
    pub max: Span,
    /// Of the endpoints of a cluster, at most; one may always go.
    pub percent_max: u32,
}

/// Asked by us, whether anybody else asks or not.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Health {
    /// A page that answers 2xx; a connection is enough if not given.
    pub path: Option<Spanned<String>>,
    #[serde(default = "Health::interval")]
    pub interval: Span,
    #[serde(default = "Health::timeout")]
    pub timeout: Span,
    #[serde(default = "Health::threshold")]
    pub healthy: u32,
    #[serde(default = "Health::threshold")]
    pub unhealthy: u32,
}

// === impl Cluster ===

impl Cluster {
    fn connect_timeout() -> Span {
        Span::secs(1)
    }

    fn idle_timeout() -> Span {
        Span::secs(60)
    }
}

// === impl Breakers ===

impl Default for Breakers {
    fn default() -> Breakers {
        // Envoy's default of 1,024 is what people raise first.
        Breakers { connections: 8_192, pending: 8_192, requests: 32_768 }
    }
}

// === impl Outlier ===

impl Default for Outlier {
    fn default() -> Outlier {
        Outlier { consecutive: 5, base: Span::secs(30), max: Span::secs(300), percent_max: 50 }
    }
}

// === impl Health ===

impl Health {
    fn interval() -> Span {
        Span::secs(2)
    }

    fn timeout() -> Span {
        Span::secs(1)
    }

    fn threshold() -> u32 {
        2
    }
}
