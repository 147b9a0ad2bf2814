//! What each frame does, by tables of bytes.

mod raw;

use bytes::Bytes;
use http2::{Code, Event, Field, Limits};
use raw::*;

fn fatal(bytes: &[u8]) -> Option<Code> {
    Side::new(Limits::default()).takes(bytes).err().map(|fatal| fatal.code)
}

/// How the stream ended, if it did, for what came on it.
fn reset(bytes: &[u8]) -> Option<Code> {
    let mut side = Side::new(Limits::default());
    side.takes(bytes).expect("only a stream is at fault");
    let resets = side.written().into_iter().filter(|frame| frame.0 == RST_STREAM);
    let code = |frame: Written| Code(u32::from_be_bytes(frame.3[..4].try_into().expect("four")));
    resets.map(code).next()
}

#[test]
fn a_request_is_its_head_its_data_and_what_follows() {
    let mut side = Side::new(Limits::default());
    let head = post(&[field("x", "y"), field("content-length", "5")].concat());
    let (start, rest) = head.split_at(7);
    let events = side
        .takes(
            &[
                frame(HEADERS, PADDED, 1, &[&[3][..], start, &[0; 3]].concat()),
                frame(CONTINUATION, END_HEADERS, 1, rest),
                frame(DATA, PADDED, 1, b"\x02hello\0\0"),
                frame(HEADERS, END_HEADERS | END_STREAM, 1, &field("a", "b")),
            ]
            .concat(),
        )
        .expect("an honest request");
    let [Event::Request { head, end: false, .. }, data, trailers] = &events[..] else {
        panic!("{events:?}")
    };
    assert_eq!((&head.method[..], &head.path[..]), (&b"POST"[..], &b"/"[..]));
    assert_eq!((head.get("x"), head.content_length), (Some(&Bytes::from("y")), Some(5)));
    let bytes = Bytes::from("hello");
    assert_eq!(*data, Event::Data { stream: 1, bytes, credit: 8, end: false });
    let fields = vec![Field { name: "a".into(), value: "b".into() }];
    assert_eq!(*trailers, Event::Trailers { stream: 1, fields });
}

#[test]
fn a_head_said_by_indices_is_parsed_once() {
    let mut side = Side::new(Limits::default());
    let kept = b"\x83\x86\x84\x40\x01x\x01y";
    side.takes(&frame(HEADERS, 5, 1, kept)).expect("spelled out");
    let heads: Vec<_> = [3, 5]
        .iter()
        .map(|stream| match &side.takes(&frame(HEADERS, 5, *stream, b"\x83\x86\x84\xbe")) {
            Ok(events) => match &events[..] {
                [Event::Request { head, .. }] => head.clone(),
                other => panic!("{other:?}"),
            },
            Err(fatal) => panic!("{fatal}"),
        })
        .collect();
    assert!(std::sync::Arc::ptr_eq(&heads[0], &heads[1]));
    assert_eq!(heads[0].get("x"), Some(&Bytes::from("y")));
    // Another field takes the place, and the same bytes mean another head.
    side.takes(&frame(HEADERS, 5, 7, b"\x83\x86\x84\x40\x01x\x01z")).expect("spelled out");
    let events = side.takes(&frame(HEADERS, 5, 9, b"\x83\x86\x84\xbe")).expect("indices");
    let [Event::Request { head, .. }] = &events[..] else { panic!("{events:?}") };
    assert_eq!(head.get("x"), Some(&Bytes::from("z")));
}

#[test]
fn a_connection_ends_for_what_no_stream_can_answer_for() {
    let large = [&[0x01, 0x00, 0x00, DATA, 0][..], &1u32.to_be_bytes()].concat();
    let window = |stream, more: u32| frame(WINDOW_UPDATE, 0, stream, &more.to_be_bytes());
    for (case, bytes, code) in [
        ("data without a stream", frame(DATA, 0, 0, b"x"), Code::PROTOCOL_ERROR),
        ("data on an idle stream", frame(DATA, 0, 1, b"x"), Code::PROTOCOL_ERROR),
        ("a frame beyond the maximum", large, Code::FRAME_SIZE_ERROR),
        ("headers of a server", request(2, true), Code::PROTOCOL_ERROR),
        ("headers without a stream", request(0, true), Code::PROTOCOL_ERROR),
        (
            "a stream begun before",
            [request(5, true), request(3, true)].concat(),
            Code::STREAM_CLOSED,
        ),
        ("fields unexplained", frame(HEADERS, 5, 1, &[0xff, 0xff]), Code::COMPRESSION_ERROR),
        (
            "a frame within a head",
            [frame(HEADERS, 0, 1, &[0x83]), frame(PING, 0, 0, &[0; 8])].concat(),
            Code::PROTOCOL_ERROR,
        ),
        (
            "another stream within a head",
            [frame(HEADERS, 0, 1, &[0x83]), frame(CONTINUATION, 4, 3, &[])].concat(),
            Code::PROTOCOL_ERROR,
        ),
        ("a continuation of nothing", frame(CONTINUATION, 4, 1, &[]), Code::PROTOCOL_ERROR),
        ("more padding than frame", frame(HEADERS, 5 | PADDED, 1, &[9, 0]), Code::PROTOCOL_ERROR),
        ("a reset of an idle stream", frame(RST_STREAM, 0, 1, &[0; 4]), Code::PROTOCOL_ERROR),
        ("a reset cut short", frame(RST_STREAM, 0, 1, &[0; 3]), Code::FRAME_SIZE_ERROR),
        ("credit of an idle stream", window(1, 1), Code::PROTOCOL_ERROR),
        ("credit of nothing", window(0, 0), Code::PROTOCOL_ERROR),
        ("too much credit", window(0, 0x7fff_ffff), Code::FLOW_CONTROL_ERROR),
        ("credit cut short", frame(WINDOW_UPDATE, 0, 0, &[0; 3]), Code::FRAME_SIZE_ERROR),
        ("a ping on a stream", frame(PING, 0, 1, &[0; 8]), Code::PROTOCOL_ERROR),
        ("a ping cut short", frame(PING, 0, 0, &[0; 7]), Code::FRAME_SIZE_ERROR),
        ("settings on a stream", frame(SETTINGS, 0, 1, &[]), Code::PROTOCOL_ERROR),
        ("settings cut short", frame(SETTINGS, 0, 0, &[0; 5]), Code::FRAME_SIZE_ERROR),
        ("an acknowledgement with more", frame(SETTINGS, ACK, 0, &[0; 6]), Code::FRAME_SIZE_ERROR),
        ("half a push", frame(SETTINGS, 0, 0, &setting(2, 2)), Code::PROTOCOL_ERROR),
        (
            "too large a window",
            frame(SETTINGS, 0, 0, &setting(4, 1 << 31)),
            Code::FLOW_CONTROL_ERROR,
        ),
        ("too small a frame", frame(SETTINGS, 0, 0, &setting(5, 16_383)), Code::PROTOCOL_ERROR),
        ("too large a frame", frame(SETTINGS, 0, 0, &setting(5, 1 << 24)), Code::PROTOCOL_ERROR),
        ("a push", frame(PUSH_PROMISE, 4, 1, &[0; 4]), Code::PROTOCOL_ERROR),
        ("farewell on a stream", frame(GOAWAY, 0, 1, &[0; 8]), Code::PROTOCOL_ERROR),
        ("farewell cut short", frame(GOAWAY, 0, 0, &[0; 7]), Code::FRAME_SIZE_ERROR),
        ("a priority without a stream", frame(PRIORITY, 0, 0, &[0; 5]), Code::PROTOCOL_ERROR),
        ("a priority cut short", frame(PRIORITY, 0, 1, &[0; 4]), Code::FRAME_SIZE_ERROR),
        ("a priority of itself", frame(PRIORITY, 0, 1, &[0, 0, 0, 1, 0]), Code::PROTOCOL_ERROR),
        (
            "a head of a stream that depends on itself",
            frame(HEADERS, 5 | PRIORITIZED, 1, &[&[0, 0, 0, 1, 0][..], &post(&[])].concat()),
            Code::PROTOCOL_ERROR,
        ),
    ] {
        assert_eq!(fatal(&bytes), Some(code), "{case}");
    }
}

#[test]
fn a_stream_ends_for_what_is_wrong_with_it_and_the_next_is_answered() {
    let end = END_STREAM;
    let head = |more: &[u8], end| frame(HEADERS, END_HEADERS | end, 1, &post(more));
    let window = |more: u32| frame(WINDOW_UPDATE, 0, 1, &more.to_be_bytes());
    for (case, bytes, code) in [
        ("no path", frame(HEADERS, 5, 1, &[0x83, 0x86]), Code::PROTOCOL_ERROR),
        ("upper case", head(&field("X", "y"), end), Code::PROTOCOL_ERROR),
        (
            "a pseudo field behind",
            head(&[field("x", "y"), field(":path", "/")].concat(), end),
            Code::PROTOCOL_ERROR,
        ),
        ("about one connection", head(&field("connection", "close"), end), Code::PROTOCOL_ERROR),
        ("te", head(&field("te", "gzip"), end), Code::PROTOCOL_ERROR),
        ("a body promised", head(&field("content-length", "1"), end), Code::PROTOCOL_ERROR),
        (
            "less than promised",
            [head(&field("content-length", "2"), 0), frame(DATA, end, 1, b"x")].concat(),
            Code::PROTOCOL_ERROR,
        ),
        (
            "more than promised",
            [head(&field("content-length", "2"), 0), frame(DATA, 0, 1, b"xyz")].concat(),
            Code::PROTOCOL_ERROR,
        ),
        (
            "less than promised before trailers",
            [head(&field("content-length", "2"), 0), frame(HEADERS, 5, 1, &field("a", "b"))]
                .concat(),
            Code::PROTOCOL_ERROR,
        ),
        ("trailers without an end", [head(&[], 0), head(&[], 0)].concat(), Code::PROTOCOL_ERROR),
        ("a head as trailers", [head(&[], 0), head(&[], end)].concat(), Code::PROTOCOL_ERROR),
        (
            "data after the end",
            [request(1, true), frame(DATA, 0, 1, b"x")].concat(),
            Code::STREAM_CLOSED,
        ),
        (
            "trailers after the end",
            [request(1, true), request(1, true)].concat(),
            Code::STREAM_CLOSED,
        ),
        ("credit of nothing", [request(1, true), window(0)].concat(), Code::PROTOCOL_ERROR),
        (
            "too much credit",
            [request(1, true), window(0x7fff_ffff)].concat(),
            Code::FLOW_CONTROL_ERROR,
        ),
    ] {
        let both = [bytes, request(3, true)].concat();
        assert_eq!(reset(&both), Some(code), "{case}");
        let mut side = Side::new(Limits::default());
        let events = side.takes(&both).expect("the connection stands");
        let next = events.iter().any(|e| matches!(e, Event::Request { stream: 3, .. }));
        assert!(next, "{case}: {events:?}");
    }
}

#[test]
fn nothing_comes_before_the_preface_and_the_settings() {
    for bytes in [&b"GET / HTTP/1.1\r\n\r\n"[..], b"PRI * HTTP/2.0\r\n\r\nXX"] {
        let mut connection = http2::Connection::new(Limits::default());
        assert!(connection.receive(&mut bytes.into()).is_err());
    }
    let mut connection = http2::Connection::new(Limits::default());
    let early = [&http2::PREFACE[..], &frame(PING, 0, 0, &[0; 8])].concat();
    let fatal = connection.receive(&mut early[..].into()).expect_err("a ping is no greeting");
    assert_eq!(fatal.code, Code::PROTOCOL_ERROR);
}

#[test]
fn answers_go_as_far_as_both_windows_and_take_turns() {
    let mut side = Side::new(Limits::default());
    side.takes(&frame(SETTINGS, 0, 0, &setting(4, 20_000))).expect("small windows");
    side.takes(&[request(1, true), request(3, true)].concat()).expect("two");
    side.written();
    for stream in [1, 3] {
        side.connection.respond(stream, 200, [], false);
        side.connection.data(stream, vec![7; 50_000].into(), true);
    }
    let frames = side.written();
    let sent = |id| -> usize {
        frames.iter().filter(|f| (f.0, f.2) == (DATA, id)).map(|f| f.3.len()).sum()
    };
    assert_eq!((sent(1), sent(3)), (20_000, 20_000));
    assert_eq!(side.connection.pending(1), 30_000);
    // The stream's own window opens, and the connection's is what is left of it.
    side.takes(&frame(WINDOW_UPDATE, 0, 1, &100_000u32.to_be_bytes())).expect("credit");
    assert_eq!(side.data_written(1), (25_535, false));
    side.takes(&frame(WINDOW_UPDATE, 0, 0, &100_000u32.to_be_bytes())).expect("credit");
    assert_eq!(side.data_written(1), (4_465, true));
    // Larger windows for all.
    side.takes(&frame(SETTINGS, 0, 0, &setting(4, 60_000))).expect("larger windows");
    assert_eq!(side.data_written(3), (30_000, true));
    assert_eq!(side.connection.progress(), (0, 100_000));
    assert_eq!(side.connection.streams(), 0);
}

#[test]
fn a_window_that_shrinks_below_nothing_has_to_open_again_first() {
    let mut side = Side::new(Limits::default());
    side.takes(&request(1, true)).expect("one");
    side.written();
    side.connection.respond(1, 200, [], false);
    side.connection.data(1, vec![7; 1000].into(), false);
    side.takes(&frame(SETTINGS, 0, 0, &setting(4, 0))).expect("no windows");
    side.connection.data(1, vec![7; 500].into(), true);
    assert_eq!(side.data_written(1), (1000, false));
    side.takes(&frame(WINDOW_UPDATE, 0, 1, &1000u32.to_be_bytes())).expect("as before");
    assert_eq!(side.data_written(1), (0, false));
    side.takes(&frame(WINDOW_UPDATE, 0, 1, &500u32.to_be_bytes())).expect("more");
    assert_eq!(side.data_written(1), (500, true));
}

#[test]
fn a_grpc_answer_is_head_message_and_end_and_short_from_the_second_on() {
    let mut side = Side::new(Limits::default());
    for stream in [1, 3] {
        side.takes(&request(stream, true)).expect("a call");
    }
    side.written();
    side.connection.answer(1, Bytes::from_static(b"\0\0\0\0\x02hi"));
    side.written();
    side.connection.answer(3, Bytes::from_static(b"\0\0\0\0\x02hi"));
    assert_eq!(
        side.written(),
        [
            (HEADERS, END_HEADERS, 3, vec![0x88, 0xbf]),
            (DATA, 0, 3, b"\0\0\0\0\x02hi".to_vec()),
            (HEADERS, END_HEADERS | END_STREAM, 3, vec![0xbe]),
        ]
    );
}

#[test]
fn an_answer_before_the_end_of_a_body_asks_for_no_more_of_it() {
    let mut side = Side::new(Limits::default());
    side.takes(&request(1, false)).expect("a call");
    side.written();
    side.connection.respond(1, 400, [], true);
    let kinds: Vec<_> = side.written().iter().map(|frame| frame.0).collect();
    assert_eq!(kinds, [HEADERS, RST_STREAM]);
    // What was on its way is nobody's.
    let late = [frame(DATA, 0, 1, b"late"), request(1, true)].concat();
    assert_eq!(side.takes(&late).expect("no fault"), []);
    assert_eq!(side.written(), []);
    // Once the peer has given it up too, more of it is a fault.
    side.takes(&frame(RST_STREAM, 0, 1, &[0; 4])).expect("no fault");
    let fatal = side.takes(&request(1, true)).expect_err("a closed stream");
    assert_eq!(fatal.code, Code::STREAM_CLOSED);
}

#[test]
fn going_away_lets_in_what_was_on_its_way_and_nothing_after() {
    let mut side = Side::new(Limits::default());
    side.takes(&request(1, true)).expect("a call");
    side.written();
    side.connection.go_away();
    let frames = side.written();
    assert_eq!(frames[0].0, GOAWAY);
    assert_eq!(frames[0].3[..4], 0x7fff_ffffu32.to_be_bytes());
    let heard = frame(PING, ACK, 0, &frames[1].3);
    let events = side.takes(&[request(3, true), heard, request(5, true)].concat());
    let events = events.expect("a farewell");
    assert!(matches!(events[..], [Event::Request { stream: 3, .. }]), "{events:?}");
    let frames = side.written();
    assert_eq!((frames[0].0, &frames[0].3[..4]), (GOAWAY, &3u32.to_be_bytes()[..]));
    for stream in [1, 3] {
        assert!(!side.connection.is_finished());
        side.connection.respond(stream, 200, [], true);
    }
    assert!(side.connection.is_finished());
}

#[test]
fn long_heads_of_answers_are_cut_into_frames() {
    let mut side = Side::new(Limits::default());
    side.takes(&request(1, true)).expect("a call");
    side.written();
    let field = |n: usize| Field { name: format!("x-{n}").into(), value: "v".repeat(1000).into() };
    let fields: Vec<_> = (0..40).map(field).collect();
    let fields = fields.iter().map(|field| (&field.name[..], &field.value[..]));
    side.connection.respond(1, 200, fields, true);
    let flags: Vec<_> = side.written().iter().map(|frame| (frame.0, frame.1)).collect();
    assert_eq!(flags, [(HEADERS, END_STREAM), (CONTINUATION, 0), (CONTINUATION, END_HEADERS)]);
}

#[test]
fn credit_comes_back_in_large_steps() {
    let mut side = Side::new(Limits { stream_window_bytes: 100_000, ..Limits::default() });
    side.takes(&request(1, false)).expect("a call");
    side.written();
    for _ in 0..4 {
        side.takes(&frame(DATA, 0, 1, &[0; 16_000])).expect("within the window");
        side.connection.release(1, 16_000);
    }
    let updates = side.written();
    assert_eq!(updates, [(WINDOW_UPDATE, 0, 1, 64_000u32.to_be_bytes().to_vec())]);
}
