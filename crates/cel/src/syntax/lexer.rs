//! Text into tokens.

use super::token::{SIGNS, Token, TokenKind};
use crate::issue::Issue;

/// The tokens, the last being the end, and what is none.
pub fn tokens(text: &str) -> (Vec<Token>, Vec<Issue>) {
    let mut lexer = Lexer { text, at: 0 };
    let (mut tokens, mut issues) = (Vec::new(), Vec::new());
    loop {
        lexer.skip_blanks();
        let begin = lexer.at;
        if begin == text.len() {
            tokens.push(Token { kind: TokenKind::End, range: begin..begin });
            return (tokens, issues);
        }
        match lexer.token() {
            Ok(kind) => tokens.push(Token { kind, range: begin..lexer.at }),
            Err(end) => {
                lexer.at = end;
                let text = &text[begin..end];
                let message = format!("Syntax error: token recognition error at: '{text}'");
                issues.push(Issue::new(begin, message));
            }
        }
    }
}

struct Lexer<'a> {
    text: &'a str,
    at: usize,
}

/// Where what is no token ends.
type NoToken = usize;

impl Lexer<'_> {
    fn rest(&self) -> &str {
        &self.text[self.at..]
    }

    fn byte(&self, ahead: usize) -> u8 {
        self.text.as_bytes().get(self.at + ahead).copied().unwrap_or(0)
    }

    fn skip_blanks(&mut self) {
        loop {
            let rest = self.rest();
            let blanks =
                rest.len() - rest.trim_start_matches(['\t', ' ', '\r', '\n', '\x0c']).len();
            self.at += blanks;
            if self.rest().starts_with("//") {
                let rest = self.rest();
                self.at += rest.find('\n').unwrap_or(rest.len());
            } else if blanks == 0 {
                return;
            }
        }
    }

    fn token(&mut self) -> Result<TokenKind, NoToken> {
        match self.byte(0) {
            b'0'..=b'9' => Ok(self.number()),
            b'.' if self.byte(1).is_ascii_digit() => Ok(self.number()),
            b'"' | b'\'' => self.quoted(0),
            b'`' => self.escaped_identifier(),
            b'a'..=b'z' | b'A'..=b'Z' | b'_' => self.word(),
            _ => self.sign(),
        }
    }

    fn sign(&mut self) -> Result<TokenKind, NoToken> {
        let rest = self.rest();
        if let Some(sign) = SIGNS.iter().find(|sign| rest.starts_with(**sign)) {
            self.at += sign.len();
            return Ok(TokenKind::Sign(sign));
        }
        // Half of an operator takes the character that is not its other half.
        let taken = if rest.starts_with(['=', '&', '|']) { 2 } else { 1 };
        Err(self.at + rest.chars().take(taken).map(char::len_utf8).sum::<usize>())
    }

    fn digits(&mut self, is: fn(&u8) -> bool) {
        while is(&self.byte(0)) {
            self.at += 1;
        }
    }

    fn number(&mut self) -> TokenKind {
        let begin = self.at;
        if self.byte(0) == b'0' && self.byte(1) == b'x' && self.byte(2).is_ascii_hexdigit() {
            self.at += 2;
            self.digits(u8::is_ascii_hexdigit);
            return self.integer();
        }
        self.digits(u8::is_ascii_digit);
        let mut kind = TokenKind::Int;
        if self.byte(0) == b'.' && self.byte(1).is_ascii_digit() {
            self.at += 1;
            self.digits(u8::is_ascii_digit);
            kind = TokenKind::Float;
        }
        if matches!(self.byte(0), b'e' | b'E') {
            let sign = usize::from(matches!(self.byte(1), b'+' | b'-'));
            if self.byte(1 + sign).is_ascii_digit() {
                self.at += 1 + sign;
                self.digits(u8::is_ascii_digit);
                kind = TokenKind::Float;
            }
        }
        debug_assert!(self.at > begin);
        if kind == TokenKind::Int { self.integer() } else { kind }
    }

    fn integer(&mut self) -> TokenKind {
        if matches!(self.byte(0), b'u' | b'U') {
            self.at += 1;
            return TokenKind::Uint;
        }
        TokenKind::Int
    }

    fn word(&mut self) -> Result<TokenKind, NoToken> {
        let first = |byte: u8, of: [u8; 2]| of.contains(&byte);
        let quote = |byte: u8| matches!(byte, b'"' | b'\'');
        if first(self.byte(0), *b"bB") {
            if quote(self.byte(1)) {
                return self.quoted(1);
            }
            if first(self.byte(1), *b"rR") && quote(self.byte(2)) {
                return self.quoted(2);
            }
        } else if first(self.byte(0), *b"rR") && quote(self.byte(1)) {
            return self.quoted(1);
        }
        let begin = self.at;
        self.digits(|byte| byte.is_ascii_alphanumeric() || *byte == b'_');
        Ok(match &self.text[begin..self.at] {
            "true" => TokenKind::True,
            "false" => TokenKind::False,
            "null" => TokenKind::Null,
            "in" => TokenKind::Sign("in"),
            _ => TokenKind::Identifier,
        })
    }

    fn escaped_identifier(&mut self) -> Result<TokenKind, NoToken> {
        let inner = self.rest()[1..]
            .find(|c: char| !(c.is_ascii_alphanumeric() || "_.-/ ".contains(c)))
            .unwrap_or(self.rest().len() - 1);
        if inner > 0 && self.byte(1 + inner) == b'`' {
            self.at += inner + 2;
            return Ok(TokenKind::EscapedIdentifier);
        }
        Err(self.at + 1 + inner)
    }

    /// A string behind `prefix` letters.
    fn quoted(&mut self, prefix: usize) -> Result<TokenKind, NoToken> {
        let letters = &self.text[self.at..self.at + prefix];
        let raw = letters.contains(['r', 'R']);
        let kind = if letters.contains(['b', 'B']) { TokenKind::Bytes } else { TokenKind::Text };
        let mark = self.byte(prefix);
        let triple = self.byte(prefix + 1) == mark && self.byte(prefix + 2) == mark;
        let mut at = self.at + prefix + if triple { 3 } else { 1 };
        let bytes = self.text.as_bytes();
        loop {
            match bytes.get(at) {
                None => return Err(at),
                Some(b'\n' | b'\r') if !triple => return Err(at),
                Some(b'\\') if !raw => match escape_length(&self.text[at..]) {
                    Ok(length) => at += length,
                    Err(length) => return Err(at + length),
                },
                Some(byte) if *byte == mark => {
                    if !triple {
                        at += 1;
                        break;
                    }
                    if bytes[at..].starts_with(&[mark; 3]) {
                        at += 3;
                        break;
                    }
                    at += 1;
                }
                Some(_) => at += 1,
            }
        }
        self.at = at;
        Ok(kind)
    }
}

/// How long the escape at the start is, or what of it is wrong.
fn escape_length(text: &str) -> Result<usize, usize> {
    let Some(c) = text[1..].chars().next() else { return Err(1) };
    let follow = |count: usize, is: fn(char) -> bool| {
        let mut end = 2;
        for c in text[2..].chars().take(count) {
            end += c.len_utf8();
            if !is(c) {
                return Err(end);
            }
        }
        if end == 2 + count { Ok(end) } else { Err(end) }
    };
    match c {
        'a' | 'b' | 'f' | 'n' | 'r' | 't' | 'v' | '"' | '\'' | '\\' | '?' | '`' => Ok(2),
        'x' | 'X' => follow(2, |c| c.is_ascii_hexdigit()),
        'u' => follow(4, |c| c.is_ascii_hexdigit()),
        'U' => follow(8, |c| c.is_ascii_hexdigit()),
        '0'..='3' => follow(2, |c| matches!(c, '0'..='7')),
        c => Err(1 + c.len_utf8()),
    }
}
