//! Rules for one value: its type, its text, its number, its size.

use resources::FieldError;
use serde_json::{Number, Value};

use super::NOWHERE;
use crate::{Checks, Schema, Shape, format, path::Step};

/// Whether the value has the type of the schema.
pub(super) fn kind(schema: &Schema, value: &Value, at: &Step<'_>, errors: &mut Vec<FieldError>) {
    let wanted = match &schema.shape {
        Shape::Any | Shape::Named(_) => return,
        Shape::Text(_) => "string",
        Shape::Integer(_) => "integer",
        Shape::Number => "number",
        Shape::Boolean => "boolean",
        Shape::IntOrText => "integer,string",
        Shape::Object(_) => "object",
        Shape::List(_) => "array",
    };
    let format = schema.checks.as_ref().and_then(|checks| checks.format.as_deref());
    typed(wanted, format, schema.nullable, value, at, errors);
    if let (Shape::Integer(32), Value::Number(number)) = (&schema.shape, value)
        && number.as_i64().is_some_and(|number| i32::try_from(number).is_err())
    {
        let at = at.dotted();
        let detail = format!("Checked value must be of type integer with format int32 in {at}");
        errors.push(FieldError::invalid(NOWHERE, "", detail));
    }
}

/// `wanted` is one type, or several with commas between.
pub(super) fn typed(
    wanted: &str,
    format: Option<&str>,
    nullable: bool,
    value: &Value,
    at: &Step<'_>,
    errors: &mut Vec<FieldError>,
) {
    let found = match value {
        Value::Null if nullable => return,
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if is_integer(number) => "integer",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    if wanted.split(',').any(|wanted| wanted == found || (wanted, found) == ("number", "integer")) {
        return;
    }
    // Of values that are no text, the format is named instead of the type.
    let format = format.filter(|format| is_known(wanted, format));
    let (wanted, found) = match (format, value) {
        (Some(format), Value::Number(number)) if number.is_f64() => (format, "float64"),
        (Some(format), Value::Number(_)) => (format, "int64"),
        (Some(format), Value::Bool(_) | Value::Object(_)) => (format, ""),
        _ => (wanted, found),
    };
    let at = at.dotted();
    let detail = format!("{at} in body must be of type {wanted}: {found:?}");
    errors.push(FieldError::type_invalid(at, found, detail));
}

/// Text and number rules; they apply where the value is one. `shape` is that
/// of the schema, for which formats count.
pub(super) fn scalar(
    checks: &Checks,
    shape: Option<&Shape>,
    value: &Value,
    at: &Step<'_>,
    errors: &mut Vec<FieldError>,
) {
    match value {
        Value::String(text) => {
            string(checks, text, at, errors);
            let textual = matches!(shape, None | Some(Shape::Text(_) | Shape::Any));
            if let Some(format) = checks.format.as_deref().filter(|_| textual)
                && format::matches(format, text) == Some(false)
            {
                let at = at.dotted();
                let detail = format!("{at} in body must be of type {format}: {text:?}");
                errors.push(FieldError::type_invalid(at, text, detail));
            }
        }
        Value::Number(number_) => number(checks, number_, at, errors),
        _ => {}
    }
}

/// The first of these that does not hold.
fn string(checks: &Checks, text: &str, at: &Step<'_>, errors: &mut Vec<FieldError>) {
    if checks.max_length.is_none() && checks.min_length.is_none() && checks.pattern.is_none() {
        return;
    }
    let length = text.chars().count() as u64;
    if let Some(max) = checks.max_length.filter(|max| length > *max) {
        errors.push(FieldError::too_long(at.dotted(), max));
    } else if let Some(min) = checks.min_length.filter(|min| length < *min) {
        let at = at.dotted();
        let detail = format!("{at} in body should be at least {min} chars long");
        errors.push(FieldError::invalid(at, text, detail));
    } else if let Some(pattern) = checks.pattern.as_ref().filter(|p| !p.is_match(text)) {
        let at = at.dotted();
        let detail = format!("{at} in body should match '{}'", pattern.as_str());
        errors.push(FieldError::invalid(at, text, detail));
    }
}

fn number(checks: &Checks, value: &Number, at: &Step<'_>, errors: &mut Vec<FieldError>) {
    let mut refuse = |wanted: String| {
        let at = at.dotted();
        let detail = format!("{at} in body should be {wanted}");
        errors.push(FieldError::invalid_json(at, &Value::Number(value.clone()), detail));
    };
    if let Some(factor) = &checks.multiple_of
        && !is_multiple(value, factor)
    {
        refuse(format!("a multiple of {}", shown(factor)));
    }
    if let Some(min) = &checks.minimum {
        let order = compare(value, min);
        if checks.exclusive_minimum && order.is_some_and(|order| order.is_le()) {
            refuse(format!("greater than {}", shown(min)));
        } else if order.is_some_and(|order| order.is_lt()) {
            refuse(format!("greater than or equal to {}", shown(min)));
        }
    }
    if let Some(max) = &checks.maximum {
        let order = compare(value, max);
        if checks.exclusive_maximum && order.is_some_and(|order| order.is_ge()) {
            refuse(format!("less than {}", shown(max)));
        } else if order.is_some_and(|order| order.is_gt()) {
            refuse(format!("less than or equal to {}", shown(max)));
        }
    }
}

/// Sizes of lists and objects, and enumerations.
pub(super) fn collection(
    checks: &Checks,
    value: &Value,
    at: &Step<'_>,
    errors: &mut Vec<FieldError>,
) {
    if let Value::Array(items) = value {
        let len = items.len() as u64;
        if let Some(min) = checks.min_items.filter(|min| len < *min) {
            let at = at.dotted();
            let detail = format!("{at} in body should have at least {min} items");
            errors.push(FieldError::invalid(at, len, detail));
        }
        if let Some(max) = checks.max_items.filter(|max| len > *max) {
            errors.push(FieldError::too_many(at.dotted(), items.len(), max));
        }
        if checks.unique_items && has_twice(items) {
            let at = at.dotted();
            let detail = format!("{at} in body shouldn't contain duplicates");
            errors.push(FieldError::invalid(at, "", detail));
        }
    }
    if !checks.values.is_empty() && !checks.values.iter().any(|known| is_same(known, value)) {
        let texts = checks.values.iter().map(|known| match known {
            Value::String(text) => text.clone(),
            known => known.to_string(),
        });
        let texts: Vec<String> = texts.collect();
        let known = texts.iter().map(String::as_str);
        errors.push(FieldError::unsupported(at.dotted(), value, known));
    }
    if let Value::Object(map) = value {
        let len = map.len() as u64;
        if let Some(min) = checks.min_properties.filter(|min| len < *min) {
            let at = at.dotted();
            let detail = format!("{at} in body should have at least {min} properties");
            errors.push(FieldError::invalid(at, len, detail));
        }
        if let Some(max) = checks.max_properties.filter(|max| len > *max) {
            errors.push(FieldError::too_many(at.dotted(), map.len(), max));
        }
    }
}

/// Formats that Kubernetes knows for a type; others are documentation.
fn is_known(kind: &str, format: &str) -> bool {
    match kind {
        "string" => format::matches(format, "").is_some(),
        "integer" => matches!(format, "int32" | "int64"),
        "number" => matches!(format, "float" | "double"),
        _ => false,
    }
}

/// JSON's integers: `3` and `3.0`, as far as doubles tell them apart.
fn is_integer(number: &Number) -> bool {
    const EXACT_MAX: f64 = 9_007_199_254_740_991.0;
    number.as_i64().is_some()
        || number.as_f64().is_some_and(|float| float.fract() == 0.0 && float.abs() <= EXACT_MAX)
}

fn compare(a: &Number, b: &Number) -> Option<std::cmp::Ordering> {
    match (a.as_i64(), b.as_i64()) {
        (Some(a), Some(b)) => Some(a.cmp(&b)),
        _ => a.as_f64()?.partial_cmp(&b.as_f64()?),
    }
}

fn is_multiple(value: &Number, factor: &Number) -> bool {
    if let (Some(value), Some(factor)) = (value.as_i64(), factor.as_i64()) {
        return factor > 0 && value % factor == 0;
    }
    let (Some(value), Some(factor)) = (value.as_f64(), factor.as_f64()) else { return false };
    let times = if factor < 1.0 { 1.0 / factor * value } else { value / factor };
    factor > 0.0 && (times - times.round()).abs() < 1e-9
}

/// `2.0` as `2`.
fn shown(number: &Number) -> String {
    match number.as_f64() {
        Some(float) if number.is_f64() => float.to_string(),
        _ => number.to_string(),
    }
}

fn is_same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => compare(a, b).is_some_and(|order| order.is_eq()),
        _ => a == b,
    }
}

/// By text, so that long lists cost no square.
fn has_twice(items: &[Value]) -> bool {
    let mut seen = std::collections::HashSet::new();
    !items.iter().all(|item| seen.insert(item.to_string()))
}
