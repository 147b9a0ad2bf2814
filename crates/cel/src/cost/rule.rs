//! What a call costs that was made.

use super::{CHARACTER, CHECK, LIST, PATTERN, STRUCT};
use crate::error::EvalError;
use crate::library::LibraryValue;
use crate::types::Type;
use crate::types::functions::Overload;
use crate::value::Value;

/// How the cost of a call is counted; `usize` is the place of an argument.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Rule {
    Fixed(u64),
    /// Once over its size, for this much each.
    Scan(usize, f64),
    /// Once over the result's.
    ScanResult(f64),
    /// Through all that is in it.
    Traverse(usize),
    /// A pattern over a text.
    Pattern,
    /// A text within a text.
    Search,
    /// As large as the second argument is.
    Members,
    /// Until the shorter one ends.
    Shorter,
    /// Both are copied.
    Both,
    Selector,
    /// Within a network: with what was parsed for it, and for networks twice.
    Within {
        parsed: bool,
        network: bool,
    },
    /// A format's pattern.
    Format,
    Product(u64),
    Made,
    /// A list that is made flat.
    Flatten,
    /// Each element with each.
    SelfCompare(usize),
}

// === impl Rule ===

impl Rule {
    /// The rule of a function; `overload` is the one that is meant, where only
    /// one can be.
    pub fn of(name: &str, overload: Option<&Overload>) -> Rule {
        let params = overload.map(|overload| &overload.params[..]).unwrap_or_default();
        let known = overload.is_some();
        let texts = matches!(params, [Type::Text, Type::Text] | [Type::Bytes, Type::Bytes]);
        match name {
            "slice" | "lists.range" | "reverse" if known => Rule::Made,
            "flatten" if known => Rule::Flatten,
            "distinct" | "sort" if known => Rule::SelfCompare(0),
            "@sortByAssociatedKeys" if known => Rule::SelfCompare(1),
            "sets.contains" | "sets.intersects" if known => Rule::Product(1),
            "sets.equivalent" if known => Rule::Product(2),
            "check" => Rule::Fixed(CHECK),
            "fieldSelector" | "labelSelector" => Rule::Selector,
            "isSorted" | "sum" | "max" | "min" | "indexOf" | "lastIndexOf" | "includes" => {
                Rule::Traverse(0)
            }
            "url"
            | "lowerAscii"
            | "upperAscii"
            | "substring"
            | "trim"
            | "cidr"
            | "isIP"
            | "isCIDR"
            | "quantity"
            | "isQuantity"
            | "semver"
            | "isSemver"
            | "jsonpatch.escapeKey" => Rule::Scan(0, CHARACTER),
            "ip" if matches!(params, [Type::Library(_)]) => Rule::Fixed(1),
            "ip" => Rule::Scan(0, CHARACTER),
            "replace" | "split" | "ip.isCanonical" => Rule::Scan(0, 2.0 * CHARACTER),
            "join" => Rule::ScanResult(2.0 * CHARACTER),
            "find" | "findAll" => Rule::Pattern,
            "containsIP" | "containsCIDR" => Rule::Within {
                parsed: matches!(params, [_, Type::Text]),
                network: name == "containsCIDR",
            },
            "validate" => Rule::Format,
            "matches" if overload.is_some_and(|overload| overload.method) => Rule::Pattern,
            "contains" if known => Rule::Search,
            "startsWith" | "endsWith" if known => Rule::Scan(1, CHARACTER),
            "strings.quote" | "format" if known => Rule::Scan(0, CHARACTER),
            "bytes" if params == [Type::Text] => Rule::Scan(0, CHARACTER),
            "string" if params == [Type::Bytes] => Rule::Scan(0, CHARACTER),
            "@in" if matches!(params, [_, Type::List(_)]) => Rule::Members,
            "_<_" | "_<=_" | "_>_" | "_>=_" if texts => Rule::Shorter,
            "_+_" if texts => Rule::Both,
            _ => Rule::Fixed(1),
        }
    }

    pub fn cost(&self, args: &[Value<'_>], result: &Result<Value<'_>, EvalError>) -> u64 {
        let size = |place: usize| args.get(place).map_or(1, Value::size);
        let made = || result.as_ref().map_or(1, Value::size);
        match *self {
            Rule::Fixed(cost) => cost,
            Rule::Scan(place, each) => scaled(size(place), each),
            Rule::ScanResult(each) => scaled(made(), each),
            Rule::Traverse(place) => args.get(place).map_or(1, traversal),
            Rule::Pattern => {
                scaled(size(0) + 1, CHARACTER).saturating_mul(scaled(size(1), PATTERN))
            }
            Rule::Search => scaled(size(0), CHARACTER).saturating_mul(scaled(size(1), CHARACTER)),
            Rule::Members => size(1),
            Rule::Shorter => scaled(size(0).min(size(1)), CHARACTER),
            Rule::Both => scaled(size(0) + size(1), CHARACTER),
            Rule::Selector => selector(size(1)),
            Rule::Within { parsed, network } => {
                let own = size(0);
                let mut cost = scaled(2 * own, CHARACTER);
                if network {
                    cost += scaled(own, CHARACTER) + 1;
                }
                cost + if parsed { scaled(size(1), CHARACTER) } else { 0 }
            }
            Rule::Format => match args {
                [Value::Library(value), text] => match &**value {
                    LibraryValue::Format(format) => {
                        let pattern = scaled(format.pattern_size, PATTERN);
                        scaled(text.size() + 1, CHARACTER).saturating_mul(pattern)
                    }
                    _ => 1,
                },
                _ => 1,
            },
            Rule::Product(times) => size(0).saturating_mul(size(1)).saturating_mul(times) + 1,
            Rule::Made => made() + 1 + LIST,
            Rule::Flatten => {
                let depth = match args.get(1) {
                    Some(Value::Int(depth)) => u64::try_from(*depth).unwrap_or(0),
                    _ => 1,
                };
                size(0).saturating_mul(depth).saturating_add(1 + LIST)
            }
            Rule::SelfCompare(place) => {
                let Some(Value::List(list)) = args.get(place) else { return 1 };
                let text =
                    !list.is_empty() && matches!(list.get(0), Ok(Value::Text(_) | Value::Bytes(_)));
                let each = if text { 2.0 + CHARACTER } else { 2.0 };
                let pairs = size(place).saturating_mul(size(place));
                ((pairs as f64 * each) as u64).saturating_add(1 + LIST)
            }
        }
    }
}

/// Of `==` and `!=`.
pub fn of_equality(
    left: &Result<Value<'_>, EvalError>,
    right: &Result<Value<'_>, EvalError>,
) -> u64 {
    let size = |value: &Result<Value<'_>, EvalError>| match value {
        Ok(Value::Library(_)) | Err(_) => 1,
        Ok(value) => value.size(),
    };
    scaled(size(left).min(size(right)), CHARACTER)
}

/// What a selector of so many characters costs: its requirements, two
/// characters each, are values of their own.
pub(super) fn selector(characters: u64) -> u64 {
    let requirements = scaled(characters, 0.5);
    LIST + scaled(characters, CHARACTER) + requirements.saturating_mul(LIST + STRUCT)
}

/// So many for this much each, rounded up.
pub(super) fn scaled(count: u64, each: f64) -> u64 {
    (count as f64 * each).ceil() as u64
}

/// Through a value as a tree: texts by their bytes, all else by its parts.
fn traversal(value: &Value<'_>) -> u64 {
    match value {
        Value::Text(text) => (text.len() as f64 * CHARACTER) as u64,
        Value::Bytes(bytes) => (bytes.len() as f64 * CHARACTER) as u64,
        Value::List(list) => list.iter().map(|item| item.as_ref().map_or(1, traversal)).sum(),
        Value::Map(map) => map
            .iter()
            .map(|entry| match entry {
                Ok((key, value)) => traversal(&key) + traversal(&value),
                Err(_) => 1,
            })
            .sum(),
        _ => 1,
    }
}
