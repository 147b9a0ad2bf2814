//! A checked tree into a plan.
//!
//! What is constant is computed here: lists and maps of constants, and
//! conversions of one.

use std::sync::Arc;

use super::machine::Machine;
use super::node::{Attribute, Base, Call, Entry, Fold, Inserted, Node, Step, StepKey};
use crate::cost::{self, Rule};
use crate::env::Env;
use crate::error::EvalError;
use crate::library::{self, regexp};
use crate::syntax::ast::{self, Expr, Id, Kind, Literal};
use crate::types::{Checked, Reference};
use crate::value::{Text, Value};

/// What converts its one argument.
const CONVERSIONS: [&str; 10] =
    ["bool", "bytes", "double", "duration", "dyn", "int", "string", "timestamp", "type", "uint"];

#[derive(Debug)]
pub struct Plan {
    pub root: Node,
    /// Places that folds need.
    pub slots: usize,
}

pub fn plan(env: &Env, checked: &Checked) -> Result<Plan, EvalError> {
    let mut planner =
        Planner { env, checked, locals: Vec::new(), slots: 0, accumulators: Vec::new() };
    let root = planner.node(&checked.tree.root)?;
    Ok(Plan { root, slots: planner.slots })
}

struct Planner<'p> {
    env: &'p Env,
    checked: &'p Checked,
    locals: Vec<Arc<str>>,
    slots: usize,
    /// Accumulators whose step is being planned: that step may change them.
    accumulators: Vec<usize>,
}

type Planned = Result<Node, EvalError>;

// === impl Planner ===

impl Planner<'_> {
    fn node(&mut self, expr: &Expr) -> Planned {
        match &expr.kind {
            Kind::Literal(literal) => Ok(Node::Constant(constant(literal))),
            Kind::Ident(name) => Ok(self.ident(expr.id, name)),
            Kind::Select(select) => match self.type_value(expr.id) {
                Some(node) => Ok(node),
                None => {
                    let key = StepKey::Field(Text::Shared(select.field.clone()));
                    let step = Step { key, optional: false };
                    self.attribute(&select.operand, step, select.test)
                }
            },
            Kind::Call(call) => self.call(expr.id, call),
            Kind::List(items) => self.list(items),
            Kind::Map(entries) => self.map(entries),
            Kind::Struct(_) => Err(EvalError::no_such_overload()),
            Kind::Fold(fold) => self.fold(fold),
        }
    }

    fn type_value(&self, id: Id) -> Option<Node> {
        match self.checked.reference(id) {
            Some(Reference::Type(of)) => {
                Some(Node::Constant(Value::Type(of.name().as_str().into())))
            }
            _ => None,
        }
    }

    fn ident(&self, id: Id, name: &str) -> Node {
        if let Some(node) = self.type_value(id) {
            return node;
        }
        let outer = name.strip_prefix('.');
        let local = self.locals.iter().rposition(|local| outer.is_none() && **local == *name);
        let base = match local {
            Some(slot) => Base::Local(slot),
            None => {
                let name = outer.unwrap_or(name);
                let place = self.env.variables().position(|(known, _)| known == name);
                Base::Variable(place.expect("the check found it"), name.into())
            }
        };
        Node::Attribute(Attribute { base, steps: Vec::new(), test: false })
    }

    /// One step further from what `operand` is.
    fn attribute(&mut self, operand: &Expr, step: Step, test: bool) -> Planned {
        let mut attribute = match self.node(operand)? {
            Node::Attribute(attribute) if !attribute.test => attribute,
            other => Attribute { base: Base::Of(Box::new(other)), steps: Vec::new(), test },
        };
        attribute.steps.push(step);
        attribute.test = test;
        Ok(Node::Attribute(attribute))
    }

    fn call(&mut self, id: Id, call: &ast::Call) -> Planned {
        let Some(Reference::Call { function, overloads, named }) = self.checked.reference(id)
        else {
            return Err(EvalError::no_such_overload());
        };
        let exprs: Vec<&Expr> =
            call.target.as_deref().filter(|_| !named).into_iter().chain(&call.args).collect();
        match (function.name, &exprs[..]) {
            ("_[_]" | "_[?_]" | "_?._", [operand, key]) => {
                let optional = function.name != "_[_]";
                let key = match self.node(key)? {
                    Node::Constant(key) => StepKey::Constant(key),
                    key => StepKey::Of(key),
                };
                return self.attribute(operand, Step { key, optional }, false);
            }
            ("_+_", [list, items]) => {
                if let Some(slot) = self.own_accumulator(list)
                    && let Kind::List(items) = &items.kind
                {
                    let items = self.items(items)?;
                    // The name, the addition, and the list that is not made.
                    let base = if is_constant(&items) { 2 } else { 12 };
                    return Ok(Node::Push { slot, items, base });
                }
            }
            ("cel.@mapInsert", [map, inserted @ ..]) => {
                if let Some(slot) = self.own_accumulator(map) {
                    let entry = Box::new(match inserted {
                        [key, value] => Inserted::Entry(self.node(key)?, self.node(value)?),
                        [map] => Inserted::Map(self.node(map)?),
                        _ => return Err(EvalError::no_such_overload()),
                    });
                    return Ok(Node::Insert { slot, entry });
                }
            }
            _ => {}
        }
        let mut args = exprs.iter().map(|arg| self.node(arg)).collect::<Result<Vec<_>, _>>()?;
        let two = |args: Vec<Node>| -> Box<[Node; 2]> {
            Box::new(args.try_into().expect("the signature has two"))
        };
        let overload = match overloads[..] {
            [one] => Some(&function.overloads[one]),
            _ => None,
        };
        Ok(match function.name {
            "_&&_" => Node::And(two(args)),
            "_||_" => Node::Or(two(args)),
            "_?_:_" => {
                let parts = Box::new(args.try_into().expect("the signature has three"));
                let base = Base::Choice(parts);
                Node::Attribute(Attribute { base, steps: Vec::new(), test: false })
            }
            "_==_" => Node::Equality { negated: false, sides: two(args) },
            "_!=_" => Node::Equality { negated: true, sides: two(args) },
            "or" => Node::Or2 { value: false, sides: two(args) },
            "orValue" => Node::Or2 { value: true, sides: two(args) },
            "@not_strictly_false" => Node::NotStrictlyFalse(Box::new(args.remove(0))),
            "@in" if overload.is_some() && is_set(&args[1]) => {
                let [of, among] = *two(args);
                if matches!(&among, Node::Constant(list) if list.size() == 0) {
                    return Ok(Node::Constant(Value::Bool(false)));
                }
                Node::Member { of: Box::new(of), among: Box::new(among) }
            }
            name => {
                let apply = library::find(name).expect("every signature has a function");
                let pattern = match (name, args.get(1)) {
                    ("matches" | "find" | "findAll", Some(Node::Constant(Value::Text(text)))) => {
                        Some(regexp::compile(text).map_err(EvalError::new)?)
                    }
                    _ => None,
                };
                let rule = Rule::of(name, overload);
                let folds = CONVERSIONS.contains(&name) && matches!(args[..], [Node::Constant(_)]);
                let in_order = args.len() > 2 || pattern.is_some() || name == "format";
                let node = Node::Call(Call { apply, args, rule, in_order, pattern });
                return if folds { computed(node) } else { Ok(node) };
            }
        })
    }

    /// The slot of the accumulator whose step this is part of, if `expr` is it.
    fn own_accumulator(&self, expr: &Expr) -> Option<usize> {
        let name = expr.ident()?;
        let slot = self.locals.iter().rposition(|local| local == name)?;
        (self.accumulators.last() == Some(&slot)).then_some(slot)
    }

    fn items(&mut self, items: &[ast::Item]) -> Result<Vec<(Node, bool)>, EvalError> {
        items.iter().map(|item| Ok((self.node(&item.value)?, item.optional))).collect()
    }

    fn list(&mut self, items: &[ast::Item]) -> Planned {
        let items = self.items(items)?;
        let constant = is_constant(&items);
        let node = Node::List(items);
        if constant { computed(node) } else { Ok(node) }
    }

    fn map(&mut self, entries: &[ast::Entry]) -> Planned {
        let entries = entries
            .iter()
            .map(|entry| {
                let (key, value) = (self.node(&entry.key)?, self.node(&entry.value)?);
                Ok(Entry { key, value, optional: entry.optional })
            })
            .collect::<Result<Vec<_>, _>>()?;
        let constant = |node: &Node| matches!(node, Node::Constant(_));
        let all = entries.iter().all(|entry| constant(&entry.key) && constant(&entry.value));
        let node = Node::Map(entries);
        if all { computed(node) } else { Ok(node) }
    }

    fn slot(&mut self, name: &Arc<str>) -> usize {
        self.locals.push(name.clone());
        self.slots = self.slots.max(self.locals.len());
        self.locals.len() - 1
    }

    fn fold(&mut self, fold: &ast::Fold) -> Planned {
        let range = self.node(&fold.range)?;
        let init = self.node(&fold.init)?;
        let outer = self.locals.len();
        let accumulator = self.slot(&fold.accumulator);
        let first = self.slot(&fold.first);
        let second = fold.second.as_ref().map(|name| self.slot(name));
        let condition = self.node(&fold.condition)?;
        self.accumulators.push(accumulator);
        let step = self.node(&fold.step)?;
        self.accumulators.pop();
        self.locals.truncate(outer + 1);
        let result = self.node(&fold.result)?;
        self.locals.truncate(outer);
        let fold = Fold { range, accumulator, first, second, init, condition, step, result };
        Ok(Node::Fold(Box::new(fold)))
    }
}

fn is_constant(items: &[(Node, bool)]) -> bool {
    items.iter().all(|(item, _)| matches!(item, Node::Constant(_)))
}

/// A constant list of what can be looked up.
fn is_set(node: &Node) -> bool {
    let Node::Constant(Value::List(list)) = node else { return false };
    list.iter().all(|item| {
        matches!(
            item,
            Ok(Value::Bool(_) | Value::Int(_) | Value::Uint(_) | Value::Double(_) | Value::Text(_))
        )
    })
}

/// The value of a node that hangs on nothing.
fn computed(node: Node) -> Planned {
    let mut machine = Machine::new(Vec::new(), 0, cost::PER_CALL_MAX);
    // The value of constants borrows from nothing but the node itself, which
    // goes: what it made is shared, and what is text in it is copied.
    let value = machine.evaluate(&node)?;
    Ok(Node::Constant(library::convert::detached(&value)?))
}

fn constant(literal: &Literal) -> Value<'static> {
    match literal {
        Literal::Null => Value::Null,
        Literal::Bool(value) => Value::Bool(*value),
        Literal::Int(value) => Value::Int(*value),
        Literal::Uint(value) => Value::Uint(*value),
        Literal::Double(value) => Value::Double(*value),
        Literal::Text(text) => Value::Text(Text::Shared(text.clone())),
        Literal::Bytes(bytes) => Value::Bytes(bytes.clone()),
    }
}
