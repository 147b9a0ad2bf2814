//! Macros: calls that become folds, tests and conditions before anything is
//! checked. Each is told by its name and the number of its arguments.

use std::sync::Arc;

use super::ast::{Expr, Fold, Item, Kind, Literal, Select};
use super::parser::{Parser, Stop};

/// No name of an expression can be this one.
pub const ACCUMULATOR: &str = "@result";
/// What could be written as the accumulator's name once.
const OLD_ACCUMULATOR: &str = "__result__";
const UNUSED: &str = "#unused";

type Expanded = Result<Expr, Stop>;

/// What `function` becomes: a call, if it is no macro.
pub(super) fn expand(
    parser: &mut Parser<'_>,
    at: usize,
    target: Option<Expr>,
    function: &str,
    mut args: Vec<Expr>,
) -> Expanded {
    let Some(range) = target else {
        return match (function, args.len()) {
            ("has", 1) => has(parser, at, args.remove(0)),
            _ => Ok(parser.call(at, None, function, args)),
        };
    };
    let mut make = Maker { parser, at };
    match (function, args.len()) {
        ("all" | "exists" | "exists_one" | "existsOne", 2 | 3) => {
            make.quantifier(range, function, args)
        }
        ("map", 2 | 3) => make.map(range, args),
        ("filter", 2) => make.filter(range, args),
        ("transformList", 3 | 4) => make.transform(range, args, Transform::List),
        ("transformMap", 3 | 4) => make.transform(range, args, Transform::Values),
        ("transformMapEntry", 3 | 4) => make.transform(range, args, Transform::Entries),
        ("optMap" | "optFlatMap", 2) => make.optional(range, function, args),
        ("sortBy", 2) => make.sort_by(range, args),
        ("bind", 3)
            if make.parser.extended && range.ident().is_some_and(|name| &**name == "cel") =>
        {
            make.bind(args)
        }
        _ => Ok(make.parser.call(at, Some(range), function, args)),
    }
}

fn has(parser: &mut Parser<'_>, at: usize, arg: Expr) -> Expanded {
    match arg.kind {
        Kind::Select(select) if !select.test => {
            Ok(parser.node(at, Kind::Select(Select { test: true, ..select })))
        }
        _ => {
            let at = parser.position(&arg);
            parser.issue(at, "invalid argument to has() macro")
        }
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Transform {
    List,
    Values,
    Entries,
}

/// Makes nodes at the place of the macro.
struct Maker<'p, 'a> {
    parser: &'p mut Parser<'a>,
    at: usize,
}

impl Maker<'_, '_> {
    fn node(&mut self, kind: Kind) -> Expr {
        self.parser.node(self.at, kind)
    }

    fn literal(&mut self, literal: Literal) -> Expr {
        self.node(Kind::Literal(literal))
    }

    fn ident(&mut self, name: &str) -> Expr {
        self.node(Kind::Ident(name.into()))
    }

    fn result(&mut self) -> Expr {
        self.ident(ACCUMULATOR)
    }

    fn call<const N: usize>(&mut self, function: &str, args: [Expr; N]) -> Expr {
        self.parser.call(self.at, None, function, args.into())
    }

    fn list(&mut self, value: Expr) -> Expr {
        self.node(Kind::List(vec![Item { value, optional: false }]))
    }

    /// The name of an iteration variable.
    fn variable(&mut self, arg: &Expr, otherwise: &str) -> Result<Arc<str>, Stop> {
        let at = self.parser.position(arg);
        match arg.ident() {
            None => self.parser.issue(at, otherwise),
            Some(name) if &**name == OLD_ACCUMULATOR => {
                self.parser.issue(at, "iteration variable overwrites accumulator variable")
            }
            Some(name) => Ok(name.clone()),
        }
    }

    /// The variables of a fold, taken off the arguments.
    fn variables(
        &mut self,
        args: &mut Vec<Expr>,
        count: usize,
        otherwise: &str,
    ) -> Result<(Arc<str>, Option<Arc<str>>), Stop> {
        let first = args.remove(0);
        let name = self.variable(&first, otherwise)?;
        if count == 1 {
            return Ok((name, None));
        }
        let second = args.remove(0);
        let other = self.variable(&second, otherwise)?;
        if name == other {
            let at = self.parser.position(&second);
            return self.parser.issue(at, format!("duplicate variable name: {name}"));
        }
        Ok((name, Some(other)))
    }

    fn quantifier(&mut self, range: Expr, function: &str, mut args: Vec<Expr>) -> Expanded {
        let count = args.len() - 1;
        let (first, second) = self.variables(&mut args, count, "argument must be a simple name")?;
        let test = args.remove(0);
        let accumulated = self.result();
        let (init, condition, step, result) = match function {
            "all" => {
                let going = self.result();
                (
                    self.literal(Literal::Bool(true)),
                    self.call("@not_strictly_false", [going]),
                    self.call("_&&_", [accumulated, test]),
                    self.result(),
                )
            }
            "exists" => {
                let found = self.result();
                let going = self.call("!_", [found]);
                (
                    self.literal(Literal::Bool(false)),
                    self.call("@not_strictly_false", [going]),
                    self.call("_||_", [accumulated, test]),
                    self.result(),
                )
            }
            _ => {
                let one = self.literal(Literal::Int(1));
                let more = self.call("_+_", [accumulated, one]);
                let same = self.result();
                let count = self.result();
                let one = self.literal(Literal::Int(1));
                (
                    self.literal(Literal::Int(0)),
                    self.literal(Literal::Bool(true)),
                    self.call("_?_:_", [test, more, same]),
                    self.call("_==_", [count, one]),
                )
            }
        };
        let accumulator = ACCUMULATOR.into();
        let fold = Fold { range, first, second, accumulator, init, condition, step, result };
        Ok(self.node(Kind::Fold(Box::new(fold))))
    }

    /// A fold that collects: `step` is left out where `filter` is false.
    fn collect(
        &mut self,
        range: Expr,
        (first, second): (Arc<str>, Option<Arc<str>>),
        init: Kind,
        step: Expr,
        filter: Option<Expr>,
    ) -> Expr {
        let step = match filter {
            Some(filter) => {
                let same = self.result();
                self.call("_?_:_", [filter, step, same])
            }
            None => step,
        };
        let fold = Fold {
            range,
            first,
            second,
            accumulator: ACCUMULATOR.into(),
            init: self.node(init),
            condition: self.literal(Literal::Bool(true)),
            step,
            result: self.result(),
        };
        self.node(Kind::Fold(Box::new(fold)))
    }

    fn map(&mut self, range: Expr, mut args: Vec<Expr>) -> Expanded {
        let names = self.variables(&mut args, 1, "argument is not an identifier")?;
        let filter = (args.len() == 2).then(|| args.remove(0));
        let value = args.remove(0);
        let (so_far, list) = (self.result(), self.list(value));
        let step = self.call("_+_", [so_far, list]);
        Ok(self.collect(range, names, Kind::List(Vec::new()), step, filter))
    }

    fn filter(&mut self, range: Expr, mut args: Vec<Expr>) -> Expanded {
        let value = args[0].clone();
        let names = self.variables(&mut args, 1, "argument is not an identifier")?;
        let (so_far, list) = (self.result(), self.list(value));
        let step = self.call("_+_", [so_far, list]);
        Ok(self.collect(range, names, Kind::List(Vec::new()), step, Some(args.remove(0))))
    }

    fn transform(&mut self, range: Expr, mut args: Vec<Expr>, what: Transform) -> Expanded {
        let names = self.variables(&mut args, 2, "argument must be a simple name")?;
        let filter = (args.len() == 2).then(|| args.remove(0));
        let value = args.remove(0);
        let so_far = self.result();
        let (init, step) = match what {
            Transform::List => {
                let list = self.list(value);
                (Kind::List(Vec::new()), self.call("_+_", [so_far, list]))
            }
            Transform::Values => {
                let key = self.ident(&names.0);
                (Kind::Map(Vec::new()), self.call("cel.@mapInsert", [so_far, key, value]))
            }
            Transform::Entries => {
                (Kind::Map(Vec::new()), self.call("cel.@mapInsert", [so_far, value]))
            }
        };
        Ok(self.collect(range, names, init, step, filter))
    }

    /// A fold over nothing: `name` is `value` within `result`.
    fn bound(&mut self, name: Arc<str>, value: Expr, result: Expr) -> Expr {
        let fold = Fold {
            range: self.node(Kind::List(Vec::new())),
            first: UNUSED.into(),
            second: None,
            accumulator: name.clone(),
            init: value,
            condition: self.literal(Literal::Bool(false)),
            step: self.ident(&name),
            result,
        };
        self.node(Kind::Fold(Box::new(fold)))
    }

    fn optional(&mut self, target: Expr, function: &str, mut args: Vec<Expr>) -> Expanded {
        let otherwise = format!("{function}() variable name must be a simple identifier");
        let (name, _) = self.variables(&mut args, 1, &otherwise)?;
        let again = self.parser.copy(&target);
        let (at, parser) = (self.at, &mut *self.parser);
        let has = parser.call(at, Some(target), "hasValue", Vec::new());
        let value = parser.call(at, Some(again), "value", Vec::new());
        let mapped = self.bound(name, value, args.remove(0));
        let mapped = if function == "optMap" { self.call("optional.of", [mapped]) } else { mapped };
        let none = self.call("optional.none", []);
        Ok(self.call("_?_:_", [has, mapped, none]))
    }

    fn sort_by(&mut self, list: Expr, args: Vec<Expr>) -> Expanded {
        const INPUT: &str = "@__sortBy_input__";
        let input = self.ident(INPUT);
        let keys = self.map(input, args)?;
        let input = self.ident(INPUT);
        let sorted = self.parser.call(self.at, Some(input), "@sortByAssociatedKeys", vec![keys]);
        Ok(self.bound(INPUT.into(), list, sorted))
    }

    fn bind(&mut self, mut args: Vec<Expr>) -> Expanded {
        let (name, _) =
            self.variables(&mut args, 1, "cel.bind() variable names must be simple identifiers")?;
        let value = args.remove(0);
        Ok(self.bound(name, value, args.remove(0)))
    }
}
