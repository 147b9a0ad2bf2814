//! The check: every node gets a type, every call its overloads.

use std::sync::Arc;

use super::format::{Library, Type};
use super::functions::{Function, functions};
use super::unify::{Variables, most_general};
use super::validate;
use crate::env::Env;
use crate::issue::{Issue, Issues};
use crate::syntax::ast::{Call, Entry, Expr, Fold, Id, Item, Kind, Literal, Select, Tree};

/// A tree in which everything is known.
#[derive(Debug)]
pub struct Checked {
    pub tree: Tree,
    types: Vec<Type>,
    references: Vec<Option<Reference>>,
}

/// What a name of the expression stands for.
#[derive(Clone, Debug)]
pub enum Reference {
    /// A type, as a value.
    Type(Type),
    Call {
        function: &'static Function,
        /// Those that may be meant, by their place.
        overloads: Vec<usize>,
        /// The target is part of the name: `sets.contains`.
        named: bool,
    },
}

pub fn check(env: &Env, text: &str, tree: Tree) -> Result<Checked, Issues> {
    let count = tree.positions.len();
    let mut checker = Checker {
        env,
        positions: &tree.positions,
        types: vec![Type::Error; count],
        references: vec![None; count],
        variables: Variables::default(),
        locals: Vec::new(),
        issues: Vec::new(),
    };
    checker.check(&tree.root);
    let Checker { types, references, variables, mut issues, .. } = checker;
    let types = types.iter().map(|of| variables.settle(of)).collect();
    let checked = Checked { tree, types, references };
    if issues.is_empty() {
        issues = validate::validate(&checked);
    }
    if issues.is_empty() { Ok(checked) } else { Err(Issues::new(text, issues)) }
}

// === impl Checked ===

impl Checked {
    pub fn type_of(&self, id: Id) -> &Type {
        &self.types[id]
    }

    pub fn reference(&self, id: Id) -> Option<&Reference> {
        self.references[id].as_ref()
    }

    pub fn result_type(&self) -> &Type {
        self.type_of(self.tree.root.id)
    }
}

struct Checker<'c> {
    env: &'c Env,
    positions: &'c [usize],
    types: Vec<Type>,
    references: Vec<Option<Reference>>,
    variables: Variables,
    locals: Vec<(Arc<str>, Type)>,
    issues: Vec<Issue>,
}

// === impl Checker ===

impl Checker<'_> {
    fn issue(&mut self, id: Id, message: String) {
        self.issues.push(Issue::new(self.positions[id], message));
    }

    fn undeclared(&mut self, id: Id, name: &str) -> Type {
        let name = name.trim_start_matches('.');
        self.issue(id, format!("undeclared reference to '{name}' (in container '')"));
        Type::Error
    }

    fn mismatch(&mut self, id: Id, wanted: &Type, found: &Type) {
        let (wanted, found) = (self.variables.settle(wanted), self.variables.settle(found));
        self.issue(id, format!("expected type '{wanted}' but found '{found}'"));
    }

    fn check(&mut self, expr: &Expr) -> Type {
        let found = match &expr.kind {
            Kind::Literal(literal) => of_literal(literal),
            Kind::Ident(name) => self.ident(expr.id, name),
            Kind::Select(select) => self.select(expr, select),
            Kind::Call(call) => self.call(expr.id, call),
            Kind::List(items) => self.list(items),
            Kind::Map(entries) => self.map(entries),
            Kind::Struct(name) => self.undeclared(expr.id, name),
            Kind::Fold(fold) => self.fold(fold),
        };
        self.types[expr.id] = found.clone();
        found
    }

    fn ident(&mut self, id: Id, name: &str) -> Type {
        let outer = name.strip_prefix('.');
        if outer.is_none()
            && let Some((_, of)) = self.locals.iter().rev().find(|(local, _)| **local == *name)
        {
            return of.clone();
        }
        let name = outer.unwrap_or(name);
        if let Some(decl) = self.env.variable(name) {
            return decl.cel_type();
        }
        match named_type(name) {
            Some(of) => self.type_value(id, of),
            None => self.undeclared(id, name),
        }
    }

    fn type_value(&mut self, id: Id, of: Type) -> Type {
        self.references[id] = Some(Reference::Type(of.clone()));
        Type::Type(Some(Arc::new(of)))
    }

    fn select(&mut self, expr: &Expr, select: &Select) -> Type {
        if let Some(of) = expr.qualified_name().and_then(|name| named_type(&name)) {
            return self.type_value(expr.id, of);
        }
        let field = self.field(expr.id, &select.operand, &select.field, false);
        if select.test { Type::Bool } else { field }
    }

    fn field(&mut self, id: Id, operand: &Expr, name: &str, optional: bool) -> Type {
        let operand = self.check(operand);
        let operand = self.variables.resolve(&operand);
        let (target, was_optional) = operand.unwrap_optional();
        let found = match target {
            Type::Map(_, values) => (**values).clone(),
            Type::Object(object) => match self.env.field(object, name) {
                Some(field) => field.decl.cel_type(),
                None => {
                    self.issue(id, format!("undefined field '{name}'"));
                    Type::Error
                }
            },
            Type::Library(library) if !library.is_opaque() => {
                self.issue(id, format!("undefined field '{name}'"));
                Type::Error
            }
            Type::Param(_) => {
                self.variables.assign(&Type::Dyn, target);
                Type::Dyn
            }
            Type::Dyn | Type::Error => Type::Dyn,
            other => {
                self.issue(id, format!("type '{other}' does not support field selection"));
                Type::Dyn
            }
        };
        let found = self.variables.resolve(&found);
        if was_optional || optional { Type::optional(found) } else { found }
    }

    fn call(&mut self, id: Id, call: &Call) -> Type {
        let known = functions(self.env.features());
        if &*call.function == "_?._"
            && let [operand, field] = &call.args[..]
        {
            let name = field.literal_text().expect("the parser makes it of a name");
            self.types[field.id] = Type::Text;
            let function = &known["_?._"];
            self.references[id] =
                Some(Reference::Call { function, overloads: vec![0], named: false });
            return self.field(id, operand, name, true);
        }
        for arg in &call.args {
            self.check(arg);
        }
        let name = call.function.trim_start_matches('.');
        let Some(target) = &call.target else {
            let Some(function) = known.get(name) else { return self.undeclared(id, name) };
            return self.overload(id, function, None, &call.args, false);
        };
        if let Some(prefix) = target.qualified_name() {
            let prefix = prefix.trim_start_matches('.');
            if let Some(function) = known.get(format!("{prefix}.{name}").as_str()) {
                return self.overload(id, function, None, &call.args, true);
            }
        }
        self.check(target);
        let Some(function) = known.get(name) else { return self.undeclared(id, name) };
        self.overload(id, function, Some(target), &call.args, false)
    }

    /// Which overloads fit. All that do are kept: with `dyn` they may be many,
    /// and the values decide.
    fn overload(
        &mut self,
        id: Id,
        function: &'static Function,
        target: Option<&Expr>,
        args: &[Expr],
        named: bool,
    ) -> Type {
        let given: Vec<Type> =
            target.into_iter().chain(args).map(|arg| self.types[arg.id].clone()).collect();
        if matches!(function.name, "_&&_" | "_||_") {
            return self.logic(id, function, args, &given);
        }
        let mut overloads = Vec::new();
        let mut result: Option<Type> = None;
        for (place, overload) in function.overloads.iter().enumerate() {
            if overload.method != target.is_some() {
                continue;
            }
            let mut letters = Vec::new();
            let params: Vec<Type> =
                overload.params.iter().map(|param| self.fresh(param, &mut letters)).collect();
            let returns = self.fresh(&overload.result, &mut letters);
            if !self.variables.assign_all(&given, &params) {
                continue;
            }
            overloads.push(place);
            let returns = self.variables.resolve(&returns);
            result = Some(match result {
                None => returns,
                Some(before) if before == Type::Dyn || before == returns => before,
                Some(_) => Type::Dyn,
            });
        }
        let Some(result) = result else {
            let mut given: Vec<String> =
                given.iter().map(|of| self.variables.settle(of).to_string()).collect();
            let receiver = target.map(|_| format!("{}.", given.remove(0))).unwrap_or_default();
            let (name, given) = (function.name, given.join(", "));
            let message =
                format!("found no matching overload for '{name}' applied to '{receiver}({given})'");
            self.issue(id, message);
            return Type::Error;
        };
        self.references[id] = Some(Reference::Call { function, overloads, named });
        result
    }

    fn logic(
        &mut self,
        id: Id,
        function: &'static Function,
        args: &[Expr],
        given: &[Type],
    ) -> Type {
        let mut fits = true;
        for (arg, given) in args.iter().zip(given) {
            if !self.variables.assign(given, &Type::Bool) {
                self.mismatch(arg.id, &Type::Bool, given);
                fits = false;
            }
        }
        self.references[id] = Some(Reference::Call { function, overloads: vec![0], named: false });
        if fits { Type::Bool } else { Type::Error }
    }

    /// The type with a new variable for each of its letters.
    fn fresh(&mut self, of: &Type, letters: &mut Vec<(u32, Type)>) -> Type {
        match of {
            Type::Param(letter) => match letters.iter().find(|(known, _)| known == letter) {
                Some((_, variable)) => variable.clone(),
                None => {
                    let variable = self.variables.fresh();
                    letters.push((*letter, variable.clone()));
                    variable
                }
            },
            Type::List(of) => Type::list(self.fresh(of, letters)),
            Type::Optional(of) => Type::optional(self.fresh(of, letters)),
            Type::Map(key, value) => {
                Type::map(self.fresh(key, letters), self.fresh(value, letters))
            }
            Type::Type(Some(of)) => Type::Type(Some(Arc::new(self.fresh(of, letters)))),
            other => other.clone(),
        }
    }

    /// The type of an element that may be left out.
    fn optional_part(&mut self, expr: &Expr, optional: bool) -> Type {
        let found = self.check(expr);
        if !optional {
            return found;
        }
        let found = self.variables.resolve(&found);
        let (inner, was_optional) = found.unwrap_optional();
        if !was_optional && !inner.is_dyn_or_error() {
            self.mismatch(expr.id, &Type::optional(inner.clone()), inner);
        }
        inner.clone()
    }

    /// What both are, `dyn` if they have nothing in common.
    fn join(&mut self, before: Option<Type>, now: Type) -> Option<Type> {
        Some(match before {
            None => now,
            Some(before) if self.variables.assign(&before, &now) => {
                most_general(&before, &now).clone()
            }
            Some(_) => Type::Dyn,
        })
    }

    fn list(&mut self, items: &[Item]) -> Type {
        let mut of = None;
        for item in items {
            let found = self.optional_part(&item.value, item.optional);
            of = self.join(of, found);
        }
        Type::list(of.unwrap_or_else(|| self.variables.fresh()))
    }

    fn map(&mut self, entries: &[Entry]) -> Type {
        let (mut keys, mut values) = (None, None);
        for entry in entries {
            let key = self.check(&entry.key);
            keys = self.join(keys, key);
            let value = self.optional_part(&entry.value, entry.optional);
            values = self.join(values, value);
        }
        let keys = keys.unwrap_or_else(|| self.variables.fresh());
        Type::map(keys, values.unwrap_or_else(|| self.variables.fresh()))
    }

    fn fold(&mut self, fold: &Fold) -> Type {
        let range = self.check(&fold.range);
        let accumulated = self.check(&fold.init);
        let range = self.variables.resolve(&range);
        let two = fold.second.is_some();
        let (first, second) = match &range {
            Type::List(of) if two => (Type::Int, (**of).clone()),
            Type::List(of) => ((**of).clone(), Type::Error),
            Type::Map(key, value) => ((**key).clone(), (**value).clone()),
            Type::Dyn | Type::Error | Type::Param(_) => {
                self.variables.assign(&Type::Dyn, &range);
                (Type::Dyn, Type::Dyn)
            }
            other => {
                let message = format!(
                    "expression of type '{other}' cannot be range of a comprehension (must be list, map, or dynamic)"
                );
                self.issue(fold.range.id, message);
                (Type::Error, Type::Error)
            }
        };
        let outer = self.locals.len();
        self.locals.push((fold.accumulator.clone(), accumulated.clone()));
        self.locals.push((fold.first.clone(), first));
        if let Some(name) = &fold.second {
            self.locals.push((name.clone(), second));
        }
        let condition = self.check(&fold.condition);
        self.want(&fold.condition, &Type::Bool, &condition);
        let step = self.check(&fold.step);
        self.want(&fold.step, &accumulated, &step);
        self.locals.truncate(outer + 1);
        let result = self.check(&fold.result);
        self.locals.truncate(outer);
        self.variables.resolve(&result)
    }

    fn want(&mut self, expr: &Expr, wanted: &Type, found: &Type) {
        if !self.variables.assign(wanted, found) {
            self.mismatch(expr.id, wanted, found);
        }
    }
}

fn of_literal(literal: &Literal) -> Type {
    match literal {
        Literal::Null => Type::Null,
        Literal::Bool(_) => Type::Bool,
        Literal::Int(_) => Type::Int,
        Literal::Uint(_) => Type::Uint,
        Literal::Double(_) => Type::Double,
        Literal::Text(_) => Type::Text,
        Literal::Bytes(_) => Type::Bytes,
    }
}

/// Types that expressions can name.
fn named_type(name: &str) -> Option<Type> {
    Some(match name.strip_prefix('.').unwrap_or(name) {
        "bool" => Type::Bool,
        "bytes" => Type::Bytes,
        "double" => Type::Double,
        "int" => Type::Int,
        "uint" => Type::Uint,
        "string" => Type::Text,
        "null_type" => Type::Null,
        "type" => Type::Type(None),
        "list" => Type::list(Type::Dyn),
        "map" => Type::map(Type::Dyn, Type::Dyn),
        "optional_type" => Type::optional(Type::Dyn),
        "google.protobuf.Duration" => Type::Duration,
        "google.protobuf.Timestamp" => Type::Timestamp,
        "net.IP" => Type::Library(Library::Ip),
        "net.CIDR" => Type::Library(Library::Cidr),
        _ => return None,
    })
}
