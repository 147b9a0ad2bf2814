//! JSON values as Go prints them, which is how Kubernetes' messages show them.

use serde_json::{Number, Value};

/// `%v`: `map[a:1 b:[x y]]`.
pub(crate) fn plain(value: &Value) -> String {
    match value {
        Value::Null => "<nil>".into(),
        Value::Bool(flag) => flag.to_string(),
        Value::Number(number) => self::number(number),
        Value::String(text) => text.clone(),
        Value::Array(list) => {
            format!("[{}]", list.iter().map(plain).collect::<Vec<_>>().join(" "))
        }
        Value::Object(map) => {
            let entries = map.iter().map(|(key, value)| format!("{key}:{}", plain(value)));
            format!("map[{}]", entries.collect::<Vec<_>>().join(" "))
        }
    }
}

/// `%#v`: `map[string]interface {}{"a":1}`.
pub(crate) fn literal(value: &Value) -> String {
    match value {
        Value::String(text) => quote(text),
        Value::Array(list) => {
            let items = list.iter().map(literal).collect::<Vec<_>>().join(", ");
            format!("[]interface {{}}{{{items}}}")
        }
        Value::Object(map) => {
            let entries =
                map.iter().map(|(key, value)| format!("{}:{}", quote(key), literal(value)));
            let entries = entries.collect::<Vec<_>>().join(", ");
            format!("map[string]interface {{}}{{{entries}}}")
        }
        Value::Null => "interface {}(nil)".into(),
        other => plain(other),
    }
}

/// `%T`.
pub(crate) fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "<nil>",
        Value::Bool(_) => "bool",
        Value::Number(number) if number.is_f64() => "float64",
        Value::Number(_) => "int64",
        Value::String(_) => "string",
        Value::Array(_) => "[]interface {}",
        Value::Object(_) => "map[string]interface {}",
    }
}

/// `%q`: quoted, with what cannot be printed escaped.
pub(crate) fn quote(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for letter in text.chars() {
        match letter {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\u{7}' => quoted.push_str("\\a"),
            '\u{8}' => quoted.push_str("\\b"),
            '\u{b}' => quoted.push_str("\\v"),
            '\u{c}' => quoted.push_str("\\f"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            letter if is_printable(letter) => quoted.push(letter),
            letter if letter < '\u{80}' => quoted.push_str(&format!("\\x{:02x}", letter as u32)),
            letter if letter < '\u{10000}' => quoted.push_str(&format!("\\u{:04x}", letter as u32)),
            letter => quoted.push_str(&format!("\\U{:08x}", letter as u32)),
        }
    }
    quoted.push('"');
    quoted
}

/// What Go's `unicode.IsPrint` takes for printable, as near as the standard
/// library tells.
pub(crate) fn is_printable(letter: char) -> bool {
    letter == ' '
        || letter.is_ascii_graphic()
        || (!letter.is_ascii() && !letter.is_whitespace() && letter.escape_debug().len() == 1)
}

/// Powers of ten from which Go turns to exponents.
const EXPONENT_FROM: f64 = 1e21;
const EXPONENT_BELOW: f64 = 1e-4;

fn number(number: &Number) -> String {
    let Some(float) = number.as_f64().filter(|_| number.is_f64()) else {
        return number.to_string();
    };
    let size = float.abs();
    if size == 0.0 || (EXPONENT_BELOW..EXPONENT_FROM).contains(&size) {
        return float.to_string();
    }
    let text = format!("{float:e}");
    match text.split_once('e') {
        Some((digits, exponent)) => {
            let (sign, exponent) = match exponent.strip_prefix('-') {
                Some(rest) => ('-', rest),
                None => ('+', exponent),
            };
            format!("{digits}e{sign}{exponent:0>2}")
        }
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn values_print_as_go_has_them() {
        let value = json!({"b": [1, "x", null], "a": {"c": true, "d": 0.5}});
        assert_eq!(plain(&value), "map[a:map[c:true d:0.5] b:[1 x <nil>]]");
        assert_eq!(
            literal(&json!({"a": [1, "x"]})),
            r#"map[string]interface {}{"a":[]interface {}{1, "x"}}"#
        );
        assert_eq!(plain(&json!([1e21, 1e-5, 2.0])), "[1e+21 1e-05 2]");
        assert_eq!(quote("a\"\n\u{1}é\u{200b}"), "\"a\\\"\\n\\x01é\\u200b\"");
    }
}
