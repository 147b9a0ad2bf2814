//! JSON as YAML, for people who ask for it.

use std::fmt::Write as _;

use serde_json::Value;

use crate::failure::Failure;

pub fn write(json: &[u8]) -> Result<String, Failure> {
    let value = serde_json::from_slice(json)
        .map_err(|_| Failure::internal("an answer that is not JSON"))?;
    let mut out = String::with_capacity(json.len());
    match &value {
        Value::Object(map) if !map.is_empty() => block(&value, 0, &mut out),
        Value::Array(items) if !items.is_empty() => block(&value, 0, &mut out),
        scalar => {
            inline(scalar, &mut out);
            out.push('\n');
        }
    }
    Ok(out)
}

/// A map or list with something in it, one entry a line.
fn block(value: &Value, depth: usize, out: &mut String) {
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                indent(depth, out);
                text(key, out);
                out.push(':');
                match value {
                    // Lists stand no deeper than the key they belong to.
                    Value::Array(items) if !items.is_empty() => {
                        out.push('\n');
                        block(value, depth, out);
                    }
                    Value::Object(inner) if !inner.is_empty() => {
                        out.push('\n');
                        block(value, depth + 1, out);
                    }
                    scalar => {
                        out.push(' ');
                        inline(scalar, out);
                        out.push('\n');
                    }
                }
            }
        }
        Value::Array(items) => {
            for item in items {
                let start = out.len();
                match item {
                    Value::Object(inner) if !inner.is_empty() => block(item, depth + 1, out),
                    Value::Array(inner) if !inner.is_empty() => {
                        indent(depth + 1, out);
                        inline(item, out);
                        out.push('\n');
                    }
                    scalar => {
                        indent(depth + 1, out);
                        inline(scalar, out);
                        out.push('\n');
                    }
                }
                // The dash takes the place of the innermost indentation.
                out.replace_range(start + 2 * depth..start + 2 * depth + 1, "-");
            }
        }
        _ => {}
    }
}

fn indent(depth: usize, out: &mut String) {
    out.extend(std::iter::repeat_n("  ", depth));
}

/// Scalars, what is empty, and lists of lists, which JSON writes well enough.
fn inline(value: &Value, out: &mut String) {
    match value {
        Value::String(value) => text(value, out),
        other => {
            let _ = write!(out, "{other}");
        }
    }
}

/// Plain where nothing else could be meant, quoted as JSON has it otherwise.
fn text(value: &str, out: &mut String) {
    let mut bytes = value.bytes();
    let starts = bytes.next().is_some_and(|b| b.is_ascii_alphabetic() || b"/_".contains(&b));
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_./".contains(&b);
    let word = value.to_ascii_lowercase();
    let meaning = ["true", "false", "yes", "no", "on", "off", "null", "y", "n"];
    if starts && value.bytes().all(plain) && !meaning.contains(&&*word) {
        out.push_str(value);
    } else {
        let _ = write!(out, "{}", Value::from(value));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_written_means_the_same() {
        let value = json!({
            "a": {"b": [1, "2", "yes", {"c": [], "d": {}, "e": [["x"], "1e3"]}, null]},
            "": "two\nlines: #", "t": true, "number": -1.5, "plain": "io.k8s/x-y",
        });
        let text = write(value.to_string().as_bytes()).expect("JSON");
        let expected = "\
\"\": \"two\\nlines: #\"
a:
  b:
  - 1
  - \"2\"
  - \"yes\"
  - c: []
    d: {}
    e:
    - [\"x\"]
    - \"1e3\"
  - null
number: -1.5
plain: io.k8s/x-y
t: true
";
        assert_eq!(text, expected);
    }
}
