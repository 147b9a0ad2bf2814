//! What the rules of kinds have in common: reading JSON that may be anything,
//! and gathering what is wrong with it.
//!
//! Paths are formatted when there is something to say, not before: nearly
//! every object is right.

use std::fmt::Arguments;

use resources::FieldError;
use serde_json::{Map, Value};

use crate::names;

/// More complaints than this help nobody, and each is kept in memory.
const ERRORS_MAX: usize = 100;

pub const IMMUTABLE: &str = "field is immutable";
pub const NOT_NEGATIVE: &str = "must be greater than or equal to 0";

#[derive(Default)]
pub struct Check {
    errors: Vec<FieldError>,
}

/// A rule on a text: what is wrong with it.
pub type Rule = fn(&str) -> Option<String>;

// === impl Check ===

impl Check {
    pub fn into_errors(self) -> Vec<FieldError> {
        self.errors
    }

    pub fn add(&mut self, error: FieldError) {
        if self.errors.len() < ERRORS_MAX {
            self.errors.push(error);
        }
    }

    pub fn required(&mut self, at: Arguments<'_>, detail: &str) {
        self.add(FieldError::required(at.to_string(), detail));
    }

    pub fn invalid(
        &mut self,
        at: Arguments<'_>,
        value: impl Into<Value>,
        detail: impl Into<String>,
    ) {
        self.add(FieldError::invalid_json(at.to_string(), &value.into(), detail));
    }

    pub fn forbidden(&mut self, at: Arguments<'_>, detail: impl Into<String>) {
        self.add(FieldError::forbidden(at.to_string(), detail));
    }

    pub fn duplicate(&mut self, at: Arguments<'_>, value: impl Into<Value>) {
        self.add(FieldError::duplicate(at.to_string(), &value.into()));
    }

    pub fn not_found(&mut self, at: Arguments<'_>, value: &str) {
        self.add(FieldError::not_found(at.to_string(), &value.into()));
    }

    /// A text that must be there and fulfil `rule`.
    pub fn named(&mut self, at: Arguments<'_>, text: &str, rule: Rule) {
        match text {
            "" => self.required(at, ""),
            text => self.optional(at, text, rule),
        }
    }

    /// A text that must fulfil `rule` if it is there.
    pub fn optional(&mut self, at: Arguments<'_>, text: &str, rule: Rule) {
        if !text.is_empty()
            && let Some(why) = rule(text)
        {
            self.invalid(at, text, why);
        }
    }

    pub fn present(&mut self, at: Arguments<'_>, text: &str) {
        if text.is_empty() {
            self.required(at, "");
        }
    }

    /// One of few values, which must be there.
    pub fn one_of(&mut self, at: Arguments<'_>, text: &str, supported: &[&str]) {
        match text {
            "" => self.required(at, ""),
            text => self.any_of(at, text, supported),
        }
    }

    /// One of few values, if it is there.
    pub fn any_of(&mut self, at: Arguments<'_>, text: &str, supported: &[&str]) {
        if !text.is_empty() && !supported.contains(&text) {
            self.add(FieldError::unsupported(
                at.to_string(),
                &text.into(),
                supported.iter().copied(),
            ));
        }
    }

    pub fn not_negative(&mut self, at: Arguments<'_>, of: &Value, field: &str) {
        if let Some(number) = int(of, field)
            && number < 0
        {
            self.invalid(format_args!("{at}.{field}"), number, NOT_NEGATIVE);
        }
    }

    pub fn in_range(&mut self, at: Arguments<'_>, number: i64, least: i64, most: i64) {
        if !(least..=most).contains(&number) {
            let detail = format!("must be between {least} and {most}, inclusive");
            self.invalid(at, number, detail);
        }
    }

    pub fn port(&mut self, at: Arguments<'_>, number: i64) {
        self.in_range(at, number, 1, 65_535);
    }

    /// A number, or the name of a port.
    pub fn port_or_name(&mut self, at: Arguments<'_>, port: &Value) {
        match port {
            Value::String(name) => {
                if let Some(why) = port_name(name) {
                    self.invalid(at, name.as_str(), why);
                }
            }
            port => self.port(at, port.as_i64().unwrap_or(0)),
        }
    }

    pub fn labels(&mut self, at: Arguments<'_>, labels: &Value) {
        if let Some(labels) = labels.as_object() {
            names::check_labels(&at.to_string(), labels, &mut self.errors);
        }
    }

    /// `metav1.LabelSelector`.
    pub fn selector(&mut self, at: Arguments<'_>, selector: &Value) {
        if let Some(labels) = map(selector, "matchLabels") {
            for (key, value) in labels {
                let at = format_args!("{at}.matchLabels");
                self.named_key(at, key);
                self.optional(at, value.as_str().unwrap_or(""), names::label_value);
            }
        }
        for (index, it) in list(selector, "matchExpressions") {
            let at = format_args!("{at}.matchExpressions[{index}]");
            self.requirement(at, it, &["In", "NotIn"], &["Exists", "DoesNotExist"]);
            for (index, value) in list(it, "values") {
                let at = format_args!("{at}.values[{index}]");
                self.optional(at, value.as_str().unwrap_or(""), names::label_value);
            }
        }
    }

    /// `key`, `operator` and `values` of a selector.
    pub fn requirement(
        &mut self,
        at: Arguments<'_>,
        it: &Value,
        with_values: &[&str],
        without: &[&str],
    ) {
        let operator = text(it, "operator");
        let some = list(it, "values").next().is_some();
        let quoted = |them: &[&str]| {
            them.iter().map(|it| format!("'{it}'")).collect::<Vec<_>>().join(" or ")
        };
        if with_values.contains(&operator) && !some {
            let detail = format!("must be specified when `operator` is {}", quoted(with_values));
            self.required(format_args!("{at}.values"), &detail);
        } else if without.contains(&operator) && some {
            let detail = format!("may not be specified when `operator` is {}", quoted(without));
            self.forbidden(format_args!("{at}.values"), detail);
        } else if !with_values.contains(&operator) && !without.contains(&operator) {
            let detail = "not a valid selector operator";
            self.invalid(format_args!("{at}.operator"), operator, detail);
        }
        self.named_key(format_args!("{at}.key"), text(it, "key"));
    }

    pub fn named_key(&mut self, at: Arguments<'_>, key: &str) {
        if let Some(why) = names::label_key(key) {
            self.invalid(at, key, why);
        }
    }

    /// Said of a field that may not change once it is set.
    pub fn unchanged(&mut self, at: Arguments<'_>, new: &Value, old: &Value) {
        if !same(new, old) {
            self.invalid(at, new.clone(), IMMUTABLE);
        }
    }
}

// Reading JSON. What is absent or of another type is as if it were empty:
// types have been looked at before.

pub fn text<'a>(of: &'a Value, field: &str) -> &'a str {
    of.get(field).and_then(Value::as_str).unwrap_or_default()
}

pub fn int(of: &Value, field: &str) -> Option<i64> {
    of.get(field).and_then(Value::as_i64)
}

pub fn is_true(of: &Value, field: &str) -> bool {
    of.get(field) == Some(&Value::Bool(true))
}

/// The field's value, `null` when it is not there.
pub fn at<'a>(of: &'a Value, field: &str) -> &'a Value {
    of.get(field).unwrap_or(&Value::Null)
}

/// The field's value, unless it is absent or null.
pub fn some<'a>(of: &'a Value, field: &str) -> Option<&'a Value> {
    of.get(field).filter(|value| !value.is_null())
}

pub fn list<'a>(of: &'a Value, field: &str) -> impl Iterator<Item = (usize, &'a Value)> {
    of.get(field).and_then(Value::as_array).into_iter().flatten().enumerate()
}

pub fn texts<'a>(of: &'a Value, field: &str) -> impl Iterator<Item = (usize, &'a str)> {
    list(of, field).map(|(index, it)| (index, it.as_str().unwrap_or_default()))
}

pub fn map<'a>(of: &'a Value, field: &str) -> Option<&'a Map<String, Value>> {
    of.get(field).and_then(Value::as_object)
}

pub fn len(of: &Value, field: &str) -> usize {
    match of.get(field) {
        Some(Value::Array(list)) => list.len(),
        Some(Value::Object(map)) => map.len(),
        _ => 0,
    }
}

/// Whether two values mean the same: an absent field, an empty list and an
/// empty map are no difference.
pub fn same(a: &Value, b: &Value) -> bool {
    fn empty(value: &Value) -> bool {
        match value {
            Value::Null => true,
            Value::Array(list) => list.is_empty(),
            Value::Object(map) => map.values().all(empty),
            _ => false,
        }
    }
    match (a, b) {
        (Value::Object(a), Value::Object(b)) => {
            let one = |from: &Map<String, Value>, to: &Map<String, Value>| {
                from.iter().all(|(key, value)| same(value, to.get(key).unwrap_or(&Value::Null)))
            };
            one(a, b) && b.iter().all(|(key, value)| a.contains_key(key) || empty(value))
        }
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b))
        }
        (a, b) => a == b || (empty(a) && empty(b)),
    }
}

// Rules on texts.

/// IANA's service names: at most 15 characters.
pub fn port_name(name: &str) -> Option<String> {
    let wrong = match name {
        _ if name.len() > 15 => "must be no more than 15 characters",
        _ if name.is_empty()
            || !name.bytes().all(|it| matches!(it, b'a'..=b'z' | b'0'..=b'9' | b'-')) =>
        {
            "must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)"
        }
        _ if !name.bytes().any(|it| it.is_ascii_lowercase()) => {
            "must contain at least one letter (a-z)"
        }
        _ if name.contains("--") => "must not contain consecutive hyphens",
        _ if name.starts_with('-') || name.ends_with('-') => "must not begin or end with a hyphen",
        _ => return None,
    };
    Some(wrong.to_owned())
}

/// A key of a config map or a secret.
pub fn config_key(key: &str) -> Option<String> {
    let inner = |it: u8| it.is_ascii_alphanumeric() || matches!(it, b'-' | b'_' | b'.');
    let wrong = match key {
        _ if key.len() > 253 => "must be no more than 253 characters",
        _ if key.is_empty() || !key.bytes().all(inner) => {
            "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. \
             'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is \
             '[-._a-zA-Z0-9]+')"
        }
        "." => "must not be '.'",
        ".." => "must not be '..'",
        _ if key.starts_with("..") => "must not start with '..'",
        _ => return None,
    };
    Some(wrong.to_owned())
}

pub fn ip(text: &str) -> Option<String> {
    let wrong = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)";
    text.parse::<std::net::IpAddr>().is_err().then(|| wrong.to_owned())
}

pub fn cidr(text: &str) -> Option<String> {
    let valid = text.split_once('/').is_some_and(|(ip, bits)| {
        let most = match ip.parse() {
            Ok(std::net::IpAddr::V4(_)) => 32,
            Ok(std::net::IpAddr::V6(_)) => 128,
            Err(_) => return false,
        };
        bits.parse::<u8>().is_ok_and(|bits| bits <= most)
    });
    let wrong = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)";
    (!valid).then(|| wrong.to_owned())
}

/// A DNS name whose first part may be a `*`.
pub fn wildcard_subdomain(name: &str) -> Option<String> {
    let Some(rest) = name.strip_prefix("*.") else { return names::subdomain(name) };
    names::subdomain(rest).map(|_| {
        "a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS subdomain, \
         which must consist of lower case alphanumeric characters, '-' or '.' and end with an \
         alphanumeric character (e.g. '*.example.com', regex used for validation is \
         '\\*\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
            .to_owned()
    })
}

/// Whether a selector of labels (`metav1.LabelSelector`) matches them.
pub fn matches(selector: &Value, labels: &Value) -> bool {
    let label = |key: &str| labels.get(key).and_then(Value::as_str);
    let all = map(selector, "matchLabels").into_iter().flatten();
    all.into_iter().all(|(key, value)| label(key).is_some() && label(key) == value.as_str())
        && list(selector, "matchExpressions").all(|(_, it)| {
            let own = label(text(it, "key"));
            let listed = || texts(it, "values").any(|(_, value)| Some(value) == own);
            match text(it, "operator") {
                "In" => listed(),
                "NotIn" => !listed(),
                "Exists" => own.is_some(),
                _ => own.is_none(),
            }
        })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn emptiness_is_no_difference() {
        let check = |a: Value, b: Value, equal| assert_eq!(same(&a, &b), equal, "{a} {b}");
        check(json!({"a": 1}), json!({"a": 1, "b": {}, "c": [], "d": null}), true);
        check(json!({"a": {"b": {}}}), json!({}), true);
        check(json!({"a": ""}), json!({}), false);
        check(json!([{}]), json!([]), false);
        check(json!({"a": 1}), json!({"a": 2}), false);
    }

    #[test]
    fn selectors_match_labels() {
        let check = |selector: Value, found| {
            assert_eq!(matches(&selector, &json!({"a": "1", "b": "2"})), found, "{selector}");
        };
        check(json!({}), true);
        check(json!({"matchLabels": {"a": "1"}}), true);
        check(json!({"matchLabels": {"a": "2"}}), false);
        check(json!({"matchLabels": {"c": "2"}}), false);
        let one = |key: &str, operator: &str, values: Value| json!({"matchExpressions": [{"key": key, "operator": operator, "values": values}]});
        check(one("a", "In", json!(["1", "2"])), true);
        check(one("c", "In", json!(["1"])), false);
        check(one("c", "NotIn", json!(["1"])), true);
        check(one("a", "Exists", json!([])), true);
        check(one("a", "DoesNotExist", json!([])), false);
    }

    #[test]
    fn texts_are_held_to_their_rules() {
        assert!(
            port_name("http").is_none() && port_name("80").is_some() && port_name("a--b").is_some()
        );
        assert!(config_key("a.b_C").is_none() && config_key("..a").is_some());
        assert!(cidr("10.0.0.0/8").is_none() && cidr("10.0.0.0/33").is_some());
        assert!(ip("::1").is_none() && ip("1.2.3").is_some());
        assert!(wildcard_subdomain("*.a.b").is_none() && wildcard_subdomain("*").is_some());
    }

    #[test]
    fn complaints_are_bounded() {
        let mut check = Check::default();
        for index in 0..1000 {
            check.required(format_args!("a[{index}]"), "");
        }
        assert_eq!(check.into_errors().len(), ERRORS_MAX);
    }
}
