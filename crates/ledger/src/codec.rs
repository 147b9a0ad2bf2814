//! The bytes of a row: a format version, then fields in a fixed order.
//!
//! Numbers are LEB128 varints, text carries its length in one byte. A reader
//! refuses what is newer than it, what is cut short and what is left over: a
//! row is understood whole or not at all.

use crate::Error;

/// First byte of every row.
const FORMAT: u8 = 1;

/// A `u64` takes at most ten groups of seven bits.
const VARINT_BYTES_MAX: u32 = 10;

pub struct Writer(Vec<u8>);

pub struct Reader<'a> {
    rest: &'a [u8],
    row: &'static str,
}

// === impl Writer ===

impl Writer {
    pub fn new() -> Writer {
        Writer(vec![FORMAT])
    }

    #[must_use]
    pub fn number(mut self, mut number: u64) -> Writer {
        while number >= 0x80 {
            self.0.push(number as u8 | 0x80);
            number >>= 7;
        }
        self.0.push(number as u8);
        self
    }

    /// # Panics
    /// When `text` is longer than 255 bytes; every stored word is bounded below.
    #[must_use]
    pub fn text(mut self, text: &str) -> Writer {
        let len = u8::try_from(text.len()).expect("stored words are at most 64 bytes");
        self.0.push(len);
        self.0.extend_from_slice(text.as_bytes());
        self
    }

    pub fn done(self) -> bytes::Bytes {
        self.0.into()
    }
}

// === impl Reader ===

impl<'a> Reader<'a> {
    /// `row` names the kind of row in errors.
    pub fn new(row: &'static str, bytes: &'a [u8]) -> Result<Reader<'a>, Error> {
        match bytes.split_first() {
            Some((&FORMAT, rest)) => Ok(Reader { rest, row }),
            Some((&newer, _)) if newer > FORMAT => Err(Error::RowNewer { row, format: newer }),
            _ => Err(Error::RowUnreadable { row }),
        }
    }

    pub fn number(&mut self) -> Result<u64, Error> {
        let mut number = 0_u64;
        for group in 0..VARINT_BYTES_MAX {
            let (&byte, rest) = self.rest.split_first().ok_or_else(|| self.unreadable())?;
            self.rest = rest;
            let bits = u64::from(byte & 0x7f);
            let placed = bits << (7 * group);
            if placed >> (7 * group) != bits {
                return Err(self.unreadable());
            }
            number |= placed;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err(self.unreadable())
    }

    /// A word in its text form.
    pub fn word<T: std::str::FromStr>(&mut self) -> Result<T, Error> {
        let (&len, rest) = self.rest.split_first().ok_or_else(|| self.unreadable())?;
        let (text, rest) =
            rest.split_at_checked(usize::from(len)).ok_or_else(|| self.unreadable())?;
        self.rest = rest;
        let word = std::str::from_utf8(text).ok().and_then(|text| text.parse().ok());
        word.ok_or_else(|| self.unreadable())
    }

    /// Nothing may be left over.
    pub fn done(self) -> Result<(), Error> {
        if self.rest.is_empty() { Ok(()) } else { Err(self.unreadable()) }
    }

    pub fn unreadable(&self) -> Error {
        Error::RowUnreadable { row: self.row }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_was_written_reads_back(numbers in prop::collection::vec(any::<u64>(), 0..6), text in "[a-z]{0,64}") {
            let writer = numbers.iter().fold(Writer::new(), |writer, number| writer.number(*number));
            let bytes = writer.text(&text).done();
            let mut reader = Reader::new("test", &bytes).expect("this format");
            for number in numbers {
                prop_assert_eq!(reader.number().expect("a number"), number);
            }
            prop_assert_eq!(reader.word::<String>().expect("a word"), text);
            prop_assert!(reader.done().is_ok());
        }

        #[test]
        fn any_bytes_are_read_or_refused_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            if let Ok(mut reader) = Reader::new("test", &bytes) {
                let _ = reader.number();
                let _ = reader.word::<String>();
                let _ = reader.done();
            }
        }
    }

    #[test]
    fn a_newer_format_is_told_apart_from_damage() {
        assert!(matches!(Reader::new("test", &[9, 0]), Err(Error::RowNewer { format: 9, .. })));
        assert!(matches!(Reader::new("test", &[]), Err(Error::RowUnreadable { .. })));
    }
}
