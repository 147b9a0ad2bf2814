//! How values begin, and how everything that is open is passed over.

use std::borrow::Cow;

use super::{Class, Reader, here, scalar::Want};
use crate::hessian::{
    CLASSES_MAX, DEPTH_MAX, Dialect, Error, REFERENCES_MAX, Value,
    tag::{self, Items, Tag, Type},
    text,
};

pub(super) enum Begun<'a> {
    Whole(Value<'a>),
    Open(Open),
    End,
}

pub(super) struct Open {
    pub at: usize,
    pub kind: Kind,
    pub left: Left,
}

#[derive(Clone, Copy)]
pub(super) enum Kind {
    List,
    Map,
    Object(Class),
}

/// What belongs to something that is open.
#[derive(Clone, Copy)]
pub(super) enum Left {
    Values(u32),
    UntilEnd,
}

// === impl Reader ===

impl<'a> Reader<'a> {
    /// Passes over what is open, without recursion.
    pub(super) fn pass(&mut self, left: Left) -> Result<(), Error> {
        let mut open = vec![left];
        while let Some(innermost) = open.last_mut() {
            match innermost {
                Left::Values(0) => {
                    open.pop();
                    continue;
                }
                Left::Values(count) => *count -= 1,
                Left::UntilEnd => {}
            }
            match self.begin(Want::Nothing)? {
                Begun::Whole(_) => {}
                Begun::Open(_) if open.len() == DEPTH_MAX => return Err(Error::TooDeep),
                Begun::Open(more) => open.push(more.left),
                Begun::End => match open.pop() {
                    Some(Left::UntilEnd) => {}
                    _ => return Err(self.unexpected(self.at - 1)),
                },
            }
        }
        Ok(())
    }

    /// Reads one value, or of a list, map or object what is before its parts.
    pub(super) fn begin(&mut self, want: Want) -> Result<Begun<'a>, Error> {
        loop {
            let at = self.at;
            let byte = self.byte()?;
            let tag = Tag::of(byte, self.dialect).ok_or(Error::Unexpected { tag: byte, at })?;
            let value = match tag {
                Tag::Null => Value::Null,
                Tag::Bool(value) => Value::Bool(value),
                Tag::Int(packed) => Value::Int(self.packed(packed)? as i32),
                Tag::Long(packed) => Value::Long(self.packed(packed)?),
                Tag::Double(form) => Value::Double(self.double(form)?),
                Tag::Date { minutes: false } => Value::Date(i64::from_be_bytes(self.array()?)),
                Tag::Date { minutes: true } => {
                    Value::Date(i64::from(i32::from_be_bytes(self.array()?)) * 60_000)
                }
                Tag::Text { length, last } => self.text(length, last, want)?,
                Tag::Binary { length, last } => self.binary(length, last)?,
                Tag::Reference(index) => self.reference(index, want)?,
                Tag::Class => {
                    self.define()?;
                    continue;
                }
                Tag::List(kind, items) => {
                    self.pass_type(kind)?;
                    let left = self.items(items)?;
                    return self.open(at, Kind::List, left);
                }
                Tag::Map(kind) => {
                    self.pass_type(kind)?;
                    return self.open(at, Kind::Map, Left::UntilEnd);
                }
                Tag::Object(index) => {
                    let index = index.map_or_else(|| self.int(), |index| Ok(index.into()))?;
                    let class =
                        usize::try_from(index).ok().and_then(|index| self.classes.get(index));
                    let class = *class.ok_or(Error::NoClass(index))?;
                    return self.open(at, Kind::Object(class), Left::Values(class.count));
                }
                Tag::End => return Ok(Begun::End),
            };
            return Ok(Begun::Whole(value));
        }
    }

    pub(super) fn open(&mut self, at: usize, kind: Kind, left: Left) -> Result<Begun<'a>, Error> {
        if !self.again && self.references.len() < REFERENCES_MAX {
            self.references.push(here(at)?.at);
        }
        Ok(Begun::Open(Open { at, kind, left }))
    }

    pub(super) fn define(&mut self) -> Result<(), Error> {
        let name = self.at;
        self.class_name()?;
        let count = self.count()?;
        let fields = self.at;
        for _ in 0..count {
            self.text_value()?;
        }
        if self.again {
            return Ok(());
        }
        if self.classes.len() == CLASSES_MAX {
            return Err(Error::TooManyClasses);
        }
        self.classes.push(Class { name, fields, count });
        Ok(())
    }

    pub(super) fn class_name(&mut self) -> Result<Cow<'a, str>, Error> {
        match self.dialect {
            Dialect::Draft => {
                let units = self.count()?;
                Ok(text::decode(self.units(units as usize)?))
            }
            Dialect::Final => self.text_value(),
        }
    }

    /// Not by [`Reader::begin`]: where a name is due, a class cannot be defined.
    pub(super) fn text_value(&mut self) -> Result<Cow<'a, str>, Error> {
        let at = self.at;
        match Tag::of(self.byte()?, self.dialect) {
            Some(Tag::Text { length, last }) => match self.text(length, last, Want::Value)? {
                Value::Text(text) => Ok(text),
                _ => Err(Error::BadLength { at }),
            },
            _ => Err(self.unexpected(at)),
        }
    }

    pub(super) fn pass_type(&mut self, kind: Type) -> Result<(), Error> {
        match kind {
            Type::None => Ok(()),
            Type::Number => self.count().map(drop),
            Type::Said => match Tag::of(self.peek()?, self.dialect) {
                Some(Tag::Text { .. }) => self.text_value().map(drop),
                _ => self.count().map(drop),
            },
            Type::Marked => match self.peek()? {
                tag::TYPE => {
                    self.at += 1;
                    let units = u16::from_be_bytes(self.array()?);
                    self.units(units.into()).map(drop)
                }
                mark if tag::TYPE_NUMBERS.contains(&mark) => {
                    self.at += 1;
                    self.count().map(drop)
                }
                _ => Ok(()),
            },
        }
    }

    pub(super) fn items(&mut self, items: Items) -> Result<Left, Error> {
        match items {
            Items::Count(count) => return Ok(Left::Values(count.into())),
            Items::Counted => return self.count().map(Left::Values),
            Items::Ended => {}
            Items::Hinted => match self.peek()? {
                tag::LENGTH_BYTE => self.take(2).map(drop)?,
                tag::LENGTH_WORD => self.take(5).map(drop)?,
                _ => {}
            },
        }
        Ok(Left::UntilEnd)
    }
}
