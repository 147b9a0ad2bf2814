//! Every built-in type, there and back; and bytes of Kubernetes' own writers.

use schema::{
    Field, Form, Presence, Schema, Shape, builtin,
    proto::{self, Envelope},
};
use serde_json::{Map, Value, json};

/// Objects beyond this are left out: some types contain themselves.
const DEPTH: usize = 14;

/// Bound on the fields of one object, for the same reason.
const FIELDS: usize = 400;

/// Small, fast, the same every time (xorshift).
struct Dice {
    state: u64,
    fields: usize,
}

// === impl Dice ===

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        self.state % sides
    }

    fn object(&mut self, schema: &Schema, depth: usize) -> Map<String, Value> {
        let Shape::Object(object) = &schema.resolved().shape else { return Map::new() };
        let mut made = Map::new();
        for field in object.fields.iter().filter(|field| field.number != 0) {
            if self.roll(3) == 0 {
                continue;
            }
            if let Some(value) = self.field(field, depth) {
                made.insert(field.name.to_string(), value);
            }
        }
        made
    }

    fn field(&mut self, field: &Field, depth: usize) -> Option<Value> {
        self.fields = self.fields.checked_sub(1)?;
        let kept = field.presence != Presence::Sparse && self.roll(4) == 0;
        match &field.schema.resolved().shape {
            Shape::Text(Form::Plain | Form::Bytes) if kept => Some("".into()),
            Shape::Integer(_) if kept => Some(0.into()),
            Shape::Boolean if kept => Some(false.into()),
            Shape::Boolean if field.presence == Presence::Sparse => Some(true.into()),
            Shape::Object(object) if kept && object.additional.is_none() => Some(json!({})),
            _ => self.value(&field.schema, depth),
        }
    }

    fn value(&mut self, schema: &Schema, depth: usize) -> Option<Value> {
        let text = |text: String| Some(Value::String(text));
        match &schema.resolved().shape {
            Shape::Any => any(schema, self.roll(4)),
            Shape::Text(Form::Plain) => text(format!("ä{}", self.roll(1 << 40))),
            Shape::Text(Form::Bytes) => text("AAH/".into()),
            Shape::Text(Form::Time) => {
                text(format!("20{}-02-0{}T01:02:03Z", 10 + self.roll(80), 1 + self.roll(9)))
            }
            Shape::Text(Form::MicroTime) => {
                text(format!("2026-01-01T00:00:00.{:06}Z", self.roll(1_000_000)))
            }
            Shape::Text(Form::Quantity) => text(format!("{}Mi", self.roll(5000))),
            Shape::Text(Form::Duration) => text(format!("1h{}m0s", 1 + self.roll(59))),
            Shape::Integer(32) => Some((self.roll(1 << 32) as u32).cast_signed().max(1).into()),
            Shape::Integer(_) => Some((1 + self.roll(u64::MAX - 1)).cast_signed().into()),
            Shape::Number => Some((0.25 + self.roll(1000) as f64).into()),
            Shape::Boolean => Some((self.roll(2) == 0).into()),
            Shape::IntOrText if self.roll(2) == 0 => Some(self.roll(70_000).into()),
            Shape::IntOrText => text("80%".into()),
            Shape::Object(_) | Shape::List(_) if depth == 0 => None,
            Shape::Object(object) => match object.additional.as_deref() {
                Some(values) => {
                    let key = format!("k{}", self.roll(10));
                    Some(json!({ key: self.value(values, depth - 1)? }))
                }
                None => Some(self.object(schema, depth - 1).into()),
            },
            Shape::List(list) => {
                let len = 1 + self.roll(2);
                let items: Option<Vec<Value>> =
                    (0..len).map(|_| self.value(&list.items, depth - 1)).collect();
                Some(items?.into())
            }
            Shape::Named(_) => None,
        }
    }
}

/// A value of anything; some are unions of a few forms.
fn any(schema: &Schema, roll: u64) -> Option<Value> {
    let Shape::Named(id) = schema.shape else { return Some(json!({"f:a": [{}]})) };
    Some(match (builtin::describe(id).name, roll) {
        ("JSONSchemaPropsOrBool", 0) => false.into(),
        ("JSONSchemaPropsOrBool", 1) => true.into(),
        ("JSONSchemaPropsOrArray", 0) => json!([{"type": "string"}, {"minLength": 1}]),
        ("JSONSchemaPropsOrStringArray", 0) => json!(["a", "b"]),
        (
            "JSONSchemaPropsOrBool" | "JSONSchemaPropsOrArray" | "JSONSchemaPropsOrStringArray",
            _,
        ) => json!({"type": "object", "additionalProperties": {"items": {"maximum": 1.5}}}),
        _ => json!({"f:a": {".": {}}, "n": 1.5, "t": "\u{1f600}"}),
    })
}

#[test]
fn every_built_in_type_comes_back_as_it_went() {
    let mut dice = Dice { state: 0x9e37_79b9_7f4a_7c15, fields: 0 };
    let mut types = 0;
    for (_, one) in builtin::types() {
        if !matches!(one.schema.shape, Shape::Object(_)) {
            continue;
        }
        types += 1;
        for _ in 0..20 {
            dice.fields = FIELDS;
            let object = dice.object(&one.schema, DEPTH);
            let text = serde_json::to_vec(&object).expect("JSON");
            let mut bytes = Vec::new();
            proto::write_json(&one.schema, &text, &mut bytes).expect("it has the type's form");
            let read = proto::read(&one.schema, &bytes).expect("a message");
            assert_eq!(read.object, object, "{}", one.short());
            assert_eq!(read.unknown, Vec::<String>::new(), "{}", one.short());
        }
    }
    assert!(types > 500, "{types}");
}

#[test]
fn rubbish_is_refused_and_never_a_panic() {
    let mut dice = Dice { state: 0x2545_f491_4f6c_dd1d, fields: FIELDS };
    let pod = builtin::get(builtin::find("core.v1.Pod").expect("a built-in type"));
    let object = Value::Object(dice.object(pod, 6));
    let mut bytes = Vec::new();
    proto::write(pod, &object, &mut bytes).expect("a pod");
    for _ in 0..2000 {
        let mut torn = bytes.clone();
        let at = usize::try_from(dice.roll(bytes.len() as u64)).expect("an index");
        torn[at] = dice.roll(256) as u8;
        torn.truncate(bytes.len() - at / 2);
        let _ = proto::read(pod, &torn);
    }
}

#[test]
fn messages_in_messages_are_bounded() {
    let props = builtin::find("apiextensions.v1.JSONSchemaProps").expect("a built-in type");
    let mut bytes = Vec::new();
    for _ in 0..5000 {
        // `not`, field 28.
        let mut outer = vec![0xe2, 0x01];
        let mut len = bytes.len();
        while len >= 0x80 {
            outer.push((len & 0x7f) as u8 | 0x80);
            len >>= 7;
        }
        outer.push(len as u8);
        outer.append(&mut bytes);
        bytes = outer;
    }
    assert_eq!(proto::read(builtin::get(props), &bytes), Err(proto::Error::Depth));
}

#[test]
fn the_bytes_of_kubernetes_writers_are_read() {
    for (json, hex) in SAMPLES {
        let digits: Vec<u8> = hex.bytes().filter(u8::is_ascii_hexdigit).collect();
        let byte = |pair: &[u8]| {
            let pair = std::str::from_utf8(pair).expect("ASCII");
            u8::from_str_radix(pair, 16).expect("two digits")
        };
        let bytes: Vec<u8> = digits.chunks(2).map(byte).collect();
        let envelope = Envelope::open(&bytes).expect("an envelope");
        let mut expected: Map<String, Value> = serde_json::from_str(json).expect("JSON");
        assert_eq!(expected.remove("apiVersion"), Some(envelope.api_version.into()));
        assert_eq!(expected.remove("kind"), Some(envelope.kind.into()));
        let (_, one) = builtin::types()
            .find(|(_, one)| one.root && one.name == envelope.kind)
            .expect("a built-in kind");
        let mut read = proto::read(&one.schema, envelope.message).expect("a message");
        assert_eq!(read.unknown, Vec::<String>::new());
        // What Kubernetes always writes, and what its JSON shows too.
        without_empty(&mut read.object);
        assert_eq!(read.object, expected);
    }
}

/// Without objects in which nothing is.
fn without_empty(object: &mut Map<String, Value>) {
    for value in object.values_mut() {
        match value {
            Value::Object(object) => without_empty(object),
            Value::Array(items) => {
                items.iter_mut().filter_map(Value::as_object_mut).for_each(without_empty);
            }
            _ => {}
        }
    }
    object.retain(|_, value| *value != json!({}));
}

/// Objects of ours, and what a client of Kubernetes makes of them.
const SAMPLES: &[(&str, &str)] = &[
    (
        r#"{"apiVersion":"v1","kind":"Pod","metadata":{"name":"till","namespace":"shop","labels":{"app":"till"}},"spec":{"volumes":[{"name":"keys","secret":{"secretName":"keys","defaultMode":256}}],"containers":[{"name":"till","image":"till:1","env":[{"name":"PIN","valueFrom":{"secretKeyRef":{"name":"keys","key":"pin"}}}],"resources":{"limits":{"memory":"64Mi"}},"readinessProbe":{"tcpSocket":{"port":"http"},"periodSeconds":5}}],"ephemeralContainers":[{"name":"look","image":"sh","targetContainerName":"till"}],"terminationGracePeriodSeconds":0}}"#,
        "6b3873000a090a0276311203506f641289020a250a0474696c6c12001a0473686f7022002a00320038004200 \
     5a0b0a03617070120474696c6c12ca010a130a046b657973120b32090a046b657973188002126c0a0474696c \
     6c120674696c6c3a312a003a180a0350494e12001a0f220d0a060a046b657973120370696e42120a100a066d \
     656d6f727912060a0436344d695a1c0a101a0e0a0a080110001a04687474701200100018002005280030006a \
     007200800100880100900100a201001a002000320042004a0052005800600068008201008a01009a0100c201 \
     009202260a1e0a046c6f6f6b120273682a0042006a007200800100880100900100a20100120474696c6c1a13 \
     0a001a0022002a0032004a005a0072008801001a002200",
    ),
    (
        r#"{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"till","creationTimestamp":"2026-11-23T04:30:01Z"},"spec":{"replicas":0,"selector":{"matchLabels":{"app":"till"}},"template":{"metadata":{"labels":{"app":"till"}},"spec":{"containers":[{"name":"till","image":"till:1"}]}},"strategy":{"type":"RollingUpdate","rollingUpdate":{"maxUnavailable":"25%","maxSurge":1}}}}"#,
        "6b3873000a150a07617070732f7631120a4465706c6f796d656e7412cd010a1c0a0474696c6c12001a002200 \
     2a0032003800420808c9828fd8061000129e010800120d0a0b0a03617070120474696c6c1a610a1d0a001200 \
     1a0022002a003200380042005a0b0a03617070120474696c6c124012220a0474696c6c120674696c6c3a312a \
     0042006a007200800100880100900100a201001a00320042004a0052005800600068008201008a01009a0100 \
     c2010022240a0d526f6c6c696e6755706461746512130a09080110001a033235251206080010011a00280038 \
     001a0c0800100018002000280038001a002200",
    ),
    (
        r#"{"apiVersion":"coordination.k8s.io/v1","kind":"Lease","metadata":{"name":"till"},"spec":{"holderIdentity":"a","leaseDurationSeconds":15,"renewTime":"2026-11-23T04:30:01.000250Z"}}"#,
        "6b3873000a1f0a16636f6f7264696e6174696f6e2e6b38732e696f2f763112054c6561736512290a140a0474 \
     696c6c12001a0022002a0032003800420012110a0161100f220a08c9828fd8061090a10f1a002200",
    ),
];
