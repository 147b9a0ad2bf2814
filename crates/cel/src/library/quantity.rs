//! Quantities of Kubernetes, as `1.5Gi` and `500m`: decimal, to the nano.

use std::cmp::Ordering;

use super::{Apply, LibraryValue};
use crate::error::EvalError;
use crate::value::Value;

pub const SIGNATURES: &str = "
    quantity(string) -> quantity
    isQuantity(string) -> bool
    sign(quantity) -> int
    quantity . isGreaterThan(quantity) -> bool
    quantity . isLessThan(quantity) -> bool
    quantity . compareTo(quantity) -> int
    quantity . asApproximateFloat() -> double
    quantity . asInteger() -> int
    quantity . isInteger() -> bool
    quantity . add(quantity) -> quantity
    quantity . add(int) -> quantity
    quantity . sub(quantity) -> quantity
    quantity . sub(int) -> quantity
";

const FORMAT: &str =
    "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'";
const SUFFIX: &str = "unable to parse quantity's suffix";
const NUMERIC: &str = "unable to parse numeric part of quantity";

/// The smallest part.
const NANO: i32 = -9;
/// Digits that are kept of what is written; no 64 bits have more.
const DIGITS_MAX: usize = 28;

/// `mantissa` times ten to the power of `scale`.
#[derive(Clone, Copy, Debug)]
pub struct Quantity {
    mantissa: i128,
    scale: i32,
    /// Kept as 64 bits and a scale: only then it may be an integer.
    small: bool,
}

pub fn find(name: &str) -> Option<Apply> {
    Some(match name {
        "quantity" => |_, args| match args {
            [Value::Text(text)] => match Quantity::parse(text) {
                Ok(quantity) => Ok(Value::library(LibraryValue::Quantity(quantity))),
                Err(message) => Err(EvalError::new(message)),
            },
            _ => Err(EvalError::no_such_overload()),
        },
        "isQuantity" => |_, args| match args {
            [Value::Text(text)] => Ok(Value::Bool(Quantity::parse(text).is_ok())),
            _ => Err(EvalError::no_such_overload()),
        },
        // Versions compare by the same names.
        "isGreaterThan" => |_, args| Ok(Value::Bool(order(args)? == Ordering::Greater)),
        "isLessThan" => |_, args| Ok(Value::Bool(order(args)? == Ordering::Less)),
        "compareTo" => |_, args| Ok(Value::Int(order(args)? as i64)),
        "sign" => |_, args| {
            let order = one(args)?.cmp(&Quantity::of(0));
            Ok(Value::Int(order as i64))
        },
        "asApproximateFloat" => |_, args| Ok(Value::Double(one(args)?.float())),
        "asInteger" => |_, args| match one(args)?.integer() {
            Some(value) => Ok(Value::Int(value)),
            None => Err(EvalError::new("cannot convert value to integer")),
        },
        "isInteger" => |_, args| Ok(Value::Bool(one(args)?.integer().is_some())),
        "add" => |_, args| sum(args, 1),
        "sub" => |_, args| sum(args, -1),
        _ => return None,
    })
}

fn of<'v>(value: &'v Value<'_>) -> Option<&'v Quantity> {
    match value {
        Value::Library(value) => match &**value {
            LibraryValue::Quantity(quantity) => Some(quantity),
            _ => None,
        },
        _ => None,
    }
}

fn one(args: &[Value<'_>]) -> Result<Quantity, EvalError> {
    args.first().and_then(of).copied().ok_or_else(EvalError::no_such_overload)
}

fn order(args: &[Value<'_>]) -> Result<Ordering, EvalError> {
    let [one, other] = args else { return Err(EvalError::no_such_overload()) };
    match (of(one), of(other)) {
        (Some(one), Some(other)) => Ok(one.cmp(other)),
        _ => super::semver::order(one, other),
    }
}

fn sum<'a>(args: &[Value<'a>], sign: i128) -> Result<Value<'a>, EvalError> {
    let [first, second] = args else { return Err(EvalError::no_such_overload()) };
    let other = match (of(second), second) {
        (Some(quantity), _) => *quantity,
        (None, Value::Int(value)) => Quantity::of(*value),
        _ => return Err(EvalError::no_such_overload()),
    };
    let quantity = of(first).ok_or_else(EvalError::no_such_overload)?;
    Ok(Value::library(LibraryValue::Quantity(quantity.plus(other, sign))))
}

// === impl Quantity ===

impl Quantity {
    fn of(value: i64) -> Quantity {
        Quantity { mantissa: value.into(), scale: 0, small: true }
    }

    pub fn parse(text: &str) -> Result<Quantity, &'static str> {
        let (negative, rest) = match text.strip_prefix(['-', '+']) {
            Some(rest) => (text.starts_with('-'), rest),
            None => (false, text),
        };
        let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let (whole, rest) = rest.split_at(end);
        let (fraction, suffix) = match rest.strip_prefix('.') {
            Some(rest) => {
                rest.split_at(rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len()))
            }
            None => ("", rest),
        };
        if text.is_empty() || !is_suffix(suffix) {
            return Err(FORMAT);
        }
        let (scale, shift) = interpret(suffix).ok_or(SUFFIX)?;
        if whole.is_empty() && fraction.is_empty() {
            return Err(NUMERIC);
        }
        let whole = whole.trim_start_matches('0');
        let digits = format!("{whole}{fraction}");
        let sign = if negative { -1 } else { 1 };
        let (kept, cut) = digits.split_at(digits.len().min(DIGITS_MAX));
        let mantissa: i128 = if kept.is_empty() { 0 } else { kept.parse().map_err(|_| NUMERIC)? };
        let scale = scale - fraction.len() as i32 + cut.len() as i32;
        let small = digits.len() <= 18 && (shift == 0 || fraction.is_empty()) && scale >= NANO;
        let mantissa = mantissa.saturating_mul(1_i128 << shift);
        let mut quantity =
            Quantity { mantissa, scale, small: small && i64::try_from(mantissa).is_ok() };
        quantity.round();
        if shift > 0 && quantity.cmp(&Quantity::of(i64::MAX)) == Ordering::Greater {
            quantity = Quantity { small: false, ..Quantity::of(i64::MAX) };
        }
        quantity.mantissa *= sign;
        Ok(quantity)
    }

    /// To the nano, up: who wants some gets some.
    fn round(&mut self) {
        while self.scale < NANO {
            let rest = self.mantissa % 10;
            self.mantissa = self.mantissa / 10 + i128::from(rest != 0);
            self.scale += 1;
        }
    }

    fn integer(self) -> Option<i64> {
        if !self.small || self.scale < 0 {
            return None;
        }
        let factor = 10_i128.checked_pow(self.scale as u32)?;
        i64::try_from(self.mantissa.checked_mul(factor)?).ok()
    }

    fn float(self) -> f64 {
        self.mantissa as f64 * 10_f64.powi(self.scale)
    }

    /// Both with the smaller of their scales, if that can be.
    fn aligned(self, other: Quantity) -> Option<(i128, i128, i32)> {
        let scale = self.scale.min(other.scale);
        let at = |quantity: Quantity| {
            let factor = 10_i128.checked_pow((quantity.scale - scale) as u32)?;
            quantity.mantissa.checked_mul(factor)
        };
        Some((at(self)?, at(other)?, scale))
    }

    fn plus(self, other: Quantity, sign: i128) -> Quantity {
        if other.mantissa == 0 {
            return self;
        }
        if self.mantissa == 0 {
            return Quantity { mantissa: other.mantissa * sign, ..other };
        }
        let Some((one, another, scale)) = self.aligned(other) else {
            // So far apart that the smaller one does not show.
            return if self.scale > other.scale {
                self
            } else {
                Quantity { mantissa: other.mantissa * sign, ..other }
            };
        };
        let mantissa = one.saturating_add(another * sign);
        let small = self.small && other.small && i64::try_from(mantissa).is_ok();
        Quantity { mantissa, scale, small }
    }
}

impl PartialEq for Quantity {
    fn eq(&self, other: &Quantity) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Quantity {}

impl PartialOrd for Quantity {
    fn partial_cmp(&self, other: &Quantity) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Quantity {
    fn cmp(&self, other: &Quantity) -> Ordering {
        match self.aligned(*other) {
            Some((one, another, _)) => one.cmp(&another),
            None => self.float().total_cmp(&other.float()),
        }
    }
}

/// Letters, a sign, digits.
fn is_suffix(text: &str) -> bool {
    let rest = text.trim_start_matches(|c: char| "eEinumkKMGTP".contains(c));
    let rest = rest.strip_prefix(['-', '+']).unwrap_or(rest);
    rest.bytes().all(|byte| byte.is_ascii_digit())
}

/// The power of ten, and of two.
fn interpret(suffix: &str) -> Option<(i32, u32)> {
    Some(match suffix {
        "" => (0, 0),
        "n" => (-9, 0),
        "u" => (-6, 0),
        "m" => (-3, 0),
        "k" => (3, 0),
        "M" => (6, 0),
        "G" => (9, 0),
        "T" => (12, 0),
        "P" => (15, 0),
        "E" => (18, 0),
        "Ki" => (0, 10),
        "Mi" => (0, 20),
        "Gi" => (0, 30),
        "Ti" => (0, 40),
        "Pi" => (0, 50),
        "Ei" => (0, 60),
        _ => {
            const EXPONENT_MAX: i32 = 10_000;
            let exponent: i32 = suffix.strip_prefix(['e', 'E'])?.parse().ok()?;
            (exponent.clamp(-EXPONENT_MAX, EXPONENT_MAX), 0)
        }
    })
}
