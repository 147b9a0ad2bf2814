//! CEL's own operators and functions.

use std::cmp::Ordering;

use super::{Apply, Context};
use crate::error::EvalError;
use crate::value::{Text, Value};

pub const SIGNATURES: &str = "
    _?_:_(bool, A, A) -> A
    _&&_(bool, bool) -> bool
    _||_(bool, bool) -> bool
    !_(bool) -> bool
    @not_strictly_false(bool) -> bool
    _==_(A, A) -> bool
    _!=_(A, A) -> bool
    _+_(bytes, bytes) -> bytes
    _+_(double, double) -> double
    _+_(duration, duration) -> duration
    _+_(duration, timestamp) -> timestamp
    _+_(timestamp, duration) -> timestamp
    _+_(int, int) -> int
    _+_(list(A), list(A)) -> list(A)
    _+_(string, string) -> string
    _+_(uint, uint) -> uint
    _-_(double, double) -> double
    _-_(duration, duration) -> duration
    _-_(int, int) -> int
    _-_(timestamp, duration) -> timestamp
    _-_(timestamp, timestamp) -> duration
    _-_(uint, uint) -> uint
    _*_(double, double) -> double
    _*_(int, int) -> int
    _*_(uint, uint) -> uint
    _/_(double, double) -> double
    _/_(int, int) -> int
    _/_(uint, uint) -> uint
    _%_(int, int) -> int
    _%_(uint, uint) -> uint
    -_(double) -> double
    -_(int) -> int
    _<_(COMPARABLE, COMPARABLE) -> bool
    _<_(int, double) -> bool
    _<_(int, uint) -> bool
    _<_(uint, double) -> bool
    _<_(uint, int) -> bool
    _<_(double, int) -> bool
    _<_(double, uint) -> bool
    _<=_(COMPARABLE, COMPARABLE) -> bool
    _<=_(int, double) -> bool
    _<=_(int, uint) -> bool
    _<=_(uint, double) -> bool
    _<=_(uint, int) -> bool
    _<=_(double, int) -> bool
    _<=_(double, uint) -> bool
    _>_(COMPARABLE, COMPARABLE) -> bool
    _>_(int, double) -> bool
    _>_(int, uint) -> bool
    _>_(uint, double) -> bool
    _>_(uint, int) -> bool
    _>_(double, int) -> bool
    _>_(double, uint) -> bool
    _>=_(COMPARABLE, COMPARABLE) -> bool
    _>=_(int, double) -> bool
    _>=_(int, uint) -> bool
    _>=_(uint, double) -> bool
    _>=_(uint, int) -> bool
    _>=_(double, int) -> bool
    _>=_(double, uint) -> bool
    _[_](list(A), int) -> A
    _[_](map(A, B), A) -> B
    @in(A, list(A)) -> bool
    @in(A, map(A, B)) -> bool
    size(bytes) -> int
    size(list(A)) -> int
    size(map(A, B)) -> int
    size(string) -> int
    bytes . size() -> int
    list(A) . size() -> int
    map(A, B) . size() -> int
    string . size() -> int
    string . contains(string) -> bool
    string . endsWith(string) -> bool
    string . startsWith(string) -> bool
";

pub fn find(name: &str) -> Option<Apply> {
    Some(match name {
        "!_" => |_, args| match args {
            [Value::Bool(value)] => Ok(Value::Bool(!value)),
            _ => Err(EvalError::no_such_overload()),
        },
        "_+_" => |context, args| add(context, args),
        "_-_" => |_, args| subtract(args),
        "_*_" => |_, args| multiply(args),
        "_/_" => |_, args| divide(args),
        "_%_" => |_, args| modulo(args),
        "-_" => |_, args| match args {
            [Value::Int(value)] => value.checked_neg().map(Value::Int).ok_or(overflow()),
            [Value::Double(value)] => Ok(Value::Double(-value)),
            _ => Err(EvalError::no_such_overload()),
        },
        "_<_" => |_, args| order(args, |order| order == Ordering::Less),
        "_<=_" => |_, args| order(args, |order| order != Ordering::Greater),
        "_>_" => |_, args| order(args, |order| order == Ordering::Greater),
        "_>=_" => |_, args| order(args, |order| order != Ordering::Less),
        "@in" => |_, args| contained(args),
        "size" => |_, args| match args {
            [value @ (Value::Bytes(_) | Value::List(_) | Value::Map(_) | Value::Text(_))] => {
                Ok(Value::Int(value.size() as i64))
            }
            _ => Err(EvalError::new("no such overload: size")),
        },
        "contains" => |_, args| texts(args, |text, part| text.contains(part)),
        "endsWith" => |_, args| texts(args, |text, part| text.ends_with(part)),
        "startsWith" => |_, args| texts(args, |text, part| text.starts_with(part)),
        _ => return None,
    })
}

fn overflow() -> EvalError {
    EvalError::new("integer overflow")
}

fn unsigned_overflow() -> EvalError {
    EvalError::new("unsigned integer overflow")
}

fn duration_overflow() -> EvalError {
    EvalError::new("duration overflow")
}

fn add<'a>(_: &Context<'_>, args: &[Value<'a>]) -> Result<Value<'a>, EvalError> {
    Ok(match args {
        [Value::Int(one), Value::Int(other)] => {
            Value::Int(one.checked_add(*other).ok_or_else(overflow)?)
        }
        [Value::Uint(one), Value::Uint(other)] => {
            Value::Uint(one.checked_add(*other).ok_or_else(unsigned_overflow)?)
        }
        [Value::Double(one), Value::Double(other)] => Value::Double(one + other),
        [Value::Text(one), Value::Text(other)] => Value::text([&**one, &**other].concat()),
        [Value::Bytes(one), Value::Bytes(other)] => {
            Value::Bytes([&one[..], &other[..]].concat().into())
        }
        [Value::Duration(one), Value::Duration(other)] => {
            Value::Duration(one.checked_add(*other).ok_or_else(duration_overflow)?)
        }
        [Value::Timestamp(at), Value::Duration(by)]
        | [Value::Duration(by), Value::Timestamp(at)] => Value::Timestamp(at.add(*by)?),
        [Value::List(one), Value::List(other)] => Value::List(one.add(other)?),
        _ => return Err(EvalError::no_such_overload()),
    })
}

fn subtract<'a>(args: &[Value<'a>]) -> Result<Value<'a>, EvalError> {
    Ok(match args {
        [Value::Int(one), Value::Int(other)] => {
            Value::Int(one.checked_sub(*other).ok_or_else(overflow)?)
        }
        [Value::Uint(one), Value::Uint(other)] => {
            Value::Uint(one.checked_sub(*other).ok_or_else(unsigned_overflow)?)
        }
        [Value::Double(one), Value::Double(other)] => Value::Double(one - other),
        [Value::Duration(one), Value::Duration(other)] => {
            Value::Duration(one.checked_sub(*other).ok_or_else(duration_overflow)?)
        }
        [Value::Timestamp(at), Value::Duration(by)] => {
            let by = by.checked_neg().ok_or_else(duration_overflow)?;
            Value::Timestamp(at.add(by)?)
        }
        [Value::Timestamp(one), Value::Timestamp(other)] => Value::Duration(one.since(*other)?),
        _ => return Err(EvalError::no_such_overload()),
    })
}

fn multiply<'a>(args: &[Value<'a>]) -> Result<Value<'a>, EvalError> {
    Ok(match args {
        [Value::Int(one), Value::Int(other)] => {
            Value::Int(one.checked_mul(*other).ok_or_else(overflow)?)
        }
        [Value::Uint(one), Value::Uint(other)] => {
            Value::Uint(one.checked_mul(*other).ok_or_else(unsigned_overflow)?)
        }
        [Value::Double(one), Value::Double(other)] => Value::Double(one * other),
        _ => return Err(EvalError::no_such_overload()),
    })
}

fn divide<'a>(args: &[Value<'a>]) -> Result<Value<'a>, EvalError> {
    Ok(match args {
        [Value::Int(_), Value::Int(0)] | [Value::Uint(_), Value::Uint(0)] => {
            return Err(EvalError::new("division by zero"));
        }
        [Value::Int(one), Value::Int(other)] => {
            Value::Int(one.checked_div(*other).ok_or_else(overflow)?)
        }
        [Value::Uint(one), Value::Uint(other)] => Value::Uint(one / other),
        [Value::Double(one), Value::Double(other)] => Value::Double(one / other),
        _ => return Err(EvalError::no_such_overload()),
    })
}

fn modulo<'a>(args: &[Value<'a>]) -> Result<Value<'a>, EvalError> {
    Ok(match args {
        [Value::Int(_), Value::Int(0)] | [Value::Uint(_), Value::Uint(0)] => {
            return Err(EvalError::new("modulus by zero"));
        }
        [Value::Int(one), Value::Int(other)] => {
            Value::Int(one.checked_rem(*other).ok_or_else(overflow)?)
        }
        [Value::Uint(one), Value::Uint(other)] => Value::Uint(one % other),
        _ => return Err(EvalError::no_such_overload()),
    })
}

fn order<'a>(args: &[Value<'a>], is: fn(Ordering) -> bool) -> Result<Value<'a>, EvalError> {
    match args {
        [one, other] => Ok(Value::Bool(is(one.order(other)?))),
        _ => Err(EvalError::no_such_overload()),
    }
}

fn contained<'a>(args: &[Value<'a>]) -> Result<Value<'a>, EvalError> {
    match args {
        [wanted, Value::List(list)] => Ok(Value::Bool(list.contains(wanted)?)),
        [key, Value::Map(map)] => Ok(Value::Bool(map.find(key)?.is_some())),
        _ => Err(EvalError::no_such_overload()),
    }
}

fn texts<'a>(args: &[Value<'a>], is: fn(&Text<'a>, &str) -> bool) -> Result<Value<'a>, EvalError> {
    match args {
        [Value::Text(text), Value::Text(part)] => Ok(Value::Bool(is(text, part))),
        _ => Err(EvalError::no_such_overload()),
    }
}
