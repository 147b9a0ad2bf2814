//! What real clients and providers sent each other: `e2e/java` run with SOFARPC
//! 5.13.2, Dubbo 2.7.23 and Dubbo 3.3.6, recorded between them.

use bytes::BytesMut;
use rpc::{
    Detected, Protocol,
    bolt::{self, Command, Kind, Version, sofa},
    detect, dubbo,
    hessian::{Dialect, Reader, Value},
};

fn bolt_frames(bytes: &[u8]) -> Vec<bolt::Frame> {
    let mut input = BytesMut::from(bytes);
    let mut next = || bolt::next(&mut input, bolt::FRAME_BYTES_MAX).expect("it was understood");
    std::iter::from_fn(&mut next).collect()
}

fn dubbo_frames(bytes: &[u8]) -> Vec<dubbo::Frame> {
    let mut input = BytesMut::from(bytes);
    let mut next = || dubbo::next(&mut input, dubbo::BODY_BYTES_MAX).expect("it was understood");
    std::iter::from_fn(&mut next).collect()
}

fn text(value: Option<Value<'_>>) -> Option<String> {
    value.and_then(Value::key).map(|key| key.into_owned())
}

#[test]
fn sofarpc_says_in_its_header_whom_a_call_is_for() {
    let requests = bolt_frames(include_bytes!("golden/sofa.requests"));
    let said: Vec<_> = requests
        .iter()
        .map(|frame| {
            assert_eq!(frame.class(), sofa::REQUEST_CLASS.as_bytes());
            assert_eq!(sofa::header(frame, sofa::SERVICE), Some("Sofa$Payments:1.0"));
            assert_eq!(sofa::header(frame, sofa::CALLER_APP), Some("shop"));
            let one_way = matches!(frame.head().kind, Kind::OneWay { .. });
            (sofa::header(frame, sofa::METHOD), sofa::header(frame, "polis-uid"), one_way)
        })
        .collect();
    let expected = [
        (Some("pay"), Some("2088000000000421"), false),
        (Some("pay"), None, false),
        (Some("find"), None, false),
        (Some("refuse"), None, false),
        (Some("note"), None, true),
        (Some("pay"), None, false),
    ];
    assert_eq!(said, expected);
    assert_eq!(requests[0].head().kind, Kind::Request { timeout_ms: 5000 });
}

#[test]
fn sofarpcs_arguments_are_found_without_its_classes() {
    let requests = bolt_frames(include_bytes!("golden/sofa.requests"));
    let mut call = sofa::Call::of(&requests[0]).expect("it is Hessian");
    assert_eq!(call.service().expect("read").as_deref(), Some("Sofa$Payments:1.0"));
    assert_eq!(call.method().expect("read").as_deref(), Some("pay"));
    check_payment(|index, path| text(call.argument(index, path).expect("read")));
    // A field of an object, and of the same object by a reference to it.
    let mut call = sofa::Call::of(&requests[2]).expect("it is Hessian");
    for path in [&["user"][..], &["self", "user"], &["self", "self", "user"]] {
        let user = text(call.argument(0, path).expect("read"));
        assert_eq!(user.as_deref(), Some("2088000000000423"), "{path:?}");
    }
    assert_eq!(call.argument(1, &[]), Ok(None));
}

#[test]
fn dubbos_calls_are_found_in_their_bodies() {
    for bytes in
        [&include_bytes!("golden/dubbo2.requests")[..], include_bytes!("golden/dubbo3.requests")]
    {
        let requests = dubbo_frames(bytes);
        let said: Vec<_> = requests
            .iter()
            .map(|frame| {
                let mut call = dubbo::Call::of(frame).expect("it is a call");
                assert_eq!((&call.path[..], &call.version[..]), ("Dubbo$Payments", "1.0"));
                assert_eq!(
                    text(call.attachment("interface").expect("read")).as_deref(),
                    Some("Dubbo$Payments")
                );
                let user = text(call.attachment("polis-uid").expect("read"));
                (call.method.to_string(), call.parameters(), user, frame.head().is_two_way())
            })
            .collect();
        let user = Some("2088000000000421".to_owned());
        let expected = [
            ("pay".to_owned(), 3, user, true),
            ("pay".to_owned(), 3, None, true),
            ("find".to_owned(), 1, None, true),
            ("refuse".to_owned(), 1, None, true),
            ("note".to_owned(), 2, None, false),
            ("pay".to_owned(), 3, None, true),
        ];
        assert_eq!(said, expected);
        let mut call = dubbo::Call::of(&requests[0]).expect("it is a call");
        check_payment(|index, path| text(call.argument(index, path).expect("read")));
        let mut call = dubbo::Call::of(&requests[2]).expect("it is a call");
        let user = text(call.argument(0, &["self", "self", "user"]).expect("read"));
        assert_eq!(user.as_deref(), Some("2088000000000423"));
    }
}

/// `pay("2088000000000421", 100, order)`.
fn check_payment(mut argument: impl FnMut(usize, &[&str]) -> Option<String>) {
    for (index, path, expected) in [
        (0, &[][..], Some("2088000000000421")),
        (1, &[], Some("100")),
        (2, &["user"], Some("2088000000000421")),
        (2, &["cents"], Some("1234567890123")),
        (2, &["units"], Some("-7")),
        (2, &["tags", "1"], Some("\u{5f20}\u{4e09}")),
        (2, &["tags", "2"], Some("\u{1f600}")),
        (2, &["tags", "3"], None),
        (2, &["extras", "many", "2"], Some("70000")),
        (2, &["extras", "many", "3"], Some("1099511627776")),
        (2, &["before", "before", "id"], Some("order-1")),
        (2, &["nothing"], None),
        (3, &[], None),
    ] {
        assert_eq!(argument(index, path).as_deref(), expected, "{index} {path:?}");
    }
}

#[test]
fn every_kind_of_value_is_read_as_it_was_sent() {
    let requests = bolt_frames(include_bytes!("golden/sofa.requests"));
    let dubbo = dubbo_frames(include_bytes!("golden/dubbo3.requests"));
    let mut sofa_call = sofa::Call::of(&requests[0]).expect("it is Hessian");
    let mut dubbo_call = dubbo::Call::of(&dubbo[0]).expect("it is a call");
    for (path, expected) in [
        (&["rate"][..], Value::Double(0.25)),
        (&["gift"], Value::Bool(true)),
        (&["due"], Value::Date(1_700_000_000_123)),
        (&["seal"], Value::Binary),
        (&["extras", "many", "4"], Value::Double(1.5)),
        (&["extras", "large"], Value::Text("\u{1f600}x".repeat(150).into())),
    ] {
        assert_eq!(sofa_call.argument(2, path), Ok(Some(expected.clone())), "{path:?}");
        assert_eq!(dubbo_call.argument(2, path), Ok(Some(expected)), "{path:?}");
    }
}

#[test]
fn answers_say_what_became_of_a_call() {
    let answers = bolt_frames(include_bytes!("golden/sofa.answers"));
    let asked = bolt_frames(include_bytes!("golden/sofa.requests"));
    let ids =
        |frames: &[bolt::Frame]| frames.iter().map(|frame| frame.head().id).collect::<Vec<_>>();
    let mut expected = ids(&asked);
    expected.remove(4); // Nobody answers what expects no answer.
    assert_eq!(ids(&answers), expected);
    for frame in &answers {
        assert_eq!(frame.head().kind, Kind::Response { status: 0 });
        assert_eq!(frame.class(), sofa::RESPONSE_CLASS.as_bytes());
        let mut reader = Reader::new(frame.content(), Dialect::Draft);
        let Ok(Value::Node(response)) = reader.value() else { panic!("no object") };
        assert_eq!(reader.class(response).expect("read").as_deref(), Some(sofa::RESPONSE_CLASS));
        assert_eq!(reader.field(response, "isError"), Ok(Some(Value::Bool(false))));
        assert!(reader.is_at_end());
    }
    for bytes in
        [&include_bytes!("golden/dubbo2.answers")[..], include_bytes!("golden/dubbo3.answers")]
    {
        let answers = dubbo_frames(bytes);
        assert_eq!(answers.len(), 5);
        for frame in &answers {
            assert_eq!(frame.head().status, dubbo::Status::OK);
            let mut reader = Reader::new(frame.body(), Dialect::Final);
            while !reader.is_at_end() {
                reader.skip().expect("values");
            }
        }
    }
}

#[test]
fn both_versions_of_bolt_are_understood_with_and_without_a_checksum() {
    let requests = bolt_frames(include_bytes!("golden/echo.requests"));
    let versions: Vec<_> = requests.iter().map(|frame| frame.head().version).collect();
    let v2 = |revision, switches| Version::V2 { revision, switches };
    assert_eq!(versions, [Version::V1, Version::V1, v2(1, 1), v2(1, 0), v2(2, 1), v2(2, 0)]);
    for frame in &requests {
        assert_eq!(
            (frame.class(), frame.head().command),
            (&b"java.lang.String"[..], Command::REQUEST)
        );
    }
    assert_eq!(bolt_frames(include_bytes!("golden/echo.answers")).len(), 6);
}

#[test]
fn what_was_read_is_written_again_byte_by_byte() {
    for bytes in [
        &include_bytes!("golden/sofa.requests")[..],
        include_bytes!("golden/sofa.answers"),
        include_bytes!("golden/echo.requests"),
        include_bytes!("golden/echo.answers"),
    ] {
        let frames = bolt_frames(bytes).into_iter();
        let again: Vec<_> = frames
            .map(|mut frame| {
                // Of no consequence, but it makes the checksum anew.
                frame.set_id(frame.head().id);
                frame.into_parts().into_bytes()
            })
            .collect();
        assert_eq!(again.concat(), bytes);
    }
    for bytes in
        [&include_bytes!("golden/dubbo2.requests")[..], include_bytes!("golden/dubbo3.answers")]
    {
        let frames = dubbo_frames(bytes).into_iter();
        assert_eq!(
            frames.map(|frame| frame.into_parts().into_bytes()).collect::<Vec<_>>().concat(),
            bytes
        );
    }
}

#[test]
fn the_first_bytes_of_real_clients_tell_their_protocol() {
    for (bytes, protocol) in [
        (&include_bytes!("golden/sofa.requests")[..], Protocol::Bolt),
        (include_bytes!("golden/echo.requests"), Protocol::Bolt),
        (include_bytes!("golden/dubbo2.requests"), Protocol::Dubbo),
        (include_bytes!("golden/dubbo3.requests"), Protocol::Dubbo),
    ] {
        assert_eq!(detect(bytes), Detected::Is(protocol));
    }
}
