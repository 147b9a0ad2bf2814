//! Regular expressions, of RE2's syntax, as schemas have them.

use regex::Regex;

use super::{Apply, Context};
use crate::error::EvalError;
use crate::value::Value;

pub use schema::compile;

pub const SIGNATURES: &str = "
    matches(string, string) -> bool
    string . matches(string) -> bool
    string . find(string) -> string
    string . findAll(string) -> list(string)
    string . findAll(string, int) -> list(string)
";

pub fn find(name: &str) -> Option<Apply> {
    Some(match name {
        "matches" => {
            |context, args| with(context, args, |pattern, text| Value::Bool(pattern.is_match(text)))
        }
        "find" => |context, args| {
            with(context, args, |pattern, text| {
                Value::text(pattern.find(text).map_or("", |found| found.as_str()))
            })
        },
        "findAll" => |context, args| {
            let limit = match args.get(2) {
                None => usize::MAX,
                Some(Value::Int(limit)) => usize::try_from(*limit).unwrap_or(usize::MAX),
                Some(_) => return Err(EvalError::no_such_overload()),
            };
            let all = |pattern: &Regex, text: &str| {
                let found = pattern.find_iter(text).take(limit);
                Value::list(found.map(|found| Value::text(found.as_str())).collect())
            };
            with(context, &args[..2.min(args.len())], all)
        },
        _ => return None,
    })
}

fn with<'a>(
    context: &Context<'_>,
    args: &[Value<'a>],
    of: impl Fn(&Regex, &str) -> Value<'a>,
) -> Result<Value<'a>, EvalError> {
    let [Value::Text(text), Value::Text(pattern)] = args else {
        return Err(EvalError::no_such_overload());
    };
    if let Some(pattern) = context.pattern {
        return Ok(of(pattern, text));
    }
    let wrong = |why: String| EvalError::new(format!("Illegal regex: {why}"));
    Ok(of(&compile(pattern).map_err(wrong)?, text))
}
