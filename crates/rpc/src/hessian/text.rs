//! Strings: counted in UTF-16 units, written one unit after the other as UTF-8
//! writes it, surrogates too.

use std::borrow::Cow;

/// How many bytes `units` take at the beginning of `bytes`. Only the first byte
/// of a character counts, as in the deployed readers, which know none of more
/// than three.
pub fn bytes_of(bytes: &[u8], units: usize) -> Result<usize, Cut> {
    if bytes.get(..units).is_some_and(<[u8]>::is_ascii) {
        return Ok(units);
    }
    let mut at = 0;
    for _ in 0..units {
        at += match bytes.get(at).ok_or(Cut::Short)? {
            0x00..=0x7f => 1,
            0xc0..=0xdf => 2,
            0xe0..=0xef => 3,
            _ => return Err(Cut::Bad(at)),
        };
    }
    if at <= bytes.len() { Ok(at) } else { Err(Cut::Short) }
}

pub enum Cut {
    Short,
    Bad(usize),
}

/// Of one chunk, borrowed where it is UTF-8 already. What is half a character
/// becomes the sign for that.
pub fn decode(bytes: &[u8]) -> Cow<'_, str> {
    match std::str::from_utf8(bytes) {
        Ok(text) => Cow::Borrowed(text),
        Err(_) => Cow::Owned(char::decode_utf16(units(bytes)).map(known).collect()),
    }
}

fn known(unit: Result<char, std::char::DecodeUtf16Error>) -> char {
    unit.unwrap_or(char::REPLACEMENT_CHARACTER)
}

fn units(bytes: &[u8]) -> impl Iterator<Item = u16> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let (unit, length) = match *rest {
            [] => return None,
            [a @ 0x00..=0x7f, ..] => (u16::from(a), 1),
            [a @ 0xc0..=0xdf, b, ..] => ((u16::from(a) & 0x1f) << 6 | u16::from(b) & 0x3f, 2),
            [a @ 0xe0..=0xef, b, c, ..] => {
                let high = (u16::from(a) & 0x0f) << 12 | (u16::from(b) & 0x3f) << 6;
                (high | u16::from(c) & 0x3f, 3)
            }
            _ => (0xfffd, rest.len()),
        };
        rest = &rest[length..];
        Some(unit)
    })
}

/// Appends the units of `text` as the wire wants them.
pub fn encode(text: &str, out: &mut Vec<u8>) {
    for character in text.chars() {
        let mut bytes = [0; 4];
        let mut units = [0; 2];
        if character.len_utf8() < 4 {
            out.extend_from_slice(character.encode_utf8(&mut bytes).as_bytes());
            continue;
        }
        for unit in character.encode_utf16(&mut units) {
            let low = |shift: u16| 0x80 | (*unit >> shift & 0x3f) as u8;
            out.extend_from_slice(&[0xe0 | (*unit >> 12) as u8, low(6), low(0)]);
        }
    }
}
