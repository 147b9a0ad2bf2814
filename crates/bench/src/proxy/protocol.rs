//! What is spoken to a proxy, and how it is secured.

use std::str::FromStr;

use serde::Serialize;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    Http1,
    Http2,
    Grpc,
    /// Pieces that come back.
    Tcp,
}

/// Between clients and proxy; between proxy and origin nothing is secured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Security {
    None,
    Tls,
    /// Clients show a certificate too.
    Mtls,
}

// === impl Protocol ===

impl Protocol {
    pub const ALL: [Protocol; 4] =
        [Protocol::Http1, Protocol::Http2, Protocol::Grpc, Protocol::Tcp];

    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Protocol::Http1 => "http1",
            Protocol::Http2 => "http2",
            Protocol::Grpc => "grpc",
            Protocol::Tcp => "tcp",
        }
    }

    /// As TLS negotiates it.
    pub(crate) fn alpn(self) -> Option<&'static str> {
        match self {
            Protocol::Http1 => Some("http/1.1"),
            Protocol::Http2 | Protocol::Grpc => Some("h2"),
            Protocol::Tcp => None,
        }
    }

    pub(crate) fn is_http2(self) -> bool {
        matches!(self, Protocol::Http2 | Protocol::Grpc)
    }
}

impl FromStr for Protocol {
    type Err = String;

    fn from_str(text: &str) -> Result<Protocol, String> {
        let found = Protocol::ALL.into_iter().find(|protocol| protocol.name() == text);
        found.ok_or_else(|| "write http1, http2, grpc or tcp".to_owned())
    }
}

// === impl Security ===

impl Security {
    pub const ALL: [Security; 3] = [Security::None, Security::Tls, Security::Mtls];

    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Security::None => "none",
            Security::Tls => "tls",
            Security::Mtls => "mtls",
        }
    }
}

impl FromStr for Security {
    type Err = String;

    fn from_str(text: &str) -> Result<Security, String> {
        let found = Security::ALL.into_iter().find(|security| security.name() == text);
        found.ok_or_else(|| "write none, tls or mtls".to_owned())
    }
}
