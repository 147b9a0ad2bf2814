//! The values a proxy writes: what attachments and answers consist of.

use super::{Dialect, text};

/// Units of one chunk of a string, as the deployed writers cut them.
const CHUNK_UNITS_MAX: usize = 0x8000;
/// Longest strings with one byte of length, and of the final dialect with two.
const DIRECT_UNITS_MAX: usize = 0x1f;
const SHORT_UNITS_MAX: usize = 0x3ff;

#[derive(Debug)]
pub struct Writer {
    dialect: Dialect,
    bytes: Vec<u8>,
}

// === impl Writer ===

impl Writer {
    #[must_use]
    pub fn new(dialect: Dialect) -> Writer {
        Writer { dialect, bytes: Vec::new() }
    }

    #[must_use]
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    pub fn null(&mut self) -> &mut Writer {
        self.put(b'N')
    }

    pub fn bool(&mut self, value: bool) -> &mut Writer {
        self.put(if value { b'T' } else { b'F' })
    }

    pub fn int(&mut self, value: i32) -> &mut Writer {
        let [a, b, c, d] = value.to_be_bytes();
        match value {
            -0x10..=0x2f => self.put(0x90u8.wrapping_add(d)),
            -0x800..=0x7ff => self.put(0xc8u8.wrapping_add(c)).put(d),
            -0x4_0000..=0x3_ffff => self.put(0xd4u8.wrapping_add(b)).put(c).put(d),
            _ => self.put(b'I').put(a).put(b).put(c).put(d),
        }
    }

    pub fn long(&mut self, value: i64) -> &mut Writer {
        self.put(b'L');
        self.bytes.extend_from_slice(&value.to_be_bytes());
        self
    }

    pub fn text(&mut self, text: &str) -> &mut Writer {
        let mut rest = text;
        let mut units = rest.encode_utf16().count();
        while units > CHUNK_UNITS_MAX {
            let cut = cut_before(rest, CHUNK_UNITS_MAX);
            let (chunk, behind) = rest.split_at(cut);
            let length = chunk.encode_utf16().count();
            self.put(match self.dialect {
                Dialect::Draft => b's',
                Dialect::Final => b'R',
            });
            self.length(length);
            text::encode(chunk, &mut self.bytes);
            (rest, units) = (behind, units - length);
        }
        match units {
            0..=DIRECT_UNITS_MAX => {
                self.put(units as u8);
            }
            0..=SHORT_UNITS_MAX if self.dialect == Dialect::Final => {
                self.put(0x30 + (units >> 8) as u8).put(units as u8);
            }
            _ => {
                self.put(b'S').length(units);
            }
        }
        text::encode(rest, &mut self.bytes);
        self
    }

    /// Of no type; keys and values follow, then [`Writer::end`].
    pub fn map(&mut self) -> &mut Writer {
        self.put(match self.dialect {
            Dialect::Draft => b'M',
            Dialect::Final => b'H',
        })
    }

    pub fn end(&mut self) -> &mut Writer {
        self.put(match self.dialect {
            Dialect::Draft => b'z',
            Dialect::Final => b'Z',
        })
    }

    /// Defines the first class of the stream and begins an object of it, whose
    /// fields follow.
    pub fn first_object(&mut self, class: &str, fields: &[&str]) -> &mut Writer {
        match self.dialect {
            Dialect::Draft => {
                let units = class.encode_utf16().count();
                self.put(b'O').int(i32::try_from(units).expect("a class's name is short"));
                text::encode(class, &mut self.bytes);
            }
            Dialect::Final => {
                self.put(b'C').text(class);
            }
        }
        self.int(i32::try_from(fields.len()).expect("a class has few fields"));
        for field in fields {
            self.text(field);
        }
        match self.dialect {
            Dialect::Draft => self.put(b'o').int(0),
            Dialect::Final => self.put(0x60),
        }
    }

    fn length(&mut self, units: usize) -> &mut Writer {
        let units = u16::try_from(units).expect("a chunk is shorter");
        self.bytes.extend_from_slice(&units.to_be_bytes());
        self
    }

    fn put(&mut self, byte: u8) -> &mut Writer {
        self.bytes.push(byte);
        self
    }
}

/// Where at most `units` end, with no character in two.
fn cut_before(text: &str, units: usize) -> usize {
    let mut left = units;
    let cut = text.char_indices().find(|(_, character)| {
        let wide = character.len_utf16();
        let full = wide > left;
        left = left.saturating_sub(wide);
        full
    });
    cut.map_or(text.len(), |(at, _)| at)
}
