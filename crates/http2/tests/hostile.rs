//! Clients that mean harm: each is at its end, and what it made us hold is
//! bounded until then.

mod raw;

use http2::{Code, Event, Fatal, Limits};
use raw::*;

/// What a client says for the stream of this id.
type Flood = Box<dyn FnMut(u32) -> Vec<u8>>;

/// The same bytes again and again, their stream ids moving on: how it ended,
/// and the most that stood in the output.
fn flood(limits: Limits, mut next: impl FnMut(u32) -> Vec<u8>) -> (Option<Fatal>, usize) {
    let mut side = Side::new(limits);
    let mut output_max = 0;
    for n in 0..100_000 {
        let result = side.takes(&next(2 * n + 1));
        output_max = output_max.max(side.connection.output().len());
        side.connection.output().clear();
        if let Err(fatal) = result {
            return (Some(fatal), output_max);
        }
    }
    (None, output_max)
}

#[test]
fn floods_end_in_calm() {
    let reset = |n| frame(RST_STREAM, 0, n, &8u32.to_be_bytes());
    let cases: [(&str, Flood); 12] = [
        ("rapid resets", Box::new(move |n| [request(n, true), reset(n)].concat())),
        ("malformed heads", Box::new(|n| frame(HEADERS, 5, n, &[0x83]))),
        (
            "heads that promise what does not come",
            Box::new(|n| frame(HEADERS, 5, n, &post(&field("content-length", "9")))),
        ),
        (
            "windows that overflow",
            Box::new(|n| {
                let more = 0x7fff_ffffu32.to_be_bytes();
                [request(n, true), frame(WINDOW_UPDATE, 0, n, &more)].concat()
            }),
        ),
        ("pings", Box::new(|_| frame(PING, 0, 0, &[7; 8]))),
        ("pongs", Box::new(|_| frame(PING, ACK, 0, &[7; 8]))),
        ("settings", Box::new(|_| frame(SETTINGS, 0, 0, &setting(4, 100)))),
        ("acknowledgements", Box::new(|_| frame(SETTINGS, ACK, 0, &[]))),
        ("priorities", Box::new(|n| frame(PRIORITY, 0, n, &[0, 0, 0, 0, 0]))),
        ("credit", {
            let mut first = true;
            Box::new(move |_| {
                let call = if std::mem::take(&mut first) { request(1, true) } else { Vec::new() };
                [call, frame(WINDOW_UPDATE, 0, 1, &1u32.to_be_bytes())].concat()
            })
        }),
        ("data without bytes", {
            let mut first = true;
            Box::new(move |_| {
                let call = if std::mem::take(&mut first) { request(1, false) } else { Vec::new() };
                [call, frame(DATA, 0, 1, &[])].concat()
            })
        }),
        ("frames of no kind", Box::new(|_| frame(0xbe, 0, 0, &[]))),
    ];
    for (case, next) in cases {
        let (fatal, output_max) = flood(Limits::default(), next);
        assert_eq!(fatal.map(|fatal| fatal.code), Some(Code::ENHANCE_YOUR_CALM), "{case}");
        assert!(output_max < 1024, "{case}: {output_max} bytes at once");
    }
}

#[test]
fn calls_that_are_answered_make_no_flood() {
    let mut side = Side::new(Limits::default());
    for n in 0..50_000 {
        let stream = 2 * n + 1;
        side.takes(&request(stream, true)).expect("a call");
        side.connection.answer(stream, bytes::Bytes::from_static(b"\0\0\0\0\0"));
        let credit = [0, stream].map(|id| frame(WINDOW_UPDATE, 0, id, &5u32.to_be_bytes()));
        side.takes(&[credit.concat(), frame(PING, 0, 0, &[0; 8])].concat()).expect("honest");
        side.connection.output().clear();
    }
}

#[test]
fn time_makes_up_for_calls_taken_back() {
    let mut side = Side::new(Limits::default());
    for n in 0..20_000 {
        let stream = 2 * n + 1;
        let back = frame(RST_STREAM, 0, stream, &8u32.to_be_bytes());
        side.takes(&[request(stream, true), back].concat()).expect("a slow client");
        if n % 200 == 0 {
            side.connection.rest(1);
        }
    }
}

#[test]
fn a_head_without_an_end_is_cut_off_early() {
    let mut side = Side::new(Limits::default());
    side.takes(&frame(HEADERS, 0, 1, &post(&[]))).expect("a beginning");
    let mut frames = 0;
    let fatal = loop {
        match side.takes(&frame(CONTINUATION, 0, 1, &[])) {
            Ok(_) => frames += 1,
            Err(fatal) => break fatal,
        }
    };
    assert_eq!((fatal.code, frames), (Code::ENHANCE_YOUR_CALM, 8));

    let mut side = Side::new(Limits::default());
    side.takes(&frame(HEADERS, 0, 1, &[0; 16_384])).expect("a beginning");
    let next = || frame(CONTINUATION, 0, 1, &[0; 16_384]);
    let ended = (0..8).find_map(|_| side.takes(&next()).err());
    assert_eq!(ended.map(|fatal| fatal.code), Some(Code::ENHANCE_YOUR_CALM));
}

#[test]
fn a_head_that_unpacks_into_too_much_is_refused_and_never_held() {
    // One large field is kept, then named by a byte thousands of times.
    let mut block = post(b"\x40\x01a");
    block.extend([0x7f, 0x80 + (3000u32 - 127) as u8 % 128, ((3000 - 127) / 128) as u8]);
    block.extend([b'v'; 3000]);
    block.extend([0xbe; 10_000]);
    let mut side = Side::new(Limits::default());
    let events = side.takes(&frame(HEADERS, 5, 1, &block)).expect("the connection stands");
    assert_eq!(events, []);
    let answer = side.written();
    assert_eq!((answer[0].0, &answer[0].3[..]), (HEADERS, &b"\x08\x03431"[..]));
    // The tables are still equal.
    let events = side.takes(&frame(HEADERS, 5, 3, &post(&[0xbe]))).expect("understood");
    let [Event::Request { head, .. }] = &events[..] else { panic!("{events:?}") };
    assert_eq!(head.get("a").map(bytes::Bytes::len), Some(3000));
}

#[test]
fn streams_beyond_the_maximum_are_refused_as_not_begun() {
    let mut side = Side::new(Limits { streams: 2, ..Limits::default() });
    let events = side.takes(&[request(1, true), request(3, true), request(5, true)].concat());
    assert_eq!(events.expect("the connection stands").len(), 2);
    assert_eq!(side.written(), [(RST_STREAM, 0, 5, 7u32.to_be_bytes().to_vec())]);
    side.connection.respond(1, 200, [], true);
    assert_eq!(side.takes(&request(7, true)).expect("there is room").len(), 1);
}

#[test]
fn more_than_the_windows_is_a_fault_of_the_stream_or_the_connection() {
    let limits = Limits {
        stream_window_bytes: 20_000,
        connection_window_bytes: 70_000,
        ..Limits::default()
    };
    let mut side = Side::new(limits);
    side.takes(&request(1, false)).expect("a call");
    side.takes(&frame(DATA, 0, 1, &[0; 16_000])).expect("within");
    let events = side.takes(&frame(DATA, 0, 1, &[0; 16_000])).expect("the stream's fault");
    assert_eq!(events, [Event::Reset { stream: 1, code: Code::FLOW_CONTROL_ERROR }]);

    let mut side = Side::new(limits);
    let bodies = (0..5)
        .map(|n| [request(2 * n + 1, false), frame(DATA, 0, 2 * n + 1, &[0; 16_000])].concat());
    let ended = bodies.into_iter().find_map(|body| side.takes(&body).err());
    assert_eq!(ended.map(|fatal| fatal.code), Some(Code::FLOW_CONTROL_ERROR));
}

#[test]
fn what_is_not_read_by_a_peer_stops_what_is_taken_from_it() {
    let limits = Limits { output_bytes: 1000, ..Limits::default() };
    let mut side = Side::new(limits);
    let pings: Vec<_> = (0..1000).flat_map(|_| frame(PING, 0, 0, &[0; 8])).collect();
    let mut input = bytes::BytesMut::from(&pings[..]);
    side.connection.receive(&mut input).expect("honest so far");
    assert!(side.connection.is_full() && side.connection.output().len() < 1100);
    let left = input.len();
    side.connection.receive(&mut input).expect("nothing is taken");
    assert_eq!(input.len(), left);
    side.connection.output().clear();
    side.connection.receive(&mut input).expect("more of it");
    assert!(input.len() < left);
}

#[test]
fn answers_nobody_takes_wait_in_their_queue_and_say_so() {
    let mut side = Side::new(Limits::default());
    side.takes(&frame(SETTINGS, 0, 0, &setting(4, 0))).expect("no windows");
    side.takes(&request(1, true)).expect("a call");
    side.connection.answer(1, vec![0; 10_000].into());
    assert_eq!(side.connection.progress(), (10_000, 0));
    side.takes(&frame(RST_STREAM, 0, 1, &[0; 4])).expect("taken back");
    assert_eq!(side.connection.progress(), (0, 0));
}

#[test]
fn windows_said_thousands_of_times_in_one_frame_move_streams_once() {
    let mut side = Side::new(Limits::default());
    let settings: Vec<_> = (0..2730u32).flat_map(|n| setting(4, n % 2 * 0x7fff_ffff)).collect();
    side.takes(&frame(SETTINGS, 0, 0, &settings)).expect("the last one counts");
}
