//! Lists as sets.

use super::{Apply, Context};
use crate::error::EvalError;
use crate::value::{List, Value};

pub const SIGNATURES: &str = "
    sets.contains(list(T), list(T)) -> bool
    sets.equivalent(list(T), list(T)) -> bool
    sets.intersects(list(T), list(T)) -> bool
";

pub fn find(name: &str) -> Option<Apply> {
    Some(match name {
        "sets.contains" => |context, args| with(context, args, contains),
        "sets.equivalent" => |context, args| {
            with(context, args, |one, other| Ok(contains(one, other)? && contains(other, one)?))
        },
        "sets.intersects" => |context, args| with(context, args, intersects),
        _ => return None,
    })
}

/// Compares each with each: what cannot be paid for is not begun.
fn with<'a>(
    context: &Context<'_>,
    args: &[Value<'a>],
    of: fn(&List<'a>, &List<'a>) -> Result<bool, EvalError>,
) -> Result<Value<'a>, EvalError> {
    let [Value::List(one), Value::List(other)] = args else {
        return Err(EvalError::no_such_overload());
    };
    if (one.len() as u64).saturating_mul(other.len() as u64) > context.room {
        return Err(EvalError::Budget);
    }
    Ok(Value::Bool(of(one, other)?))
}

fn contains<'a>(list: &List<'a>, part: &List<'a>) -> Result<bool, EvalError> {
    for item in part.iter() {
        if !list.contains(&item?)? {
            return Ok(false);
        }
    }
    Ok(true)
}

fn intersects<'a>(one: &List<'a>, other: &List<'a>) -> Result<bool, EvalError> {
    for item in one.iter() {
        if other.contains(&item?)? {
            return Ok(true);
        }
    }
    Ok(false)
}
