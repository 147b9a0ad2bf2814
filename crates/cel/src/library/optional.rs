//! Optionals: values that may be missing.

use super::Apply;
use crate::error::EvalError;
use crate::value::Value;

pub const SIGNATURES: &str = "
    optional.of(V) -> optional(V)
    optional.ofNonZeroValue(V) -> optional(V)
    optional.none() -> optional(V)
    optional.unwrap(list(optional(V))) -> list(V)
    list(optional(V)) . unwrapOpt() -> list(V)
    optional(V) . value() -> V
    optional(V) . hasValue() -> bool
    optional(V) . or(optional(V)) -> optional(V)
    optional(V) . orValue(V) -> V
    list(V) . first() -> optional(V)
    list(V) . last() -> optional(V)
    _?._(dyn, string) -> optional(V)
    _[?_](list(V), int) -> optional(V)
    _[?_](optional(list(V)), int) -> optional(V)
    _[?_](map(K, V), K) -> optional(V)
    _[?_](optional(map(K, V)), K) -> optional(V)
    _[_](optional(list(V)), int) -> optional(V)
    _[_](optional(map(K, V)), K) -> optional(V)
";

pub fn find(name: &str) -> Option<Apply> {
    Some(match name {
        "optional.of" => |_, args| match args {
            [value] => Ok(Value::some(value.clone())),
            _ => Err(EvalError::no_such_overload()),
        },
        "optional.ofNonZeroValue" => |_, args| match args {
            [value] if value.is_zero() => Ok(Value::Optional(None)),
            [value] => Ok(Value::some(value.clone())),
            _ => Err(EvalError::no_such_overload()),
        },
        "optional.none" => |_, _| Ok(Value::Optional(None)),
        "optional.unwrap" | "unwrapOpt" => |_, args| unwrap(args),
        "value" => |_, args| match args {
            [Value::Optional(Some(value))] => Ok((**value).clone()),
            [Value::Optional(None)] => Err(EvalError::new("optional.none() dereference")),
            _ => Err(EvalError::no_such_overload()),
        },
        "hasValue" => |_, args| match args {
            [Value::Optional(value)] => Ok(Value::Bool(value.is_some())),
            _ => Err(EvalError::no_such_overload()),
        },
        "first" => |_, args| match args {
            [Value::List(list)] if list.is_empty() => Ok(Value::Optional(None)),
            [Value::List(list)] => Ok(Value::some(list.get(0)?)),
            _ => Err(EvalError::no_such_overload()),
        },
        "last" => |_, args| match args {
            [Value::List(list)] if list.is_empty() => Ok(Value::Optional(None)),
            [Value::List(list)] => Ok(Value::some(list.get(list.len() - 1)?)),
            _ => Err(EvalError::no_such_overload()),
        },
        _ => return None,
    })
}

fn unwrap<'a>(args: &[Value<'a>]) -> Result<Value<'a>, EvalError> {
    let [Value::List(list)] = args else { return Err(EvalError::no_such_overload()) };
    let mut values = Vec::new();
    for item in list.iter() {
        match item? {
            Value::Optional(Some(value)) => values.push((*value).clone()),
            Value::Optional(None) => {}
            other => return Err(EvalError::new(format!("value {other} is not optional"))),
        }
    }
    Ok(Value::list(values))
}
