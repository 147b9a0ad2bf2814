//! Tokens: what the text is made of.

use std::ops::Range;

#[derive(Clone, Debug)]
pub struct Token {
    pub kind: TokenKind,
    /// Bytes of the text.
    pub range: Range<usize>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenKind {
    /// An operator or bracket, as it is written.
    Sign(&'static str),
    True,
    False,
    Null,
    Float,
    Int,
    Uint,
    Text,
    Bytes,
    Identifier,
    /// In backquotes.
    EscapedIdentifier,
    End,
}

/// Longest first: the first that fits is the token.
pub const SIGNS: [&str; 24] = [
    "==", "!=", "<=", ">=", "&&", "||", "<", ">", "[", "]", "{", "}", "(", ")", ".", ",", "-", "!",
    "?", ":", "+", "*", "/", "%",
];
