//! How large the values of an expression can be.

use std::collections::HashMap;
use std::sync::Arc;

use super::range::Range;
use crate::env::Env;
use crate::syntax::ast::{Expr, Id, Kind, Literal};
use crate::types::{Checked, Type};
use crate::value::characters;

/// Where a value lies: a variable, and the fields below it.
pub type Path = Vec<Arc<str>>;

/// The sizes of what is in a list or map.
#[derive(Clone, Copy, Debug)]
pub struct Parts {
    pub list: bool,
    pub key: Range,
    pub value: Range,
}

/// A variable of a fold.
struct Local {
    name: Arc<str>,
    path: Path,
    size: Option<Range>,
    parts: Option<Parts>,
}

/// What is known of sizes so far.
pub struct Sizes<'c> {
    env: &'c Env,
    checked: &'c Checked,
    paths: HashMap<Id, Path>,
    known: HashMap<Id, Range>,
    parts: HashMap<Id, Parts>,
    locals: Vec<Local>,
}

// === impl Parts ===

impl Parts {
    pub fn or(self, other: Parts) -> Parts {
        Parts { key: self.key.or(other.key), value: self.value.or(other.value), ..self }
    }
}

// === impl Sizes ===

impl<'c> Sizes<'c> {
    pub fn new(env: &'c Env, checked: &'c Checked) -> Sizes<'c> {
        Sizes {
            env,
            checked,
            paths: HashMap::new(),
            known: HashMap::new(),
            parts: HashMap::new(),
            locals: Vec::new(),
        }
    }

    pub fn type_of(&self, expr: &Expr) -> &'c Type {
        self.checked.type_of(expr.id)
    }

    fn local(&self, name: &str) -> Option<&Local> {
        self.locals.iter().rev().find(|local| *local.name == *name)
    }

    pub fn path(&self, expr: &Expr) -> Path {
        if let Some(local) = expr.ident().and_then(|name| self.local(name)) {
            return local.path.clone();
        }
        self.paths.get(&expr.id).cloned().unwrap_or_default()
    }

    pub fn set_path(&mut self, id: Id, mut base: Path, step: Option<&str>) {
        base.extend(step.map(Into::into));
        self.paths.insert(id, base);
    }

    pub fn set(&mut self, id: Id, size: Option<Range>) {
        if let Some(size) = size {
            self.known.insert(id, size);
        }
    }

    pub fn set_parts(&mut self, id: Id, parts: Option<Parts>) {
        if let Some(parts) = parts {
            self.parts.insert(id, parts);
        }
    }

    pub fn parts(&self, expr: &Expr) -> Option<Parts> {
        let known = self.parts.get(&expr.id).copied();
        known.or_else(|| expr.ident().and_then(|name| self.local(name)).and_then(|l| l.parts))
    }

    /// What is declared for a place. One that lies nowhere is not declared;
    /// what has no size has a size of nothing. A place that begins at no
    /// variable is taken for one below the first, as Kubernetes does.
    pub fn declared(&self, path: &[Arc<str>]) -> Option<Range> {
        let (variable, below) = path.split_first()?;
        let first = || self.env.variables().next().map(|(_, decl)| decl);
        let decl = self.env.variable(variable).or_else(first)?.at(below)?;
        Some(Range { min: 0, max: decl.elements_max })
    }

    pub fn size(&mut self, expr: &Expr) -> Option<Range> {
        if let Some(known) = self.known.get(&expr.id) {
            return Some(*known);
        }
        if let Some(literal) = of_literal(expr) {
            return Some(literal);
        }
        if let Some(declared) = self.declared(&self.path(expr)) {
            self.known.insert(expr.id, declared);
            return Some(declared);
        }
        if self.type_of(expr).is_scalar() {
            return Some(Range::exactly(1));
        }
        expr.ident().and_then(|name| self.local(name)).and_then(|local| local.size)
    }

    pub fn size_or_unknown(&mut self, expr: &Expr) -> Range {
        self.size(expr).unwrap_or(Range::UNKNOWN)
    }

    /// The size of what is in a list: as the place it lies at is declared.
    pub fn element(&self, list: &Expr) -> Range {
        let mut path = self.path(list);
        if path.is_empty() {
            return Range::UNKNOWN;
        }
        path.push("@items".into());
        self.declared(&path).unwrap_or(Range::UNKNOWN)
    }

    /// A variable that is `value`.
    pub fn push_local(&mut self, name: &Arc<str>, value: &Expr) {
        let (path, parts) = (self.path(value), self.parts(value));
        let size = self.size(value);
        self.locals.push(Local { name: name.clone(), path, size, parts });
    }

    /// The variables of a fold over `range`.
    pub fn push_range(&mut self, first: &Arc<str>, second: Option<&Arc<str>>, range: &Expr) {
        let parts = self.parts(range);
        let list = match parts {
            Some(parts) => parts.list,
            None => matches!(self.type_of(range), Type::List(_)),
        };
        let (keys, values) = if list { ("@indices", "@items") } else { ("@keys", "@values") };
        let (key, value) = (parts.map(|parts| parts.key), parts.map(|parts| parts.value));
        let of_first = match second {
            None if list => (values, value),
            _ => (keys, key),
        };
        let of_second = second.map(|name| (name, (values, value)));
        for (name, (step, size)) in [(first, of_first)].into_iter().chain(of_second) {
            let mut path = self.path(range);
            path.push(step.into());
            self.locals.push(Local { name: name.clone(), path, size, parts: None });
        }
    }

    pub fn pop_locals(&mut self, count: usize) {
        self.locals.truncate(self.locals.len() - count);
    }

    pub fn is_local(&self, name: &str) -> bool {
        self.local(name).is_some()
    }
}

/// The size of what is written out.
fn of_literal(expr: &Expr) -> Option<Range> {
    Some(Range::exactly(match &expr.kind {
        Kind::Literal(Literal::Text(text)) => characters(text),
        Kind::Literal(Literal::Bytes(bytes)) => bytes.len() as u64,
        Kind::Literal(_) => 1,
        Kind::List(items) => items.len() as u64,
        Kind::Map(entries) => entries.len() as u64,
        _ => return None,
    }))
}
