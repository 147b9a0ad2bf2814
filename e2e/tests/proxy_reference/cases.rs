//! The cases, by the section of RFC 9112 (or 9110, as `10:`) that they are about.

use super::sides::{Kind, Outcome};

pub struct Case {
    pub name: &'static str,
    pub bytes: &'static str,
    kind: Kind,
    seen: &'static [(&'static str, usize)],
    /// Why we take it in another way than nginx and HAProxy, who agree.
    pub differs: Option<&'static str>,
}

type Seen = &'static [(&'static str, usize)];

/// One request for `/a` without a body, or with one of five bytes.
const A: Seen = &[("/a", 0)];
const A5: Seen = &[("/a", 5)];

const fn refused(name: &'static str, bytes: &'static str) -> Case {
    Case { name, bytes, kind: Kind::Refused, seen: &[], differs: None }
}

const fn taken(name: &'static str, bytes: &'static str, seen: Seen) -> Case {
    Case { name, bytes, kind: Kind::Taken, seen, differs: None }
}

/// The connection ends behind it.
const fn last(name: &'static str, bytes: &'static str, seen: Seen) -> Case {
    Case { name, bytes, kind: Kind::Last, seen, differs: None }
}

/// RFC 9112 lets a server take it; one who does and one who does not see other
/// requests, and no client needs it.
const LENIENT: &str = "more than one reading";

// === impl Case ===

impl Case {
    const fn unlike(mut self, reason: &'static str) -> Case {
        self.differs = Some(reason);
        self
    }

    pub fn expected(&self) -> Outcome {
        Outcome::new(self.kind, self.seen)
    }
}

/// Behind lines that are `POST /a`, a body of `5 CRLF hello CRLF 0 CRLF CRLF`, which
/// is one of chunks or the beginning of another request.
macro_rules! chunked {
    ($lines:literal) => {
        concat!("POST /a HTTP/1.1\r\nhost: a\r\n", $lines, "\r\n5\r\nhello\r\n0\r\n\r\n")
    };
}

/// Of chunks as they stand here.
macro_rules! chunks {
    ($chunks:literal) => {
        concat!("POST /a HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n", $chunks)
    };
}

/// With these lines, and behind them `hello`.
macro_rules! hello {
    ($lines:literal) => {
        concat!("POST /a HTTP/1.1\r\nhost: a\r\n", $lines, "\r\nhello")
    };
}

/// With these lines and no body.
macro_rules! get {
    ($lines:literal) => {
        concat!("GET /a HTTP/1.1\r\nhost: a\r\n", $lines, "\r\n")
    };
}

pub const CASES: &[Case] = &[
    // 2.2 and 3: the line of a request.
    taken("plain", get!(""), A),
    taken("3.2.2 absolute form", "GET http://a/a HTTP/1.1\r\nhost: a\r\n\r\n", A),
    taken("2.2 an empty line before", "\r\nGET /a HTTP/1.1\r\nhost: a\r\n\r\n", A),
    refused("3 two spaces", "GET  /a HTTP/1.1\r\nhost: a\r\n\r\n").unlike(LENIENT),
    refused("3 a tab for a space", "GET\t/a HTTP/1.1\r\nhost: a\r\n\r\n"),
    refused("3 a space in the target", "GET /a b HTTP/1.1\r\nhost: a\r\n\r\n"),
    refused("3 a space behind the line", "GET /a HTTP/1.1 \r\nhost: a\r\n\r\n"),
    refused("3.2 no target", "GET HTTP/1.1\r\nhost: a\r\n\r\n"),
    refused("3.2 a target without slash", "GET a HTTP/1.1\r\nhost: a\r\n\r\n"),
    refused("3.2 a fragment", "GET /a#b HTTP/1.1\r\nhost: a\r\n\r\n"),
    refused("3.2 a control character", "GET /a\u{1}b HTTP/1.1\r\nhost: a\r\n\r\n"),
    refused("3.2 NUL in the target", "GET /a\0 HTTP/1.1\r\nhost: a\r\n\r\n"),
    refused("3.2.3 CONNECT", "CONNECT a:443 HTTP/1.1\r\nhost: a:443\r\n\r\n"),
    refused("2.3 no version", "GET /a\r\nhost: a\r\n\r\n"),
    refused("2.3 HTTP/0.9 said", "GET /a HTTP/0.9\r\nhost: a\r\n\r\n"),
    refused("2.3 HTTP/1.11", "GET /a HTTP/1.11\r\nhost: a\r\n\r\n"),
    refused("2.3 HTTP/3.0", "GET /a HTTP/3.0\r\nhost: a\r\n\r\n"),
    refused("2.3 http in small letters", "GET /a http/1.1\r\nhost: a\r\n\r\n"),
    refused("2.2 the line ends by LF", "GET /a HTTP/1.1\nhost: a\r\n\r\n").unlike(LENIENT),
    refused("2.2 a bare CR in the line", "GET /a\r HTTP/1.1\r\nhost: a\r\n\r\n"),
    taken("9.1 a method of their own", "PAY /a HTTP/1.1\r\nhost: a\r\n\r\n", A),
    refused("9.1 a method with a slash", "G/T /a HTTP/1.1\r\nhost: a\r\n\r\n"),
    // 3.2: whom it is for.
    refused("3.2 no Host", "GET /a HTTP/1.1\r\n\r\n"),
    refused("3.2 two Hosts", get!("host: b\r\n")),
    refused("3.2 two Hosts that agree", get!("host: a\r\n")),
    refused("3.2 a Host with a path", "GET /a HTTP/1.1\r\nhost: a/b\r\n\r\n"),
    refused("3.2 a Host with a space", "GET /a HTTP/1.1\r\nhost: a b\r\n\r\n"),
    refused("3.2 a list of Hosts", "GET /a HTTP/1.1\r\nhost: a, b\r\n\r\n"),
    // 5: fields.
    refused("5.1 a space before the colon", get!("x : y\r\n")),
    refused("5.1 no name", get!(": y\r\n")),
    refused("5.1 no colon", get!("xy\r\n")),
    refused("5.1 a name with a space", get!("x y: z\r\n")),
    refused("5.1 a name that is no token", get!("x(y): z\r\n")),
    refused("5.1 a name of other letters", get!("\u{e9}: y\r\n")),
    refused("5.2 a folded line", get!("x: y\r\n z\r\n")),
    refused("5.2 a fold before all", "GET /a HTTP/1.1\r\n host: a\r\n\r\n"),
    refused("10:5.5 NUL in a value", get!("x: y\0z\r\n")),
    refused("10:5.5 a bare CR in a value", get!("x: y\rz\r\n")),
    refused("2.2 a line ends by LF", get!("x: y\nz: w\r\n")).unlike(LENIENT),
    taken("10:5.5 other letters in a value", get!("x: \u{e9}\r\n"), A),
    taken("10:5.5 no value", get!("x:\r\n"), A),
    taken("10:5.6.3 blanks around a value", get!("x: \t y \t\r\n"), A),
    // 6.2: lengths.
    taken("6.2 a length", hello!("content-length: 5\r\n"), A5),
    taken("6.2 a length behind zeros", hello!("content-length: 05\r\n"), A5),
    refused("6.2 two lengths", hello!("content-length: 5\r\ncontent-length: 6\r\n")),
    refused("6.2 two lengths that agree", hello!("content-length: 5\r\ncontent-length: 5\r\n")),
    refused("6.2 a list of lengths", hello!("content-length: 5, 6\r\n")),
    refused("6.2 a list that agrees", hello!("content-length: 5, 5\r\n")),
    refused("6.2 a sign", hello!("content-length: +5\r\n")),
    refused("6.2 less than nothing", hello!("content-length: -5\r\n")),
    refused("6.2 in hex", hello!("content-length: 0x5\r\n")),
    refused("6.2 a fraction", hello!("content-length: 5.0\r\n")),
    refused("6.2 no number", hello!("content-length:\r\n")),
    refused("6.2 a space in it", hello!("content-length: 5 5\r\n")),
    refused("6.2 beyond 64 bits", hello!("content-length: 18446744073709551621\r\n")),
    taken("6.3 a body of GET", "GET /a HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\nhello", A5),
    // 6.1: codings.
    taken("6.1 chunked", chunked!("transfer-encoding: chunked\r\n"), A5),
    taken("6.1 in capitals", chunked!("Transfer-Encoding: CHUNKED\r\n"), A5),
    refused("6.1 and a length", chunked!("content-length: 5\r\ntransfer-encoding: chunked\r\n")),
    refused(
        "6.1 and a length behind",
        chunked!("transfer-encoding: chunked\r\ncontent-length: 5\r\n"),
    ),
    refused("6.1 twice", chunked!("transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n")),
    refused("6.1 and identity", chunked!("transfer-encoding: chunked, identity\r\n")),
    refused("6.1 identity first", chunked!("transfer-encoding: identity, chunked\r\n")),
    refused("6.1 identity", hello!("transfer-encoding: identity\r\ncontent-length: 5\r\n")),
    refused("6.1 not the last", chunked!("transfer-encoding: chunked, gzip\r\n")),
    refused("6.1 unknown", chunked!("transfer-encoding: xchunked\r\n")),
    refused("6.1 a parameter", chunked!("transfer-encoding: chunked;a=b\r\n")),
    refused("6.1 in quotes", chunked!("transfer-encoding: \"chunked\"\r\n")),
    refused("6.1 behind a vertical tab", chunked!("transfer-encoding: \u{b}chunked\r\n")),
    refused("6.1 nothing", chunked!("transfer-encoding:\r\n")),
    refused(
        "6.1 of HTTP/1.0",
        "POST /a HTTP/1.0\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    ),
    // 7.1: chunks.
    taken("7.1 several", chunks!("2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n"), A5),
    taken("7.1 a size behind zeros", chunks!("005\r\nhello\r\n000\r\n\r\n"), A5),
    taken("7.1 capitals in the size", chunks!("A\r\nhellohello\r\n0\r\n\r\n"), &[("/a", 10)]),
    taken("7.1.1 an extension", chunks!("5;a=b;c=\"d\"\r\nhello\r\n0\r\n\r\n"), A5),
    taken("7.1.2 a trailer", chunks!("5\r\nhello\r\n0\r\nx: y\r\n\r\n"), A5),
    refused("7.1 a size ends by LF", chunks!("5\nhello\r\n0\r\n\r\n")),
    refused("7.1 a chunk ends by LF", chunks!("5\r\nhello\n0\r\n\r\n")),
    refused("7.1 in hex as C has it", chunks!("0x5\r\nhello\r\n0\r\n\r\n")),
    refused("7.1 a sign", chunks!("+5\r\nhello\r\n0\r\n\r\n")),
    refused("7.1 less than nothing", chunks!("-5\r\nhello\r\n0\r\n\r\n")),
    refused("7.1 no size", chunks!("\r\nhello\r\n0\r\n\r\n")),
    refused("7.1 a blank before the size", chunks!(" 5\r\nhello\r\n0\r\n\r\n")),
    refused("7.1 beyond 64 bits", chunks!("10000000000000005\r\nhello\r\n0\r\n\r\n")),
    refused("7.1 more than said", chunks!("5\r\nhelloX\r\n0\r\n\r\n")),
    refused("7.1 less than said", chunks!("6\r\nhello\r\n0\r\n\r\n")),
    refused("7.1.1 LF in an extension", chunks!("5;a\nb\r\nhello\r\n0\r\n\r\n")),
    refused("7.1.2 a trailer ends by LF", chunks!("5\r\nhello\r\n0\r\nx: y\n\r\n")).unlike(LENIENT),
    refused("7.1.2 a trailer without colon", chunks!("5\r\nhello\r\n0\r\nxy\r\n\r\n")),
    // 9: connections.
    taken(
        "9.3.2 two at once",
        concat!(get!(""), "GET /b HTTP/1.1\r\nhost: a\r\n\r\n"),
        &[("/a", 0), ("/b", 0)],
    ),
    last("9.6 close", get!("connection: close\r\n"), A),
    last("9.3 HTTP/1.0", "GET /a HTTP/1.0\r\nhost: a\r\n\r\n", A),
    taken(
        "9.3 HTTP/1.0 that stays",
        "GET /a HTTP/1.0\r\nhost: a\r\nconnection: keep-alive\r\n\r\n",
        A,
    ),
    last("9.3 HTTP/1.0 without Host", "GET /a HTTP/1.0\r\n\r\n", A),
    taken("10:10.1.1 100-continue", hello!("expect: 100-continue\r\ncontent-length: 5\r\n"), A5),
    taken("10:10.1.1 another expectation", get!("expect: 200-ok\r\n"), A),
    taken("10:9.3.2 HEAD", "HEAD /a HTTP/1.1\r\nhost: a\r\n\r\n", A),
    taken("10:7.8 an upgrade nobody knows", get!("connection: upgrade\r\nupgrade: x\r\n"), A),
    taken(
        "10:7.6.1 a length by the way",
        hello!("connection: content-length\r\ncontent-length: 5\r\n"),
        A5,
    ),
];
