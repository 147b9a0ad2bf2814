//! JSON into a value, noticing fields that are written twice.
//!
//! serde_json's own `Value` takes the last one silently; Kubernetes' strict
//! field validation must name them. Depth is bounded by serde_json (128).

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// More repeated fields than a person reads are not collected.
const TWICE_MAX: usize = 64;

#[derive(Debug)]
pub struct Decoded {
    pub value: Value,
    /// Paths of fields that were written more than once.
    pub twice: Vec<String>,
}

pub fn decode(bytes: &[u8]) -> Result<Decoded, serde_json::Error> {
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let decoded = decode_from(&mut deserializer)?;
    deserializer.end()?;
    Ok(decoded)
}

/// As [`decode`], from whatever can be read as JSON is.
pub fn decode_from<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Decoded, D::Error> {
    let mut twice = Vec::new();
    let value = Seed { path: None, twice: &mut twice }.deserialize(deserializer)?;
    Ok(Decoded { value, twice })
}

/// A path as a list that lives on the stack.
#[derive(Clone, Copy)]
struct Path<'a> {
    parent: Option<&'a Path<'a>>,
    step: Step<'a>,
}

#[derive(Clone, Copy)]
enum Step<'a> {
    Field(&'a str),
    Index(usize),
}

struct Seed<'a, 'b> {
    path: Option<&'a Path<'a>>,
    twice: &'b mut Vec<String>,
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(parent) = self.parent {
            parent.fmt(f)?;
        }
        match (self.step, self.parent) {
            (Step::Index(index), _) => write!(f, "[{index}]"),
            (Step::Field(name), None) => f.write_str(name),
            (Step::Field(name), Some(_)) => write!(f, ".{name}"),
        }
    }
}

impl<'de> DeserializeSeed<'de> for Seed<'_, '_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Seed<'_, '_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value).map(Value::Number).ok_or_else(|| E::custom("number out of range"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        loop {
            let path = Path { parent: self.path, step: Step::Index(list.len()) };
            match items.next_element_seed(Seed { path: Some(&path), twice: &mut *self.twice })? {
                Some(item) => list.push(item),
                None => return Ok(Value::Array(list)),
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some(key) = entries.next_key::<String>()? {
            let path = Path { parent: self.path, step: Step::Field(&key) };
            if map.contains_key(&key) && self.twice.len() < TWICE_MAX {
                self.twice.push(path.to_string());
            }
            let seed = Seed { path: Some(&path), twice: &mut *self.twice };
            let value = entries.next_value_seed(seed)?;
            map.insert(key, value);
        }
        Ok(Value::Object(map))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_written_twice_are_named_by_path() {
        let decoded = decode(br#"{"a": 1, "b": [{"c": 1, "c": 2}], "a": 3}"#).expect("JSON");
        assert_eq!(decoded.twice, ["b[0].c", "a"]);
        assert_eq!(decoded.value["a"], 3);
    }

    #[test]
    fn deep_broken_and_trailing_input_is_refused() {
        let deep = "[".repeat(100_000);
        for bad in [deep.as_bytes(), b"{", b"{} x", b"\"\xff\"", b"1e999"] {
            assert!(decode(bad).is_err());
        }
    }
}
