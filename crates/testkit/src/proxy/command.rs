//! What a client asks of a server, as far as faults are aimed by it.

/// One command packet. Of a statement that was prepared, executing shows the
/// prepared text.
#[derive(Clone, Copy, Debug)]
pub struct Command<'a> {
    pub kind: Kind,
    pub text: &'a [u8],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Query,
    Prepare,
    Execute,
    Other(u8),
}

const COM_QUERY: u8 = 0x03;
const COM_STMT_PREPARE: u8 = 0x16;
const COM_STMT_EXECUTE: u8 = 0x17;

// === impl Command ===

impl<'a> Command<'a> {
    /// From a packet's payload; `prepared` knows statements by their number.
    pub(super) fn parse<'b: 'a>(
        payload: &'a [u8],
        prepared: impl Fn(u32) -> Option<&'b [u8]>,
    ) -> Option<Command<'a>> {
        let (&code, rest) = payload.split_first()?;
        Some(match code {
            COM_QUERY => Command { kind: Kind::Query, text: rest },
            COM_STMT_PREPARE => Command { kind: Kind::Prepare, text: rest },
            COM_STMT_EXECUTE => {
                let number = rest.first_chunk().map(|bytes| u32::from_le_bytes(*bytes));
                let text = number.and_then(prepared).unwrap_or_default();
                Command { kind: Kind::Execute, text }
            }
            other => Command { kind: Kind::Other(other), text: &[] },
        })
    }

    /// Whether the server runs statements when it gets this.
    #[must_use]
    pub fn runs(&self) -> bool {
        matches!(self.kind, Kind::Query | Kind::Execute)
    }

    /// Whether it has COMMIT as a statement, alone or among others.
    #[must_use]
    pub fn commits(&self) -> bool {
        const WORD: &[u8] = b"COMMIT";
        let is_end = |byte: Option<&u8>| byte.is_none_or(|byte| !byte.is_ascii_alphanumeric());
        self.runs()
            && positions(self.text, WORD).any(|at| {
                let before = self.text[..at].trim_ascii_end().last();
                before.is_none_or(|byte| *byte == b';') && is_end(self.text.get(at + WORD.len()))
            })
    }

    /// Whether `words` stand in its text, in capitals or not.
    #[must_use]
    pub fn has(&self, words: &str) -> bool {
        positions(self.text, words.as_bytes()).next().is_some()
    }
}

fn positions<'a>(text: &'a [u8], word: &'a [u8]) -> impl Iterator<Item = usize> + 'a {
    let windows = text.windows(word.len()).enumerate();
    windows.filter(move |(_, window)| window.eq_ignore_ascii_case(word)).map(|(at, _)| at)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn commits(text: &str) -> bool {
        Command { kind: Kind::Query, text: text.as_bytes() }.commits()
    }

    #[test]
    fn a_commit_is_found_alone_and_among_statements() {
        for text in ["COMMIT", "commit;", " Commit ", "UPDATE a SET b = 1; COMMIT", "BEGIN;COMMIT;"]
        {
            assert!(commits(text), "{text}");
        }
        for text in ["SELECT 'COMMIT'", "COMMITTED", "SELECT commit FROM t", "BEGIN"] {
            assert!(!commits(text), "{text}");
        }
    }

    #[test]
    fn executing_shows_what_was_prepared() {
        let payload = [&[COM_STMT_EXECUTE][..], &7_u32.to_le_bytes(), &[0; 5]].concat();
        let known = |number| (number == 7).then_some(&b"COMMIT"[..]);
        assert!(Command::parse(&payload, known).expect("a command").commits());
    }
}
