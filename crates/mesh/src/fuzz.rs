//! What must hold for any bytes of a client; see `fuzz/`.

use std::{borrow::Cow, sync::LazyLock, time::Duration};

use bytes::BytesMut;
use http::{HeaderMap, Method, header};
use tokio::time::Instant;

use hop::{
    Malformed, Piece,
    h1::{self, Bounds, Coder, Connection, Decoded, Decoder, Framing, RequestHead, Version},
};

use crate::{
    call::frame::{Frame, What, Wire},
    config::{Config, model},
    exchange::Deadline,
    key::KeyRule,
    tcp::{Heard, Hello},
    trace,
};

const BOUNDS: Bounds = Bounds { bytes: 1 << 10, headers: 16 };
/// Before the rest of an input is left alone.
const MESSAGES_MAX: usize = 64;

/// A message as the one behind us is to see it.
#[derive(Clone, Debug, Default, PartialEq)]
struct Seen {
    /// `GET /path`, or a status.
    line: String,
    headers: HeaderMap,
    body: Vec<u8>,
    trailers: HeaderMap,
    chunked: bool,
    /// HTTP/1.1, and it has a name to ask for.
    is_whole: bool,
}

/// How the bytes of a connection end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// In the middle of a message, or behind one.
    Open,
    Refused,
    /// Bytes for another protocol, or nobody's.
    Left,
}

/// What comes on a connection of HTTP/1: read the same in whatever pieces it
/// comes, and the same again after it was written by us, which is what leaves
/// no room for smuggling.
pub fn http1(data: &[u8]) {
    let (whole, end) = requests(data, data.len().max(1));
    for piece in [1, 7] {
        let (again, ended) = requests(data, piece);
        assert_eq!((&again, ended), (&whole, end), "in pieces of {piece}");
    }
    let bodies = whole.into_iter().filter(|seen| seen.is_whole);
    for seen in bodies {
        let written = write(&seen);
        assert_eq!(requests(&written, written.len()), (vec![seen], End::Open));
    }
    let (whole, end) = answers(data, data.len().max(1));
    assert_eq!(answers(data, 1), (whole, end));
}

fn requests(data: &[u8], piece: usize) -> (Vec<Seen>, End) {
    messages(data, piece, |input, scanned| {
        let Some(head) = h1::request(input, scanned, BOUNDS)? else { return Ok(None) };
        let RequestHead { parts, body, version, upgrade, .. } = head;
        let target = parts.uri.path_and_query().map_or("", |target| target.as_str());
        let seen = Seen {
            line: format!("{} {target}", parts.method),
            chunked: body.said().is_none(),
            is_whole: version == Version::V11 && parts.headers.contains_key(header::HOST),
            headers: parts.headers,
            ..Seen::default()
        };
        let leaves = upgrade.is_some() || parts.method == Method::CONNECT;
        Ok(Some((Seen { is_whole: seen.is_whole && !leaves, ..seen }, body, leaves)))
    })
}

fn answers(data: &[u8], piece: usize) -> (Vec<Seen>, End) {
    messages(data, piece, |input, scanned| {
        let Some(head) = h1::response(input, scanned, BOUNDS, &Method::GET)? else {
            return Ok(None);
        };
        let line = head.parts.status.as_str().to_owned();
        Ok(Some((Seen { line, headers: head.parts.headers, ..Seen::default() }, head.body, false)))
    })
}

/// One that was begun counts once its body was there.
fn messages(
    data: &[u8],
    piece: usize,
    mut head: impl FnMut(&mut BytesMut, &mut usize) -> Result<Option<(Seen, Decoder, bool)>, Malformed>,
) -> (Vec<Seen>, End) {
    let (mut all, mut input, mut scanned) = (Vec::new(), BytesMut::new(), 0);
    let mut begun: Option<(Seen, Decoder)> = None;
    for piece in data.chunks(piece) {
        input.extend_from_slice(piece);
        loop {
            if all.len() == MESSAGES_MAX {
                return (all, End::Left);
            }
            let Some((seen, decoder)) = &mut begun else {
                match head(&mut input, &mut scanned) {
                    Ok(Some((seen, _, true))) => {
                        all.push(seen);
                        return (all, End::Left);
                    }
                    Ok(Some((seen, decoder, false))) => begun = Some((seen, decoder)),
                    Ok(None) => break,
                    Err(_) => return (all, End::Refused),
                }
                continue;
            };
            match decoder.decode(&mut input, false) {
                Ok(Decoded::Piece(Piece::Data(bytes))) => seen.body.extend_from_slice(&bytes),
                Ok(Decoded::Piece(Piece::Trailers(trailers))) => seen.trailers = trailers,
                Ok(Decoded::NeedMore) => break,
                Ok(Decoded::End) => all.extend(begun.take().map(|(seen, _)| seen)),
                Err(_) => return (all, End::Refused),
            }
        }
    }
    (all, End::Open)
}

fn write(seen: &Seen) -> BytesMut {
    let (method, target) = seen.line.split_once(' ').expect("a method and a target");
    let method = Method::from_bytes(method.as_bytes()).expect("we read it");
    let target = target.parse().expect("we read it");
    let coder = if seen.chunked { Coder::Chunked } else { Coder::Plain };
    let framing = Framing { coder, length: None };
    let mut output = BytesMut::new();
    h1::write_request(&mut output, &method, &target, &seen.headers, framing, Connection::Keep);
    coder.data(&seen.body, &mut output);
    coder.end(Some(&seen.trailers), &mut output);
    output
}

/// Whom a request is about: what is found is short, and something.
pub fn key(data: &[u8]) {
    static RULES: LazyLock<Vec<KeyRule>> = LazyLock::new(|| {
        let rules = [
            "header = 'u'\nslice = [-3, -1]",
            "cookie = 'u'",
            "query = 'u'\nslice = [1, 0]",
            "path_segment = 1\nslice = [0, 2]",
            "jwt_claim = 'u'",
            "json_field = 'u.0.v'\nslice = [-2, 0]",
        ];
        let rule = |text| toml::from_str::<model::Key>(text).expect("a rule");
        rules.iter().map(|text| KeyRule::new(&rule(text))).collect()
    });
    let mut input = BytesMut::from(data);
    let Ok(Some(head)) = h1::request(&mut input, &mut 0, BOUNDS) else { return };
    for rule in RULES.iter() {
        let found = [rule.of_head(&head.parts).map(Into::into), rule.of_body(&input)];
        for key in found.into_iter().flatten() {
            let key: String = key;
            assert!((1..=256).contains(&key.len()), "{key:?}");
        }
    }
}

/// What a client of TLS says first: heard the same in whatever pieces it comes.
pub fn hello(data: &[u8]) {
    let heard = hear(data, data.len().max(1));
    for piece in [1, 5] {
        assert_eq!(hear(data, piece), heard, "in pieces of {piece}");
    }
}

/// How long a client waits and in which trace it is: what is passed on is never
/// more time than was given, and a trace that the next proxy keeps.
pub fn passed_on(data: &[u8]) {
    const GIVEN: Duration = Duration::from_secs(15);
    let mut input = BytesMut::from(data);
    let Ok(Some(head)) = h1::request(&mut input, &mut 0, BOUNDS) else { return };
    let began = Instant::now();
    if let Ok(deadline) = Deadline::of(&head.parts, began, Some(GIVEN)) {
        let mut next = head.parts.clone();
        deadline.pass_on(&mut next.headers, began);
        let again = Deadline::of(&next, began, Some(GIVEN)).expect("we wrote it");
        // In whole milliseconds, of which there is one at least.
        let least = began + Duration::from_millis(1);
        assert!(again.at <= deadline.at.max(Some(least)), "{again:?} of {deadline:?}");
    }
    let mut headers = head.parts.headers;
    let mut drawn = 0;
    let mut draw = || {
        drawn += 1;
        drawn
    };
    let trace = trace::pass_on(&mut headers, &mut draw);
    assert_eq!(trace::pass_on(&mut headers, &mut draw), trace);
}

/// What a client of SOFARPC or Dubbo calls, as a route sees it: with a stamp on
/// it, it is the same call.
pub fn call(data: &[u8]) {
    for wire in [Wire::Bolt, Wire::Dubbo] {
        let mut input = BytesMut::from(data);
        let Ok(Some(mut frame)) = wire.next(&mut input, 1 << 16) else { continue };
        let before = seen(&frame);
        if frame.stamp("polis-stamp", "epoch=17").is_ok() {
            frame.set_timeout(Duration::from_secs(1));
            let next = wire.again(&frame.into_bytes());
            assert_eq!(seen(&next), before);
            let stamp = next.view().named("polis-stamp").map(Cow::into_owned);
            assert_eq!(stamp.as_deref(), Some("epoch=17"));
        }
    }
}

fn seen(frame: &Frame) -> (Vec<Option<String>>, What, bool) {
    let mut view = frame.view();
    let named = [view.service(), view.method(), view.version(), view.group(), view.trace()];
    let arguments =
        [view.argument(0, &[]), view.argument(0, &["user", "id"]), view.argument(7, &[])];
    let texts = named.into_iter().chain(arguments).map(|text| text.map(Cow::into_owned));
    (texts.collect::<Vec<_>>(), frame.what(), view.timeout().is_some())
}

/// A configuration: taken, or refused with a reason.
pub fn config(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    if let Err(error) = Config::parse(text, "proxy.toml") {
        assert!(!error.to_string().is_empty());
    }
}

fn hear(data: &[u8], piece: usize) -> Heard {
    let (mut hello, mut input) = (Hello::default(), Vec::new());
    for piece in data.chunks(piece) {
        input.extend_from_slice(piece);
        match hello.look(&input) {
            Heard::NeedMore => {}
            heard => return heard,
        }
    }
    Heard::NeedMore
}
