//! Tokens into a tree, by precedence climbing.
//!
//! The first error of grammar ends the parse: what a recovery finds after it
//! is mostly noise. Its text is the one that people know from cel-go.

use super::ast::{Call, Expr, Id, Kind, Tree};
use super::token::{Token, TokenKind};
use super::{lexer, macros};
use crate::issue::{Issue, Issues};

/// Nesting of an expression: deep enough for people, and every walk of a tree
/// may recurse. cel-go's own bound.
const DEPTH_MAX: usize = 250;
/// Of a text, in characters. cel-go's own bound.
const CHARACTERS_MAX: usize = 100_000;
/// Nodes of a tree: macros may copy their target.
const NODES_MAX: usize = 200_000;

/// `extended`: with the macros that Kubernetes leaves out.
pub fn parse(text: &str, extended: bool) -> Result<Tree, Issues> {
    let characters = text.chars().count();
    if characters > CHARACTERS_MAX {
        let message = format!(
            "expression code point size exceeds limit: size: {characters}, limit {CHARACTERS_MAX}"
        );
        return Err(Issues::new(text, vec![Issue { at: None, message }]));
    }
    let (tokens, issues) = lexer::tokens(text);
    let positions = Vec::new();
    let mut parser = Parser { text, tokens, at: 0, depth: 0, positions, issues, extended };
    let root = parser.whole();
    match root {
        Ok(root) if parser.issues.is_empty() => Ok(Tree { root, positions: parser.positions }),
        _ => Err(Issues::new(text, parser.issues)),
    }
}

/// An issue was noted; there is no tree.
#[derive(Debug)]
pub(super) struct Stop;

pub(super) type Parsed<T> = Result<T, Stop>;

pub(super) struct Parser<'a> {
    pub(super) text: &'a str,
    pub(super) tokens: Vec<Token>,
    pub(super) at: usize,
    pub(super) depth: usize,
    positions: Vec<usize>,
    issues: Vec<Issue>,
    pub(super) extended: bool,
}

// === impl Parser: nodes ===

impl Parser<'_> {
    pub(super) fn node(&mut self, position: usize, kind: Kind) -> Expr {
        let id: Id = self.positions.len();
        self.positions.push(position);
        Expr { id, kind }
    }

    pub(super) fn position(&self, expr: &Expr) -> usize {
        self.positions[expr.id]
    }

    pub(super) fn issue<T>(&mut self, at: usize, message: impl Into<String>) -> Parsed<T> {
        self.issues.push(Issue::new(at, message));
        Err(Stop)
    }

    pub(super) fn call(
        &mut self,
        at: usize,
        target: Option<Expr>,
        function: &str,
        args: Vec<Expr>,
    ) -> Expr {
        let target = target.map(Box::new);
        self.node(at, Kind::Call(Call { target, function: function.into(), args }))
    }

    /// A copy with numbers of its own.
    pub(super) fn copy(&mut self, expr: &Expr) -> Expr {
        let mut copy = expr.clone();
        self.renumber(&mut copy);
        copy
    }

    fn renumber(&mut self, expr: &mut Expr) {
        let position = self.positions[expr.id];
        expr.id = self.positions.len();
        self.positions.push(position);
        match &mut expr.kind {
            Kind::Literal(_) | Kind::Ident(_) | Kind::Struct(_) => {}
            Kind::Select(select) => self.renumber(&mut select.operand),
            Kind::Call(call) => {
                for part in call.target.as_deref_mut().into_iter().chain(&mut call.args) {
                    self.renumber(part);
                }
            }
            Kind::List(items) => items.iter_mut().for_each(|item| self.renumber(&mut item.value)),
            Kind::Map(entries) => {
                for entry in entries {
                    self.renumber(&mut entry.key);
                    self.renumber(&mut entry.value);
                }
            }
            Kind::Fold(fold) => {
                let parts = [
                    &mut fold.range,
                    &mut fold.init,
                    &mut fold.condition,
                    &mut fold.step,
                    &mut fold.result,
                ];
                parts.into_iter().for_each(|part| self.renumber(part));
            }
        }
    }

    /// A call, or what its macro makes of it.
    pub(super) fn call_or_macro(
        &mut self,
        at: usize,
        target: Option<Expr>,
        function: &str,
        args: Vec<Expr>,
    ) -> Parsed<Expr> {
        if self.positions.len() > NODES_MAX {
            return self.issue(at, format!("expression node count exceeds limit: {NODES_MAX}"));
        }
        macros::expand(self, at, target, function, args)
    }
}

// === impl Parser: tokens ===

impl<'a> Parser<'a> {
    fn token(&self) -> &Token {
        &self.tokens[self.at]
    }

    pub(super) fn kind(&self) -> TokenKind {
        self.token().kind
    }

    pub(super) fn here(&self) -> usize {
        self.token().range.start
    }

    pub(super) fn token_text(&self) -> &'a str {
        match self.kind() {
            TokenKind::End => "<EOF>",
            _ => &self.text[self.token().range.clone()],
        }
    }

    pub(super) fn advance(&mut self) -> usize {
        let here = self.here();
        if self.at + 1 < self.tokens.len() {
            self.at += 1;
        }
        here
    }

    pub(super) fn is(&self, sign: &str) -> bool {
        matches!(self.kind(), TokenKind::Sign(here) if here == sign)
    }

    pub(super) fn eat(&mut self, sign: &str) -> bool {
        let is = self.is(sign);
        if is {
            self.advance();
        }
        is
    }

    pub(super) fn mismatch<T>(&mut self, expecting: &str) -> Parsed<T> {
        let text = self.token_text();
        let message = format!("Syntax error: mismatched input '{text}' expecting {expecting}");
        self.issue(self.here(), message)
    }

    /// Here an expression, or what `expecting` lists, must begin. One token that
    /// is too many is passed over.
    pub(super) fn begins(&mut self, expecting: &str) -> Parsed<()> {
        let begins = |kind: TokenKind| match kind {
            TokenKind::Sign(sign) => ["[", "{", "(", ".", "-", "!"].contains(&sign),
            TokenKind::EscapedIdentifier | TokenKind::End => false,
            _ => true,
        };
        let listed = |kind: TokenKind| match kind {
            TokenKind::Sign(sign) => expecting.contains(&format!("'{sign}'")),
            kind => begins(kind),
        };
        if listed(self.kind()) {
            return Ok(());
        }
        let next = self.tokens.get(self.at + 1).map(|token| token.kind);
        if !next.is_some_and(listed) {
            return self.mismatch(expecting);
        }
        let text = self.token_text();
        let message = format!("Syntax error: extraneous input '{text}' expecting {expecting}");
        self.issues.push(Issue::new(self.here(), message));
        self.advance();
        Ok(())
    }

    /// `sign` must come; behind it would go on what stands here, or nothing.
    pub(super) fn expect(&mut self, sign: &str) -> Parsed<usize> {
        if self.is(sign) {
            return Ok(self.advance());
        }
        let text = self.token_text();
        self.issue(self.here(), format!("Syntax error: missing '{sign}' at '{text}'"))
    }

    pub(super) fn enter<T>(&mut self, parse: impl FnOnce(&mut Self) -> Parsed<T>) -> Parsed<T> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            let message = format!("expression recursion limit exceeded: {DEPTH_MAX}");
            self.issues.push(Issue { at: None, message });
            return Err(Stop);
        }
        let parsed = parse(self);
        self.depth -= 1;
        parsed
    }
}

// === impl Parser: the grammar ===

impl Parser<'_> {
    fn whole(&mut self) -> Parsed<Expr> {
        let root = self.expression()?;
        if self.kind() == TokenKind::End {
            return Ok(root);
        }
        let last = self.tokens[self.at + 1].kind == TokenKind::End;
        let what = if last { "extraneous" } else { "mismatched" };
        let text = self.token_text();
        let message = format!("Syntax error: {what} input '{text}' expecting <EOF>");
        self.issue(self.here(), message)
    }

    pub(super) fn expression(&mut self) -> Parsed<Expr> {
        self.enter(|parser| {
            let condition = parser.logic("||", "_||_")?;
            if !parser.is("?") {
                return Ok(condition);
            }
            let at = parser.advance();
            let yes = parser.logic("||", "_||_")?;
            if !parser.is(":") && parser.kind() == TokenKind::End {
                return parser.mismatch("':'");
            }
            parser.expect(":")?;
            let no = parser.expression()?;
            Ok(parser.call(at, None, "_?_:_", vec![condition, yes, no]))
        })
    }

    /// `a || b || c`, and within it `a && b && c`: balanced, as the order of
    /// evaluation does not hang on it and the depth does.
    fn logic(&mut self, sign: &'static str, function: &str) -> Parsed<Expr> {
        let mut terms = Vec::new();
        let mut signs = Vec::new();
        loop {
            terms.push(Some(if sign == "||" {
                self.logic("&&", "_&&_")?
            } else {
                self.binary(0)?
            }));
            if !self.is(sign) {
                break;
            }
            signs.push(self.advance());
        }
        Ok(self.balance(function, &mut terms, &signs))
    }

    fn balance(&mut self, function: &str, terms: &mut [Option<Expr>], signs: &[usize]) -> Expr {
        if signs.is_empty() {
            return terms[0].take().expect("each term is taken once");
        }
        let middle = signs.len() / 2;
        let (left, right) = terms.split_at_mut(middle + 1);
        let left = self.balance(function, left, &signs[..middle]);
        let right = self.balance(function, right, &signs[middle + 1..]);
        self.call(signs[middle], None, function, vec![left, right])
    }

    /// Comparisons, sums and products: left to right, deeper with every one.
    fn binary(&mut self, level: usize) -> Parsed<Expr> {
        const LEVELS: [&[(&str, &str)]; 3] = [
            &[
                ("<", "_<_"),
                ("<=", "_<=_"),
                (">=", "_>=_"),
                (">", "_>_"),
                ("==", "_==_"),
                ("!=", "_!=_"),
                ("in", "@in"),
            ],
            &[("+", "_+_"), ("-", "_-_")],
            &[("*", "_*_"), ("/", "_/_"), ("%", "_%_")],
        ];
        let Some(operators) = LEVELS.get(level) else { return self.unary() };
        let outer = self.depth;
        let mut left = self.binary(level + 1)?;
        while let Some((_, function)) = operators.iter().find(|(sign, _)| self.is(sign)) {
            let at = self.advance();
            let right = self.enter(|parser| parser.binary(level + 1))?;
            // The left side is one deeper from now on.
            self.enter(|_| Ok(()))?;
            self.depth += 1;
            left = self.call(at, None, function, vec![left, right]);
        }
        self.depth = outer;
        Ok(left)
    }

    fn unary(&mut self) -> Parsed<Expr> {
        for (sign, function) in [("!", "!_"), ("-", "-_")] {
            if !self.is(sign) || (sign == "-" && self.before_number()) {
                continue;
            }
            let at = self.here();
            let mut count = 0;
            while self.eat(sign) {
                count += 1;
            }
            let operand = self.member()?;
            if count % 2 == 0 {
                return Ok(operand);
            }
            return Ok(self.call(at, None, function, vec![operand]));
        }
        self.member()
    }

    /// A minus that belongs to the number behind it.
    pub(super) fn before_number(&self) -> bool {
        self.is("-")
            && matches!(
                self.tokens.get(self.at + 1).map(|token| token.kind),
                Some(TokenKind::Int | TokenKind::Float)
            )
    }
}
