//! Where clients come in.

use std::{net::SocketAddr, path::PathBuf};

use serde::{Deserialize, Serialize};
use toml::Spanned;

use super::{Name, Route};
use crate::span::Span;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Intercept {
    /// What others send to services of this host.
    Inbound,
    /// What programs of this host send to others.
    Outbound,
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
