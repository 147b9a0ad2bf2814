//! What the first byte of a value says, in both dialects.

use super::Dialect;

/// A number of which the tag holds the high part and `bytes` more follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packed {
    pub high: i16,
    pub bytes: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tag {
    Null,
    Bool(bool),
    Int(Packed),
    Long(Packed),
    Double(Double),
    /// Milliseconds or minutes since 1970.
    Date {
        minutes: bool,
    },
    /// In UTF-16 units; more chunks follow unless it is the last.
    Text {
        length: Packed,
        last: bool,
    },
    Binary {
        length: Packed,
        last: bool,
    },
    List(Type, Items),
    Map(Type),
    /// A class is defined, and the value stands behind it.
    Class,
    /// Of a class defined before, by its index here or behind.
    Object(Option<u8>),
    Reference(Index),
    End,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Double {
    Zero,
    One,
    Byte,
    Short,
    Thousandths,
    Float,
    Whole,
}

/// Where the type of a list or map stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    None,
    /// A string, or the number of an earlier one.
    Said,
    /// Behind a byte of its own, if at all.
    Marked,
    /// Always the number of an earlier one.
    Number,
}

/// How the end of a list is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Items {
    Count(u8),
    /// A number follows.
    Counted,
    /// By a mark; a number may stand before, and does not matter.
    Hinted,
    Ended,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Index {
    Byte,
    Short,
    Word,
    /// A number as any other.
    Value,
}

/// The mark of a type, and of the number of one, in the draft.
pub const TYPE: u8 = b't';
pub const TYPE_NUMBERS: [u8; 2] = [b'T', 0x75];
/// The marks of a list's length in the draft: one byte, or four.
pub const LENGTH_BYTE: u8 = 0x6e;
pub const LENGTH_WORD: u8 = b'l';

const TWO: Packed = Packed { high: 0, bytes: 2 };

// === impl Packed ===

impl Packed {
    /// `tag` counts from `zero`.
    fn from(tag: u8, zero: u8, bytes: u8) -> Packed {
        Packed { high: i16::from(tag) - i16::from(zero), bytes }
    }
}

// === impl Tag ===

impl Tag {
    pub fn of(tag: u8, dialect: Dialect) -> Option<Tag> {
        let whole = |bytes| Packed { high: 0, bytes };
        Some(match tag {
            0x00..=0x1f => Tag::Text { length: Packed::from(tag, 0, 0), last: true },
            0x20..=0x2f => Tag::Binary { length: Packed::from(tag, 0x20, 0), last: true },
            0x38..=0x3f => Tag::Long(Packed::from(tag, 0x3c, 2)),
            0x80..=0xbf => Tag::Int(Packed::from(tag, 0x90, 0)),
            0xc0..=0xcf => Tag::Int(Packed::from(tag, 0xc8, 1)),
            0xd0..=0xd7 => Tag::Int(Packed::from(tag, 0xd4, 2)),
            0xd8..=0xef => Tag::Long(Packed::from(tag, 0xe0, 0)),
            0xf0..=0xff => Tag::Long(Packed::from(tag, 0xf8, 1)),
            b'N' => Tag::Null,
            b'T' => Tag::Bool(true),
            b'F' => Tag::Bool(false),
            b'I' => Tag::Int(whole(4)),
            b'L' => Tag::Long(whole(8)),
            b'D' => Tag::Double(Double::Whole),
            b'S' => Tag::Text { length: TWO, last: true },
            b'B' => Tag::Binary { length: TWO, last: true },
            _ => match dialect {
                Dialect::Draft => Tag::of_draft(tag)?,
                Dialect::Final => Tag::of_final(tag)?,
            },
        })
    }

    fn of_draft(tag: u8) -> Option<Tag> {
        Some(match tag {
            b's' | b'x' => Tag::Text { length: TWO, last: false },
            b'X' => Tag::Text { length: TWO, last: true },
            b'b' => Tag::Binary { length: TWO, last: false },
            0x77 => Tag::Long(Packed { high: 0, bytes: 4 }),
            0x67 => Tag::Double(Double::Zero),
            0x68 => Tag::Double(Double::One),
            0x69 => Tag::Double(Double::Byte),
            0x6a => Tag::Double(Double::Short),
            0x6b => Tag::Double(Double::Float),
            b'd' => Tag::Date { minutes: false },
            b'V' => Tag::List(Type::Marked, Items::Hinted),
            b'v' => Tag::List(Type::Number, Items::Counted),
            b'M' => Tag::Map(Type::Marked),
            b'O' => Tag::Class,
            b'o' => Tag::Object(None),
            b'R' => Tag::Reference(Index::Word),
            0x4a => Tag::Reference(Index::Byte),
            0x4b => Tag::Reference(Index::Short),
            b'z' => Tag::End,
            _ => return None,
        })
    }

    fn of_final(tag: u8) -> Option<Tag> {
        Some(match tag {
            0x30..=0x33 => Tag::Text { length: Packed::from(tag, 0x30, 1), last: true },
            0x34..=0x37 => Tag::Binary { length: Packed::from(tag, 0x34, 1), last: true },
            b'R' => Tag::Text { length: TWO, last: false },
            b'A' => Tag::Binary { length: TWO, last: false },
            0x59 => Tag::Long(Packed { high: 0, bytes: 4 }),
            0x5b => Tag::Double(Double::Zero),
            0x5c => Tag::Double(Double::One),
            0x5d => Tag::Double(Double::Byte),
            0x5e => Tag::Double(Double::Short),
            0x5f => Tag::Double(Double::Thousandths),
            0x4a => Tag::Date { minutes: false },
            0x4b => Tag::Date { minutes: true },
            0x55 => Tag::List(Type::Said, Items::Ended),
            b'V' => Tag::List(Type::Said, Items::Counted),
            0x57 => Tag::List(Type::None, Items::Ended),
            0x58 => Tag::List(Type::None, Items::Counted),
            0x70..=0x77 => Tag::List(Type::Said, Items::Count(tag - 0x70)),
            0x78..=0x7f => Tag::List(Type::None, Items::Count(tag - 0x78)),
            b'H' => Tag::Map(Type::None),
            b'M' => Tag::Map(Type::Said),
            b'C' => Tag::Class,
            b'O' => Tag::Object(None),
            0x60..=0x6f => Tag::Object(Some(tag - 0x60)),
            0x51 => Tag::Reference(Index::Value),
            b'Z' => Tag::End,
            _ => return None,
        })
    }
}
