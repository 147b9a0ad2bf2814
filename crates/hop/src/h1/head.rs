//! Heads: found whole, parsed once, their meaning for the connection drawn out.

use std::mem::MaybeUninit;

use bytes::{Bytes, BytesMut};
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header, request, response,
};

use super::{Decoder, Malformed};

/// Most headers that are parsed, whatever the configuration allows.
const HEADERS_MAX: usize = 256;
/// Header maps are made for as many as an ordinary client sends.
const HEADERS_USUAL: usize = 16;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    V10,
    V11,
}

pub struct RequestHead {
    pub parts: request::Parts,
    pub version: Version,
    pub body: Decoder,
    pub keep_alive: bool,
    pub expects_continue: bool,
    /// The protocol to go over to, if the client asks for one.
    pub upgrade: Option<HeaderValue>,
}

pub struct ResponseHead {
    pub parts: response::Parts,
    pub body: Decoder,
    pub keep_alive: bool,
}

/// Bounds of one head.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    pub bytes: usize,
    pub headers: usize,
}

/// What the headers of a connection say, removed from those of the message.
struct Hop {
    close: bool,
    keep_alive: bool,
    upgrade: Option<HeaderValue>,
    chunked: bool,
    length: Option<u64>,
}

/// Takes a request's head off `input`; none if it is not whole yet. `scanned`
/// is how far the last call has looked.
pub fn request(
    input: &mut BytesMut,
    scanned: &mut usize,
    bounds: Bounds,
) -> Result<Option<RequestHead>, Malformed> {
    // A robust server ignores an empty line before a request (section 2.2).
    while *scanned == 0 && input.starts_with(b"\r\n") {
        let _ = input.split_to(2);
    }
    let Some(raw) = whole(input, scanned, bounds)? else { return Ok(None) };
    let mut headers = [const { MaybeUninit::uninit() }; HEADERS_MAX];
    let mut parsed = httparse::Request::new(&mut []);
    let parse = httparse::ParserConfig::default().parse_request_with_uninit_headers(
        &mut parsed,
        &raw,
        &mut headers,
    );
    complete(parse)?;
    let version = version(parsed.version)?;
    let method = parsed.method.ok_or(Malformed::Head)?;
    let method = Method::from_bytes(method.as_bytes()).map_err(|_| Malformed::Head)?;
    let target = parsed.path.ok_or(Malformed::Head)?;
    // What a client keeps to itself: some take it for a part of the path.
    if target.contains('#') {
        return Err(Malformed::Target);
    }
    let uri = Uri::from_maybe_shared(raw.slice_ref(target.as_bytes())).map_err(|_| {
        if target.len() > 65_534 { Malformed::TargetTooLong } else { Malformed::Target }
    })?;
    let uri = rooted(uri)?;
    let mut map = map(&raw, parsed.headers, bounds)?;
    let hop = Hop::take(&mut map)?;
    host(&mut map, &uri, version, &method)?;
    if hop.chunked && version == Version::V10 {
        return Err(Malformed::Length);
    }
    let body = match (hop.chunked, hop.length) {
        (true, _) => Decoder::chunked(),
        (false, Some(length)) => Decoder::length(length),
        (false, None) => Decoder::none(),
    };
    let expects_continue = map
        .remove(header::EXPECT)
        .is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue"))
        && version == Version::V11;
    let (mut parts, ()) = http::Request::new(()).into_parts();
    parts.method = method;
    parts.uri = uri;
    parts.headers = map;
    let keep_alive = !hop.close && (version == Version::V11 || hop.keep_alive);
    let upgrade = hop.upgrade.filter(|_| version == Version::V11);
    Ok(Some(RequestHead { parts, version, body, keep_alive, expects_continue, upgrade }))
}

/// Takes the head of an answer to `method` off `input`.
pub fn response(
    input: &mut BytesMut,
    scanned: &mut usize,
    bounds: Bounds,
    method: &Method,
) -> Result<Option<ResponseHead>, Malformed> {
    let Some(raw) = whole(input, scanned, bounds)? else { return Ok(None) };
    let mut headers = [const { MaybeUninit::uninit() }; HEADERS_MAX];
    let mut parsed = httparse::Response::new(&mut []);
    let parse = httparse::ParserConfig::default().parse_response_with_uninit_headers(
        &mut parsed,
        &raw,
        &mut headers,
    );
    complete(parse)?;
    let version = version(parsed.version)?;
    let status =
        parsed.code.and_then(|code| StatusCode::from_u16(code).ok()).ok_or(Malformed::Head)?;
    let mut map = map(&raw, parsed.headers, bounds)?;
    let hop = Hop::take(&mut map)?;
    if status.is_informational() || status == StatusCode::NO_CONTENT {
        // There is none to have a length (RFC 9110 section 8.6).
        map.remove(header::CONTENT_LENGTH);
    }
    let bodiless = *method == Method::HEAD
        || status.is_informational()
        || status == StatusCode::NO_CONTENT
        || status == StatusCode::NOT_MODIFIED;
    let body = match (hop.chunked, hop.length) {
        _ if bodiless => Decoder::none(),
        (true, _) => Decoder::chunked(),
        (false, Some(length)) => Decoder::length(length),
        (false, None) => Decoder::until_end(),
    };
    let (mut parts, ()) = http::Response::new(()).into_parts();
    parts.status = status;
    parts.headers = map;
    if status == StatusCode::SWITCHING_PROTOCOLS {
        parts.headers.extend(hop.upgrade.map(|upgrade| (header::UPGRADE, upgrade)));
    }
    let keep_alive = !hop.close && (version == Version::V11 || hop.keep_alive);
    Ok(Some(ResponseHead { parts, body, keep_alive }))
}

/// Cuts the head off, its empty line included.
fn whole(
    input: &mut BytesMut,
    scanned: &mut usize,
    bounds: Bounds,
) -> Result<Option<Bytes>, Malformed> {
    let from = scanned.saturating_sub(3);
    let end = memchr::memmem::find(&input[from..], b"\r\n\r\n").map(|at| from + at + 4);
    let seen = end.unwrap_or(input.len());
    if seen > bounds.bytes {
        return Err(Malformed::HeadTooLarge);
    }
    // A newline alone ends a line for some readers and not for others.
    for at in memchr::memchr_iter(b'\n', &input[from..seen]) {
        let at = from + at;
        if at == 0 || input[at - 1] != b'\r' {
            return Err(Malformed::BareNewline);
        }
    }
    *scanned = seen;
    Ok(end.map(|end| {
        *scanned = 0;
        input.split_to(end).freeze()
    }))
}

fn complete<T>(parsed: httparse::Result<T>) -> Result<(), Malformed> {
    match parsed {
        Ok(httparse::Status::Complete(_)) => Ok(()),
        Ok(httparse::Status::Partial) => Err(Malformed::Head),
        Err(httparse::Error::TooManyHeaders) => Err(Malformed::TooManyHeaders),
        Err(_) => Err(Malformed::Head),
    }
}

fn version(minor: Option<u8>) -> Result<Version, Malformed> {
    match minor {
        Some(0) => Ok(Version::V10),
        Some(1) => Ok(Version::V11),
        _ => Err(Malformed::Head),
    }
}

/// Values share the head's memory.
fn map(
    raw: &Bytes,
    headers: &[httparse::Header<'_>],
    bounds: Bounds,
) -> Result<HeaderMap, Malformed> {
    if headers.len() > bounds.headers {
        return Err(Malformed::TooManyHeaders);
    }
    let mut map = HeaderMap::with_capacity(headers.len().max(HEADERS_USUAL));
    for header in headers {
        let name = HeaderName::from_bytes(header.name.as_bytes()).map_err(|_| Malformed::Head)?;
        let value = HeaderValue::from_maybe_shared(raw.slice_ref(header.value))
            .map_err(|_| Malformed::Head)?;
        map.append(name, value);
    }
    Ok(map)
}

/// `http://bank?a=b` has no path, which is `/` to whoever is asked (RFC 9112
/// section 3.2.1).
fn rooted(uri: Uri) -> Result<Uri, Malformed> {
    let Some(query) = uri.path_and_query().filter(|target| target.as_str().starts_with('?')) else {
        return Ok(uri);
    };
    let target = format!("/{query}", query = query.as_str());
    let mut parts = uri.into_parts();
    parts.path_and_query = Some(target.parse().map_err(|_| Malformed::Target)?);
    Uri::from_parts(parts).map_err(|_| Malformed::Target)
}

/// Exactly one Host, or none in HTTP/1.0; the target's own name comes first
/// (RFC 9112 section 3.2.2).
fn host(
    map: &mut HeaderMap,
    uri: &Uri,
    version: Version,
    method: &Method,
) -> Result<(), Malformed> {
    let mut hosts = map.get_all(header::HOST).iter();
    match (hosts.next(), hosts.next()) {
        (Some(host), None) if is_host(host.as_bytes()) => {}
        (None, _) if version == Version::V10 => {}
        _ => return Err(Malformed::Host),
    }
    let origin = uri.path().starts_with('/') || (uri.path() == "*" && *method == Method::OPTIONS);
    match uri.authority() {
        _ if *method == Method::CONNECT => Ok(()),
        Some(authority) if uri.scheme().is_some() => {
            let host = authority.as_str().rsplit('@').next().unwrap_or_default();
            let host = HeaderValue::from_str(host).map_err(|_| Malformed::Target)?;
            map.insert(header::HOST, host);
            Ok(())
        }
        None if origin => Ok(()),
        _ => Err(Malformed::Target),
    }
}

/// A name or an address, and perhaps a port (RFC 3986 section 3.2); an empty one is
/// for targets that have none. What is no such thing each hop could read otherwise.
pub(crate) fn is_host(value: &[u8]) -> bool {
    value.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-._~%!$&'()*+,;=:[]".contains(byte))
}

// === impl Hop ===

impl Hop {
    fn take(map: &mut HeaderMap) -> Result<Hop, Malformed> {
        let mut hop =
            Hop { close: false, keep_alive: false, upgrade: None, chunked: false, length: None };
        let mut wants_upgrade = false;
        if map.contains_key(header::CONNECTION) {
            let named: Vec<HeaderName> = {
                let values = map.get_all(header::CONNECTION).iter();
                let mut named = Vec::new();
                for option in
                    values.filter_map(|value| value.to_str().ok()).flat_map(|v| v.split(','))
                {
                    let option = option.trim();
                    match option {
                        _ if option.eq_ignore_ascii_case("close") => hop.close = true,
                        _ if option.eq_ignore_ascii_case("keep-alive") => hop.keep_alive = true,
                        _ if option.eq_ignore_ascii_case("upgrade") => wants_upgrade = true,
                        _ => named.extend(option.parse::<HeaderName>()),
                    }
                }
                named
            };
            map.remove(header::CONNECTION);
            // What tells one reader where a message ends is never a hop's own.
            for name in named {
                if name != header::CONTENT_LENGTH
                    && name != header::TRANSFER_ENCODING
                    && name != header::HOST
                {
                    map.remove(name);
                }
            }
        }
        let upgrade = map.remove(header::UPGRADE);
        hop.upgrade = upgrade.filter(|to| wants_upgrade && !leads_past_routes(to));
        for name in ["keep-alive", "proxy-connection"] {
            map.remove(name);
        }
        map.remove(header::TRAILER);
        // `TE: trailers` is the one that gRPC needs.
        if map.get_all(header::TE).iter().any(|te| te.as_bytes() != b"trailers") {
            map.remove(header::TE);
        }
        if map.contains_key(header::TRANSFER_ENCODING) {
            let mut values = map.get_all(header::TRANSFER_ENCODING).iter();
            let (first, more) = (values.next(), values.next());
            let chunked =
                first.is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"chunked"));
            if !chunked || more.is_some() {
                return Err(Malformed::Coding);
            }
            if map.contains_key(header::CONTENT_LENGTH) {
                return Err(Malformed::Length);
            }
            map.remove(header::TRANSFER_ENCODING);
            hop.chunked = true;
        }
        let mut lengths = map.get_all(header::CONTENT_LENGTH).iter();
        match (lengths.next(), lengths.next()) {
            (None, _) => {}
            (Some(length), None) => hop.length = Some(digits(length.as_bytes())?),
            (Some(_), Some(_)) => return Err(Malformed::Length),
        }
        Ok(hop)
    }
}

/// Whether an upgrade is to HTTP again, or to TLS with it inside: what is asked there
/// no route would see. It is passed over, as a server may (RFC 9110 section 7.8).
fn leads_past_routes(upgrade: &HeaderValue) -> bool {
    let Ok(text) = upgrade.to_str() else { return true };
    text.split(',').any(|protocol| {
        let name = protocol.split('/').next().unwrap_or_default().trim();
        ["h2c", "h2", "http", "tls"].iter().any(|known| name.eq_ignore_ascii_case(known))
    })
}

/// A number as the grammar has it: digits and nothing else.
fn digits(text: &[u8]) -> Result<u64, Malformed> {
    if text.is_empty() || text.len() > 18 || !text.iter().all(u8::is_ascii_digit) {
        return Err(Malformed::Length);
    }
    Ok(text.iter().fold(0, |number, digit| number * 10 + u64::from(digit - b'0')))
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: Bounds = Bounds { bytes: 4_096, headers: 8 };

    fn check(text: &str, expected: Result<&str, Malformed>) {
        let seen = request(&mut BytesMut::from(text), &mut 0, BOUNDS).map(|head| {
            let head = head.expect("whole");
            let keep = if head.keep_alive { "keep" } else { "close" };
            let host = head
                .parts
                .headers
                .get(header::HOST)
                .map_or("-", |host| host.to_str().expect("text"));
            format!("{} {} {host} {keep} {}", head.parts.method, head.parts.uri, head.body)
        });
        assert_eq!(seen.as_ref().map(String::as_str).map_err(|error| *error), expected, "{text:?}");
    }

    #[test]
    fn plain_requests_are_understood() {
        check("GET / HTTP/1.1\r\nHost: a\r\n\r\n", Ok("GET / a keep none"));
        check("\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", Ok("GET / a keep none"));
        check("GET / HTTP/1.0\r\n\r\n", Ok("GET / - close none"));
        check("GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n", Ok("GET / - keep none"));
        check("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 12\r\n\r\n", Ok("POST / a keep 12"));
        check(
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\n\r\n",
            Ok("POST / a keep chunked"),
        );
        check(
            "GET http://b:81/x HTTP/1.1\r\nHost: a\r\n\r\n",
            Ok("GET http://b:81/x b:81 keep none"),
        );
        check(
            "OPTIONS * HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
            Ok("OPTIONS * a close none"),
        );
    }

    #[test]
    fn what_two_readers_could_see_differently_is_refused() {
        let with = |headers: &str| format!("POST / HTTP/1.1\r\nHost: a\r\n{headers}\r\n\r\n");
        for headers in [
            "Content-Length: 5\r\nTransfer-Encoding: chunked",
            "Transfer-Encoding: chunked\r\nContent-Length: 5",
            "Content-Length: 5\r\nContent-Length: 5",
            "Content-Length: 5\r\nContent-Length: 6",
            "Content-Length: 5, 5",
            "Content-Length: +5",
            "Content-Length: -5",
            "Content-Length: 0x5",
            "Content-Length: 5 5",
            "Content-Length:",
            "Content-Length: 99999999999999999999",
        ] {
            check(&with(headers), Err(Malformed::Length));
        }
        for headers in [
            "Transfer-Encoding: xchunked",
            "Transfer-Encoding: chunked, identity",
            "Transfer-Encoding: gzip, chunked",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
            "Transfer-Encoding: identity",
            "Transfer-Encoding: \"chunked\"",
            "Transfer-Encoding: chunked;q=1",
        ] {
            check(&with(headers), Err(Malformed::Coding));
        }
        for headers in [
            "Transfer-Encoding : chunked",
            " Content-Length: 5",
            "X: a\r\n Transfer-Encoding: chunked",
            "X: a\rb",
            "X: a\0b",
            "X\0: a",
            ": a",
            "no colon",
        ] {
            check(&with(headers), Err(Malformed::Head));
        }
        check("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", Err(Malformed::Length));
        check("GET / HTTP/1.1\r\n\r\n", Err(Malformed::Host));
        check(&with("Host: b"), Err(Malformed::Host));
        check("GET / HTTP/1.1\nHost: a\n\r\n\r\n", Err(Malformed::BareNewline));
        check("GET / HTTP/1.1\r\nHost: a\nX: y\r\n\r\n", Err(Malformed::BareNewline));
        check("GET / HTTP/2.0\r\nHost: a\r\n\r\n", Err(Malformed::Head));
        check("GET  / HTTP/1.1\r\nHost: a\r\n\r\n", Err(Malformed::Head));
        check("G@T / HTTP/1.1\r\nHost: a\r\n\r\n", Err(Malformed::Head));
        check("GET a HTTP/1.1\r\nHost: a\r\n\r\n", Err(Malformed::Target));
    }

    #[test]
    fn bounds_hold_while_a_head_is_still_coming() {
        let mut scanned = 0;
        let mut input = BytesMut::from(&b"GET / HTTP/1.1\r\n"[..]);
        input.extend_from_slice(&[b'a'; 5_000]);
        assert_eq!(request(&mut input, &mut scanned, BOUNDS).err(), Some(Malformed::HeadTooLarge));
        let many = format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "x: y\r\n".repeat(9));
        check(&many, Err(Malformed::TooManyHeaders));
    }

    #[test]
    fn a_head_in_pieces_is_the_same_head() {
        let text = b"GET /a HTTP/1.1\r\nHost: a\r\nX: y\r\n\r\nrest";
        for cut in 1..text.len() - 5 {
            let (mut input, mut scanned) = (BytesMut::from(&text[..cut]), 0);
            assert!(request(&mut input, &mut scanned, BOUNDS).expect("sound").is_none(), "{cut}");
            input.extend_from_slice(&text[cut..]);
            let head = request(&mut input, &mut scanned, BOUNDS).expect("sound").expect("whole");
            assert_eq!((head.parts.uri.path(), &input[..]), ("/a", &b"rest"[..]));
        }
    }

    #[test]
    fn an_answer_ends_where_its_head_and_the_method_say() {
        let body = |text: &str, method: Method| {
            response(&mut BytesMut::from(text), &mut 0, BOUNDS, &method)
                .map(|head| head.expect("whole").body.to_string())
        };
        let ok = |headers: &str| format!("HTTP/1.1 200 OK\r\n{headers}\r\n\r\n");
        assert_eq!(body(&ok("Content-Length: 3"), Method::GET).as_deref(), Ok("3"));
        assert_eq!(body(&ok("Content-Length: 3"), Method::HEAD).as_deref(), Ok("none"));
        assert_eq!(body(&ok("X: y"), Method::GET).as_deref(), Ok("until end"));
        assert_eq!(body("HTTP/1.1 204 \r\nX: y\r\n\r\n", Method::GET).as_deref(), Ok("none"));
        let both = ok("Content-Length: 3\r\nTransfer-Encoding: chunked");
        assert_eq!(body(&both, Method::GET), Err(Malformed::Length));
    }

    #[test]
    fn what_a_hop_keeps_to_itself_is_passed_over() {
        let read = |lines: &str| {
            let text =
                format!("GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\n{lines}\r\n\r\n");
            let head = request(&mut BytesMut::from(&text[..]), &mut 0, BOUNDS);
            head.expect("sound").expect("whole")
        };
        assert!(read("upgrade: websocket").upgrade.is_some());
        // A tunnel of HTTP leads to what no route would see.
        for upgrade in ["h2c", "H2C", "websocket, h2c", "HTTP/2.0", "TLS/1.2", "h2c,x"] {
            assert!(read(&format!("upgrade: {upgrade}")).upgrade.is_none(), "{upgrade}");
        }
        assert!(read("te: trailers").parts.headers.contains_key(header::TE));
        assert!(!read("te: trailers\r\nte: gzip").parts.headers.contains_key(header::TE));
        let old = "GET / HTTP/1.0\r\nexpect: 100-continue\r\n\r\n";
        let old = request(&mut BytesMut::from(old), &mut 0, BOUNDS).expect("sound").expect("whole");
        assert!(!old.expects_continue && !old.parts.headers.contains_key(header::EXPECT));
        let none = "HTTP/1.1 204 No Content\r\ncontent-length: 7\r\n\r\n";
        let none = response(&mut BytesMut::from(none), &mut 0, BOUNDS, &Method::GET);
        let none = none.expect("sound").expect("whole");
        assert!(!none.parts.headers.contains_key(header::CONTENT_LENGTH));
    }
}
