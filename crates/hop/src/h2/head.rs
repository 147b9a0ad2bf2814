//! Heads that can only be read in one way.

use http::{StatusCode, header};

use crate::h1::is_host;

/// What would be read differently behind us, in HTTP/1.1, is refused; cookies
/// are one header again (RFC 9113 section 8.2.3).
pub(crate) fn plain(
    head: &mut http::request::Parts,
    headers_max: usize,
) -> Result<(), (StatusCode, &'static str)> {
    if head.headers.len() > headers_max {
        let status = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
        return Err((status, "there are more headers than allowed"));
    }
    unambiguous(head).map_err(|message| (StatusCode::BAD_REQUEST, message))
}

fn unambiguous(head: &mut http::request::Parts) -> Result<(), &'static str> {
    let headers = &mut head.headers;
    if headers.get_all(header::CONTENT_LENGTH).iter().nth(1).is_some() {
        return Err("the length of the body is said twice");
    }
    if headers
        .get(header::CONTENT_LENGTH)
        .is_some_and(|value| !value.as_bytes().iter().all(u8::is_ascii_digit))
    {
        return Err("the length of the body is no number");
    }
    let hosts: Vec<_> = headers.get_all(header::HOST).iter().collect();
    let authority = head.uri.authority().map(http::uri::Authority::as_str);
    match (authority, hosts.as_slice()) {
        (_, []) => {}
        (Some(authority), [host]) if authority.as_bytes() == host.as_bytes() => {}
        (None, [_]) => {}
        _ => return Err("there must be exactly one host"),
    }
    let named = authority.map(str::as_bytes).or(hosts.first().map(|host| host.as_bytes()));
    if !named.is_none_or(is_host) {
        return Err("the host is no name with perhaps a port");
    }
    if headers.get_all(header::COOKIE).iter().nth(1).is_some() {
        let all: Vec<&[u8]> =
            headers.get_all(header::COOKIE).iter().map(|value| value.as_bytes()).collect();
        let joined = http::HeaderValue::from_bytes(&all.join(&b"; "[..]))
            .map_err(|_| "a cookie is no text")?;
        headers.insert(header::COOKIE, joined);
    }
    Ok(())
}
