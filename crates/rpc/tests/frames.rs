//! Frames: cut at any place they are the same, bounded before they are waited
//! for, and changed only where they were to be.

use bytes::{Bytes, BytesMut};
use proptest::prelude::*;
use rpc::{
    bolt::{self, Command, Head, Kind, Version, sofa},
    dubbo::{self, Status},
    hessian::{Dialect, Reader, Value},
};

const SOFA: &[u8] = include_bytes!("golden/sofa.requests");
const ECHO: &[u8] = include_bytes!("golden/echo.requests");
const DUBBO: &[u8] = include_bytes!("golden/dubbo2.requests");

fn bolt_one(bytes: &[u8]) -> bolt::Frame {
    bolt::next(&mut BytesMut::from(bytes), bolt::FRAME_BYTES_MAX).expect("fit").expect("whole")
}

fn dubbo_one(bytes: &[u8]) -> dubbo::Frame {
    dubbo::next(&mut BytesMut::from(bytes), dubbo::BODY_BYTES_MAX).expect("fit").expect("whole")
}

/// All frames of what comes in pieces that end at these places.
fn in_pieces(
    bytes: &[u8],
    cuts: &[usize],
    mut next: impl FnMut(&mut BytesMut) -> Option<Bytes>,
) -> Vec<Bytes> {
    let mut ends: Vec<_> = cuts.iter().map(|cut| cut % bytes.len()).chain([bytes.len()]).collect();
    ends.sort_unstable();
    let (mut input, mut frames, mut from) = (BytesMut::new(), Vec::new(), 0);
    for end in ends {
        input.extend_from_slice(&bytes[from..end]);
        from = end;
        frames.extend(std::iter::from_fn(|| next(&mut input)));
    }
    assert!(input.is_empty());
    frames
}

proptest! {
    #[test]
    fn frames_of_bolt_are_the_same_however_they_come(cuts in prop::collection::vec(any::<usize>(), 0..8)) {
        let next = |input: &mut BytesMut| {
            let frame = bolt::next(input, bolt::FRAME_BYTES_MAX).expect("real frames");
            frame.map(|frame| frame.into_parts().into_bytes())
        };
        for bytes in [SOFA, ECHO] {
            prop_assert_eq!(in_pieces(bytes, &cuts, next), in_pieces(bytes, &[], next));
        }
    }

    #[test]
    fn frames_of_dubbo_are_the_same_however_they_come(cuts in prop::collection::vec(any::<usize>(), 0..8)) {
        let next = |input: &mut BytesMut| {
            let frame = dubbo::next(input, dubbo::BODY_BYTES_MAX).expect("real frames");
            frame.map(|frame| frame.into_parts().into_bytes())
        };
        prop_assert_eq!(in_pieces(DUBBO, &cuts, next), in_pieces(DUBBO, &[], next));
    }

    #[test]
    fn a_frame_of_bolt_reads_back_as_written(
        version in prop_oneof![
            Just(Version::V1),
            (1u8..=2, any::<u8>()).prop_map(|(revision, switches)| Version::V2 { revision, switches }),
        ],
        kind in prop_oneof![
            any::<u16>().prop_map(|status| Kind::Response { status }),
            any::<u32>().prop_map(|timeout_ms| Kind::Request { timeout_ms }),
            any::<u32>().prop_map(|timeout_ms| Kind::OneWay { timeout_ms }),
        ],
        (command, id, codec) in (any::<u16>(), any::<u32>(), any::<u8>()),
        class in "[a-z.]{0,40}",
        headers in prop::collection::btree_map("[a-z]{0,8}", "\\PC{0,12}", 0..6),
        content in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        let head = Head { version, kind, command: Command(command), command_version: 1, id, codec };
        let mut frame = bolt::Frame::new(head, &class, &content);
        for (key, value) in &headers {
            frame.set_header(key, "another").expect("short");
            frame.set_header(key, value).expect("short");
        }
        let frame = bolt_one(&frame.into_parts().into_bytes());
        prop_assert_eq!(frame.head(), head);
        prop_assert_eq!((frame.class(), frame.content()), (class.as_bytes(), &content[..]));
        prop_assert_eq!(frame.headers().count(), headers.len());
        for (key, value) in &headers {
            prop_assert_eq!(frame.headers().get(key), Ok(Some(value.as_bytes())));
        }
    }
}

#[test]
fn a_call_travels_under_another_id_with_one_header_more() {
    for bytes in [SOFA, ECHO, ECHO] {
        let before = bolt_one(bytes);
        let mut frame = before.clone();
        frame.set_id(0xfeed_f00d);
        frame.set_header("polis-shard", "42; unit=rz01; epoch=17; hop=1").expect("there is room");
        let after = bolt_one(&frame.into_parts().into_bytes());
        assert_eq!(after.head(), Head { id: 0xfeed_f00d, ..before.head() });
        assert_eq!((after.class(), after.content()), (before.class(), before.content()));
        assert_eq!(after.headers().count(), before.headers().count() + 1);
        assert_eq!(sofa::header(&after, "polis-shard"), Some("42; unit=rz01; epoch=17; hop=1"));
    }
}

#[test]
fn a_payload_is_passed_on_where_it_is() {
    let mut input = BytesMut::from(SOFA);
    let mut frame = bolt::next(&mut input, bolt::FRAME_BYTES_MAX).expect("fit").expect("whole");
    frame.set_id(7);
    let content = frame.content().as_ptr();
    let parts: Vec<_> = frame.clone().into_parts().into_iter().collect();
    assert_eq!(parts.len(), 2, "a clone is a copy");
    let parts: Vec<_> = frame.into_parts().into_iter().collect();
    let [whole] = &parts[..] else { panic!("{} pieces", parts.len()) };
    assert!(whole.as_ptr_range().contains(&content));
}

#[test]
fn what_is_too_large_is_refused_by_its_head() {
    let claim = |lengths: [u8; 8]| [&SOFA[..14], &lengths].concat();
    let next = |bytes: Vec<u8>| bolt::next(&mut BytesMut::from(&bytes[..]), 1024).map(|_| ());
    let large = |bytes| Err(bolt::Error::TooLarge { bytes, max: 1024 });
    assert_eq!(next(claim([0, 0, 0, 0, 0, 0, 4, 1])), large(22 + 1025));
    assert_eq!(next(claim([0, 0, 0, 0, 255, 255, 255, 255])), large(22 + 0xffff_ffff));
    assert_eq!(next(claim([0, 0, 0, 0, 0, 0, 3, 0])), Ok(()));
    // Negative, to those who count in a short.
    assert_eq!(next(claim([128, 0, 0, 0, 0, 0, 0, 0])), Err(bolt::Error::HeaderTooLarge(0x8000)));
    assert_eq!(next(vec![3]), Err(bolt::Error::UnknownVersion(3)));
    assert_eq!(next(vec![2, 3]), Err(bolt::Error::UnknownVersion(3)));
    assert_eq!(next(vec![1, 9]), Err(bolt::Error::UnknownKind(9)));
    let mut frame = bolt_one(SOFA);
    let error = frame.set_header("x", &"y".repeat(40_000)).expect_err("no room");
    assert!(matches!(error, bolt::Error::HeaderTooLarge(_)));

    let claim = |length: u32| [&DUBBO[..12], &length.to_be_bytes()].concat();
    let next = |bytes: Vec<u8>| dubbo::next(&mut BytesMut::from(&bytes[..]), 1024).map(|_| ());
    assert_eq!(next(claim(1025)), Err(dubbo::Error::TooLarge { bytes: 1025, max: 1024 }));
    assert_eq!(next(claim(1024)), Ok(()));
    assert_eq!(next(vec![0xda]), Ok(()));
    assert_eq!(next(b"status".to_vec()), Err(dubbo::Error::NoMagic));
}

#[test]
fn a_frame_that_was_damaged_on_the_way_is_refused() {
    let mut input = BytesMut::from(ECHO);
    let frames: Vec<_> =
        std::iter::from_fn(|| bolt::next(&mut input, bolt::FRAME_BYTES_MAX).expect("real frames"))
            .collect();
    let checked = Version::V2 { revision: 2, switches: 1 };
    let frame = frames.into_iter().find(|frame| frame.head().version == checked).expect("one is");
    let mut bytes = frame.into_parts().into_bytes().to_vec();
    bytes[30] ^= 1;
    let error = bolt::next(&mut BytesMut::from(&bytes[..]), 1024).expect_err("damaged");
    assert_eq!(error, bolt::Error::Damaged);
}

#[test]
fn a_header_that_is_no_list_of_pairs_is_an_error() {
    let head = bolt_one(SOFA).head();
    let mut frame = bolt::Frame::new(head, "", b"").into_parts().into_bytes().to_vec();
    frame.extend_from_slice(&[0, 0, 0, 9, b'x']);
    frame[17] = 5;
    let mut frame = bolt_one(&frame);
    assert_eq!(frame.headers().get("x"), Err(bolt::Error::BadHeader));
    assert_eq!(frame.set_header("x", "y"), Err(bolt::Error::BadHeader));
}

#[test]
fn an_attachment_is_added_behind_the_arguments_and_the_last_of_two_counts() {
    let original = dubbo_one(DUBBO);
    let mut frame = original.clone();
    frame.set_id(u64::MAX);
    frame.set_attachment("polis-shard", "42").expect("it is a call");
    frame.set_attachment("polis-uid", "another").expect("it is a call");
    let read = dubbo_one(&frame.into_parts().into_bytes());
    assert_eq!(read.head().id, u64::MAX);
    let mut call = dubbo::Call::of(&read).expect("it is a call");
    let text = |text: &'static str| Ok(Some(Value::Text(text.into())));
    assert_eq!(call.attachment("polis-shard"), text("42"));
    assert_eq!(call.attachment("polis-uid"), text("another"));
    assert_eq!(call.attachment("interface"), text("Dubbo$Payments"));
    assert_eq!(call.argument(2, &["before", "id"]), text("order-1"));
    let count = |bytes: &[u8]| bytes.windows(9).filter(|name| name == b"polis-uid").count();
    assert_eq!((count(original.body()), count(read.body())), (1, 1));
}

#[test]
fn what_is_no_call_of_dubbo_gets_no_attachment() {
    let body = |body: &[u8]| {
        let length = u32::try_from(body.len()).expect("short").to_be_bytes();
        dubbo_one(&[&DUBBO[..12], &length, body].concat())
    };
    let strings = b"\x052.0.2\x01i\x011\x01m";
    for (case, end) in [
        ("no attachments", &b"\0"[..]),
        ("something behind them", b"\0HZN"),
        ("a reference to an argument", b"\x02[IHZ\x51\x90"),
        ("not a map", b"\0xZ"),
        ("an argument too few", b"\x01IHZ"),
        ("no types", b"\x01?HZ"),
    ] {
        let mut frame = body(&[strings, end].concat());
        assert!(frame.set_attachment("x", "y").is_err(), "{case}");
    }
    body(&[&strings[..], b"\0HZ"].concat()).set_attachment("x", "y").expect("it is a call");
    assert!(dubbo::Frame::readonly(1).set_attachment("x", "y").is_err());
}

#[test]
fn heartbeats_are_answered_in_kind() {
    let head = Head { command: Command::HEARTBEAT, ..bolt_one(SOFA).head() };
    let frame = bolt::Frame::new(head, "", b"");
    assert!(frame.is_heartbeat());
    let answer = frame.heartbeat_answer().head();
    assert_eq!(answer, Head { kind: Kind::Response { status: 0 }, ..head });

    let ask = dubbo_one(b"\xda\xbb\xe2\0\0\0\0\0\0\0\0\x07\0\0\0\x01N");
    assert!(ask.is_heartbeat() && ask.head().is_two_way());
    let answer = ask.heartbeat_answer().into_parts().into_bytes();
    assert_eq!(answer[..], *b"\xda\xbb\x22\x14\0\0\0\0\0\0\0\x07\0\0\0\x01N");
    let readonly = dubbo::Frame::readonly(7);
    assert!(readonly.is_readonly() && !readonly.is_heartbeat());
}

#[test]
fn a_refusal_is_an_answer_to_the_one_who_asked() {
    let mut input = BytesMut::from(SOFA);
    let mut next = || bolt::next(&mut input, bolt::FRAME_BYTES_MAX).expect("fit");
    let calls: Vec<_> = std::iter::from_fn(&mut next).collect();
    let because = sofa::Refusal::Because("unit rz01 is moving");
    let answer = sofa::refuse(&calls[0], because).expect("it expects one");
    assert_eq!(answer.head().id, calls[0].head().id);
    let mut reader = Reader::new(answer.content(), Dialect::Draft);
    let Ok(Value::Node(response)) = reader.value() else { panic!("no object") };
    assert_eq!(reader.field(response, "isError"), Ok(Some(Value::Bool(true))));
    let text = reader.field(response, "errorMsg");
    assert_eq!(text, Ok(Some(Value::Text("unit rz01 is moving".into()))));
    let busy = sofa::refuse(&calls[0], sofa::Refusal::Busy).expect("it expects one");
    assert_eq!(busy.head().kind, Kind::Response { status: 4 });
    assert!(sofa::refuse(&calls[4], because).is_none(), "one-way");

    let call = dubbo_one(DUBBO);
    let answer = call.refuse(Status::SERVICE_NOT_FOUND, "no such service").expect("it expects one");
    assert_eq!(answer.head().id, call.head().id);
    let text = Reader::new(answer.body(), Dialect::Final).value();
    assert_eq!(text, Ok(Value::Text("no such service".into())));
    assert!(dubbo::Frame::readonly(1).refuse(Status::SERVER_ERROR, "x").is_none());
}

proptest! {
    #[test]
    fn no_bytes_are_too_much(bytes in prop::collection::vec(any::<u8>(), 0..200), at in any::<usize>()) {
        for golden in [SOFA, DUBBO] {
            let mut hurt = golden.to_vec();
            let at = at % (hurt.len() - bytes.len());
            hurt[at..at + bytes.len()].copy_from_slice(&bytes);
            let mut input = BytesMut::from(&hurt[..]);
            while let Ok(Some(mut frame)) = bolt::next(&mut input, 65_536) {
                if let Some(mut call) = sofa::Call::of(&frame) {
                    let _ = call.method();
                    let _ = call.argument(2, &["before", "user"]);
                }
                let _ = frame.set_header("x", "y");
            }
            let mut input = BytesMut::from(&hurt[..]);
            while let Ok(Some(mut frame)) = dubbo::next(&mut input, 65_536) {
                if frame.set_attachment("x", "y").is_ok() {
                    let again = dubbo_one(&frame.into_parts().into_bytes());
                    let mut call = dubbo::Call::of(&again).expect("it was a call");
                    prop_assert_eq!(call.attachment("x"), Ok(Some(Value::Text("y".into()))));
                }
            }
        }
    }
}
