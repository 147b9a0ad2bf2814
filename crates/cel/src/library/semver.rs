//! Semantic versions, 2.0.0.

use std::cmp::Ordering;
use std::fmt;

use super::{Apply, LibraryValue};
use crate::error::EvalError;
use crate::value::Value;

/// `isGreaterThan`, `isLessThan` and `compareTo` are with the quantities.
pub const SIGNATURES: &str = "
    semver(string) -> semver
    semver(string, bool) -> semver
    isSemver(string) -> bool
    isSemver(string, bool) -> bool
    semver . isGreaterThan(semver) -> bool
    semver . isLessThan(semver) -> bool
    semver . compareTo(semver) -> int
    semver . major() -> int
    semver . minor() -> int
    semver . patch() -> int
";

#[derive(Clone, Debug, PartialEq)]
pub struct Semver {
    numbers: [u64; 3],
    before: Vec<Identifier>,
    /// Told, never compared by order.
    build: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Identifier {
    Number(u64),
    Text(String),
}

pub fn find(name: &str) -> Option<Apply> {
    Some(match name {
        "semver" => |_, args| {
            let version = parse(args)?.map_err(EvalError::new)?;
            Ok(Value::library(LibraryValue::Semver(version)))
        },
        "isSemver" => |_, args| Ok(Value::Bool(parse(args)?.is_ok())),
        "major" => |_, args| number(args, 0),
        "minor" => |_, args| number(args, 1),
        "patch" => |_, args| number(args, 2),
        _ => return None,
    })
}

fn of<'v>(value: &'v Value<'_>) -> Option<&'v Semver> {
    match value {
        Value::Library(value) => match &**value {
            LibraryValue::Semver(version) => Some(version),
            _ => None,
        },
        _ => None,
    }
}

pub fn order(one: &Value<'_>, other: &Value<'_>) -> Result<Ordering, EvalError> {
    match (of(one), of(other)) {
        (Some(one), Some(other)) => Ok(one.order(other)),
        _ => Err(EvalError::no_such_overload()),
    }
}

fn number<'a>(args: &[Value<'a>], place: usize) -> Result<Value<'a>, EvalError> {
    let version = args.first().and_then(of).ok_or_else(EvalError::no_such_overload)?;
    Ok(Value::Int(version.numbers[place] as i64))
}

type Parsed = Result<Semver, String>;

fn parse(args: &[Value<'_>]) -> Result<Parsed, EvalError> {
    match args {
        [Value::Text(text)] | [Value::Text(text), Value::Bool(false)] => Ok(Semver::parse(text)),
        [Value::Text(text), Value::Bool(true)] => {
            Ok(normalized(text).and_then(|text| Semver::parse(&text)))
        }
        _ => Err(EvalError::no_such_overload()),
    }
}

/// Without a `v`, without leading zeros, with all three numbers.
fn normalized(text: &str) -> Result<String, String> {
    let text = text.strip_prefix('v').unwrap_or(text);
    let mut parts: Vec<String> = text.splitn(3, '.').map(without_zeros).collect();
    if parts.len() < 3 {
        if parts.last().is_some_and(|part| part.contains(['+', '-'])) {
            return Err("short version cannot contain PreRelease/Build meta data".into());
        }
        parts.resize(3, "0".into());
    }
    Ok(parts.join("."))
}

fn without_zeros(part: &str) -> String {
    if part.len() < 2 {
        return part.into();
    }
    let rest = part.trim_start_matches('0');
    if rest.starts_with(|c: char| c.is_ascii_digit()) { rest.into() } else { format!("0{rest}") }
}

// === impl Semver ===

impl Semver {
    fn parse(text: &str) -> Parsed {
        if text.is_empty() {
            return Err("Version string empty".into());
        }
        let parts: Vec<&str> = text.splitn(3, '.').collect();
        let [major, minor, rest] = parts[..] else {
            return Err("No Major.Minor.Patch elements found".into());
        };
        let (rest, build) = rest.split_once('+').map_or((rest, None), |(a, b)| (a, Some(b)));
        let (patch, before) = rest.split_once('-').map_or((rest, None), |(a, b)| (a, Some(b)));
        let numbers =
            [numeral(major, "Major")?, numeral(minor, "Minor")?, numeral(patch, "Patch")?];
        let before = match before {
            Some(before) => before.split('.').map(identifier).collect::<Result<_, _>>()?,
            None => Vec::new(),
        };
        let build = match build {
            Some(build) => build.split('.').map(metadata).collect::<Result<_, _>>()?,
            None => Vec::new(),
        };
        Ok(Semver { numbers, before, build })
    }

    /// What comes before a release is less than it.
    fn order(&self, other: &Semver) -> Ordering {
        self.numbers.cmp(&other.numbers).then_with(|| {
            match (self.before.is_empty(), other.before.is_empty()) {
                (true, true) => Ordering::Equal,
                (true, false) => Ordering::Greater,
                (false, true) => Ordering::Less,
                (false, false) => self.before.cmp(&other.before),
            }
        })
    }
}

fn numeral(text: &str, what: &str) -> Result<u64, String> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(format!(
            "Invalid character(s) found in {} number \"{text}\"",
            what.to_lowercase()
        ));
    }
    if text.len() > 1 && text.starts_with('0') {
        return Err(format!("{what} number must not contain leading zeroes \"{text}\""));
    }
    text.parse().map_err(|_| format!("strconv.ParseUint: parsing \"{text}\": value out of range"))
}

fn is_identifier(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

fn identifier(text: &str) -> Result<Identifier, String> {
    if text.is_empty() {
        return Err("Prerelease is empty".into());
    }
    if text.bytes().all(|byte| byte.is_ascii_digit()) {
        if text.len() > 1 && text.starts_with('0') {
            return Err(format!(
                "Numeric PreRelease version must not contain leading zeroes \"{text}\""
            ));
        }
        return text
            .parse()
            .map(Identifier::Number)
            .map_err(|_| format!("strconv.ParseUint: parsing \"{text}\": value out of range"));
    }
    if !is_identifier(text) {
        return Err(format!("Invalid character(s) found in prerelease \"{text}\""));
    }
    Ok(Identifier::Text(text.into()))
}

fn metadata(text: &str) -> Result<String, String> {
    if text.is_empty() {
        return Err("Build meta data is empty".into());
    }
    if !is_identifier(text) {
        return Err(format!("Invalid character(s) found in build meta data \"{text}\""));
    }
    Ok(text.into())
}

impl fmt::Display for Semver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [major, minor, patch] = self.numbers;
        write!(f, "{major}.{minor}.{patch}")?;
        for (index, part) in self.before.iter().enumerate() {
            f.write_str(if index == 0 { "-" } else { "." })?;
            match part {
                Identifier::Number(number) => write!(f, "{number}")?,
                Identifier::Text(text) => f.write_str(text)?,
            }
        }
        for (index, part) in self.build.iter().enumerate() {
            write!(f, "{}{part}", if index == 0 { "+" } else { "." })?;
        }
        Ok(())
    }
}
