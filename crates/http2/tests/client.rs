//! The client's side: what it asks, what it makes of answers, and of answers
//! that no honest server gives.

mod raw;

use bytes::{Bytes, BytesMut};
use http2::{Asked, Code, Connection, Event, Fatal, Limits, PREFACE};
use proptest::prelude::*;
use raw::*;

const ASKED: Asked<'_> = Asked { method: b"POST", scheme: b"http", authority: b"a", path: b"/x" };

/// A client whose server has greeted it with these settings.
fn client(settings: &[u8]) -> Side {
    let mut side = Side { connection: Connection::client(Limits::default()) };
    let hello = std::mem::take(side.connection.output());
    assert!(hello.starts_with(PREFACE));
    side.takes(&frame(SETTINGS, 0, 0, settings)).expect("a greeting");
    side.written();
    side
}

fn ask(side: &mut Side, end: bool) -> Option<u32> {
    side.connection.ask(&ASKED, [(&b"x"[..], &b"y"[..])], end)
}

/// `:status: 200`, with `more` behind.
fn ok(stream: u32, end: bool, more: &[u8]) -> Vec<u8> {
    frame(HEADERS, END_HEADERS | u8::from(end), stream, &[&[0x88], more].concat())
}

#[test]
fn an_answer_is_its_head_its_data_and_what_follows() {
    let mut side = client(&[]);
    assert_eq!(ask(&mut side, false), Some(1));
    side.connection.data(1, Bytes::from("hello"), true);
    let events = side
        .takes(
            &[
                frame(HEADERS, END_HEADERS, 1, &[8, 3, b'1', b'0', b'3']),
                ok(1, false, &field("a", "b")),
                frame(DATA, 0, 1, b"hi"),
                frame(HEADERS, END_HEADERS | END_STREAM, 1, &field("grpc-status", "0")),
            ]
            .concat(),
        )
        .expect("an honest answer");
    let [Event::Response { stream: 1, head, end: false }, data, trailers] = &events[..] else {
        panic!("{events:?}")
    };
    assert_eq!((head.status, head.fields.len()), (200, 1));
    assert_eq!(*data, Event::Data { stream: 1, bytes: "hi".into(), credit: 2, end: false });
    assert!(matches!(trailers, Event::Trailers { stream: 1, .. }));
    assert!(!side.connection.is_open(1), "both have said everything");
    assert_eq!(ask(&mut side, true), Some(3));
}

#[test]
fn an_answer_may_come_before_all_was_asked() {
    let mut side = client(&[]);
    ask(&mut side, false);
    side.takes(&ok(1, true, &[])).expect("an early answer");
    assert!(side.connection.is_open(1));
    side.connection.data(1, Bytes::from("rest"), true);
    assert!(!side.connection.is_open(1));
    assert_eq!(side.data_written(1), (4, true));
}

#[test]
fn what_was_ended_is_not_ended_again_by_wider_windows() {
    let mut side = Side { connection: Connection::client(Limits::default()) };
    ask(&mut side, false);
    side.connection.data(1, Bytes::from("all"), true);
    ask(&mut side, true);
    side.connection.output().clear();
    let more = frame(WINDOW_UPDATE, 0, 1, &[0, 0, 1, 0]);
    side.takes(&[frame(SETTINGS, 0, 0, &setting(4, 1 << 20)), more].concat()).expect("a greeting");
    let written: Vec<_> = side.written().into_iter().map(|frame| frame.0).collect();
    assert_eq!(written, [SETTINGS]);
}

#[test]
fn no_more_is_begun_than_the_server_takes() {
    let mut side = client(&setting(3, 2));
    assert_eq!([(); 3].map(|()| ask(&mut side, true)), [Some(1), Some(3), None]);
    side.takes(&ok(1, true, &[])).expect("an answer");
    assert_eq!((ask(&mut side, true), ask(&mut side, true)), (Some(5), None));
    side.connection.leave(3, Code::CANCEL);
    assert_eq!(ask(&mut side, true), Some(7));
    // Its answer was on the way.
    assert_eq!(side.takes(&[ok(3, false, &[]), frame(DATA, 1, 3, b"x")].concat()), Ok(vec![]));
}

#[test]
fn what_a_server_that_leaves_has_not_seen_is_told_as_refused() {
    let mut side = client(&[]);
    assert_eq!([(); 3].map(|()| ask(&mut side, true)), [Some(1), Some(3), Some(5)]);
    let events = side.takes(&frame(GOAWAY, 0, 0, &[0, 0, 0, 1, 0, 0, 0, 0])).expect("a farewell");
    let mut refused: Vec<_> = events
        .iter()
        .filter_map(|event| match event {
            Event::Reset { stream, code: Code::REFUSED_STREAM } => Some(*stream),
            _ => None,
        })
        .collect();
    refused.sort_unstable();
    assert_eq!((refused, ask(&mut side, true)), (vec![3, 5], None));
    assert!(!side.connection.is_finished());
    side.takes(&ok(1, true, &[])).expect("the last answer");
    assert!(side.connection.is_finished());
}

#[test]
fn an_answer_without_a_body_says_the_length_of_another() {
    let length = field("content-length", "5");
    let mut side = client(&[]);
    let head = Asked { method: b"HEAD", ..ASKED };
    side.connection.ask(&head, [], true).expect("room");
    let events = side.takes(&ok(1, true, &length)).expect("an answer");
    assert!(matches!(&events[..], [Event::Response { end: true, .. }]), "{events:?}");
    // To a POST it would be cut short.
    ask(&mut side, true);
    let events = side.takes(&ok(3, true, &length)).expect("only the stream is at fault");
    assert_eq!(events, [Event::Reset { stream: 3, code: Code::PROTOCOL_ERROR }]);
}

#[test]
fn answers_that_are_none_end_their_stream_or_the_connection() {
    for (what, bytes) in [
        ("no status", frame(HEADERS, 4, 1, &field("a", "b"))),
        ("two statuses", ok(1, false, &[0x88])),
        ("a status of letters", frame(HEADERS, 4, 1, &[8, 3, b'a', b'b', b'c'])),
        ("a request", frame(HEADERS, 4, 1, &post(&[]))),
        ("another protocol", frame(HEADERS, 4, 1, &[8, 3, b'1', b'0', b'1'])),
        ("an end that informs", frame(HEADERS, 5, 1, &[8, 3, b'1', b'0', b'0'])),
        ("data first", frame(DATA, 0, 1, b"x")),
        ("trailers without the end", [ok(1, false, &[]), ok(1, false, &[])].concat()),
    ] {
        let mut side = client(&[]);
        ask(&mut side, true);
        let events = side.takes(&bytes).expect(what);
        let last = events.last();
        assert_eq!(last, Some(&Event::Reset { stream: 1, code: Code::PROTOCOL_ERROR }), "{what}");
    }
    for (what, bytes) in [
        ("an answer to nothing", ok(3, true, &[])),
        ("a stream of its own", ok(2, true, &[])),
        ("a push", frame(PUSH_PROMISE, 4, 1, &[0, 0, 0, 2, 0x82])),
        ("leave to push", frame(SETTINGS, 0, 0, &setting(2, 1))),
        ("data of nothing", frame(DATA, 0, 3, b"x")),
    ] {
        let mut side = client(&[]);
        ask(&mut side, true);
        let fatal = side.takes(&bytes).expect_err(what);
        assert_eq!(fatal.code, Code::PROTOCOL_ERROR, "{what}");
    }
}

/// What is on its way in each direction, cut as it comes.
fn carry(from: &mut Connection, to: &mut Connection, cut: usize) -> Result<Vec<Event>, Fatal> {
    let bytes = std::mem::take(from.output());
    from.pump();
    let mut input = BytesMut::new();
    let mut events = Vec::new();
    for piece in bytes.chunks(cut.max(1)) {
        input.extend_from_slice(piece);
        to.receive(&mut input)?;
        events.extend(std::iter::from_fn(|| to.next_event()));
    }
    assert!(input.is_empty(), "only whole frames are written");
    Ok(events)
}

proptest! {
    /// A server that says back what it hears: each call gets its own bytes.
    #[test]
    fn what_is_asked_arrives_and_so_does_the_answer(
        bodies in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..9_000), 1..20),
        cut in 1usize..20_000,
        window in 1u32..20_000,
    ) {
        let limits = Limits { stream_window_bytes: window, ..Limits::default() };
        let (mut client, mut server) = (Connection::client(limits), Connection::new(limits));
        let mut heard = std::collections::BTreeMap::<u32, (Vec<u8>, bool)>::new();
        carry(&mut server, &mut client, cut).expect("a greeting");
        for body in &bodies {
            let id = client.ask(&ASKED, [(&b"x"[..], &b"y"[..])], body.is_empty()).expect("room");
            if !body.is_empty() {
                client.data(id, Bytes::from(body.clone()), true);
            }
        }
        for _ in 0..100_000 {
            for event in carry(&mut client, &mut server, cut).expect("a sound client") {
                match event {
                    Event::Request { stream, head, end } => {
                        prop_assert_eq!(&head.path[..], b"/x");
                        server.respond(stream, 200, [(&b"a"[..], &b"b"[..])], end);
                    }
                    Event::Data { stream, bytes, credit, end } => {
                        server.release(stream, credit);
                        server.data(stream, bytes, end);
                    }
                    other => prop_assert!(false, "{other:?}"),
                }
            }
            for event in carry(&mut server, &mut client, cut).expect("a sound server") {
                match event {
                    Event::Response { stream, head, end } => {
                        prop_assert_eq!(head.status, 200);
                        heard.insert(stream, (Vec::new(), end));
                    }
                    Event::Data { stream, bytes, credit, end } => {
                        client.release(stream, credit);
                        let heard = heard.get_mut(&stream).expect("after its head");
                        heard.0.extend_from_slice(&bytes);
                        heard.1 = end;
                    }
                    other => prop_assert!(false, "{other:?}"),
                }
            }
            if client.output().is_empty() && server.output().is_empty() {
                break;
            }
        }
        let heard: Vec<_> = heard.into_values().collect();
        let expected: Vec<_> = bodies.into_iter().map(|body| (body, true)).collect();
        prop_assert_eq!(heard, expected);
        prop_assert_eq!((client.streams(), server.streams()), (0, 0));
    }

    /// Whatever comes, a client ends or goes on; it never panics.
    #[test]
    fn no_answer_makes_it_panic(
        frames in prop::collection::vec(
            (0u8..12, any::<u8>(), 0u32..8, prop::collection::vec(any::<u8>(), 0..40)),
            0..40,
        ),
    ) {
        let mut side = client(&[]);
        for end in [true, false, true] {
            ask(&mut side, end);
        }
        for (kind, flags, stream, payload) in frames {
            if side.takes(&frame(kind, flags, stream, &payload)).is_err() {
                break;
            }
            side.connection.leave(stream, Code::CANCEL);
        }
    }
}
