//! The file, word for word. Every default stands here with its reason.

mod cluster;
mod listener;
mod route;

use std::{net::SocketAddr, path::PathBuf};

use serde::{Deserialize, Serialize};
use toml::Spanned;

pub use self::{
    cluster::{
        Balance, Breakers, ClientTls, Cluster, Endpoint, Health, Outlier, ProxyProtocol, Spill,
        Upstream,
    },
    listener::{Forward, Intercept, Listener, Protocol, ServerTls},
    route::{
        Abort, Delay, Fault, HeaderRules, Key, Map, Match, Mirror, RateBy, RateLimit, Redirect,
        Respond, Retry, Route, Share,
    },
};
use crate::span::Span;

pub type Name = Spanned<String>;

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The file itself.
    #[serde(skip)]
    pub(crate) text: String,
    pub admin: Option<Admin>,
    pub host: Option<Host>,
    pub place: Place,
    pub limits: Limits,
    pub access_log: Option<AccessLog>,
    pub listener: Vec<Listener>,
    pub map: Vec<Map>,
    pub cluster: Vec<Cluster>,
}

/// Metrics, clusters, configuration and drain: keep it off public networks.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Admin {
    pub listen: SocketAddr,
}

/// Interception on this host: what it leaves alone, and what becomes of
/// connections when there is no proxy.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Host {
    /// No default: it is a decision between being reached and being checked.
    pub on_failure: OnFailure,
    /// What our own connections carry, so that they are not captured again.
    #[serde(default = "Host::mark")]
    pub mark: u32,
    /// Of either direction. Port 22 is always excluded.
    #[serde(default)]
    pub exclude_ports: Vec<u16>,
    /// Whom outbound connections go to, and inbound ones come from.
    #[serde(default)]
    pub exclude_cidrs: Vec<Spanned<String>>,
    /// Whose outbound connections are left alone.
    #[serde(default)]
    pub exclude_uids: Vec<u32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnFailure {
    /// Connections go their own way.
    Open,
    /// They are refused until a proxy serves or an operator cleans up.
    Closed,
}

/// Where this proxy stands: endpoints in the same place are preferred.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Place {
    pub city: String,
    pub center: String,
}

/// Bounds of the whole process.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Threads that carry requests; 0 is one per core.
    pub threads: usize,
    /// Connections from clients, all threads together.
    pub connections: usize,
    pub head_bytes: usize,
    pub headers: usize,
    /// HTTP/2 streams per connection.
    pub streams: u32,
    /// Largest frame of Bolt or Dubbo.
    pub frame_bytes: usize,
    /// For a whole head to arrive, and for the handshake of TLS.
    pub head_timeout: Span,
    /// A connection without a request.
    pub idle_timeout: Span,
    /// Between two pieces of a body.
    pub stall_timeout: Span,
    /// From the start of a drain until what is left is cut off.
    pub drain_timeout: Span,
}

/// One JSON object a line. What the disk is too slow for is dropped and counted.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct AccessLog {
    pub path: PathBuf,
}

// === impl Host ===

impl Host {
    fn mark() -> u32 {
        // "pl": a bit pattern that no router's set of marks is likely to use.
        0x706c
    }
}

// === impl Limits ===

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            threads: 0,
            connections: 65_536,
            // As Envoy has it: 60 KiB and 100 headers are what others accept.
            head_bytes: 60 << 10,
            headers: 100,
            streams: 128,
            frame_bytes: rpc::bolt::FRAME_BYTES_MAX,
            head_timeout: Span::secs(10),
            idle_timeout: Span::secs(300),
            stall_timeout: Span::secs(60),
            drain_timeout: Span::secs(30),
        }
    }
}
