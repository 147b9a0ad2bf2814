//! Protobuf to JSON.

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Map, Number, Value};

use super::{
    DEPTH_MAX, Error,
    choice::{Choice, choice},
    is_raw, map_values,
    scalar::{format_duration, format_time},
    wire::{Item, Items, varint},
};
use crate::{Field, Form, List, Object, Presence, Schema, Shape};

/// More unknown fields than a person reads are not collected.
const UNKNOWN_MAX: usize = 64;

/// A message as JSON has it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Read {
    pub object: Map<String, Value>,
    /// Fields that the schema does not have, for strict readers:
    /// `spec.containers.99`.
    pub unknown: Vec<String>,
}

/// Reads the message of an object. Empty fields are shown as
/// [`Presence`] says, unknown ones are passed over and named.
pub fn read(schema: &Schema, bytes: &[u8]) -> Result<Read, Error> {
    let mut reader = Reader { path: Vec::new(), unknown: Vec::new() };
    let object = match &schema.resolved().shape {
        Shape::Object(object) => reader.message(object, bytes)?,
        _ => return Err(Error::Value { field: "".into(), why: "the schema is no object's" }),
    };
    Ok(Read { object, unknown: reader.unknown })
}

struct Reader<'a> {
    /// Names of the fields around the current one.
    path: Vec<&'a str>,
    unknown: Vec<String>,
}

// === impl Reader ===

impl<'a> Reader<'a> {
    fn message(&mut self, object: &'a Object, bytes: &[u8]) -> Result<Map<String, Value>, Error> {
        if self.path.len() >= DEPTH_MAX {
            return Err(Error::Depth);
        }
        let mut shown = Map::new();
        self.fields(object, &mut Vec::new(), bytes, &mut shown)?;
        Ok(shown)
    }

    /// The fields of `object` that lie within the messages `within`.
    fn fields(
        &mut self,
        object: &'a Object,
        within: &mut Vec<u32>,
        bytes: &[u8],
        shown: &mut Map<String, Value>,
    ) -> Result<(), Error> {
        for item in Items(bytes) {
            let (number, item) = item?;
            let here = |field: &&Field| field.number == number && field.within == *within;
            if let Some(field) = object.fields.iter().find(here) {
                self.path.push(&field.name);
                self.field(field, item, shown)?;
                self.path.pop();
                continue;
            }
            let depth = within.len();
            let around = |field: &Field| {
                field.within.get(depth) == Some(&number) && field.within.starts_with(within)
            };
            match item {
                Item::Bytes(bytes) if object.fields.iter().any(around) => {
                    within.push(number);
                    self.fields(object, within, bytes, shown)?;
                    within.pop();
                }
                _ if self.unknown.len() < UNKNOWN_MAX => {
                    let path = self.path.iter().map(|name| (*name).to_owned());
                    let path: Vec<String> = path.chain([number.to_string()]).collect();
                    self.unknown.push(path.join("."));
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn field(
        &mut self,
        field: &'a Field,
        item: Item<'_>,
        shown: &mut Map<String, Value>,
    ) -> Result<(), Error> {
        let schema = field.schema.resolved();
        match &schema.shape {
            Shape::Any => {}
            Shape::List(list) if !matches!(field.schema.shape, Shape::Named(_)) => {
                let into = shown.entry(&*field.name).or_insert_with(|| Value::Array(Vec::new()));
                let Value::Array(into) = into else { return Ok(()) };
                return self.element(list, item, into);
            }
            Shape::Object(object) if let Some(values) = map_values(object) => {
                let (key, value) = self.entry(values, item)?;
                let into = shown.entry(&*field.name).or_insert_with(|| Value::Object(Map::new()));
                if let Value::Object(into) = into {
                    into.insert(key, value);
                }
                return Ok(());
            }
            // A message that comes in parts is one: the last word on each field.
            Shape::Object(object)
                if let Some(Value::Object(known)) = shown.get_mut(&*field.name) =>
            {
                return self.fields(object, &mut Vec::new(), self.bytes(item)?, known);
            }
            _ => {}
        }
        let value = self.value(&field.schema, item)?;
        if field.presence == Presence::Sparse && is_empty(&value) || value.is_null() {
            shown.remove(&*field.name);
        } else {
            shown.insert((*field.name).to_owned(), value);
        }
        Ok(())
    }

    /// One element of a list, or several numbers packed.
    fn element(
        &mut self,
        list: &'a List,
        item: Item<'_>,
        into: &mut Vec<Value>,
    ) -> Result<(), Error> {
        let schema = list.items.resolved();
        let (Item::Bytes(mut packed), Shape::Integer(_) | Shape::Boolean | Shape::Number) =
            (item, &schema.shape)
        else {
            into.push(self.value(&list.items, item)?);
            return Ok(());
        };
        while !packed.is_empty() {
            let item = match &schema.shape {
                Shape::Number => {
                    let (bits, rest) = packed.split_first_chunk().ok_or(Error::Cut)?;
                    packed = rest;
                    Item::Fixed64(u64::from_le_bytes(*bits))
                }
                _ => Item::Varint(varint(&mut packed)?),
            };
            into.push(self.value(schema, item)?);
        }
        Ok(())
    }

    fn entry(&mut self, values: &'a Schema, item: Item<'_>) -> Result<(String, Value), Error> {
        let (mut key, mut value) = (String::new(), None);
        for item in Items(self.bytes(item)?) {
            match item? {
                (1, item) => key = self.text(item)?,
                (2, item) => value = Some(self.value(values, item)?),
                _ => {}
            }
        }
        let value = match value {
            Some(value) => value,
            None => zero(values.resolved()),
        };
        Ok((key, value))
    }

    fn value(&mut self, schema: &'a Schema, item: Item<'_>) -> Result<Value, Error> {
        if let Some(choice) = choice(schema) {
            return self.chosen(choice, item);
        }
        let schema = schema.resolved();
        if is_raw(&schema.shape) {
            return self.raw(item);
        }
        Ok(match &schema.shape {
            Shape::Text(Form::Plain) => self.text(item)?.into(),
            Shape::Text(Form::Bytes) => STANDARD.encode(self.bytes(item)?).into(),
            Shape::Text(form @ (Form::Time | Form::MicroTime)) => self.time(*form, item)?,
            Shape::Text(Form::Quantity) => match self.find(item, 1)? {
                Some(item) => self.text(item)?.into(),
                None => "0".into(),
            },
            Shape::Text(Form::Duration) => match self.find(item, 1)? {
                Some(item) => format_duration(self.varint(item)?.cast_signed()).into(),
                None => "0s".into(),
            },
            Shape::Integer(32) => (self.varint(item)? as i32).into(),
            Shape::Integer(_) => self.varint(item)?.cast_signed().into(),
            Shape::Boolean => (self.varint(item)? != 0).into(),
            Shape::Number => match item {
                Item::Fixed64(bits) => match Number::from_f64(f64::from_bits(bits)) {
                    Some(number) => number.into(),
                    None => return Err(self.wrong("not a finite number")),
                },
                item => return Err(self.wire_type(item)),
            },
            Shape::IntOrText => match self.find(item, 1)? {
                Some(Item::Varint(1)) => match self.find(item, 3)? {
                    Some(item) => self.text(item)?.into(),
                    None => "".into(),
                },
                _ => match self.find(item, 2)? {
                    Some(item) => (self.varint(item)? as i32).into(),
                    None => 0.into(),
                },
            },
            Shape::Object(object) => match map_values(object) {
                None => Value::Object(self.message(object, self.bytes(item)?)?),
                Some(_) => return Err(self.wrong("a map in a list")),
            },
            Shape::List(list) => {
                let mut into = Vec::new();
                for item in Items(self.bytes(item)?) {
                    if let (1, item) = item? {
                        self.element(list, item, &mut into)?;
                    }
                }
                into.into()
            }
            Shape::Any | Shape::Named(_) => Value::Null,
        })
    }

    fn chosen(&mut self, choice: &'static Choice, item: Item<'_>) -> Result<Value, Error> {
        let (mut value, mut list) = (Value::Null, Vec::new());
        for item in Items(self.bytes(item)?) {
            let (number, item) = item?;
            if number == choice.object.number && matches!(item, Item::Bytes(_)) {
                value = self.value(&choice.object.schema, item)?;
            } else if choice.boolean == Some(number) {
                let allows = self.varint(item)? != 0;
                // A schema says more than that there may be one.
                if !value.is_object() {
                    value = allows.into();
                }
            } else if let Some(case) = choice.list.as_ref().filter(|case| case.number == number)
                && let Shape::List(items) = &case.schema.shape
            {
                self.element(items, item, &mut list)?;
            }
        }
        Ok(if list.is_empty() { value } else { list.into() })
    }

    /// JSON text in a message of its own.
    fn raw(&self, item: Item<'_>) -> Result<Value, Error> {
        let Some(item) = self.find(item, 1)? else { return Ok(Value::Null) };
        let bytes = self.bytes(item)?;
        if bytes.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_slice(bytes).map_err(|_| self.wrong("the raw value is not JSON"))
    }

    /// An empty message is no time.
    fn time(&self, form: Form, item: Item<'_>) -> Result<Value, Error> {
        if self.bytes(item)?.is_empty() {
            return Ok(Value::Null);
        }
        let number = |number| match self.find(item, number)? {
            Some(item) => Ok(self.varint(item)?.cast_signed()),
            None => Ok(0),
        };
        let (seconds, nanos) = (number(1)?, number(2)?);
        let micros = u32::try_from(nanos / 1000).ok().filter(|micros| *micros < 1_000_000);
        let micros = micros.ok_or_else(|| self.wrong("nanoseconds out of range"))?;
        let text = format_time(seconds, (form == Form::MicroTime).then_some(micros));
        Ok(text.ok_or_else(|| self.wrong("a year of more than four digits"))?.into())
    }

    /// The last field `wanted` of a small message.
    fn find<'b>(&self, item: Item<'b>, wanted: u32) -> Result<Option<Item<'b>>, Error> {
        let mut found = None;
        for item in Items(self.bytes(item)?) {
            let (number, item) = item?;
            if number == wanted {
                found = Some(item);
            }
        }
        Ok(found)
    }

    fn bytes<'b>(&self, item: Item<'b>) -> Result<&'b [u8], Error> {
        match item {
            Item::Bytes(bytes) => Ok(bytes),
            item => Err(self.wire_type(item)),
        }
    }

    fn varint(&self, item: Item<'_>) -> Result<u64, Error> {
        match item {
            Item::Varint(value) => Ok(value),
            item => Err(self.wire_type(item)),
        }
    }

    fn text(&self, item: Item<'_>) -> Result<String, Error> {
        let text = std::str::from_utf8(self.bytes(item)?);
        Ok(text.map_err(|_| self.wrong("invalid UTF-8"))?.to_owned())
    }

    fn wire_type(&self, item: Item<'_>) -> Error {
        Error::WireType { field: self.path.join(".").into(), got: item.wire_type() }
    }

    fn wrong(&self, why: &'static str) -> Error {
        Error::Value { field: self.path.join(".").into(), why }
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(value) => !value,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
    }
}

/// What a map's entry without a value has.
fn zero(schema: &Schema) -> Value {
    match &schema.shape {
        Shape::Any | Shape::Named(_) => Value::Null,
        Shape::Text(Form::Plain | Form::Bytes) => "".into(),
        Shape::Text(Form::Time | Form::MicroTime) => Value::Null,
        Shape::Text(Form::Quantity) => "0".into(),
        Shape::Text(Form::Duration) => "0s".into(),
        Shape::Integer(_) | Shape::IntOrText => 0.into(),
        Shape::Number => 0.0.into(),
        Shape::Boolean => false.into(),
        Shape::Object(_) => Value::Object(Map::new()),
        Shape::List(_) => Value::Array(Vec::new()),
    }
}
