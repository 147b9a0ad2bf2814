//! Values of a stream, one after the other, of which most are skipped.
//!
//! A list, map or object is passed over whole and given out as a [`Node`], the
//! place where it begins; looking into one reads it again from there. So what
//! nobody asks for costs one pass over its bytes and no memory, but for classes
//! and the places that references name.

mod begin;
mod scalar;

use std::{borrow::Cow, ops::Range};

use self::begin::{Begun, Kind, Left, Open};
use self::scalar::Want;
use super::{Dialect, Error, Node, Value, tag::Tag};

#[derive(Debug)]
pub struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    dialect: Dialect,
    classes: Vec<Class>,
    references: Vec<u32>,
    /// What is read has been read before: classes and references are known.
    again: bool,
}

/// By where its parts begin.
#[derive(Clone, Copy, Debug)]
struct Class {
    name: usize,
    fields: usize,
    count: u32,
}

// === impl Reader ===

impl<'a> Reader<'a> {
    #[must_use]
    pub fn new(bytes: &'a [u8], dialect: Dialect) -> Reader<'a> {
        let (classes, references) = (Vec::new(), Vec::new());
        Reader { bytes, at: 0, dialect, classes, references, again: false }
    }

    /// How many bytes have been read.
    #[must_use]
    pub fn position(&self) -> usize {
        self.at
    }

    #[must_use]
    pub fn is_at_end(&self) -> bool {
        self.at == self.bytes.len()
    }

    pub fn skip(&mut self) -> Result<(), Error> {
        match self.begin(Want::Nothing)? {
            Begun::Whole(_) => Ok(()),
            Begun::Open(open) => self.pass(open.left),
            Begun::End => Err(self.unexpected(self.at - 1)),
        }
    }

    pub fn value(&mut self) -> Result<Value<'a>, Error> {
        match self.begin(Want::Value)? {
            Begun::Whole(value) => Ok(value),
            Begun::Open(open) => {
                self.pass(open.left)?;
                Ok(Value::Node(here(open.at)?))
            }
            Begun::End => Err(self.unexpected(self.at - 1)),
        }
    }

    /// The field of an object, or the value of a map under a string. Said
    /// twice, the last one counts, as for whoever builds the object.
    pub fn field(&mut self, node: Node, name: &str) -> Result<Option<Value<'a>>, Error> {
        Ok(self.entry(node, name)?.map(|(_, value)| value))
    }

    /// As [`Reader::field`], with where it stands: the key too, in a map.
    pub fn entry(&mut self, node: Node, name: &str) -> Result<Option<Entry<'a>>, Error> {
        self.look_into(node, |reader, open| match open.kind {
            Kind::List => Ok(None),
            Kind::Map => reader.last_under(name),
            Kind::Object(class) => {
                let Some(index) = reader.index_of(class, name)? else { return Ok(None) };
                for _ in 0..index {
                    reader.skip()?;
                }
                let start = reader.at;
                let value = reader.value()?;
                Ok(Some((start..reader.at, value)))
            }
        })
    }

    /// The value at a place of a list.
    pub fn item(&mut self, node: Node, index: usize) -> Result<Option<Value<'a>>, Error> {
        self.look_into(node, |reader, list| {
            let ends = match (list.kind, list.left) {
                (Kind::List, Left::Values(count)) => index >= count as usize,
                (Kind::List, Left::UntilEnd) => false,
                _ => true,
            };
            if ends {
                return Ok(None);
            }
            for _ in 0..index {
                match reader.begin(Want::Nothing)? {
                    Begun::Whole(_) => {}
                    Begun::Open(open) => reader.pass(open.left)?,
                    Begun::End => return Ok(None),
                }
            }
            match reader.begin(Want::Value)? {
                Begun::Whole(value) => Ok(Some(value)),
                Begun::Open(open) => Ok(Some(Value::Node(here(open.at)?))),
                Begun::End => Ok(None),
            }
        })
    }

    /// What a path leads to: fields and keys by name, places of lists by number.
    pub fn walk(&mut self, from: Value<'a>, path: &[&str]) -> Result<Option<Value<'a>>, Error> {
        let mut value = from;
        for step in path {
            let Value::Node(node) = value else { return Ok(None) };
            let next = match step.parse() {
                Ok(index) => match self.item(node, index)? {
                    None => self.field(node, step)?,
                    some => some,
                },
                Err(_) => self.field(node, step)?,
            };
            match next {
                Some(next) => value = next,
                None => return Ok(None),
            }
        }
        Ok(Some(value))
    }

    #[must_use]
    pub fn is_map(&self, node: Node) -> bool {
        let tag = self.bytes.get(node.at as usize).map(|tag| Tag::of(*tag, self.dialect));
        matches!(tag, Some(Some(Tag::Map(_))))
    }

    /// The name of an object's class.
    pub fn class(&mut self, node: Node) -> Result<Option<Cow<'a, str>>, Error> {
        self.look_into(node, |reader, open| {
            let Kind::Object(class) = open.kind else { return Ok(None) };
            reader.at = class.name;
            reader.class_name().map(Some)
        })
    }

    fn last_under(&mut self, name: &str) -> Result<Option<Entry<'a>>, Error> {
        let mut found = None;
        while Tag::of(self.peek()?, self.dialect) != Some(Tag::End) {
            let start = self.at;
            if matches!(self.value()?, Value::Text(key) if key == name) {
                let value = self.value()?;
                found = Some((start..self.at, value));
            } else {
                self.skip()?;
            }
        }
        Ok(found)
    }

    fn index_of(&mut self, class: Class, name: &str) -> Result<Option<u32>, Error> {
        let back = std::mem::replace(&mut self.at, class.fields);
        let mut found = None;
        for index in 0..class.count {
            if self.text_value()? == name {
                found = Some(index);
            }
        }
        self.at = back;
        Ok(found)
    }

    /// Reads again from where something began, and comes back.
    fn look_into<T>(
        &mut self,
        node: Node,
        look: impl FnOnce(&mut Self, Open) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let back = std::mem::replace(&mut self.at, node.at as usize);
        let again = std::mem::replace(&mut self.again, true);
        let found = match self.begin(Want::Nothing) {
            Ok(Begun::Open(open)) => look(self, open),
            Ok(_) => Err(self.unexpected(node.at as usize)),
            Err(error) => Err(error),
        };
        (self.at, self.again) = (back, again);
        found
    }
}

/// Where an entry stands, and its value.
pub type Entry<'a> = (Range<usize>, Value<'a>);

fn here(at: usize) -> Result<Node, Error> {
    Ok(Node { at: u32::try_from(at).map_err(|_| Error::TooLong)? })
}
