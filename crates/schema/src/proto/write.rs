//! JSON to protobuf, driven by whatever brings the JSON (text or a value).

use std::{borrow::Cow, fmt};

use base64::{Engine, engine::general_purpose::STANDARD};
use serde::de::{
    DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor,
};
use serde_json::value::RawValue;

use super::{
    choice::{Choice, choice},
    is_raw, map_values,
    scalar::{parse_duration, parse_time},
    wire::{FIXED64, put_bytes, put_int, put_message, put_tag},
};
use crate::{Field, Form, Object, Schema, Shape};

/// Writes the message of an object; fields that the schema has no number for
/// are left out (`kind` and `apiVersion` travel in the envelope).
pub fn write<'de, D: Deserializer<'de>>(
    schema: &Schema,
    from: D,
    out: &mut Vec<u8>,
) -> Result<(), D::Error> {
    match &schema.resolved().shape {
        Shape::Object(object) => Message { object, out }.deserialize(from),
        _ => Err(D::Error::custom("the schema is no object's")),
    }
}

/// [`write`] from JSON text.
pub fn write_json(schema: &Schema, json: &[u8], out: &mut Vec<u8>) -> serde_json::Result<()> {
    let mut from = serde_json::Deserializer::from_slice(json);
    write(schema, &mut from, out)?;
    from.end()
}

/// The fields of a message.
struct Message<'a> {
    object: &'a Object,
    out: &'a mut Vec<u8>,
}

/// One field: its tag and value, or nothing for null.
struct One<'a> {
    schema: &'a Schema,
    number: u32,
    out: &'a mut Vec<u8>,
    /// In a list or map: another list needs a message around it.
    inner: bool,
}

/// The name of a field, looked up without a copy.
struct Name<'a>(&'a Object);

/// One case of a union.
struct Chosen<'a> {
    choice: &'a Choice,
    number: u32,
    out: &'a mut Vec<u8>,
}

/// A message that JSON inlines, gathered until the outer one ends.
struct Inlined<'a> {
    within: &'a [u32],
    bytes: Vec<u8>,
}

// === impl Message ===

impl<'de> DeserializeSeed<'de> for Message<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        from.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Message<'_> {
    type Value = ();

    fn expecting(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut inlined: Vec<Inlined<'_>> = Vec::new();
        while let Some(field) = map.next_key_seed(Name(self.object))? {
            let Some(field) = field.filter(|field| field.number != 0) else {
                map.next_value::<IgnoredAny>()?;
                continue;
            };
            let out = match field.within.as_slice() {
                [] => &mut *self.out,
                within => gathered(&mut inlined, within),
            };
            let (schema, number) = (&*field.schema, field.number);
            map.next_value_seed(One { schema, number, out, inner: false })?;
        }
        // The innermost first: they go into those around them.
        while let Some(deepest) = inlined.iter().map(|one| one.within.len()).max() {
            let at = inlined.iter().position(|one| one.within.len() == deepest);
            let one = inlined.swap_remove(at.expect("it was found"));
            let Some((number, around)) = one.within.split_last() else { break };
            let out = match around {
                [] => &mut *self.out,
                around => gathered(&mut inlined, around),
            };
            put_bytes(out, *number, &one.bytes);
        }
        Ok(())
    }
}

fn gathered<'i, 'a>(inlined: &'i mut Vec<Inlined<'a>>, within: &'a [u32]) -> &'i mut Vec<u8> {
    let at = inlined.iter().position(|one| one.within == within).unwrap_or_else(|| {
        inlined.push(Inlined { within, bytes: Vec::new() });
        inlined.len() - 1
    });
    &mut inlined[at].bytes
}

// === impl Name ===

impl<'de, 'a> DeserializeSeed<'de> for Name<'a> {
    type Value = Option<&'a Field>;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Self::Value, D::Error> {
        from.deserialize_str(self)
    }
}

impl<'a> Visitor<'_> for Name<'a> {
    type Value = Option<&'a Field>;

    fn expecting(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str("a field's name")
    }

    fn visit_str<E>(self, name: &str) -> Result<Self::Value, E> {
        Ok(self.0.field(name))
    }
}

// === impl One ===

impl<'de> DeserializeSeed<'de> for One<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        if let Some(choice) = choice(self.schema) {
            return from.deserialize_any(Chosen { choice, number: self.number, out: self.out });
        }
        let shape = &self.schema.resolved().shape;
        if is_raw(shape) {
            let raw: Option<Box<RawValue>> = serde::Deserialize::deserialize(from)?;
            let Some(raw) = raw else { return Ok(()) };
            return put_message(self.out, self.number, |out| {
                put_bytes(out, 1, raw.get().as_bytes());
                Ok(())
            });
        }
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for One<'_> {
    type Value = ();

    fn expecting(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str(match &self.schema.resolved().shape {
            Shape::Any => "anything",
            Shape::Text(Form::Bytes) => "base64",
            Shape::Text(Form::Time | Form::MicroTime) => "a time",
            Shape::Text(Form::Quantity) => "a quantity",
            Shape::Text(Form::Duration) => "a duration",
            Shape::Text(Form::Plain) => "a string",
            Shape::Integer(_) => "an integer",
            Shape::Number => "a number",
            Shape::Boolean => "a boolean",
            Shape::IntOrText => "an integer or a string",
            Shape::Object(_) => "an object",
            Shape::List(_) => "a list",
            Shape::Named(_) => "a value of a known type",
        })
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E: serde::de::Error>(self, value: bool) -> Result<(), E> {
        match &self.schema.resolved().shape {
            Shape::Boolean => {
                put_int(self.out, self.number, i64::from(value));
                Ok(())
            }
            _ => Err(E::invalid_type(serde::de::Unexpected::Bool(value), &self)),
        }
    }

    fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<(), E> {
        match &self.schema.resolved().shape {
            Shape::Integer(32) if i32::try_from(value).is_err() => {
                return Err(E::invalid_value(serde::de::Unexpected::Signed(value), &"an int32"));
            }
            Shape::Integer(_) => put_int(self.out, self.number, value),
            Shape::Number => put_double(self.out, self.number, value as f64),
            Shape::Text(Form::Quantity) => {
                return put_message(self.out, self.number, |out| {
                    put_bytes(out, 1, value.to_string().as_bytes());
                    Ok(())
                });
            }
            Shape::IntOrText if i32::try_from(value).is_ok() => {
                return put_message(self.out, self.number, |out| {
                    put_int(out, 1, 0);
                    put_int(out, 2, value);
                    Ok(())
                });
            }
            _ => return Err(E::invalid_type(serde::de::Unexpected::Signed(value), &self)),
        }
        Ok(())
    }

    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<(), E> {
        match i64::try_from(value) {
            Ok(value) => self.visit_i64(value),
            Err(_) => self.visit_f64(value as f64),
        }
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<(), E> {
        match &self.schema.resolved().shape {
            Shape::Number => {
                put_double(self.out, self.number, value);
                Ok(())
            }
            Shape::Text(Form::Quantity) => put_message(self.out, self.number, |out| {
                put_bytes(out, 1, value.to_string().as_bytes());
                Ok(())
            }),
            // 1.0 and 1e3 are integers to Kubernetes too.
            Shape::Integer(_) | Shape::IntOrText
                if value.fract() == 0.0 && value.abs() < 9.0e15 =>
            {
                self.visit_i64(value as i64)
            }
            _ => Err(E::invalid_type(serde::de::Unexpected::Float(value), &self)),
        }
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<(), E> {
        let wrong =
            |wanted: &'static str| E::invalid_value(serde::de::Unexpected::Str(text), &wanted);
        let (number, out) = (self.number, &mut *self.out);
        match &self.schema.resolved().shape {
            Shape::Text(Form::Plain) => put_bytes(out, number, text.as_bytes()),
            Shape::Text(Form::Bytes) => {
                let bytes = STANDARD.decode(compact(text).as_ref()).map_err(|_| wrong("base64"))?;
                put_bytes(out, number, &bytes);
            }
            Shape::Text(form @ (Form::Time | Form::MicroTime)) => {
                let (seconds, nanos) = parse_time(text).ok_or_else(|| wrong("a time"))?;
                put_message(out, number, |out| {
                    put_int(out, 1, seconds);
                    if *form == Form::MicroTime {
                        put_int(out, 2, i64::from(nanos / 1000 * 1000));
                    }
                    Ok(())
                })?;
            }
            Shape::Text(Form::Quantity) => put_message(out, number, |out| {
                put_bytes(out, 1, text.as_bytes());
                Ok(())
            })?,
            Shape::Text(Form::Duration) => {
                let nanos = parse_duration(text).ok_or_else(|| wrong("a duration"))?;
                put_message(out, number, |out| {
                    put_int(out, 1, nanos);
                    Ok(())
                })?;
            }
            Shape::IntOrText => put_message(out, number, |out| {
                put_int(out, 1, 1);
                put_bytes(out, 3, text.as_bytes());
                Ok(())
            })?,
            _ => return Err(E::invalid_type(serde::de::Unexpected::Str(text), &self)),
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        let Shape::List(list) = &self.schema.resolved().shape else {
            return Err(A::Error::invalid_type(serde::de::Unexpected::Seq, &self));
        };
        let schema = &*list.items;
        let mut each = |number: u32, out: &mut Vec<u8>| {
            while seq.next_element_seed(One { schema, number, out, inner: true })?.is_some() {}
            Ok(())
        };
        match self.inner || matches!(self.schema.shape, Shape::Named(_)) {
            // `repeated` is not a type: a list that is one is a message of items.
            true => put_message(self.out, self.number, |out| each(1, out)),
            false => each(self.number, self.out),
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Shape::Object(object) = &self.schema.resolved().shape else {
            return Err(A::Error::invalid_type(serde::de::Unexpected::Map, &self));
        };
        let Some(schema) = map_values(object) else {
            return put_message(self.out, self.number, |out| {
                Message { object, out }.visit_map(map)
            });
        };
        while let Some(key) = map.next_key::<Cow<'_, str>>()? {
            put_message(self.out, self.number, |out| {
                put_bytes(out, 1, key.as_bytes());
                map.next_value_seed(One { schema, number: 2, out, inner: true })
            })?;
        }
        Ok(())
    }
}

// === impl Chosen ===

impl<'de> Visitor<'de> for Chosen<'_> {
    type Value = ();

    fn expecting(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str("a schema, or what may stand for one")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E: serde::de::Error>(self, value: bool) -> Result<(), E> {
        let Some(number) = self.choice.boolean else {
            return Err(E::invalid_type(serde::de::Unexpected::Bool(value), &self));
        };
        put_message(self.out, self.number, |out| {
            put_int(out, number, i64::from(value));
            Ok(())
        })
    }

    fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<(), A::Error> {
        let Some(case) = &self.choice.list else {
            return Err(A::Error::invalid_type(serde::de::Unexpected::Seq, &self));
        };
        let (schema, number) = (&case.schema, case.number);
        put_message(self.out, self.number, |out| {
            One { schema, number, out, inner: false }.visit_seq(seq)
        })
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<(), A::Error> {
        let Choice { object, boolean, .. } = self.choice;
        let (schema, number) = (&object.schema, object.number);
        put_message(self.out, self.number, |out| {
            if let Some(number) = *boolean {
                put_int(out, number, 1);
            }
            One { schema, number, out, inner: false }.visit_map(map)
        })
    }
}

fn put_double(out: &mut Vec<u8>, number: u32, value: f64) {
    put_tag(out, number, FIXED64);
    out.extend_from_slice(&value.to_bits().to_le_bytes());
}

/// Go's reader passes over line ends in base64.
fn compact(text: &str) -> Cow<'_, str> {
    match text.contains(['\r', '\n']) {
        true => text.replace(['\r', '\n'], "").into(),
        false => text.into(),
    }
}
