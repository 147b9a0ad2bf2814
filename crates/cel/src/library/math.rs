//! The extension `math`, which Kubernetes leaves out.

use std::cmp::Ordering;

use super::Apply;
use crate::error::EvalError;
use crate::value::{List, Value};

pub const SIGNATURES: &str = "
    math.greatest(dyn) -> dyn
    math.greatest(dyn, dyn) -> dyn
    math.greatest(dyn, dyn, dyn) -> dyn
    math.least(dyn) -> dyn
    math.least(dyn, dyn) -> dyn
    math.least(dyn, dyn, dyn) -> dyn
    math.ceil(double) -> double
    math.floor(double) -> double
    math.round(double) -> double
    math.trunc(double) -> double
    math.isNaN(double) -> bool
    math.isInf(double) -> bool
    math.isFinite(double) -> bool
    math.sqrt(double) -> double
    math.sqrt(int) -> double
    math.sqrt(uint) -> double
    math.abs(double) -> double
    math.abs(int) -> int
    math.abs(uint) -> uint
    math.sign(double) -> double
    math.sign(int) -> int
    math.sign(uint) -> uint
    math.bitAnd(int, int) -> int
    math.bitAnd(uint, uint) -> uint
    math.bitOr(int, int) -> int
    math.bitOr(uint, uint) -> uint
    math.bitXor(int, int) -> int
    math.bitXor(uint, uint) -> uint
    math.bitNot(int) -> int
    math.bitNot(uint) -> uint
    math.bitShiftLeft(int, int) -> int
    math.bitShiftLeft(uint, int) -> uint
    math.bitShiftRight(int, int) -> int
    math.bitShiftRight(uint, int) -> uint
";

pub fn find(name: &str) -> Option<Apply> {
    Some(match name {
        "math.greatest" => |_, args| extreme(args, Ordering::Less),
        "math.least" => |_, args| extreme(args, Ordering::Greater),
        "math.ceil" => |_, args| double(args, f64::ceil),
        "math.floor" => |_, args| double(args, f64::floor),
        "math.round" => |_, args| double(args, f64::round),
        "math.trunc" => |_, args| double(args, f64::trunc),
        "math.isNaN" => |_, args| test(args, f64::is_nan),
        "math.isInf" => |_, args| test(args, f64::is_infinite),
        "math.isFinite" => |_, args| test(args, f64::is_finite),
        "math.sqrt" => |_, args| match args {
            [Value::Int(value)] => Ok(Value::Double((*value as f64).sqrt())),
            [Value::Uint(value)] => Ok(Value::Double((*value as f64).sqrt())),
            _ => double(args, f64::sqrt),
        },
        "math.abs" => |_, args| match args {
            [Value::Int(value)] => match value.checked_abs() {
                Some(value) => Ok(Value::Int(value)),
                None => Err(EvalError::new("integer overflow")),
            },
            [Value::Uint(value)] => Ok(Value::Uint(*value)),
            _ => double(args, f64::abs),
        },
        "math.sign" => |_, args| match args {
            [Value::Int(value)] => Ok(Value::Int(value.signum())),
            [Value::Uint(value)] => Ok(Value::Uint((*value).min(1))),
            _ => double(args, |value| if value == 0.0 { 0.0 } else { value.signum() }),
        },
        "math.bitAnd" => |_, args| bits(args, |one, other| one & other),
        "math.bitOr" => |_, args| bits(args, |one, other| one | other),
        "math.bitXor" => |_, args| bits(args, |one, other| one ^ other),
        "math.bitNot" => |_, args| match args {
            [Value::Int(value)] => Ok(Value::Int(!value)),
            [Value::Uint(value)] => Ok(Value::Uint(!value)),
            _ => Err(EvalError::no_such_overload()),
        },
        "math.bitShiftLeft" => |_, args| shift(args, |bits, by| bits.checked_shl(by)),
        "math.bitShiftRight" => |_, args| shift(args, |bits, by| bits.checked_shr(by)),
        _ => return None,
    })
}

fn extreme<'a>(args: &[Value<'a>], replace: Ordering) -> Result<Value<'a>, EvalError> {
    let items = match args {
        [Value::List(list)] => List::to_vec(list)?,
        args => args.to_vec(),
    };
    let mut best: Option<Value<'a>> = None;
    for item in items {
        if !matches!(item, Value::Int(_) | Value::Uint(_) | Value::Double(_)) {
            return Err(EvalError::no_such_overload());
        }
        best = Some(match best {
            Some(best) if best.order(&item)? != replace => best,
            _ => item,
        });
    }
    best.ok_or_else(|| EvalError::new("math.@max(list) argument must not be empty"))
}

fn double<'a>(args: &[Value<'a>], of: fn(f64) -> f64) -> Result<Value<'a>, EvalError> {
    match args {
        [Value::Double(value)] => Ok(Value::Double(of(*value))),
        _ => Err(EvalError::no_such_overload()),
    }
}

fn test<'a>(args: &[Value<'a>], is: fn(f64) -> bool) -> Result<Value<'a>, EvalError> {
    match args {
        [Value::Double(value)] => Ok(Value::Bool(is(*value))),
        _ => Err(EvalError::no_such_overload()),
    }
}

fn bits<'a>(args: &[Value<'a>], of: fn(u64, u64) -> u64) -> Result<Value<'a>, EvalError> {
    match args {
        [Value::Int(one), Value::Int(other)] => {
            Ok(Value::Int(of(*one as u64, *other as u64) as i64))
        }
        [Value::Uint(one), Value::Uint(other)] => Ok(Value::Uint(of(*one, *other))),
        _ => Err(EvalError::no_such_overload()),
    }
}

/// By more than there are bits nothing is left.
fn shift<'a>(args: &[Value<'a>], of: fn(u64, u32) -> Option<u64>) -> Result<Value<'a>, EvalError> {
    let [value, Value::Int(by)] = args else { return Err(EvalError::no_such_overload()) };
    if *by < 0 {
        return Err(EvalError::new(format!("math.bitShift() negative offset: {by}")));
    }
    let by = u32::try_from(*by).unwrap_or(u32::MAX);
    match value {
        Value::Int(value) => Ok(Value::Int(of(*value as u64, by).unwrap_or(0) as i64)),
        Value::Uint(value) => Ok(Value::Uint(of(*value, by).unwrap_or(0))),
        _ => Err(EvalError::no_such_overload()),
    }
}
