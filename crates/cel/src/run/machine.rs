//! Runs a plan, and counts what it costs.
//!
//! Errors are values: what does not hang on one absorbs it, as the other side
//! of `||` does. A spent budget is none of those, and ends the run.

use std::sync::Arc;

use super::node::{Call, Entry, Fold, Inserted, Node};
use crate::cost;
use crate::error::EvalError;
use crate::library::Context;
use crate::value::{Entries, List, Map, Value};

pub(super) type Evaluated<'a> = Result<Value<'a>, EvalError>;

pub struct Machine<'a> {
    pub(super) variables: Vec<Option<Value<'a>>>,
    pub(super) slots: Vec<Evaluated<'a>>,
    /// What is left to spend.
    left: u64,
}

// === impl Machine ===

impl<'a> Machine<'a> {
    pub fn new(variables: Vec<Option<Value<'a>>>, slots: usize, left: u64) -> Machine<'a> {
        Machine { variables, slots: vec![Ok(Value::Null); slots], left }
    }

    pub fn left(&self) -> u64 {
        self.left
    }

    pub(super) fn spend(&mut self, cost: u64) -> Result<(), EvalError> {
        match self.left.checked_sub(cost) {
            Some(left) => {
                self.left = left;
                Ok(())
            }
            None => {
                self.left = 0;
                Err(EvalError::Budget)
            }
        }
    }

    pub fn evaluate(&mut self, node: &'a Node) -> Evaluated<'a> {
        match node {
            Node::Constant(value) => Ok(value.clone()),
            Node::Attribute(attribute) => self.attribute(attribute, true),
            Node::And(sides) => self.logic(sides, false),
            Node::Or(sides) => self.logic(sides, true),
            Node::Call(call) => self.call(call),
            Node::Equality { negated, sides } => self.equality(sides, *negated),
            Node::Member { of, among } => {
                let wanted = self.evaluate(of)?;
                match among.as_ref() {
                    Node::Constant(Value::List(list)) => Ok(list.contains(&wanted)?.into()),
                    _ => Err(EvalError::no_such_overload()),
                }
            }
            Node::Or2 { value, sides } => self.or_else(sides, *value),
            Node::List(items) => {
                let mut list = Vec::with_capacity(items.len());
                let made = self.items(items, &mut list);
                self.spend(cost::LIST)?;
                made.map(|()| Value::list(list))
            }
            Node::Map(entries) => self.map(entries),
            Node::Fold(fold) => self.fold(fold),
            Node::NotStrictlyFalse(of) => {
                let value = self.evaluate(of);
                self.spend(1)?;
                match value {
                    Err(EvalError::Budget) => Err(EvalError::Budget),
                    value => Ok(Value::Bool(!matches!(value, Ok(Value::Bool(false))))),
                }
            }
            Node::Push { slot, items, base } => self.push(*slot, items, *base),
            Node::Insert { slot, entry } => self.insert(*slot, entry),
        }
    }

    /// Either side may settle it, whatever the other one is.
    fn logic(&mut self, sides: &'a [Node; 2], settles: bool) -> Evaluated<'a> {
        let mut trouble = None;
        for side in sides {
            match self.evaluate(side).and_then(|value| value.as_bool()) {
                Ok(value) if value == settles => return Ok(Value::Bool(settles)),
                Ok(_) => {}
                Err(EvalError::Budget) => return Err(EvalError::Budget),
                Err(error) => trouble = trouble.or(Some(error)),
            }
        }
        match trouble {
            Some(error) => Err(error),
            None => Ok(Value::Bool(!settles)),
        }
    }

    fn equality(&mut self, sides: &'a [Node; 2], negated: bool) -> Evaluated<'a> {
        let (left, right) = (self.evaluate(&sides[0]), self.evaluate(&sides[1]));
        self.spend(cost::of_equality(&left, &right))?;
        Ok(Value::Bool(left?.equals(&right?)? != negated))
    }

    fn or_else(&mut self, sides: &'a [Node; 2], value: bool) -> Evaluated<'a> {
        match self.evaluate(&sides[0])? {
            Value::Optional(None) => self.evaluate(&sides[1]),
            Value::Optional(Some(inner)) if value => Ok((*inner).clone()),
            some @ Value::Optional(Some(_)) => Ok(some),
            _ => Err(EvalError::no_such_overload()),
        }
    }

    fn call(&mut self, call: &'a Call) -> Evaluated<'a> {
        let mut args = Vec::with_capacity(call.args.len());
        let mut trouble = None;
        for (place, arg) in call.args.iter().enumerate() {
            let last = place + 1 == call.args.len();
            match self.evaluate(arg) {
                Err(EvalError::Budget) => return Err(EvalError::Budget),
                Err(error) if call.in_order && !last => return Err(error),
                Err(error) => {
                    args.push(Value::Null);
                    trouble = trouble.or(Some(error));
                }
                Ok(value) => args.push(value),
            }
        }
        if let Some(error) = trouble {
            // An error is as large as what has no size.
            let result = Err(error);
            self.spend(call.rule.cost(&args, &result))?;
            return result;
        }
        let context = Context { pattern: call.pattern.as_ref(), room: self.left };
        let result = (call.apply)(&context, &args);
        self.spend(call.rule.cost(&args, &result))?;
        result
    }

    fn items(
        &mut self,
        items: &'a [(Node, bool)],
        list: &mut Vec<Value<'a>>,
    ) -> Result<(), EvalError> {
        for (item, optional) in items {
            match (self.evaluate(item)?, optional) {
                (Value::Optional(None), true) => {}
                (Value::Optional(Some(value)), true) => list.push((*value).clone()),
                (value, _) => list.push(value),
            }
        }
        Ok(())
    }

    fn map(&mut self, entries: &'a [Entry]) -> Evaluated<'a> {
        let made = self.entries(entries);
        self.spend(cost::MAP)?;
        Ok(Value::Map(Map::Made(Arc::new(made?))))
    }

    fn entries(&mut self, entries: &'a [Entry]) -> Result<Entries<'a>, EvalError> {
        let mut map = Entries::default();
        for entry in entries {
            let key = self.evaluate(&entry.key)?;
            match (self.evaluate(&entry.value)?, entry.optional) {
                (Value::Optional(None), true) => {}
                (Value::Optional(Some(value)), true) => map.replace(key, (*value).clone())?,
                (value, _) => map.replace(key, value)?,
            }
        }
        Ok(map)
    }

    /// What the slot holds, out of it: whoever changes it puts it back.
    fn take(&mut self, slot: usize) -> Evaluated<'a> {
        std::mem::replace(&mut self.slots[slot], Ok(Value::Null))
    }

    fn push(&mut self, slot: usize, items: &'a [(Node, bool)], base: u64) -> Evaluated<'a> {
        let mut added = Vec::with_capacity(items.len());
        let made = self.items(items, &mut added);
        self.spend(base)?;
        made?;
        match self.take(slot)? {
            Value::List(List::Made(mut list)) => {
                Arc::make_mut(&mut list).extend(added);
                Ok(Value::List(List::Made(list)))
            }
            _ => Err(EvalError::no_such_overload()),
        }
    }

    fn insert(&mut self, slot: usize, entry: &'a Inserted) -> Evaluated<'a> {
        let added = match entry {
            Inserted::Entry(key, value) => vec![(self.evaluate(key)?, self.evaluate(value)?)],
            Inserted::Map(map) => match self.evaluate(map)? {
                Value::Map(map) => map.iter().collect::<Result<_, _>>()?,
                _ => return Err(EvalError::no_such_overload()),
            },
        };
        self.spend(2)?;
        let Value::Map(Map::Made(mut map)) = self.take(slot)? else {
            return Err(EvalError::no_such_overload());
        };
        for (key, value) in added {
            Arc::make_mut(&mut map).insert(key, value)?;
        }
        Ok(Value::Map(Map::Made(map)))
    }
}

// === impl Machine: folds ===

impl<'a> Machine<'a> {
    fn fold(&mut self, fold: &'a Fold) -> Evaluated<'a> {
        let range = self.evaluate(&fold.range)?;
        let init = self.evaluate(&fold.init);
        if is_spent(&init) {
            return init;
        }
        self.slots[fold.accumulator] = init;
        match range {
            Value::List(list) => {
                for index in 0..list.len() {
                    let item = list.get(index);
                    let going = match fold.second {
                        Some(_) => self.round(fold, Ok(Value::Int(index as i64)), Some(item))?,
                        None => self.round(fold, item, None)?,
                    };
                    if !going {
                        break;
                    }
                }
            }
            Value::Map(map) => {
                for key in map.keys() {
                    let value = || map.find(&key).map(|found| found.unwrap_or(Value::Null));
                    let value = fold.second.map(|_| value());
                    if !self.round(fold, Ok(key), value)? {
                        break;
                    }
                }
            }
            _ => return Err(EvalError::no_such_overload()),
        }
        self.evaluate(&fold.result)
    }

    /// One element; false when no further one matters.
    fn round(
        &mut self,
        fold: &'a Fold,
        first: Evaluated<'a>,
        second: Option<Evaluated<'a>>,
    ) -> Result<bool, EvalError> {
        self.slots[fold.first] = first;
        if let (Some(slot), Some(value)) = (fold.second, second) {
            self.slots[slot] = value;
        }
        if !self.evaluate(&fold.condition)?.as_bool()? {
            return Ok(false);
        }
        let step = self.evaluate(&fold.step);
        if is_spent(&step) {
            return Err(EvalError::Budget);
        }
        self.slots[fold.accumulator] = step;
        Ok(true)
    }
}

pub(super) fn is_spent(value: &Evaluated<'_>) -> bool {
    matches!(value, Err(EvalError::Budget))
}
