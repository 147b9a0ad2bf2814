//! What a call can cost, by the sizes its arguments can have.

use super::range::Range;
use super::sizes::Sizes;
use super::{CHARACTER, CHECK, FORMAT_PATTERN_MAX, LIST, PATTERN, STRUCT};
use crate::syntax::ast::{Expr, Kind, Literal};
use crate::types::Type;
use crate::types::format::Library;
use crate::types::functions::{Function, Overload};

/// Without its arguments, and how large the result can be.
#[derive(Clone, Copy, Debug)]
pub struct Estimate {
    pub cost: Range,
    pub size: Option<Range>,
}

// === impl Estimate ===

impl Estimate {
    fn fixed(cost: u64) -> Estimate {
        Estimate { cost: Range::exactly(cost), size: None }
    }

    fn of(cost: Range) -> Estimate {
        Estimate { cost, size: None }
    }

    fn sized(cost: Range, size: Range) -> Estimate {
        Estimate { cost, size: Some(size) }
    }

    /// A list that is made at a cost for each pair or element.
    fn list(each: f64, size: Range) -> Estimate {
        Estimate::sized(size.scaled(each).plus(Range::exactly(1 + LIST)), size)
    }
}

pub fn of_call(
    sizes: &mut Sizes<'_>,
    function: &Function,
    overload: &Overload,
    target: Option<&Expr>,
    args: &[Expr],
) -> Estimate {
    let mut size = |expr: &Expr| sizes.size_or_unknown(expr);
    let one = Range::exactly(1);
    match (function.name, target, args) {
        ("slice", Some(target), [begin, end]) => {
            let (begin, end) = (constant(begin, 0), constant(end, size(target).max));
            Estimate::list(1.0, Range::exactly(end.wrapping_sub(begin)))
        }
        ("lists.range", None, [count]) => {
            Estimate::list(1.0, Range::exactly(constant(count, u64::MAX)))
        }
        ("reverse", Some(target), []) => Estimate::list(1.0, size(target)),
        ("flatten", Some(target), args) => {
            let depth = args.first().map_or(1, |depth| constant(depth, u64::MAX));
            Estimate::list(depth as f64, size(target))
        }
        ("distinct", Some(target), []) => {
            let size = size(target);
            Estimate::list(2.0, size.times(size))
        }
        ("sort", Some(keys), []) | ("@sortByAssociatedKeys", Some(_), [keys]) => {
            let text = matches!(
                overload.params.last(),
                Some(Type::List(of)) if matches!(**of, Type::Text | Type::Bytes)
            );
            let size = size(keys);
            Estimate::list(if text { 2.0 + CHARACTER } else { 2.0 }, size.times(size))
        }
        ("sets.contains" | "sets.intersects" | "sets.equivalent", None, [first, second]) => {
            let times = if function.name == "sets.equivalent" { 2 } else { 1 };
            let pairs = size(first).times(size(second)).times(Range::exactly(times));
            Estimate::of(pairs.plus(one))
        }
        ("check", ..) => Estimate::fixed(CHECK),
        ("fieldSelector" | "labelSelector", _, [selector]) => {
            let length = size(selector);
            let requirements = length.scaled(0.5).scaled((LIST + STRUCT) as f64);
            let cost = Range::exactly(LIST).plus(length.scaled(CHARACTER)).plus(requirements);
            Estimate::of(cost)
        }
        (
            "isSorted" | "sum" | "max" | "min" | "indexOf" | "lastIndexOf" | "includes",
            Some(target),
            _,
        ) => of_elements(sizes, function.name, target),
        ("url" | "jsonpatch.escapeKey", _, [text]) => {
            let size = size(text);
            Estimate::sized(size.scaled(CHARACTER), size)
        }
        ("lowerAscii" | "upperAscii" | "substring" | "trim", Some(text), _) => {
            let size = size(text);
            Estimate::sized(size.scaled(CHARACTER), size)
        }
        ("replace", Some(text), [from, to, ..]) => {
            let (text, from, to) = (size(text), size(from), size(to));
            Estimate::sized(text.scaled(2.0 * CHARACTER), replaced(text, from, to))
        }
        ("split", Some(text), args) => {
            let text = size(text);
            let limit = args.get(1).and_then(|limit| match limit.kind {
                Kind::Literal(Literal::Int(limit)) => Some(limit as u64),
                _ => None,
            });
            let parts = Range { min: 0, max: limit.unwrap_or(text.max) };
            Estimate::sized(text.scaled(2.0 * CHARACTER), parts)
        }
        ("join", Some(list), args) => {
            let count = size(list);
            let mut length = match sizes.type_of(list) {
                Type::List(_) => count.times(sizes.element(list)),
                _ => Range::NONE,
            };
            if let [between] = args {
                let gaps =
                    Range { min: count.min.saturating_sub(1), max: count.max.saturating_sub(1) };
                length = length.plus(sizes.size_or_unknown(between).times(gaps));
            }
            Estimate::sized(length.scaled(CHARACTER), length)
        }
        ("find" | "findAll", Some(text), [pattern, ..]) => {
            let text = size(text);
            let cost = text.plus(one).scaled(CHARACTER).times(size(pattern).scaled(PATTERN));
            Estimate::sized(cost, Range { min: 0, max: text.max })
        }
        ("ip", Some(_), _) => Estimate::fixed(1),
        (
            "cidr" | "isIP" | "isCIDR" | "ip" | "quantity" | "isQuantity" | "semver" | "isSemver",
            _,
            [text, ..],
        ) => Estimate::of(size(text).scaled(CHARACTER)),
        ("ip.isCanonical", _, [text]) => Estimate::of(size(text).scaled(2.0 * CHARACTER)),
        ("containsIP" | "containsCIDR", _, [other]) => {
            let address = Range { min: 4, max: 16 };
            let mut cost = address.plus(address).scaled(CHARACTER);
            if function.name == "containsCIDR" {
                cost = cost.plus(address.scaled(CHARACTER)).plus(one);
            }
            if matches!(overload.params[..], [_, Type::Text]) {
                cost = cost.plus(size(other).scaled(CHARACTER));
            }
            Estimate::of(cost)
        }
        ("validate", _, [text]) => {
            let pattern = FORMAT_PATTERN_MAX * PATTERN;
            Estimate::of(size(text).scaled(CHARACTER).scaled(pattern))
        }
        ("_==_", None, [left, right]) if sizes.type_of(left) == sizes.type_of(right) => {
            match sizes.type_of(left) {
                Type::Library(Library::Format) => {
                    Estimate::of(Range { min: 1, max: 64 }.scaled(CHARACTER))
                }
                Type::Library(Library::Url) => {
                    let max = sizes.size(right).map_or(1, |size| size.max);
                    Estimate::of(Range { min: 1, max }.scaled(CHARACTER))
                }
                Type::Library(_) => Estimate::fixed(1),
                _ => shorter(sizes, left, right),
            }
        }
        _ => of_standard(sizes, function, overload, target, args),
    }
}

/// CEL's own functions.
fn of_standard(
    sizes: &mut Sizes<'_>,
    function: &Function,
    overload: &Overload,
    target: Option<&Expr>,
    args: &[Expr],
) -> Estimate {
    let mut size = |expr: &Expr| sizes.size_or_unknown(expr);
    let one = Range::exactly(1);
    let params = &overload.params[..];
    let texts = matches!(params, [Type::Text, Type::Text] | [Type::Bytes, Type::Bytes]);
    match (function.name, target, args) {
        ("format", Some(text), _) => Estimate::of(size(text).scaled(CHARACTER)),
        ("bytes", None, [text]) if params == [Type::Text] => {
            let size = size(text);
            let made = Range { min: size.min, max: size.max.wrapping_mul(4) };
            Estimate::sized(size.scaled(CHARACTER), made)
        }
        ("string", None, [bytes]) if params == [Type::Bytes] => {
            let size = size(bytes);
            Estimate::sized(size.scaled(CHARACTER), Range { min: size.min / 4, max: size.max })
        }
        ("strings.quote", _, [text]) => {
            let size = size(text);
            let made = Range {
                min: size.min.wrapping_add(2),
                max: size.max.wrapping_mul(2).wrapping_add(2),
            };
            Estimate::sized(size.scaled(CHARACTER), made)
        }
        ("startsWith" | "endsWith", _, [part]) => Estimate::of(size(part).scaled(CHARACTER)),
        ("@in", None, [_, list]) if matches!(params, [_, Type::List(_)]) => {
            Estimate::of(size(list).scaled(1.0))
        }
        ("matches", Some(text), [pattern]) => {
            let text = size(text).plus(one).scaled(CHARACTER);
            Estimate::of(text.times(size(pattern).scaled(PATTERN)))
        }
        ("contains", Some(text), [part]) => {
            let text = size(text).scaled(CHARACTER);
            Estimate::of(text.times(size(part).scaled(CHARACTER)))
        }
        ("_+_", None, [left, right]) if matches!(params, [Type::List(_), _]) => {
            Estimate::sized(one, size(left).plus(size(right)))
        }
        ("_+_", None, [left, right]) if texts => {
            let size = size(left).plus(size(right));
            Estimate::sized(size.scaled(CHARACTER), size)
        }
        ("_<_" | "_<=_" | "_>_" | "_>=_", None, [left, right]) if texts => {
            shorter(sizes, left, right)
        }
        ("_==_" | "_!=_", None, [left, right]) => shorter(sizes, left, right),
        _ => Estimate::fixed(1),
    }
}

/// Until the shorter one ends.
fn shorter(sizes: &mut Sizes<'_>, left: &Expr, right: &Expr) -> Estimate {
    let max = sizes.size_or_unknown(left).max.min(sizes.size_or_unknown(right).max);
    Estimate::of(Range { min: max.min(1), max }.scaled(CHARACTER))
}

/// Once over a list, through the texts in it; or over a text.
fn of_elements(sizes: &mut Sizes<'_>, name: &str, target: &Expr) -> Estimate {
    let one = Range::exactly(1);
    let count = sizes.size_or_unknown(target);
    let of = match sizes.type_of(target) {
        Type::List(of) => of,
        Type::Optional(of) => of,
        Type::Map(key, _) => key,
        _ if name == "includes" => return Estimate::of(count),
        _ => return Estimate::of(count.scaled(CHARACTER)),
    };
    let each = match **of {
        Type::Text | Type::Bytes => one.plus(sizes.element(target).scaled(CHARACTER)),
        _ => one,
    };
    Estimate::of(count.times(each))
}

/// How long a text can be in which parts were replaced.
fn replaced(text: Range, from: Range, to: Range) -> Range {
    let mut times = Range::NONE;
    let mut kept = Range::NONE;
    if from.min == 0 {
        times.max = text.max.saturating_add(1);
        kept.max = text.max;
    } else if to.max <= from.min {
        kept.max = text.max;
    } else {
        times.max = (text.max as f64 / from.min as f64).ceil() as u64;
    }
    if from.max == 0 {
        times.min = text.min.saturating_add(1);
        kept.min = text.min;
    } else if from.max <= to.min {
        kept.min = text.min;
    } else {
        times.min = (text.min as f64 / from.max as f64).ceil() as u64;
    }
    times.times(to).plus(kept)
}

/// The number that is written there.
fn constant(expr: &Expr, otherwise: u64) -> u64 {
    match expr.kind {
        Kind::Literal(Literal::Int(value)) => u64::try_from(value).unwrap_or(0),
        _ => otherwise,
    }
}
