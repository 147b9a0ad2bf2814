//! `allOf`, `anyOf`, `oneOf` and `not`.

use resources::FieldError;
use serde_json::Value;

use super::{NOWHERE, value};
use crate::{Clause, Junctors, path::Step};

/// What one clause says: its complaints, and how much of the value it looked
/// at. Of several that fail, the one that fits best is shown.
struct Verdict {
    errors: Vec<FieldError>,
    looked: usize,
}

pub(super) fn junctors(
    junctors: &Junctors,
    value: &Value,
    at: &Step<'_>,
    errors: &mut Vec<FieldError>,
) {
    let complain = |errors: &mut Vec<FieldError>, text: &str| {
        let detail = format!("{:?} must {text}", at.dotted());
        errors.push(FieldError::invalid(NOWHERE, "", detail));
    };
    if !junctors.any.is_empty() {
        let mut best = None;
        if !junctors.any.iter().any(|clause| better(&mut best, judge(clause, value, at))) {
            complain(errors, "validate at least one schema (anyOf)");
            errors.extend(best.map(|verdict| verdict.errors).unwrap_or_default());
        }
    }
    if !junctors.one.is_empty() {
        let mut best = None;
        let verdicts = junctors.one.iter().map(|clause| judge(clause, value, at));
        let valid = verdicts.filter_map(|v| better(&mut best, v).then_some(())).count();
        let found = match valid {
            0 => "Found none valid".to_owned(),
            several => format!("Found {several} valid alternatives"),
        };
        if valid != 1 {
            complain(errors, &format!("validate one and only one schema (oneOf). {found}"));
        }
        if valid == 0 {
            errors.extend(best.map(|verdict| verdict.errors).unwrap_or_default());
        }
    }
    if !junctors.all.is_empty() {
        let verdicts = junctors.all.iter().map(|clause| judge(clause, value, at).errors);
        let failed: Vec<Vec<FieldError>> = verdicts.filter(|errors| !errors.is_empty()).collect();
        let (failures, clauses) = (failed.len(), junctors.all.len());
        errors.extend(failed.into_iter().flatten());
        if failures > 0 {
            let none = if failures == clauses { ". None validated" } else { "" };
            complain(errors, &format!("validate all the schemas (allOf){none}"));
        }
    }
    if junctors.not.as_ref().is_some_and(|clause| judge(clause, value, at).errors.is_empty()) {
        complain(errors, "not validate the schema (not)");
    }
    implied(&junctors.implied, value, at, errors);
}

/// Clauses that hold without a word about themselves.
pub(super) fn implied(
    clauses: &[Clause],
    value: &Value,
    at: &Step<'_>,
    errors: &mut Vec<FieldError>,
) {
    errors.extend(clauses.iter().flat_map(|clause| judge(clause, value, at).errors));
}

/// Whether the verdict is a yes; a no is kept when it is the best so far.
fn better(best: &mut Option<Verdict>, verdict: Verdict) -> bool {
    let yes = verdict.errors.is_empty();
    if !yes && best.as_ref().is_none_or(|best| verdict.looked > best.looked) {
        *best = Some(verdict);
    }
    yes
}

fn judge(clause: &Clause, value: &Value, at: &Step<'_>) -> Verdict {
    let mut verdict = Verdict { errors: Vec::new(), looked: 1 };
    let errors = &mut verdict.errors;
    if let Some(kind) = &clause.kind {
        value::typed(kind, None, false, value, at, errors);
    }
    if !value.is_null() {
        if let Some(inner) = &clause.checks.junctors {
            junctors(inner, value, at, errors);
        }
        value::scalar(&clause.checks, None, value, at, errors);
    }
    if let (Some(items), Value::Array(list)) = (&clause.items, value) {
        for (index, item) in list.iter().enumerate() {
            let inner = judge(items, item, &at.index(index));
            verdict.looked += inner.looked;
            verdict.errors.extend(inner.errors);
        }
    }
    value::collection(&clause.checks, value, at, &mut verdict.errors);
    if let Value::Object(map) = value {
        for (name, clause) in &clause.fields {
            let Some(value) = map.get(&**name) else { continue };
            let inner = judge(clause, value, &at.field(name));
            verdict.looked += inner.looked;
            verdict.errors.extend(inner.errors);
        }
        for name in clause.required.iter().filter(|name| !map.contains_key(&***name)) {
            verdict.errors.push(FieldError::required(at.field(name).dotted(), ""));
        }
    }
    verdict
}
