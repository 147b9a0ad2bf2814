//! From text to a tree: tokens, literals, the grammar, macros.

pub mod ast;
mod lexer;
mod literal;
mod macros;
mod member;
mod parser;
mod token;

pub use parser::parse;
