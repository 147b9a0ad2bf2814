//! Functions of texts. Places are counted in characters.

use super::{Apply, Context, printf};
use crate::cost::CHARACTER;
use crate::error::EvalError;
use crate::value::{Text, Value};

pub const SIGNATURES: &str = "
    string . charAt(int) -> string
    string . indexOf(string) -> int
    string . indexOf(string, int) -> int
    string . lastIndexOf(string) -> int
    string . lastIndexOf(string, int) -> int
    string . lowerAscii() -> string
    string . upperAscii() -> string
    string . replace(string, string) -> string
    string . replace(string, string, int) -> string
    string . split(string) -> list(string)
    string . split(string, int) -> list(string)
    string . substring(int) -> string
    string . substring(int, int) -> string
    string . trim() -> string
    string . format(list(dyn)) -> string
    strings.quote(string) -> string
    list(string) . join() -> string
    list(string) . join(string) -> string
";

/// What Kubernetes does not have.
pub const MORE_SIGNATURES: &str = "
    string . reverse() -> string
    jsonpatch.escapeKey(string) -> string
";

pub fn find(name: &str) -> Option<Apply> {
    Some(match name {
        "charAt" => |_, args| char_at(args),
        "lowerAscii" => |_, args| map(args, |text| text.to_ascii_lowercase()),
        "upperAscii" => |_, args| map(args, |text| text.to_ascii_uppercase()),
        "replace" => |context, args| replace(context, args),
        "split" => |_, args| split(args),
        "substring" => |_, args| substring(args),
        "trim" => |_, args| map(args, |text| text.trim().to_string()),
        "format" => |context, args| match args {
            [Value::Text(pattern), Value::List(list)] => {
                printf::format(pattern, list, bytes_max(context)).map(Value::text)
            }
            _ => Err(EvalError::no_such_overload()),
        },
        "strings.quote" => |_, args| map(args, printf::quote),
        "join" => |context, args| join(context, args),
        "jsonpatch.escapeKey" => {
            |_, args| map(args, |text| text.replace('~', "~0").replace('/', "~1"))
        }
        _ => return None,
    })
}

/// How long a made text may be: to look at it once must still be paid for.
fn bytes_max(context: &Context<'_>) -> usize {
    (context.room as f64 / CHARACTER) as usize
}

fn map<'a>(args: &[Value<'a>], of: fn(&str) -> String) -> Result<Value<'a>, EvalError> {
    match args {
        [Value::Text(text)] => Ok(Value::text(of(text))),
        _ => Err(EvalError::no_such_overload()),
    }
}

fn out_of_range(index: i64) -> EvalError {
    EvalError::new(format!("index out of range: {index}"))
}

/// The byte where a character begins, or the text ends.
fn place(text: &str, index: i64) -> Result<usize, EvalError> {
    let count = usize::try_from(index).map_err(|_| out_of_range(index))?;
    let mut places = text.char_indices().map(|(at, _)| at).chain([text.len()]);
    places.nth(count).ok_or_else(|| out_of_range(index))
}

fn char_at<'a>(args: &[Value<'a>]) -> Result<Value<'a>, EvalError> {
    let [Value::Text(text), Value::Int(index)] = args else {
        return Err(EvalError::no_such_overload());
    };
    let rest = &text[place(text, *index)?..];
    Ok(Value::text(rest.chars().take(1).collect::<String>()))
}

fn substring<'a>(args: &[Value<'a>]) -> Result<Value<'a>, EvalError> {
    let (text, begin, end) = match args {
        [Value::Text(text), Value::Int(begin)] => (text, *begin, None),
        [Value::Text(text), Value::Int(begin), Value::Int(end)] => (text, *begin, Some(*end)),
        _ => return Err(EvalError::no_such_overload()),
    };
    if let Some(end) = end
        && begin > end
    {
        let message = format!("invalid substring range. start: {begin}, end: {end}");
        return Err(EvalError::new(message));
    }
    let begin = place(text, begin)?;
    let end = end.map_or(Ok(text.len()), |end| place(text, end))?;
    Ok(Value::text(&text[begin..end]))
}

/// Where a text is in another, from a character on; also of lists.
pub fn index_of(text: &Text<'_>, part: &str, from: i64) -> Result<i64, EvalError> {
    if from < 0 {
        return Err(out_of_range(from));
    }
    let Ok(begin) = place(text, from) else {
        return Ok(if part.is_empty() { text.chars().count() as i64 } else { -1 });
    };
    let found = text[begin..].find(part);
    Ok(found.map_or(-1, |at| text[..begin + at].chars().count() as i64))
}

pub fn last_index_of(text: &Text<'_>, part: &str, from: Option<i64>) -> Result<i64, EvalError> {
    if let Some(from) = from
        && from < 0
    {
        return Err(out_of_range(from));
    }
    let count = text.chars().count() as i64;
    if part.is_empty() {
        return Ok(from.unwrap_or(count).min(count));
    }
    if from.is_some_and(|from| from >= count) {
        return Ok(-1);
    }
    let end = match from {
        Some(from) => (place(text, from)? + part.len()).min(text.len()),
        None => text.len(),
    };
    let end = (end..=text.len()).find(|end| text.is_char_boundary(*end)).unwrap_or(text.len());
    let mut found = text[..end].rfind(part);
    if let (Some(at), Some(from)) = (found, from)
        && at > place(text, from)?
    {
        found = text[..end].char_indices().rev().map(|(at, _)| at).find(|at| {
            text[*at..].starts_with(part) && place(text, from).is_ok_and(|from| *at <= from)
        });
    }
    Ok(found.map_or(-1, |at| text[..at].chars().count() as i64))
}

fn replace<'a>(context: &Context<'_>, args: &[Value<'a>]) -> Result<Value<'a>, EvalError> {
    let (text, from, to, times) = match args {
        [Value::Text(text), Value::Text(from), Value::Text(to)] => (text, from, to, -1),
        [Value::Text(text), Value::Text(from), Value::Text(to), Value::Int(times)] => {
            (text, from, to, *times)
        }
        _ => return Err(EvalError::no_such_overload()),
    };
    let times = usize::try_from(times).unwrap_or(usize::MAX);
    let found = text.matches(&**from).take(times).count();
    if text.len().saturating_add(found.saturating_mul(to.len())) > bytes_max(context) {
        return Err(EvalError::Budget);
    }
    Ok(Value::text(text.replacen(&**from, to, times)))
}

fn split<'a>(args: &[Value<'a>]) -> Result<Value<'a>, EvalError> {
    let (text, by, times) = match args {
        [Value::Text(text), Value::Text(by)] => (text, by, -1),
        [Value::Text(text), Value::Text(by), Value::Int(times)] => (text, by, *times),
        _ => return Err(EvalError::no_such_overload()),
    };
    let times = usize::try_from(times).unwrap_or(usize::MAX);
    let parts: Vec<Value<'a>> = if times == 0 {
        Vec::new()
    } else if by.is_empty() {
        characters_of(text, times)
    } else {
        text.splitn(times, &**by).map(Value::text).collect()
    };
    Ok(Value::list(parts))
}

/// Each character, the rest being the last part.
fn characters_of<'a>(text: &str, times: usize) -> Vec<Value<'a>> {
    let mut parts = Vec::new();
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        if parts.len() + 1 == times {
            parts.push(Value::text(rest));
            return parts;
        }
        parts.push(Value::text(&rest[..c.len_utf8()]));
        rest = &rest[c.len_utf8()..];
    }
    parts
}

fn join<'a>(context: &Context<'_>, args: &[Value<'a>]) -> Result<Value<'a>, EvalError> {
    let (list, between) = match args {
        [Value::List(list)] => (list, ""),
        [Value::List(list), Value::Text(between)] => (list, &**between),
        _ => return Err(EvalError::no_such_overload()),
    };
    let mut joined = String::new();
    for (index, item) in list.iter().enumerate() {
        let item = item?;
        let Value::Text(text) = &item else {
            return Err(EvalError::new(format!("join: invalid input: {item}")));
        };
        if index > 0 {
            joined.push_str(between);
        }
        joined.push_str(text);
        if joined.len() > bytes_max(context) {
            return Err(EvalError::Budget);
        }
    }
    Ok(Value::text(joined))
}
