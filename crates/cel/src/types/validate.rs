//! What is wrong with constants: seen before anything is evaluated.

use super::check::Checked;
use super::format::Type;
use crate::issue::Issue;
use crate::library::{duration, printf, regexp, timestamp};
use crate::syntax::ast::{Call, Expr, Id, Kind};

pub fn validate(checked: &Checked) -> Vec<Issue> {
    let mut validator = Validator { checked, issues: Vec::new() };
    validator.walk(&checked.tree.root, false);
    validator.issues
}

struct Validator<'c> {
    checked: &'c Checked,
    issues: Vec<Issue>,
}

impl Validator<'_> {
    fn issue(&mut self, id: Id, message: impl Into<String>) {
        self.issues.push(Issue::new(self.checked.tree.positions[id], message));
    }

    /// Arguments of `format` may be of several types.
    fn walk(&mut self, expr: &Expr, mut mixed: bool) {
        match &expr.kind {
            Kind::Call(call) => {
                self.call(expr.id, call);
                mixed |= &*call.function == "format";
            }
            Kind::List(items) if !mixed => {
                let items = items.iter().map(|item| (&item.value, item.optional));
                self.same(items, true);
            }
            Kind::Map(entries) if !mixed => {
                self.same(entries.iter().map(|entry| (&entry.key, false)), false);
                self.same(entries.iter().map(|entry| (&entry.value, entry.optional)), false);
            }
            _ => {}
        }
        for part in expr.children() {
            self.walk(part, mixed);
        }
    }

    fn same<'e>(&mut self, parts: impl Iterator<Item = (&'e Expr, bool)>, once: bool) {
        let mut wanted: Option<&Type> = None;
        for (part, optional) in parts {
            let mut found = self.checked.type_of(part.id);
            if optional {
                found = found.unwrap_optional().0;
            }
            match wanted {
                None => wanted = Some(found),
                Some(wanted) if wanted == found => {}
                Some(wanted) => {
                    self.issue(part.id, format!("expected type '{wanted}' but found '{found}'"));
                    if once {
                        return;
                    }
                }
            }
        }
    }

    fn call(&mut self, id: Id, call: &Call) {
        let first = call.args.first();
        if let Some(arg) = first
            && let Some(text) = arg.literal_text()
        {
            let wrong = match &*call.function {
                "duration" => duration::parse(text).is_err(),
                "timestamp" => timestamp::parse(text).is_err(),
                "matches" => regexp::compile(text).is_err(),
                _ => false,
            };
            if wrong {
                self.issue(arg.id, format!("invalid {} argument", call.function));
            }
        }
        if &*call.function == "format"
            && let Some(pattern) = call.target.as_ref().and_then(|target| target.literal_text())
            && let Some(Expr { kind: Kind::List(items), .. }) = first
        {
            let args: Vec<&Expr> = items.iter().map(|item| &item.value).collect();
            self.format(id, pattern, &args);
        }
    }

    fn format(&mut self, id: Id, pattern: &str, args: &[&Expr]) {
        let mut used = 0;
        for piece in printf::pieces(pattern) {
            let clause = match piece {
                Ok(printf::Piece::Plain(_)) => continue,
                Ok(printf::Piece::Clause(clause)) if used < args.len() => clause,
                Ok(printf::Piece::Clause(_)) => {
                    return self.issue(id, format!("index {used} out of range"));
                }
                Err(message) if used < args.len() => return self.issue(id, message),
                Err(_) => return self.issue(id, format!("index {used} out of range")),
            };
            let arg = args[used];
            used += 1;
            if let Some((id, of)) = self.unfit(clause, arg) {
                let message = clause.unfit(&of.name());
                return self.issue(id, format!("error during formatting: {message}"));
            }
        }
        if used < args.len() {
            let given = args.len();
            let message = format!(
                "too many arguments supplied to string.format (expected {used}, got {given})"
            );
            self.issue(id, message);
        }
    }

    /// The part of an argument that the clause cannot show.
    fn unfit(&self, clause: printf::Clause, arg: &Expr) -> Option<(Id, Type)> {
        let of = self.checked.type_of(arg.id);
        let fits = match (clause.letter, of) {
            (_, Type::Dyn) => true,
            ('s', Type::Library(_) | Type::Object(_) | Type::Optional(_)) => false,
            ('s', _) => {
                let nested = matches!(arg.kind, Kind::List(_) | Kind::Map(_));
                return arg
                    .children()
                    .into_iter()
                    .filter(|_| nested)
                    .find_map(|part| self.unfit(clause, part));
            }
            ('d' | 'o', Type::Int | Type::Uint) => true,
            ('b', Type::Int | Type::Uint | Type::Bool) => true,
            ('x' | 'X', Type::Int | Type::Uint | Type::Text | Type::Bytes) => true,
            ('f' | 'e', Type::Double | Type::Text) => true,
            _ => false,
        };
        (!fits).then(|| (arg.id, of.clone()))
    }
}
