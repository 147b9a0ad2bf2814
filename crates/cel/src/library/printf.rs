//! `format`: clauses within a text, as CEL's strings have them (version 2:
//! numbers as the locale en_US writes them).

use super::goformat::{double_to_text, fixed, scientific};
use crate::error::EvalError;
use crate::value::{List, Value};

const PRECISION: usize = 6;

/// A part of a format.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Piece<'f> {
    Plain(&'f str),
    Clause(Clause),
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Clause {
    pub letter: char,
    precision: Option<usize>,
}

/// The parts of a format, up to the first that is none.
pub fn pieces(format: &str) -> impl Iterator<Item = Result<Piece<'_>, String>> {
    let mut rest = format;
    let mut ended = false;
    std::iter::from_fn(move || {
        if rest.is_empty() || ended {
            return None;
        }
        let Some(behind) = rest.strip_prefix('%') else {
            let (plain, behind) = rest.split_at(rest.find('%').unwrap_or(rest.len()));
            rest = behind;
            return Some(Ok(Piece::Plain(plain)));
        };
        if let Some(behind) = behind.strip_prefix('%') {
            rest = behind;
            return Some(Ok(Piece::Plain("%")));
        }
        match clause(behind) {
            Ok((clause, behind)) => {
                rest = behind;
                Some(Ok(Piece::Clause(clause)))
            }
            Err(message) => {
                ended = true;
                Some(Err(message))
            }
        }
    })
}

fn clause(text: &str) -> Result<(Clause, &str), String> {
    if text.is_empty() {
        return Err("unexpected end of string".into());
    }
    let wrong = |why: String| format!("could not parse formatting clause: {why}");
    let precision = |why: &str| wrong(format!("error while parsing precision: {why}"));
    let (digits, rest) = match text.strip_prefix('.') {
        None => (None, text),
        Some(behind) => {
            let end = behind
                .find(|c: char| !c.is_ascii_digit())
                .ok_or_else(|| precision("could not find end of precision specifier"))?;
            (Some(&behind[..end]), &behind[end..])
        }
    };
    let digits = digits.map(|digits| {
        digits.parse().map_err(|_| {
            let why = format!("strconv.Atoi: parsing \"{digits}\": invalid syntax");
            precision(&format!("error while converting precision to integer: {why}"))
        })
    });
    let letter = rest.chars().next().ok_or_else(|| "unexpected end of string".to_string())?;
    if !"sdfebxXo".contains(letter) {
        return Err(wrong(format!("unrecognized formatting clause \"{letter}\"")));
    }
    Ok((Clause { letter, precision: digits.transpose()? }, &rest[letter.len_utf8()..]))
}

/// The text with its arguments; at most so many bytes.
pub fn format(format: &str, args: &List<'_>, bytes_max: usize) -> Result<String, EvalError> {
    let mut made = String::new();
    let mut used = 0;
    for piece in pieces(format) {
        let clause = match piece {
            Ok(Piece::Plain(text)) => {
                made.push_str(text);
                continue;
            }
            Ok(Piece::Clause(clause)) if used < args.len() => clause,
            Err(message) if used < args.len() => return Err(EvalError::new(message)),
            _ => return Err(EvalError::new(format!("index {used} out of range"))),
        };
        if clause.precision.is_some_and(|precision| precision > bytes_max) {
            return Err(EvalError::Budget);
        }
        let arg = args.get(used)?;
        used += 1;
        match clause.show(&arg) {
            Some(text) => made.push_str(&text),
            None => {
                let message = clause.unfit(&arg.type_name());
                return Err(EvalError::new(format!("error during formatting: {message}")));
            }
        }
        if made.len() > bytes_max {
            return Err(EvalError::Budget);
        }
    }
    Ok(made)
}

// === impl Clause ===

impl Clause {
    /// What is said of an argument that it cannot show.
    pub fn unfit(self, of: &str) -> String {
        let can = match self.letter {
            's' => {
                "string clause can only be used on strings, bools, bytes, ints, doubles, maps, lists, types, durations, and timestamps"
            }
            'd' => "decimal clause can only be used on integers",
            'f' => "fixed-point clause can only be used on doubles",
            'e' => "scientific clause can only be used on doubles",
            'b' => "only integers and bools can be formatted as binary",
            'o' => "octal clause can only be used on integers",
            _ => "only integers, byte buffers, and strings can be formatted as hex",
        };
        format!("{can}, was given {of}")
    }

    fn show(self, arg: &Value<'_>) -> Option<String> {
        let precision = self.precision.unwrap_or(PRECISION);
        match self.letter {
            's' => shown(arg),
            'd' => match arg {
                Value::Int(value) => Some(value.to_string()),
                Value::Uint(value) => Some(value.to_string()),
                _ => None,
            },
            'f' => Some(fixed(float(arg)?, precision)),
            'e' => Some(scientific(float(arg)?, precision)),
            'b' => match arg {
                Value::Bool(value) => Some(u8::from(*value).to_string()),
                _ => based(arg, |value| format!("{value:b}")),
            },
            'o' => based(arg, |value| format!("{value:o}")),
            _ => {
                let hex = match arg {
                    Value::Text(text) => hex(text.as_bytes()),
                    Value::Bytes(bytes) => hex(bytes),
                    _ => based(arg, |value| format!("{value:x}"))?,
                };
                Some(if self.letter == 'X' { hex.to_uppercase() } else { hex })
            }
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn based(arg: &Value<'_>, show: fn(u64) -> String) -> Option<String> {
    match arg {
        Value::Uint(value) => Some(show(*value)),
        Value::Int(value) => {
            let sign = if *value < 0 { "-" } else { "" };
            Some(format!("{sign}{}", show(value.unsigned_abs())))
        }
        _ => None,
    }
}

/// Also of the texts that name no number.
fn float(arg: &Value<'_>) -> Option<f64> {
    match arg {
        Value::Double(value) => Some(*value),
        Value::Text(text) => match &**text {
            "NaN" => Some(f64::NAN),
            "Infinity" => Some(f64::INFINITY),
            "-Infinity" => Some(f64::NEG_INFINITY),
            _ => None,
        },
        _ => None,
    }
}

/// `%s` of an argument.
fn shown(arg: &Value<'_>) -> Option<String> {
    Some(match arg {
        Value::Null => "null".into(),
        Value::Double(value) => double_to_text(*value),
        Value::List(_) | Value::Map(_) => nested(arg)?,
        Value::Optional(_) | Value::Library(_) => return None,
        other => other.to_string(),
    })
}

/// A part of a list or map: texts in quotes.
fn nested(arg: &Value<'_>) -> Option<String> {
    Some(match arg {
        Value::Text(text) => quote(text),
        Value::Bytes(bytes) => format!("b{}", quote(&String::from_utf8_lossy(bytes))),
        Value::Double(value) => fixed(*value, PRECISION),
        Value::Duration(_) => format!("duration(\"{arg}\")"),
        Value::Timestamp(_) => format!("timestamp(\"{arg}\")"),
        Value::List(list) => {
            let items: Vec<String> =
                list.iter().map(|item| nested(&item.ok()?)).collect::<Option<_>>()?;
            format!("[{}]", items.join(", "))
        }
        Value::Map(map) => {
            let mut entries: Vec<String> = map
                .iter()
                .map(|entry| {
                    let (key, value) = entry.ok()?;
                    Some(format!("{}:{}", nested(&key)?, nested(&value)?))
                })
                .collect::<Option<_>>()?;
            entries.sort();
            format!("{{{}}}", entries.join(", "))
        }
        other => return shown(other),
    })
}

/// In quotes, with CEL's escapes.
pub fn quote(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '\x07' => quoted.push_str("\\a"),
            '\x08' => quoted.push_str("\\b"),
            '\x0c' => quoted.push_str("\\f"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            '\x0b' => quoted.push_str("\\v"),
            '\\' => quoted.push_str("\\\\"),
            '"' => quoted.push_str("\\\""),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}
