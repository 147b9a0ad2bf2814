//! Continue tokens: where a paged list goes on, and at which revision.
//!
//! Opaque to clients: the hexadecimal form of `REVISION KEY`.

use std::fmt::Write as _;

use kv::Revision;

#[derive(Debug, PartialEq, Eq)]
pub struct Token {
    /// 0 for no revision in particular: what is there now.
    pub revision: Revision,
    /// The last key that was looked at.
    pub after: String,
}

// === impl Token ===

impl Token {
    pub fn encode(&self) -> String {
        let mut out = String::new();
        for byte in format!("{} {}", self.revision, self.after).bytes() {
            let _ = write!(out, "{byte:02x}");
        }
        out
    }

    /// None when it is not one of ours, or not for keys below `prefix`.
    pub fn decode(text: &str, prefix: &str) -> Option<Token> {
        let bytes = text.as_bytes();
        if !bytes.len().is_multiple_of(2) {
            return None;
        }
        let digit = |byte: u8| char::from(byte).to_digit(16);
        let plain: Option<Vec<u8>> = bytes
            .chunks(2)
            .map(|pair| u8::try_from(digit(pair[0])? * 16 + digit(pair[1])?).ok())
            .collect();
        let plain = String::from_utf8(plain?).ok()?;
        let (revision, after) = plain.split_once(' ')?;
        let revision = Revision(revision.parse().ok()?);
        after.starts_with(prefix).then(|| Token { revision, after: after.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_read_back_and_foreign_ones_are_refused() {
        let token = Token { revision: Revision(7), after: "/registry/core/pods/a/b".into() };
        let text = token.encode();
        assert_eq!(Token::decode(&text, "/registry/core/pods/"), Some(token));
        assert_eq!(Token::decode(&text, "/registry/core/nodes/"), None);
        for bad in ["", "0", "zz", "6161", "+1+1", "é"] {
            assert_eq!(Token::decode(bad, ""), None, "{bad}");
        }
    }
}
