//! What is done with a request, and where it goes.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use toml::Spanned;

use super::Name;
use crate::span::Span;

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

fn all() -> f64 {
    100.0
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
