//! Statements as text, several to a packet: one round trip for a transaction.
//!
//! Text and not prepared statements, because those go one by one. Nothing but
//! numbers and escaped binary strings is ever put into a statement.

/// Statements that are sent together.
#[derive(Clone, Debug, Default)]
pub struct Text {
    bytes: Vec<u8>,
    statements: usize,
}

#[derive(Clone, Copy, Debug)]
pub enum Arg<'a> {
    Number(u64),
    Bytes(&'a [u8]),
    /// As many as the placeholder stands for, with commas.
    All(&'a [&'a [u8]]),
}

// === impl Text ===

impl Text {
    /// Adds a statement; each `?` is the next of `args`.
    pub fn say(&mut self, sql: &str, args: &[Arg<'_>]) {
        if self.statements > 0 {
            self.bytes.push(b';');
        }
        self.statements += 1;
        self.go_on(sql, args);
    }

    /// Adds to the last statement.
    pub fn go_on(&mut self, sql: &str, args: &[Arg<'_>]) {
        let mut args = args.iter();
        for (index, piece) in sql.split('?').enumerate() {
            if index > 0 {
                let arg = args.next().expect("as many arguments as placeholders");
                self.put(*arg);
            }
            self.bytes.extend_from_slice(piece.as_bytes());
        }
        assert!(args.next().is_none(), "as many placeholders as arguments");
    }

    /// Adds all statements of another.
    pub fn append(&mut self, other: Text) {
        if self.statements > 0 {
            self.bytes.push(b';');
        }
        self.statements += other.statements;
        self.bytes.extend(other.bytes);
    }

    #[must_use]
    pub fn statements(&self) -> usize {
        self.statements
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    #[must_use]
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    fn put(&mut self, arg: Arg<'_>) {
        match arg {
            Arg::Number(number) => self.bytes.extend_from_slice(number.to_string().as_bytes()),
            Arg::Bytes(bytes) => self.put_bytes(bytes),
            Arg::All(all) => {
                for (index, bytes) in all.iter().enumerate() {
                    if index > 0 {
                        self.bytes.push(b',');
                    }
                    self.put_bytes(bytes);
                }
            }
        }
    }

    /// `sql_mode` is ours, so a backslash escapes.
    fn put_bytes(&mut self, bytes: &[u8]) {
        self.bytes.reserve(bytes.len() + bytes.len() / 32 + 16);
        self.bytes.extend_from_slice(b"_binary'");
        let mut rest = bytes;
        while let Some(at) = rest.iter().position(|byte| matches!(byte, 0 | b'\'' | b'\\')) {
            self.bytes.extend_from_slice(&rest[..at]);
            self.bytes.push(b'\\');
            self.bytes.push(if rest[at] == 0 { b'0' } else { rest[at] });
            rest = &rest[at + 1..];
        }
        self.bytes.extend_from_slice(rest);
        self.bytes.push(b'\'');
    }
}

/// How long bytes become at most, and what stands around them.
pub(super) const fn escaped_bytes_max(bytes: usize) -> usize {
    2 * bytes + 16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_escaped_and_never_end_their_literal() {
        let mut text = Text::default();
        text.say("SELECT ?, ?", &[Arg::Number(7), Arg::Bytes(b"a'b\\c\0;?\xff")]);
        text.say("IN (?)", &[Arg::All(&[b"x", b"y"])]);
        assert_eq!(text.statements(), 2);
        let expected = b"SELECT 7, _binary'a\\'b\\\\c\\0;?\xff';IN (_binary'x',_binary'y')";
        assert_eq!(text.into_bytes(), expected);
    }
}
