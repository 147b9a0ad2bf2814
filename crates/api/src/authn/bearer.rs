//! Where a request carries its token.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD as BASE64};
use http::{HeaderMap, header};

use super::jwt::TOKEN_BYTES_MAX;

/// Browsers cannot set headers of a WebSocket, but its subprotocols.
const PROTOCOL_PREFIX: &str = "base64url.bearer.authorization.k8s.io.";

#[derive(Debug, PartialEq, Eq)]
pub enum Shown {
    Nothing,
    Token(String),
    /// Longer than any token is.
    TooLong,
}

pub fn shown(headers: &HeaderMap) -> Shown {
    let plain = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let plain = plain.and_then(|value| {
        let (scheme, token) = value.trim().split_once(' ')?;
        // What follows a second space is not looked at, as in Kubernetes.
        let token = token.split(' ').next().filter(|token| !token.is_empty())?;
        scheme.eq_ignore_ascii_case("bearer").then(|| token.to_owned())
    });
    match plain.or_else(|| of_protocol(headers)) {
        None => Shown::Nothing,
        Some(token) if token.len() > TOKEN_BYTES_MAX => Shown::TooLong,
        Some(token) => Shown::Token(token),
    }
}

fn of_protocol(headers: &HeaderMap) -> Option<String> {
    let mut offered = headers
        .get_all(header::SEC_WEBSOCKET_PROTOCOL)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','));
    let encoded = offered.find_map(|offer| offer.trim().strip_prefix(PROTOCOL_PREFIX))?;
    let bytes = BASE64.decode(encoded.trim_end_matches('=')).ok()?;
    String::from_utf8(bytes).ok().filter(|token| !token.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(name: header::HeaderName, value: &str, expected: &str) {
        let headers = HeaderMap::from_iter([(name, value.parse().expect("a value"))]);
        let token = match shown(&headers) {
            Shown::Token(token) => token,
            other => format!("{other:?}"),
        };
        assert_eq!(token, expected, "{value}");
    }

    #[test]
    fn a_token_stands_in_a_header_or_among_the_protocols() {
        use header::{AUTHORIZATION, SEC_WEBSOCKET_PROTOCOL};
        check(AUTHORIZATION, "Bearer abc", "abc");
        check(AUTHORIZATION, " bearer abc def", "abc");
        for nothing in ["Basic abc", "Bearer", "Bearer  abc", "abc", ""] {
            check(AUTHORIZATION, nothing, "Nothing");
        }
        check(AUTHORIZATION, &format!("Bearer {}", "a".repeat(TOKEN_BYTES_MAX + 1)), "TooLong");
        let offered = "v5.channel.k8s.io, base64url.bearer.authorization.k8s.io.YWJj";
        check(SEC_WEBSOCKET_PROTOCOL, offered, "abc");
        check(SEC_WEBSOCKET_PROTOCOL, "v5.channel.k8s.io", "Nothing");
    }
}
