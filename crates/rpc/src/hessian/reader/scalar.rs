//! Values that have no parts.

use std::borrow::Cow;

use super::Reader;
use crate::hessian::{
    Error, Node, TEXT_BYTES_MAX, Value,
    tag::{Double, Index, Packed, Tag},
    text,
};

/// Whether a string is given out or only passed over.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Want {
    Value,
    Nothing,
}

// === impl Reader ===

impl<'a> Reader<'a> {
    pub(super) fn reference(&mut self, index: Index, want: Want) -> Result<Value<'a>, Error> {
        let index = match index {
            Index::Byte => i64::from(self.byte()?),
            Index::Short => i64::from(u16::from_be_bytes(self.array()?)),
            Index::Word => i64::from(u32::from_be_bytes(self.array()?)),
            Index::Value => self.int()?,
        };
        if want == Want::Nothing {
            return Ok(Value::Null);
        }
        let at = usize::try_from(index).ok().and_then(|index| self.references.get(index));
        let at = *at.ok_or(Error::NoReference(index))?;
        Ok(Value::Node(Node { at }))
    }

    pub(super) fn text(
        &mut self,
        mut length: Packed,
        mut last: bool,
        want: Want,
    ) -> Result<Value<'a>, Error> {
        let mut whole = Cow::Borrowed("");
        let mut long = want == Want::Nothing;
        loop {
            let units = self.packed(length)? as usize;
            let chunk = self.units(units)?;
            if !long && whole.len() + chunk.len() > TEXT_BYTES_MAX {
                long = true;
            }
            if !long {
                match text::decode(chunk) {
                    chunk if whole.is_empty() => whole = chunk,
                    chunk => whole.to_mut().push_str(&chunk),
                }
            }
            if last {
                return Ok(if long { Value::LongText } else { Value::Text(whole) });
            }
            let at = self.at;
            (length, last) = match Tag::of(self.byte()?, self.dialect) {
                Some(Tag::Text { length, last }) => (length, last),
                _ => return Err(self.unexpected(at)),
            };
        }
    }

    pub(super) fn binary(
        &mut self,
        mut length: Packed,
        mut last: bool,
    ) -> Result<Value<'a>, Error> {
        loop {
            let bytes = self.packed(length)? as usize;
            self.take(bytes)?;
            if last {
                return Ok(Value::Binary);
            }
            let at = self.at;
            (length, last) = match Tag::of(self.byte()?, self.dialect) {
                Some(Tag::Binary { length, last }) => (length, last),
                _ => return Err(self.unexpected(at)),
            };
        }
    }

    pub(super) fn double(&mut self, form: Double) -> Result<f64, Error> {
        Ok(match form {
            Double::Zero => 0.0,
            Double::One => 1.0,
            Double::Byte => f64::from(i8::from_be_bytes(self.array()?)),
            Double::Short => f64::from(i16::from_be_bytes(self.array()?)),
            Double::Thousandths => 0.001 * f64::from(i32::from_be_bytes(self.array()?)),
            Double::Float => f64::from(f32::from_be_bytes(self.array()?)),
            Double::Whole => f64::from_be_bytes(self.array()?),
        })
    }

    pub(super) fn packed(&mut self, packed: Packed) -> Result<i64, Error> {
        let high = i64::from(packed.high);
        Ok(match packed.bytes {
            0 => high,
            1 => (high << 8) + i64::from(self.byte()?),
            2 => (high << 16) + i64::from(u16::from_be_bytes(self.array()?)),
            4 => i64::from(i32::from_be_bytes(self.array()?)),
            _ => i64::from_be_bytes(self.array()?),
        })
    }

    pub(super) fn int(&mut self) -> Result<i64, Error> {
        let at = self.at;
        match Tag::of(self.byte()?, self.dialect) {
            Some(Tag::Int(packed)) => self.packed(packed),
            _ => Err(self.unexpected(at)),
        }
    }

    pub(super) fn count(&mut self) -> Result<u32, Error> {
        let at = self.at;
        u32::try_from(self.int()?).map_err(|_| Error::BadLength { at })
    }

    pub(super) fn units(&mut self, units: usize) -> Result<&'a [u8], Error> {
        let rest = &self.bytes[self.at..];
        match text::bytes_of(rest, units) {
            Ok(bytes) => self.take(bytes),
            Err(text::Cut::Short) => Err(self.short()),
            Err(text::Cut::Bad(at)) => Err(Error::BadText { at: self.at + at }),
        }
    }

    pub(super) fn take(&mut self, count: usize) -> Result<&'a [u8], Error> {
        let taken = self.bytes[self.at..].get(..count).ok_or_else(|| self.short())?;
        self.at += count;
        Ok(taken)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], Error> {
        let taken = *self.bytes[self.at..].first_chunk().ok_or_else(|| self.short())?;
        self.at += N;
        Ok(taken)
    }

    pub(super) fn byte(&mut self) -> Result<u8, Error> {
        self.array().map(|[byte]| byte)
    }

    pub(super) fn peek(&self) -> Result<u8, Error> {
        self.bytes.get(self.at).copied().ok_or_else(|| self.short())
    }

    pub(super) fn short(&self) -> Error {
        Error::Short { at: self.bytes.len() }
    }

    pub(super) fn unexpected(&self, at: usize) -> Error {
        match self.bytes.get(at) {
            Some(tag) => Error::Unexpected { tag: *tag, at },
            None => self.short(),
        }
    }
}
