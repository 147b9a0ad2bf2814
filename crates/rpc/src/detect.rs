//! Which protocol a client speaks, by the first bytes it sends.
//!
//! Sources: RFC 9113, section 3.4; RFC 9112, section 3; RFC 8446, section 5.1;
//! HAProxy's PROXY protocol; `bolt` and `dubbo` beside this.

use crate::proxy_protocol::SIGNATURE_V2;

/// After so many bytes there is an answer.
pub const DETECT_BYTES_MAX: usize = 24;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detected {
    NeedMore,
    Is(Protocol),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    Tls,
    ProxyV1,
    ProxyV2,
    Http1,
    Http2,
    Bolt,
    Dubbo,
    Unknown,
}

/// One that is known by its first bytes, each of which may be one of a few.
struct Form {
    protocol: Protocol,
    accepts: fn(usize, u8) -> bool,
    bytes: usize,
}

const PREFACE: &[u8; DETECT_BYTES_MAX] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const PROXY_V1: &[u8; 6] = b"PROXY ";

const FORMS: [Form; 7] = [
    Form { protocol: Protocol::Http2, accepts: |at, byte| byte == PREFACE[at], bytes: 24 },
    Form { protocol: Protocol::ProxyV1, accepts: |at, byte| byte == PROXY_V1[at], bytes: 6 },
    Form { protocol: Protocol::ProxyV2, accepts: |at, byte| byte == SIGNATURE_V2[at], bytes: 12 },
    Form { protocol: Protocol::Tls, accepts: tls, bytes: 6 },
    Form { protocol: Protocol::Dubbo, accepts: |at, byte| byte == [0xda, 0xbb][at], bytes: 2 },
    Form { protocol: Protocol::Bolt, accepts: bolt_v1, bytes: 4 },
    Form { protocol: Protocol::Bolt, accepts: bolt_v2, bytes: 5 },
];

/// Longest method that is taken for one.
const METHOD_BYTES_MAX: usize = DETECT_BYTES_MAX - 1;

/// Pure: ask again with more bytes from the same beginning.
#[must_use]
pub fn detect(bytes: &[u8]) -> Detected {
    if bytes.is_empty() {
        return Detected::NeedMore;
    }
    let fits = |form: &&Form| {
        let mut seen = bytes.iter().take(form.bytes).enumerate();
        seen.all(|(at, byte)| (form.accepts)(at, *byte))
    };
    let mut candidates = FORMS.iter().filter(fits).peekable();
    if let Some(form) = candidates.clone().find(|form| bytes.len() >= form.bytes) {
        return Detected::Is(form.protocol);
    }
    if candidates.peek().is_some() {
        return Detected::NeedMore;
    }
    http1(bytes)
}

/// A method and a space; what is behind it is for the one who parses it.
fn http1(bytes: &[u8]) -> Detected {
    let is_method = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    let method = bytes.iter().take_while(|byte| is_method(byte)).count();
    match bytes.get(method) {
        Some(b' ') if (1..=METHOD_BYTES_MAX).contains(&method) => Detected::Is(Protocol::Http1),
        None if method <= METHOD_BYTES_MAX => Detected::NeedMore,
        _ => Detected::Is(Protocol::Unknown),
    }
}

/// A handshake record of any 3.x version that begins with a ClientHello.
fn tls(at: usize, byte: u8) -> bool {
    match at {
        0 => byte == 0x16,
        1 => byte == 3,
        2 => byte <= 4,
        5 => byte == 1,
        _ => true,
    }
}

/// A request with or without an answer; its command fits in one byte.
fn bolt_v1(at: usize, byte: u8) -> bool {
    match at {
        0 => byte == 1,
        1 => matches!(byte, 1 | 2),
        2 => byte == 0,
        _ => true,
    }
}

fn bolt_v2(at: usize, byte: u8) -> bool {
    match at {
        0 => byte == 2,
        1 | 2 => matches!(byte, 1 | 2),
        3 => byte == 0,
        _ => true,
    }
}
