//! The wire format of protobuf: tags, varints, lengths.

use super::Error;

pub const VARINT: u8 = 0;
pub const FIXED64: u8 = 1;
pub const BYTES: u8 = 2;
const FIXED32: u8 = 5;

/// A field as it lies in a message.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Item<'a> {
    Varint(u64),
    Fixed64(u64),
    Fixed32(u32),
    Bytes(&'a [u8]),
}

/// The fields of a message, one after the other.
pub struct Items<'a>(pub &'a [u8]);

// === impl Item ===

impl Item<'_> {
    pub fn wire_type(&self) -> u8 {
        match self {
            Item::Varint(_) => VARINT,
            Item::Fixed64(_) => FIXED64,
            Item::Fixed32(_) => FIXED32,
            Item::Bytes(_) => BYTES,
        }
    }
}

// === impl Items ===

impl<'a> Iterator for Items<'a> {
    type Item = Result<(u32, Item<'a>), Error>;

    fn next(&mut self) -> Option<Self::Item> {
        (!self.0.is_empty()).then(|| {
            let item = self.item();
            if item.is_err() {
                self.0 = &[];
            }
            item
        })
    }
}

impl<'a> Items<'a> {
    fn item(&mut self) -> Result<(u32, Item<'a>), Error> {
        let tag = varint(&mut self.0)?;
        let illegal = || Error::Tag(tag >> 3, tag & 7);
        let number =
            u32::try_from(tag >> 3).ok().filter(|number| *number > 0).ok_or_else(illegal)?;
        let item = match u8::try_from(tag & 7).map_err(|_| illegal())? {
            VARINT => Item::Varint(varint(&mut self.0)?),
            FIXED64 => Item::Fixed64(u64::from_le_bytes(self.take()?)),
            FIXED32 => Item::Fixed32(u32::from_le_bytes(self.take()?)),
            BYTES => {
                let len = usize::try_from(varint(&mut self.0)?).map_err(|_| Error::Cut)?;
                let (value, rest) = self.0.split_at_checked(len).ok_or(Error::Cut)?;
                self.0 = rest;
                Item::Bytes(value)
            }
            // Groups are older than anything that speaks to us.
            _ => return Err(illegal()),
        };
        Ok((number, item))
    }

    fn take<const LEN: usize>(&mut self) -> Result<[u8; LEN], Error> {
        let (value, rest) = self.0.split_first_chunk::<LEN>().ok_or(Error::Cut)?;
        self.0 = rest;
        Ok(*value)
    }
}

pub fn varint(bytes: &mut &[u8]) -> Result<u64, Error> {
    let mut value = 0_u64;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first().ok_or(Error::Cut)?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(Error::Cut)
}

pub fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

pub fn put_tag(out: &mut Vec<u8>, number: u32, wire_type: u8) {
    put_varint(out, u64::from(number) << 3 | u64::from(wire_type));
}

pub fn put_bytes(out: &mut Vec<u8>, number: u32, bytes: &[u8]) {
    put_tag(out, number, BYTES);
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

pub fn put_int(out: &mut Vec<u8>, number: u32, value: i64) {
    put_tag(out, number, VARINT);
    put_varint(out, value.cast_unsigned());
}

/// What `fill` writes, as a field with its length before it. Most messages are
/// short: one byte is kept free for the length, longer ones are moved.
pub fn put_message<E>(
    out: &mut Vec<u8>,
    number: u32,
    fill: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
) -> Result<(), E> {
    put_tag(out, number, BYTES);
    let at = out.len();
    out.push(0);
    fill(out)?;
    let len = out.len() - at - 1;
    if let Ok(short @ 0..0x80) = u8::try_from(len) {
        out[at] = short;
        return Ok(());
    }
    let mut head = Vec::with_capacity(5);
    put_varint(&mut head, len as u64);
    out.splice(at..=at, head);
    Ok(())
}
