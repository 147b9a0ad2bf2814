//! Members and primaries: names, calls, literals, what is in brackets.

use std::sync::Arc;

use super::ast::{Entry, Expr, Item, Kind, Literal, Select};
use super::literal;
use super::parser::{Parsed, Parser};
use super::token::TokenKind;

const RESERVED: [&str; 21] = [
    "as",
    "break",
    "const",
    "continue",
    "else",
    "false",
    "for",
    "function",
    "if",
    "import",
    "in",
    "let",
    "loop",
    "package",
    "namespace",
    "null",
    "return",
    "true",
    "var",
    "void",
    "while",
];

/// What an expression can begin with, as errors list it.
const BEGINS: &str = "{'[', '{', '(', '.', '-', '!', 'true', 'false', 'null', NUM_FLOAT, NUM_INT, NUM_UINT, STRING, BYTES, IDENTIFIER}";
const BEGINS_ARGUMENTS: &str = "{'[', '{', '(', ')', '.', '-', '!', 'true', 'false', 'null', NUM_FLOAT, NUM_INT, NUM_UINT, STRING, BYTES, IDENTIFIER}";
const BEGINS_LIST: &str = "{'[', ']', '{', '(', '.', ',', '-', '!', '?', 'true', 'false', 'null', NUM_FLOAT, NUM_INT, NUM_UINT, STRING, BYTES, IDENTIFIER}";
const BEGINS_MAP: &str = "{'[', '{', '}', '(', '.', ',', '-', '!', '?', 'true', 'false', 'null', NUM_FLOAT, NUM_INT, NUM_UINT, STRING, BYTES, IDENTIFIER}";
const BEGINS_INDEX: &str = "{'[', '{', '(', '.', '-', '!', '?', 'true', 'false', 'null', NUM_FLOAT, NUM_INT, NUM_UINT, STRING, BYTES, IDENTIFIER}";

// === impl Parser: members ===

impl Parser<'_> {
    pub(super) fn member(&mut self) -> Parsed<Expr> {
        let outer = self.depth;
        let mut expr = self.primary()?;
        loop {
            if self.is(".") {
                let at = self.advance();
                expr = self.field_or_call(expr, at)?;
            } else if self.is("[") {
                let at = self.advance();
                self.begins(BEGINS_INDEX)?;
                let function = if self.eat("?") { "_[?_]" } else { "_[_]" };
                let index = self.expression()?;
                self.expect("]")?;
                expr = self.call(at, None, function, vec![expr, index]);
            } else {
                self.depth = outer;
                return Ok(expr);
            }
            self.enter(|_| Ok(()))?;
            self.depth += 1;
        }
    }

    fn field_or_call(&mut self, operand: Expr, at: usize) -> Parsed<Expr> {
        let optional = self.eat("?");
        let name: Arc<str> = match self.kind() {
            TokenKind::Identifier => self.token_text().into(),
            TokenKind::EscapedIdentifier => self.token_text().trim_matches('`').into(),
            _ => {
                let text = if self.kind() == TokenKind::End { "" } else { self.token_text() };
                let input = format!("{}{text}", if optional { ".?" } else { "." });
                let message = format!("Syntax error: no viable alternative at input '{input}'");
                return self.issue(self.here(), message);
            }
        };
        let plain = self.kind() == TokenKind::Identifier;
        let name_at = self.advance();
        if plain && !optional && self.is("(") {
            let open = self.advance();
            let args = self.arguments()?;
            return self.call_or_macro(open, Some(operand), &name, args);
        }
        if optional {
            let field = self.node(name_at, Kind::Literal(Literal::Text(name)));
            return Ok(self.call(at, None, "_?._", vec![operand, field]));
        }
        let select = Select { operand: Box::new(operand), field: name, test: false };
        Ok(self.node(at, Kind::Select(select)))
    }

    fn arguments(&mut self) -> Parsed<Vec<Expr>> {
        let mut args = Vec::new();
        self.begins(BEGINS_ARGUMENTS)?;
        if self.eat(")") {
            return Ok(args);
        }
        loop {
            args.push(self.expression()?);
            if !self.eat(",") {
                break;
            }
        }
        if !self.is(")") && self.kind() != TokenKind::End {
            return self.mismatch("')'");
        }
        self.expect(")")?;
        Ok(args)
    }

    fn primary(&mut self) -> Parsed<Expr> {
        self.begins(BEGINS)?;
        let at = self.here();
        let negative = self.before_number();
        if negative {
            self.advance();
        }
        let text = self.token_text();
        let value = match self.kind() {
            TokenKind::Sign("(") => {
                self.advance();
                let inner = self.expression()?;
                self.expect(")")?;
                return Ok(inner);
            }
            TokenKind::Sign("[") => return self.list(),
            TokenKind::Sign("{") => return self.map(),
            TokenKind::Sign(".") => {
                self.advance();
                return self.name(".");
            }
            TokenKind::Identifier => return self.name(""),
            TokenKind::True => Literal::Bool(true),
            TokenKind::False => Literal::Bool(false),
            TokenKind::Null => Literal::Null,
            TokenKind::Int => match literal::int(text, negative) {
                Some(value) => Literal::Int(value),
                None => return self.issue(at, "invalid int literal"),
            },
            TokenKind::Uint => match literal::uint(text) {
                Some(value) => Literal::Uint(value),
                None => return self.issue(at, "invalid uint literal"),
            },
            TokenKind::Float => match literal::float(text, negative) {
                Some(value) => Literal::Double(value),
                None => return self.issue(at, "invalid double literal"),
            },
            TokenKind::Text => match literal::text(text) {
                Ok(value) => Literal::Text(value.into()),
                Err(message) => return self.issue(at, message),
            },
            TokenKind::Bytes => match literal::bytes(text) {
                Ok(value) => Literal::Bytes(value.into()),
                Err(message) => return self.issue(at, message),
            },
            _ => return self.mismatch(BEGINS),
        };
        self.advance();
        Ok(self.node(at, Kind::Literal(value)))
    }

    /// A name, a call of a function, or a message.
    fn name(&mut self, dot: &str) -> Parsed<Expr> {
        if self.kind() != TokenKind::Identifier {
            return self.mismatch("IDENTIFIER");
        }
        let name = self.token_text();
        let at = self.here();
        if let Some((open, message)) = self.message_ahead() {
            self.at = open;
            return self.message(format!("{dot}{message}"));
        }
        self.advance();
        if RESERVED.contains(&name) {
            return self.issue(at - dot.len(), format!("reserved identifier: {name}"));
        }
        let name = format!("{dot}{name}");
        if self.is("(") {
            let open = self.advance();
            let args = self.arguments()?;
            return self.call_or_macro(open, None, &name, args);
        }
        Ok(self.node(at, Kind::Ident(name.into())))
    }

    /// `a.b{`: where the brace is, and the name before it.
    fn message_ahead(&self) -> Option<(usize, String)> {
        let mut name = self.token_text().to_string();
        let mut at = self.at + 1;
        loop {
            match self.tokens.get(at)?.kind {
                TokenKind::Sign("{") => return Some((at, name)),
                TokenKind::Sign(".") => {
                    let next = self.tokens.get(at + 1)?;
                    if next.kind != TokenKind::Identifier {
                        return None;
                    }
                    name = format!("{name}.{}", &self.text[next.range.clone()]);
                    at += 2;
                }
                _ => return None,
            }
        }
    }

    fn message(&mut self, name: String) -> Parsed<Expr> {
        let at = self.advance();
        while !self.eat("}") {
            self.eat("?");
            match self.kind() {
                TokenKind::Identifier | TokenKind::EscapedIdentifier => self.advance(),
                _ => return self.mismatch("{IDENTIFIER, ESC_IDENTIFIER}"),
            };
            self.expect(":")?;
            self.expression()?;
            if !self.eat(",") && !self.is("}") {
                return self.mismatch("{'}', ','}");
            }
        }
        Ok(self.node(at, Kind::Struct(name.into())))
    }

    fn list(&mut self) -> Parsed<Expr> {
        let at = self.advance();
        let mut items = Vec::new();
        self.begins(BEGINS_LIST)?;
        if self.eat(",") {
            self.expect("]")?;
            return Ok(self.node(at, Kind::List(items)));
        }
        while !self.eat("]") {
            let optional = self.eat("?");
            items.push(Item { value: self.expression()?, optional });
            if self.eat(",") {
                if self.is(",") {
                    return self.mismatch("']'");
                }
                if self.kind() == TokenKind::End {
                    self.expect("]")?;
                }
            } else if !self.is("]") {
                return self.mismatch("{']', ','}");
            }
        }
        Ok(self.node(at, Kind::List(items)))
    }

    fn map(&mut self) -> Parsed<Expr> {
        let at = self.advance();
        let mut entries = Vec::new();
        self.begins(BEGINS_MAP)?;
        if self.eat(",") {
            self.expect("}")?;
            return Ok(self.node(at, Kind::Map(entries)));
        }
        while !self.eat("}") {
            let optional = self.eat("?");
            let key = self.expression()?;
            self.expect(":")?;
            let value = self.expression()?;
            entries.push(Entry { key, value, optional });
            if self.eat(",") {
                if self.kind() == TokenKind::End {
                    self.expect("}")?;
                }
            } else if !self.is("}") {
                return self.mismatch("{'}', ','}");
            }
        }
        Ok(self.node(at, Kind::Map(entries)))
    }
}
