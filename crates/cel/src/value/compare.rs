//! Equality and order.
//!
//! Numbers of all kinds compare by what they are worth; values of different
//! types are not equal, and have no order.

use std::cmp::Ordering;

use super::Value;
use crate::error::EvalError;

impl<'a> Value<'a> {
    pub fn equals(&self, other: &Value<'a>) -> Result<bool, EvalError> {
        Ok(match (self, other) {
            (Value::Null, Value::Null) => true,
            (Value::Bool(one), Value::Bool(other)) => one == other,
            (Value::Text(one), Value::Text(other)) => **one == **other,
            (Value::Bytes(one), Value::Bytes(other)) => one == other,
            (Value::Duration(one), Value::Duration(other)) => one == other,
            (Value::Timestamp(one), Value::Timestamp(other)) => one == other,
            (Value::List(one), Value::List(other)) => one.equals(other)?,
            (Value::Map(one), Value::Map(other)) => one.equals(other)?,
            (Value::Type(one), Value::Type(other)) => one == other,
            (Value::Optional(None), Value::Optional(None)) => true,
            (Value::Optional(Some(one)), Value::Optional(Some(other))) => one.equals(other)?,
            (Value::Library(one), Value::Library(other)) => one.equals(other)?,
            (_, Value::Null) => false,
            (Value::Library(_), _) => return Err(EvalError::no_such_overload()),
            (Value::List(list), _) if list.is_declared() => {
                return Err(EvalError::no_such_overload());
            }
            (Value::Map(map), _) if map.is_declared() => {
                return Err(EvalError::no_such_overload());
            }
            (one, other) => numbers(one, other) == Some(Some(Ordering::Equal)),
        })
    }

    pub(crate) fn order(&self, other: &Value<'a>) -> Result<Ordering, EvalError> {
        match (self, other) {
            (Value::Bool(one), Value::Bool(other)) => Ok(one.cmp(other)),
            (Value::Text(one), Value::Text(other)) => Ok((**one).cmp(&**other)),
            (Value::Bytes(one), Value::Bytes(other)) => Ok(one.cmp(other)),
            (Value::Duration(one), Value::Duration(other)) => Ok(one.cmp(other)),
            (Value::Timestamp(one), Value::Timestamp(other)) => Ok(one.cmp(other)),
            (one, other) => match numbers(one, other) {
                Some(Some(order)) => Ok(order),
                Some(None) => Err(EvalError::new("NaN values cannot be ordered")),
                None => Err(EvalError::no_such_overload()),
            },
        }
    }
}

/// The order of two numbers; `None` if one is none, none within if it is NaN.
fn numbers(one: &Value<'_>, other: &Value<'_>) -> Option<Option<Ordering>> {
    Some(match (integer(one), integer(other), double(one), double(other)) {
        (Some(one), Some(other), ..) => Some(one.cmp(&other)),
        (_, _, Some(one), Some(other)) => one.partial_cmp(&other),
        (Some(one), None, None, Some(other)) => mixed(one, other),
        (None, Some(other), Some(one), None) => mixed(other, one).map(Ordering::reverse),
        _ => return None,
    })
}

fn integer(value: &Value<'_>) -> Option<i128> {
    match value {
        Value::Int(value) => Some((*value).into()),
        Value::Uint(value) => Some((*value).into()),
        _ => None,
    }
}

fn double(value: &Value<'_>) -> Option<f64> {
    match value {
        Value::Double(value) => Some(*value),
        _ => None,
    }
}

/// Exact: both fit into what 128 bits hold, or the double is beyond it.
fn mixed(integer: i128, double: f64) -> Option<Ordering> {
    const BEYOND: f64 = 1e20;
    if double.is_nan() {
        None
    } else if double >= BEYOND {
        Some(Ordering::Less)
    } else if double <= -BEYOND {
        Some(Ordering::Greater)
    } else {
        let whole = double.trunc();
        let order = integer.cmp(&(whole as i128));
        Some(order.then_with(|| 0.0_f64.total_cmp(&((double - whole) + 0.0))))
    }
}
