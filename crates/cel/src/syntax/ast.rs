//! The tree of an expression.
//!
//! Operators are calls of functions with CEL's own names for them (`_+_`,
//! `_?_:_`, `@in`), macros are folds.

use std::sync::Arc;

/// Numbers the nodes of one tree; what is found out about a node stands in
/// tables by its number.
pub type Id = usize;

#[derive(Clone, Debug)]
pub struct Expr {
    pub id: Id,
    pub kind: Kind,
}

#[derive(Clone, Debug)]
pub enum Kind {
    Literal(Literal),
    Ident(Arc<str>),
    Select(Select),
    Call(Call),
    List(Vec<Item>),
    Map(Vec<Entry>),
    /// A message with its fields; only its name is kept, no message is known.
    Struct(Arc<str>),
    Fold(Box<Fold>),
}

#[derive(Clone, Debug, PartialEq)]
pub enum Literal {
    Null,
    Bool(bool),
    Int(i64),
    Uint(u64),
    Double(f64),
    Text(Arc<str>),
    Bytes(Arc<[u8]>),
}

#[derive(Clone, Debug)]
pub struct Select {
    pub operand: Box<Expr>,
    pub field: Arc<str>,
    /// `has(operand.field)`.
    pub test: bool,
}

#[derive(Clone, Debug)]
pub struct Call {
    pub target: Option<Box<Expr>>,
    pub function: Arc<str>,
    pub args: Vec<Expr>,
}

#[derive(Clone, Debug)]
pub struct Item {
    pub value: Expr,
    /// `[?value]`: left out when it is none.
    pub optional: bool,
}

#[derive(Clone, Debug)]
pub struct Entry {
    pub key: Expr,
    pub value: Expr,
    pub optional: bool,
}

/// Goes over a range with an accumulator.
#[derive(Clone, Debug)]
pub struct Fold {
    pub range: Expr,
    pub first: Arc<str>,
    /// With a second variable the first is the index or key.
    pub second: Option<Arc<str>>,
    pub accumulator: Arc<str>,
    pub init: Expr,
    pub condition: Expr,
    pub step: Expr,
    pub result: Expr,
}

/// A tree, and where its nodes stand in the text.
#[derive(Debug)]
pub struct Tree {
    pub root: Expr,
    /// Byte offsets, by number.
    pub positions: Vec<usize>,
}

// === impl Expr ===

impl Expr {
    pub fn literal_text(&self) -> Option<&Arc<str>> {
        match &self.kind {
            Kind::Literal(Literal::Text(text)) => Some(text),
            _ => None,
        }
    }

    pub fn ident(&self) -> Option<&Arc<str>> {
        match &self.kind {
            Kind::Ident(name) => Some(name),
            _ => None,
        }
    }

    /// `a.b.c` as one name.
    pub fn qualified_name(&self) -> Option<String> {
        match &self.kind {
            Kind::Ident(name) => Some(name.to_string()),
            Kind::Select(select) if !select.test => {
                Some(format!("{}.{}", select.operand.qualified_name()?, select.field))
            }
            _ => None,
        }
    }

    pub fn is_deeper_than(&self, depth: usize) -> bool {
        depth == 0 || self.children().into_iter().any(|part| part.is_deeper_than(depth - 1))
    }

    /// The parts, in the order in which they are evaluated.
    pub fn children(&self) -> Vec<&Expr> {
        match &self.kind {
            Kind::Literal(_) | Kind::Ident(_) | Kind::Struct(_) => Vec::new(),
            Kind::Select(select) => vec![&*select.operand],
            Kind::Call(call) => call.target.as_deref().into_iter().chain(&call.args).collect(),
            Kind::List(items) => items.iter().map(|item| &item.value).collect(),
            Kind::Map(entries) => {
                entries.iter().flat_map(|entry| [&entry.key, &entry.value]).collect()
            }
            Kind::Fold(fold) => {
                vec![&fold.range, &fold.init, &fold.condition, &fold.step, &fold.result]
            }
        }
    }
}
