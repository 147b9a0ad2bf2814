//! What an expression can cost, before it ran.
//!
//! Follows the counting of the machine node by node, with sizes in the place
//! of values: those that are declared, and what functions make of them.

use super::calls::{Estimate, of_call};
use super::range::Range;
use super::sizes::{Parts, Sizes};
use super::{LIST, MAP};
use crate::env::Env;
use crate::syntax::ast::{Call, Entry, Expr, Fold, Id, Item, Kind, Literal};
use crate::types::{Checked, Reference, Type};

pub fn estimate(env: &Env, checked: &Checked) -> Range {
    let mut estimator = Estimator { checked, sizes: Sizes::new(env, checked) };
    estimator.cost(&checked.tree.root)
}

struct Estimator<'c> {
    checked: &'c Checked,
    sizes: Sizes<'c>,
}

// === impl Estimator ===

impl Estimator<'_> {
    fn cost(&mut self, expr: &Expr) -> Range {
        match &expr.kind {
            Kind::Literal(_) | Kind::Struct(_) => Range::NONE,
            Kind::Ident(name) => {
                let path = self.sizes.path(expr);
                let variable = (!self.sizes.is_local(name)).then_some(name.trim_start_matches('.'));
                self.sizes.set_path(expr.id, path, variable);
                Range::exactly(1)
            }
            Kind::Select(select) if self.is_type(expr.id) => {
                self.sizes.set_path(expr.id, Vec::new(), Some(&select.field));
                Range::exactly(1)
            }
            Kind::Select(select) if select.test => self.cost(&select.operand),
            Kind::Select(select) => {
                let operand = self.cost(&select.operand);
                let path = self.sizes.path(&select.operand);
                self.sizes.set_path(expr.id, path, Some(&select.field));
                let step = match self.sizes.type_of(&select.operand) {
                    Type::Map(..) | Type::Object(_) => 1,
                    Type::Library(library) if !library.is_opaque() => 1,
                    _ => 0,
                };
                operand.plus(Range::exactly(step))
            }
            Kind::Call(call) => self.call(expr, call),
            Kind::List(items) => self.list(expr.id, items),
            Kind::Map(entries) => self.map(expr.id, entries),
            Kind::Fold(fold) => self.fold(expr.id, fold),
        }
    }

    fn is_type(&self, id: Id) -> bool {
        matches!(self.checked.reference(id), Some(Reference::Type(_)))
    }

    fn call(&mut self, expr: &Expr, call: &Call) -> Range {
        if &*call.function == "dyn"
            && let [arg] = &call.args[..]
        {
            let cost = self.cost(arg);
            self.copy_sizes(expr.id, arg);
            return cost.plus(Range::exactly(1));
        }
        let costs: Vec<Range> = call.args.iter().map(|arg| self.cost(arg)).collect();
        let Some(Reference::Call { function, overloads, named }) = self.checked.reference(expr.id)
        else {
            return Range::NONE;
        };
        let target = call.target.as_deref().filter(|_| !named);
        let of_target = target.map_or(Range::NONE, |target| self.cost(target));
        let all = costs.iter().fold(Range::NONE, |all, cost| all.plus(*cost));
        let mut cost = Range { min: u64::MAX, max: 0 };
        let mut size: Option<Range> = None;
        for place in overloads {
            let overload = &function.overloads[*place];
            let one = match function.name {
                "_&&_" | "_||_" => {
                    let max = all.max;
                    Estimate { cost: Range { min: costs[0].min, max }, size: None }
                }
                "_?_:_" => self.choice(expr.id, call, &costs),
                _ => {
                    let one = of_call(&mut self.sizes, function, overload, target, &call.args);
                    self.join_parts(expr.id, function.name, &overload.params, call);
                    Estimate { cost: one.cost.plus(all), size: one.size }
                }
            };
            cost = cost.or(one.cost);
            size = match (size, one.size) {
                (Some(size), Some(one)) => Some(size.or(one)),
                (size, one) => size.or(one),
            };
            if function.name == "_[_]"
                && let [Type::List(_) | Type::Map(..), _] = overload.params[..]
            {
                let operand = &call.args[0];
                size = self.sizes.parts(operand).map(|parts| parts.value);
                let list = matches!(overload.params[0], Type::List(_));
                let path = self.sizes.path(operand);
                let step = if list { "@items" } else { "@values" };
                self.sizes.set_path(expr.id, path, Some(step));
            }
            if size.is_none() {
                size = self.sizes.size(expr);
            }
        }
        self.sizes.set(expr.id, size);
        of_target.plus(cost)
    }

    fn choice(&mut self, id: Id, call: &Call, costs: &[Range]) -> Estimate {
        let (yes, no) = (&call.args[1], &call.args[2]);
        let size = self.sizes.size_or_unknown(yes).or(self.sizes.size_or_unknown(no));
        let parts = match (self.sizes.parts(yes), self.sizes.parts(no)) {
            (Some(yes), Some(no)) => Some(yes.or(no)),
            _ => None,
        };
        self.sizes.set_parts(id, parts);
        Estimate { cost: costs[0].plus(costs[1].or(costs[2])), size: Some(size) }
    }

    /// What is in the sum of two lists is what is in both.
    fn join_parts(&mut self, id: Id, function: &str, params: &[Type], call: &Call) {
        let adds = matches!(params, [Type::List(_), _] | [Type::Text, _] | [Type::Bytes, _]);
        if function == "_+_"
            && adds
            && let (Some(one), Some(other)) =
                (self.sizes.parts(&call.args[0]), self.sizes.parts(&call.args[1]))
        {
            self.sizes.set_parts(id, Some(one.or(other)));
        }
    }

    fn copy_sizes(&mut self, id: Id, from: &Expr) {
        let (size, parts) = (self.sizes.size(from), self.sizes.parts(from));
        self.sizes.set(id, size);
        self.sizes.set_parts(id, parts);
    }

    /// The sizes of parts, of which there may be none.
    fn parts_of<'e>(&mut self, parts: impl Iterator<Item = &'e Expr>) -> Range {
        let all = parts.map(|part| self.sizes.size_or_unknown(part)).reduce(Range::or);
        all.unwrap_or(Range::NONE)
    }

    fn list(&mut self, id: Id, items: &[Item]) -> Range {
        let mut sum = Range::exactly(LIST);
        for item in items {
            sum = sum.plus(self.cost(&item.value));
        }
        let value = self.parts_of(items.iter().map(|item| &item.value));
        self.sizes.set_parts(id, Some(Parts { list: true, key: Range::exactly(1), value }));
        sum
    }

    fn map(&mut self, id: Id, entries: &[Entry]) -> Range {
        let mut sum = Range::exactly(MAP);
        for entry in entries {
            sum = sum.plus(self.cost(&entry.key)).plus(self.cost(&entry.value));
        }
        let key = self.parts_of(entries.iter().map(|entry| &entry.key));
        let value = self.parts_of(entries.iter().map(|entry| &entry.value));
        self.sizes.set_parts(id, Some(Parts { list: false, key, value }));
        sum
    }

    fn fold(&mut self, id: Id, fold: &Fold) -> Range {
        let mut sum = self.cost(&fold.range).plus(self.cost(&fold.init));
        self.sizes.push_local(&fold.accumulator, &fold.init);
        if is_binding(fold) {
            sum = sum.plus(self.cost(&fold.result));
            self.sizes.pop_locals(1);
            self.copy_sizes(id, &fold.result);
            return sum;
        }
        self.sizes.push_range(&fold.first, fold.second.as_ref(), &fold.range);
        let round = self.cost(&fold.condition).plus(self.cost(&fold.step));
        self.sizes.pop_locals(1 + usize::from(fold.second.is_some()));
        sum = sum.plus(self.cost(&fold.result));
        self.sizes.pop_locals(1);
        let rounds = self.sizes.size_or_unknown(&fold.range);
        match &fold.init.kind {
            Kind::Literal(_) => {
                let size = self.sizes.size(&fold.init);
                self.sizes.set(id, size);
            }
            Kind::List(_) | Kind::Map(_) => {
                self.sizes.set(id, Some(rounds));
                let parts = self.sizes.parts(&fold.step);
                self.sizes.set_parts(id, parts);
            }
            _ => {}
        }
        sum.plus(rounds.times(round))
    }
}

/// A fold over nothing, which names a value.
fn is_binding(fold: &Fold) -> bool {
    let nothing = matches!(&fold.range.kind, Kind::List(items) if items.is_empty());
    let never = matches!(fold.condition.kind, Kind::Literal(Literal::Bool(false)));
    nothing && never && &*fold.accumulator != "@result"
}
