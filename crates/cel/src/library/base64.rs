//! Base64, for bytes in JSON and the extension of that name.

use super::Apply;
use crate::error::EvalError;
use crate::value::Value;

pub const SIGNATURES: &str = "
    base64.encode(bytes) -> string
    base64.decode(string) -> bytes
";

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

pub fn find(name: &str) -> Option<Apply> {
    Some(match name {
        "base64.encode" => |_, args| match args {
            [Value::Bytes(bytes)] => Ok(Value::text(encode(bytes))),
            _ => Err(EvalError::no_such_overload()),
        },
        "base64.decode" => |_, args| match args {
            [Value::Text(text)] => match decode(text) {
                Some(bytes) => Ok(Value::Bytes(bytes.into())),
                None => Err(EvalError::new("illegal base64 data")),
            },
            _ => Err(EvalError::no_such_overload()),
        },
        _ => return None,
    })
}

#[must_use]
pub fn encode(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let all = group.iter().fold(0_u32, |all, byte| all << 8 | u32::from(*byte));
        let all = all << (8 * (3 - group.len()));
        for place in 0..4 {
            if place <= group.len() {
                let index = all >> (18 - 6 * place) & 63;
                text.push(char::from(ALPHABET[index as usize]));
            } else {
                text.push('=');
            }
        }
    }
    text
}

/// With padding or without, in the alphabet of texts or of URLs; line ends do
/// not count.
#[must_use]
pub fn decode(text: &str) -> Option<Vec<u8>> {
    let text: Vec<u8> = text.bytes().filter(|byte| !matches!(byte, b'\n' | b'\r')).collect();
    let padding = text.iter().rev().take_while(|byte| **byte == b'=').count();
    let digits = &text[..text.len() - padding];
    if padding > 2 || (padding > 0 && !text.len().is_multiple_of(4)) || digits.len() % 4 == 1 {
        return None;
    }
    let mut bytes = Vec::with_capacity(digits.len() / 4 * 3 + 2);
    for group in digits.chunks(4) {
        let mut all = 0_u32;
        for byte in group {
            let value = match byte {
                b'A'..=b'Z' => byte - b'A',
                b'a'..=b'z' => byte - b'a' + 26,
                b'0'..=b'9' => byte - b'0' + 52,
                b'+' | b'-' => 62,
                b'/' | b'_' => 63,
                _ => return None,
            };
            all = all << 6 | u32::from(value);
        }
        all <<= 6 * (4 - group.len());
        bytes.extend_from_slice(&all.to_be_bytes()[1..group.len()]);
    }
    Some(bytes)
}
