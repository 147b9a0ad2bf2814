//! A text that was compiled: checked, planned, ready to run.

use std::fmt;

use serde_json::Value as Json;

use crate::cost::{self, Range};
use crate::env::Env;
use crate::error::{CompileError, EvalError};
use crate::run::machine::Machine;
use crate::run::plan::{Plan, plan};
use crate::stack::with_room;
use crate::syntax::ast::{Expr, Kind};
use crate::types::{Checked, Decl, Type};
use crate::value::Value;

/// Shared by all who evaluate it.
pub struct Program {
    env: Env,
    checked: Checked,
    plan: Plan,
    /// Nested so deeply that walks of it take a stack of their own.
    deep: bool,
}

/// Nodes below each other that fit on the stack of any task.
const SHALLOW_DEPTH_MAX: usize = 60;

/// The values of variables, for one evaluation or several.
#[derive(Clone, Debug, Default)]
pub struct Bindings<'a> {
    values: Vec<(&'a str, Bound<'a>)>,
}

#[derive(Clone, Debug)]
enum Bound<'a> {
    /// Read as the variable is declared.
    Json(&'a Json),
    /// The same, in an optional that may be empty.
    Maybe(Option<&'a Json>),
    Value(Value<'a>),
}

/// What may still be spent: by one evaluation, and by all together.
#[derive(Clone, Debug)]
pub struct Budget {
    per_call: u64,
    left: u64,
}

// === impl Program ===

impl Program {
    pub(crate) fn new(env: Env, checked: Checked) -> Result<Program, CompileError> {
        let plan = plan(&env, &checked).map_err(CompileError::Constant)?;
        let deep = checked.tree.root.is_deeper_than(SHALLOW_DEPTH_MAX);
        Ok(Program { env, checked, plan, deep })
    }

    #[must_use]
    pub fn result_type(&self) -> &Type {
        self.checked.result_type()
    }

    /// Whether the variable is named anywhere.
    #[must_use]
    pub fn uses(&self, variable: &str) -> bool {
        fn within(expr: &Expr, variable: &str) -> bool {
            let named = match &expr.kind {
                Kind::Ident(name) => name.trim_start_matches('.') == variable,
                _ => false,
            };
            named || expr.children().into_iter().any(|part| within(part, variable))
        }
        with_room(self.deep, || within(&self.checked.tree.root, variable))
    }

    /// What an evaluation costs at least and at most, whatever the data.
    #[must_use]
    pub fn estimate(&self) -> Range {
        with_room(self.deep, || cost::estimate(&self.env, &self.checked))
    }

    pub fn evaluate<'a>(
        &'a self,
        bindings: &Bindings<'a>,
        budget: &mut Budget,
    ) -> Result<Value<'a>, EvalError> {
        let variables = self
            .env
            .variables()
            .map(|(name, decl)| bindings.find(name).map(|bound| bound.read(decl)).transpose())
            .collect::<Result<Vec<_>, _>>()?;
        let limit = budget.per_call.min(budget.left);
        let mut machine = Machine::new(variables, self.plan.slots, limit);
        let value = with_room(self.deep, || machine.evaluate(&self.plan.root));
        budget.left -= limit - machine.left();
        value
    }

    /// The same for programs that give a bool.
    pub fn holds(&self, bindings: &Bindings<'_>, budget: &mut Budget) -> Result<bool, EvalError> {
        self.evaluate(bindings, budget)?.as_bool()
    }
}

impl fmt::Debug for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Program").field("result", self.result_type()).finish_non_exhaustive()
    }
}

// === impl Bindings ===

impl<'a> Bindings<'a> {
    #[must_use]
    pub fn new() -> Bindings<'a> {
        Bindings::default()
    }

    /// A variable whose value is JSON, read as it is declared.
    #[must_use]
    pub fn json(mut self, name: &'a str, value: &'a Json) -> Bindings<'a> {
        self.values.push((name, Bound::Json(value)));
        self
    }

    /// A variable that is an optional.
    #[must_use]
    pub fn maybe(mut self, name: &'a str, value: Option<&'a Json>) -> Bindings<'a> {
        self.values.push((name, Bound::Maybe(value)));
        self
    }

    fn find(&self, name: &str) -> Option<&Bound<'a>> {
        self.values.iter().rev().find(|(known, _)| *known == name).map(|(_, bound)| bound)
    }

    #[must_use]
    pub fn value(mut self, name: &'a str, value: Value<'a>) -> Bindings<'a> {
        self.values.push((name, Bound::Value(value)));
        self
    }
}

// === impl Bound ===

impl<'a> Bound<'a> {
    fn read(&self, decl: &'a Decl) -> Result<Value<'a>, EvalError> {
        match self {
            Bound::Json(json) => Value::read(json, decl),
            Bound::Maybe(None) => Ok(Value::Optional(None)),
            Bound::Maybe(Some(json)) => Value::read(json, decl),
            Bound::Value(value) => Ok(value.clone()),
        }
    }
}

// === impl Budget ===

impl Budget {
    /// For one evaluation.
    #[must_use]
    pub fn per_call() -> Budget {
        Budget::of(cost::PER_CALL_MAX)
    }

    /// For all rules of one object, each with its own bound.
    #[must_use]
    pub fn per_object() -> Budget {
        Budget { per_call: cost::PER_CALL_MAX, left: cost::PER_OBJECT_MAX }
    }

    #[must_use]
    pub fn of(cost: u64) -> Budget {
        Budget { per_call: cost, left: cost }
    }

    #[must_use]
    pub fn left(&self) -> u64 {
        self.left
    }

    /// Spent to the last: no further evaluation is worth its beginning.
    #[must_use]
    pub fn is_spent(&self) -> bool {
        self.left == 0
    }
}
