//! The file, word for word. Every default stands here with its reason.

use std::{collections::BTreeMap, net::SocketAddr, path::PathBuf};

use serde::{Deserialize, Serialize};
use toml::Spanned;

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

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Intercept {
    /// What others send to services of this host.
    Inbound,
    /// What programs of this host send to others.
    Outbound,
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

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Listener {
    pub name: Name,
    pub address: Spanned<SocketAddr>,
    #[serde(default)]
    pub protocol: Protocol,
    /// The PROXY protocol, version 1 or 2, comes first and says who the client is.
    #[serde(default)]
    pub proxy_protocol: bool,
    /// Of `auto`: who has not said by then what he speaks is carried as bytes,
    /// as where the server speaks first. If not given, he may idle.
    pub detect_timeout: Option<Span>,
    /// Connections are captured on this host, by `polis proxy host`. The address
    /// is of 127.0.0.1; `[::1]` is listened on as well.
    pub intercept: Option<Intercept>,
    /// Those to these ports; if none are given, whatever no other listener captures.
    #[serde(default)]
    pub intercept_ports: Vec<u16>,
    pub tls: Option<ServerTls>,
    /// Clients of Dubbo are asked to call elsewhere when a drain begins. One that
    /// knows no other address fails at once instead: only where all know several.
    #[serde(default)]
    pub readonly: bool,
    #[serde(default)]
    pub route: Vec<Route>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Protocol {
    /// HTTP/1.1 and HTTP/2, told apart by ALPN or the first bytes.
    #[default]
    Http,
    /// Bytes both ways.
    Tcp,
    /// TLS that is not ended here: the ClientHello's server name picks the route.
    TlsPassthrough,
    /// Calls of SOFARPC.
    Bolt,
    /// Calls of Dubbo 2, as Dubbo 3 speaks it too.
    Dubbo,
    /// HTTP, Bolt and Dubbo, told apart by the first bytes; a route is for the
    /// protocol of its clusters. One to a cluster of `tcp` takes all else.
    Auto,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ServerTls {
    pub cert: PathBuf,
    pub key: PathBuf,
    /// Clients must show a certificate of this authority.
    pub client_ca: Option<PathBuf>,
    /// And in it exactly one URI, one of these: `spiffe://bank/ns/pay/sa/*`.
    #[serde(default)]
    pub clients: Vec<Spanned<String>>,
    /// Whether services are told who the client is.
    #[serde(default)]
    pub forward: Forward,
}

/// What becomes of the header `x-forwarded-client-cert`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Forward {
    /// Removed: nobody is to be believed what he says of himself.
    #[default]
    Remove,
    /// Set to who the client has proven to be.
    Set,
}

/// The first route that matches is taken.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Route {
    pub name: Name,
    #[serde(rename = "match", default)]
    pub matches: Match,
    /// Whom the request is about: what `map`, `balance = "hash"` and
    /// `rate_limit` by key ask.
    pub key: Option<Key>,
    /// Where to: exactly one of these.
    pub cluster: Option<Name>,
    pub map: Option<Name>,
    pub split: Option<Vec<Share>>,
    pub respond: Option<Respond>,
    pub redirect: Option<Redirect>,
    /// Of the whole request, tries and waits included; `0s` is none, for streams.
    #[serde(default = "Route::timeout")]
    pub timeout: Span,
    pub retry: Option<Retry>,
    /// Whatever the method says, sending it twice is as good as once.
    #[serde(default)]
    pub idempotent: bool,
    /// Replaced before the path is sent on.
    pub rewrite_prefix: Option<String>,
    #[serde(default)]
    pub request_headers: HeaderRules,
    #[serde(default)]
    pub response_headers: HeaderRules,
    pub mirror: Option<Mirror>,
    pub fault: Option<Fault>,
    pub rate_limit: Option<RateLimit>,
}

/// All of what is given must hold.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Match {
    /// `pay.bank.example`, or `*.bank.example` for any name below.
    pub host: Option<Spanned<String>>,
    pub path: Option<Spanned<String>>,
    /// Whole segments: `/pay` matches `/pay` and `/pay/1`, never `/payroll`.
    pub path_prefix: Option<Spanned<String>>,
    pub methods: Vec<Spanned<String>>,
    /// By exact value; `*` is any.
    pub headers: BTreeMap<Spanned<String>, String>,
    /// By exact value; `*` is any.
    pub query: BTreeMap<String, String>,
    /// The server name of TLS, for `tls-passthrough`; `*.` as for hosts.
    pub sni: Option<Spanned<String>>,
    /// `com.bank.Pay:1.0` in Bolt, `com.bank.Pay` in Dubbo; `com.bank.*` is all
    /// that begin so. `methods` are then those of the service, and `headers`
    /// Bolt's header or Dubbo's attachments.
    pub service: Option<Spanned<String>>,
    /// Of a service of Dubbo.
    pub version: Option<Spanned<String>>,
    /// Of a service of Dubbo.
    pub group: Option<Spanned<String>>,
    /// Who the client has proven to be: `spiffe://bank/ns/pay/sa/*`.
    pub client: Option<Spanned<String>>,
    /// Where an intercepted connection was to go: `10.0.0.0/8:443`.
    pub destination: Option<Spanned<String>>,
}

/// Where the key is, tried in this order; the first that is there counts.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Key {
    pub header: Option<Spanned<String>>,
    pub cookie: Option<String>,
    pub query: Option<String>,
    /// The segment of the path, from 0.
    pub path_segment: Option<usize>,
    /// A claim of the bearer token. It is read, not verified.
    pub jwt_claim: Option<String>,
    /// A field of a JSON body, `payer.id`; the body is held up to 64 KiB for it.
    pub json_field: Option<String>,
    /// A pair in Bolt's header.
    pub bolt_header: Option<Spanned<String>>,
    /// An attachment of Dubbo.
    pub attachment: Option<Spanned<String>>,
    /// An argument of a call from 0, or what a path leads to in it: `0.userId`.
    pub argument: Option<Spanned<String>>,
    /// From which character to before which, counted from the end if negative.
    pub slice: Option<[i32; 2]>,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Share {
    pub cluster: Name,
    pub weight: u32,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Respond {
    pub status: Spanned<u16>,
    #[serde(default)]
    pub body: String,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Redirect {
    pub to: String,
    #[serde(default = "Redirect::status")]
    pub status: Spanned<u16>,
}

/// Tries beyond the first. Only what is idempotent, or was never sent, is sent
/// again; `on` adds answers that count as failures.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Retry {
    pub attempts: u32,
    pub on: Vec<Spanned<u16>>,
    pub try_timeout: Option<Span>,
    /// Retries under way, in per cent of the requests under way to the cluster.
    pub budget_percent: u32,
    /// Retries that are always allowed, so that little traffic has them too.
    pub budget_min: u32,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct HeaderRules {
    pub set: BTreeMap<Spanned<String>, Spanned<String>>,
    pub add: BTreeMap<Spanned<String>, Spanned<String>>,
    pub remove: Vec<Spanned<String>>,
}

/// A copy whose answer nobody waits for.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Mirror {
    pub cluster: Name,
    #[serde(default = "all")]
    pub percent: f64,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    pub delay: Option<Delay>,
    pub abort: Option<Abort>,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Delay {
    pub time: Span,
    #[serde(default = "all")]
    pub percent: f64,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Abort {
    pub status: Spanned<u16>,
    #[serde(default = "all")]
    pub percent: f64,
}

/// A bucket of tokens, of this proxy alone.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct RateLimit {
    pub requests: u32,
    pub per: Span,
    /// How many may come at once; as many as `requests` if not given.
    pub burst: Option<u32>,
    /// One bucket for the route, or one for each key or client.
    #[serde(default)]
    pub by: RateBy,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum RateBy {
    #[default]
    Route,
    Key,
    Client,
}

/// From key to cluster.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Map {
    pub name: Name,
    /// For keys that are not entered, and requests without one; none refuses them.
    pub default: Option<Name>,
    #[serde(default)]
    pub entries: BTreeMap<String, Name>,
}

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

fn all() -> f64 {
    100.0
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

// === impl Route ===

impl Route {
    fn timeout() -> Span {
        Span::secs(15)
    }
}

// === impl Redirect ===

impl Redirect {
    fn status() -> Spanned<u16> {
        Spanned::new(0..0, 302)
    }
}

// === impl Retry ===

impl Default for Retry {
    fn default() -> Retry {
        Retry { attempts: 1, on: Vec::new(), try_timeout: None, budget_percent: 20, budget_min: 3 }
    }
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
