//! One step of a path, kept as `fieldsV1` writes it: `f:spec` for a field,
//! `k:{"name":"web"}` for the item with that key, `v:"x"` for the item that is
//! that value, `i:0` for the item at that place. The text is canonical, so
//! steps are the same when their texts are.

use std::{cmp::Ordering, fmt, sync::Arc};

use serde_json::{Map, Number, Value};

use crate::go;

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Step(Arc<str>);

/// Whole numbers up to this are the same as floats and as integers.
const WHOLE_MAX: f64 = 9_007_199_254_740_992.0;

// === impl Step ===

impl Step {
    #[must_use]
    pub fn field(name: &str) -> Step {
        let mut text = String::with_capacity(name.len() + 2);
        text.push_str("f:");
        text.push_str(name);
        Step(text.into())
    }

    /// The item with these values in these fields, which are sorted by name.
    #[must_use]
    pub fn key(fields: &[(&str, &Value)]) -> Step {
        let mut text = String::from("k:{");
        for (index, (name, value)) in fields.iter().enumerate() {
            if index > 0 {
                text.push(',');
            }
            push(&mut text, &Value::String((*name).to_owned()));
            text.push(':');
            push(&mut text, value);
        }
        text.push('}');
        Step(text.into())
    }

    #[must_use]
    pub fn value(value: &Value) -> Step {
        let mut text = String::from("v:");
        push(&mut text, value);
        Step(text.into())
    }

    /// From a key of `fieldsV1`; none for what a later version may have meant.
    pub fn parse(text: &str) -> Result<Option<Step>, String> {
        let json = |text: &str| {
            serde_json::from_str::<Value>(text).map_err(|error| format!("parsing {text}: {error}"))
        };
        match text.split_at_checked(2) {
            None => Err("key must be 2 characters long:".into()),
            Some(("f:", _)) => Ok(Some(Step(text.into()))),
            Some(("v:", rest)) => Ok(Some(Step::value(&json(rest)?))),
            Some(("k:", rest)) => match json(rest)? {
                Value::Object(map) => {
                    let fields: Vec<_> =
                        map.iter().map(|(name, value)| (name.as_str(), value)).collect();
                    Ok(Some(Step::key(&fields)))
                }
                _ => Err(format!("parsing {rest}: expected an object")),
            },
            Some(("i:", rest)) => match rest.parse::<i64>() {
                Ok(index) => Ok(Some(Step(format!("i:{index}").into()))),
                Err(error) => Err(format!("parsing {rest}: {error}")),
            },
            Some((kind, _)) if kind.ends_with(':') => Ok(None),
            Some(_) => Err(format!("missing colon: {text}")),
        }
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name of the field, if it is one.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.0.strip_prefix("f:")
    }

    pub(crate) fn is_key(&self) -> bool {
        self.0.starts_with("k:")
    }

    /// As comparing with `Step::field(name)`, which is not made.
    pub(crate) fn compare_field(&self, name: &str) -> Ordering {
        match self.name() {
            Some(own) => own.cmp(name),
            None => Ordering::Greater,
        }
    }
}

/// As people read it: `.spec`, `[name="web"]`, `[="x"]`, `[0]`.
impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kind, rest) = self.0.split_at(2);
        let value = || serde_json::from_str::<Value>(rest).unwrap_or_default();
        match kind {
            "f:" => write!(f, ".{rest}"),
            "k:" => {
                let map: Map<String, Value> = serde_json::from_str(rest).unwrap_or_default();
                let fields = map.iter().map(|(name, value)| format!("{name}={}", shown(value)));
                write!(f, "[{}]", fields.collect::<Vec<_>>().join(","))
            }
            "v:" => write!(f, "[={}]", shown(&value())),
            _ => write!(f, "[{rest}]"),
        }
    }
}

fn shown(value: &Value) -> String {
    match value {
        Value::Null => "null".into(),
        Value::String(text) => go::quote(text),
        other => go::plain(other),
    }
}

fn push(text: &mut String, value: &Value) {
    match value {
        Value::Number(number) => text.push_str(&canonical(number).to_string()),
        Value::String(plain) if plain.bytes().all(is_plain) => {
            text.push('"');
            text.push_str(plain);
            text.push('"');
        }
        other => text.push_str(&other.to_string()),
    }
}

/// What JSON writes between quotes as it is.
fn is_plain(byte: u8) -> bool {
    byte.is_ascii_graphic() && byte != b'"' && byte != b'\\' || byte == b' '
}

fn canonical(number: &Number) -> Number {
    match number.as_f64().filter(|_| number.is_f64()) {
        #[allow(clippy::cast_possible_truncation, reason = "it is whole, and small enough")]
        Some(float) if float.fract() == 0.0 && float.abs() < WHOLE_MAX => (float as i64).into(),
        _ => number.clone(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(text: &str, canonical: &str, shown: &str) {
        let step = Step::parse(text).expect("it parses").expect("it is known");
        assert_eq!(step.as_str(), canonical);
        assert_eq!(step.to_string(), shown);
    }

    #[test]
    fn steps_have_one_text_each_and_one_for_people() {
        check("f:a.b/c", "f:a.b/c", ".a.b/c");
        check(
            r#"k:{ "protocol":"TCP", "port":80.0 }"#,
            r#"k:{"port":80,"protocol":"TCP"}"#,
            r#"[port=80,protocol="TCP"]"#,
        );
        check(r#"v:"a\"b""#, r#"v:"a\"b""#, r#"[="a\"b"]"#);
        check("v:1", "v:1", "[=1]");
        check("i:07", "i:7", "[7]");
        let (name, port) = (json!("x"), json!(443));
        let made = Step::key(&[("name", &name), ("port", &port)]);
        assert_eq!(Ok(Some(made)), Step::parse(r#"k:{"port":443,"name":"x"}"#));
    }

    #[test]
    fn steps_of_later_versions_are_left_out_and_broken_ones_told() {
        assert_eq!(Step::parse("z:what"), Ok(None));
        for broken in ["", "f", "name", "k:[]", "k:{", "v:", "i:x"] {
            assert!(Step::parse(broken).is_err(), "{broken}");
        }
    }
}
