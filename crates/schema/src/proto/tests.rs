//! Small schemas of our own; all built-in ones are in `tests/`.

use std::sync::Arc;

use serde_json::{Value, json};

use super::*;
use crate::{Field, Form, List, Presence};

fn of(shape: Shape) -> Arc<Schema> {
    Arc::new(Schema::of(shape))
}

fn text() -> Arc<Schema> {
    of(Shape::Text(Form::Plain))
}

fn list(items: Arc<Schema>) -> Arc<Schema> {
    of(Shape::List(List { items, kind: crate::ListKind::Atomic }))
}

fn map(values: Arc<Schema>) -> Arc<Schema> {
    of(Shape::Object(Object { additional: Some(values), ..Object::default() }))
}

fn field(name: &str, number: u32, within: &[u32], schema: Arc<Schema>) -> Field {
    let within = within.to_vec();
    let presence = Presence::Sparse;
    Field { name: name.into(), number, within, presence, schema, ..Field::default() }
}

fn object(fields: Vec<Field>) -> Arc<Schema> {
    of(Shape::Object(Object { fields, ..Object::default() }))
}

fn sample() -> Arc<Schema> {
    let inner = object(vec![field("a", 1, &[], text()), field("b", 2, &[], text())]);
    let kept = Field { presence: Presence::Kept, ..field("kept", 3, &[], of(Shape::Integer(32))) };
    object(vec![
        field("name", 1, &[], text()),
        kept,
        field("secret", 6, &[2], inner.clone()),
        field("size", 1, &[2, 2], of(Shape::Text(Form::Quantity))),
        field("port", 4, &[], of(Shape::IntOrText)),
        field("at", 5, &[], of(Shape::Text(Form::Time))),
        field("exactly", 6, &[], of(Shape::Text(Form::MicroTime))),
        field("wait", 7, &[], of(Shape::Text(Form::Duration))),
        field("data", 8, &[], map(of(Shape::Text(Form::Bytes)))),
        field("extra", 9, &[], map(list(text()))),
        field("raw", 10, &[], of(Shape::Any)),
        field("numbers", 11, &[], list(of(Shape::Integer(64)))),
        field("inners", 12, &[], list(inner)),
        field("ratio", 13, &[], of(Shape::Number)),
        field("yes", 14, &[], of(Shape::Boolean)),
    ])
}

fn written(value: &Value) -> Vec<u8> {
    let mut out = Vec::new();
    write(&sample(), value, &mut out).expect("it has the schema's form");
    let mut again = Vec::new();
    write_json(&sample(), value.to_string().as_bytes(), &mut again).expect("as text too");
    assert_eq!(out, again);
    out
}

#[test]
fn every_form_comes_back_as_it_went() {
    let long = "x".repeat(300);
    let value = json!({
        "name": "n", "kept": 0, "secret": {"a": long, "b": "2"}, "size": "1Gi", "port": "http",
        "at": "2026-11-23T04:30:01Z", "exactly": "2026-11-23T04:30:01.000250Z", "wait": "1h0m0s",
        "data": {"k": "AAE=", "empty": ""}, "extra": {"k": ["a", "b"], "none": []},
        "raw": {"f:a": {".": {}}}, "numbers": [1, -1, 0, 9_007_199_254_740_993_i64],
        "inners": [{"a": "1"}, {}], "ratio": 0.5, "yes": true,
    });
    let got = read(&sample(), &written(&value)).expect("a message");
    assert_eq!(Value::Object(got.object), value);
    assert_eq!(got.unknown, Vec::<String>::new());
}

#[test]
fn the_bytes_are_those_of_the_wire_format() {
    let check = |value: Value, expected: &str| {
        let hex: String = written(&value).iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, expected, "{value}");
    };
    check(json!({"name": "n"}), "0a016e");
    check(json!({"kept": -1}), "18ffffffffffffffffff01");
    // Gathered into one message, the inner after the outer's own fields.
    check(json!({"secret": {"a": "1"}, "size": 5}), "120c32030a013112050a030a0135");
    check(json!({"port": 80}), "220408001050");
    check(json!({"port": "p"}), "220508011a0170");
    check(json!({"raw": {"a": 1}}), "52090a077b2261223a317d");
    check(json!({"extra": {"k": ["v"]}}), "4a080a016b12030a0176");
    check(json!({"numbers": [1, 2]}), "58015802");
    check(json!({"name": null, "other": {"a": []}}), "");
}

#[test]
fn packed_numbers_and_messages_in_parts_are_read() {
    let check = |bytes: &[u8], expected: Value| {
        let got = read(&sample(), bytes).expect("a message");
        assert_eq!(Value::Object(got.object), expected);
    };
    check(&[0x5a, 2, 1, 2, 0x58, 3], json!({"numbers": [1, 2, 3]}));
    let parts = [0x12, 5, 0x32, 3, 0x0a, 1, b'1', 0x12, 5, 0x32, 3, 0x12, 1, b'2'];
    check(&parts, json!({"secret": {"a": "1", "b": "2"}}));
    // Empty fields that Kubernetes writes always: absent, but for those kept.
    check(&[0x0a, 0, 0x18, 0, 0x70, 0, 0x2a, 0], json!({"kept": 0}));
}

#[test]
fn unknown_fields_are_named_and_passed_over() {
    let bytes = [0xf8, 0x06, 1, 0x62, 4, 0x0a, 0, 0x78, 7, 0x0a, 1, b'n'];
    let got = read(&sample(), &bytes).expect("a message");
    assert_eq!(Value::Object(got.object), json!({"name": "n", "inners": [{}]}));
    assert_eq!(got.unknown, ["111", "inners.15"]);
}

#[test]
fn what_is_cut_or_wrong_is_refused_and_never_a_panic() {
    let value =
        json!({"secret": {"a": "1"}, "at": "2026-11-23T04:30:01Z", "raw": [1], "ratio": 1.5});
    let bytes = written(&value);
    for end in 0..bytes.len() {
        let _ = read(&sample(), &bytes[..end]);
    }
    for at in 0..bytes.len() {
        for flip in 0..8 {
            let mut bytes = bytes.clone();
            bytes[at] ^= 1 << flip;
            let _ = read(&sample(), &bytes);
        }
    }
    let check = |bytes: &[u8], expected: &str| {
        let error = read(&sample(), bytes).expect_err("no message").to_string();
        assert_eq!(error, expected);
    };
    check(&[0x0a, 5, b'n'], "unexpected EOF");
    check(&[0x08, 5], "wrong wireType = 0 for field name");
    check(&[0x0a, 1, 0xff], "name: invalid UTF-8");
    check(&[0x52, 3, 0x0a, 1, b'{'], "raw: the raw value is not JSON");
    check(&[0x0b], "illegal tag 1 (wire type 3)");
    check(&[0x00], "illegal tag 0 (wire type 0)");
    let wrong = |value: Value| write(&sample(), &value, &mut Vec::new()).is_err();
    assert!(wrong(json!({"name": 1})) && wrong(json!({"at": "today"})) && wrong(json!([])));
}

#[test]
fn an_envelope_says_what_is_in_it() {
    let sealed = seal("apps/v1", "Deployment", b"abc");
    let opened = Envelope::open(&sealed).expect("sealed");
    assert_eq!(
        (opened.api_version, opened.kind, opened.message),
        ("apps/v1", "Deployment", &b"abc"[..])
    );
    for end in 0..sealed.len() {
        let _ = Envelope::open(&sealed[..end]);
    }
    assert_eq!(Envelope::open(b"{}"), Err(Error::Prefix));
    assert_eq!(Envelope::open(MAGIC), Err(Error::Empty));
    let frame = frame("ADDED", &sealed);
    assert_eq!(frame[..4], u32::try_from(frame.len() - 4).expect("short").to_be_bytes());
}

#[test]
fn a_list_is_sent_in_pieces() {
    let items: Vec<Vec<u8>> = (0..500).map(|len| vec![0x0a; len]).collect();
    let pieces = super::list("v1", "PodList", &[], items.clone());
    assert!(pieces.len() > 1);
    let body = pieces.concat();
    let envelope = Envelope::open(&body).expect("sealed");
    assert_eq!(envelope.kind, "PodList");
    let got: Vec<&[u8]> = wire::Items(envelope.message)
        .filter_map(|item| match item.expect("whole") {
            (2, wire::Item::Bytes(bytes)) => Some(bytes),
            _ => None,
        })
        .collect();
    assert_eq!(got, items);
}
