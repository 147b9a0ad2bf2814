//! Formats with a name: `format.dns1123Label().validate('...')`.

use std::sync::LazyLock;

use regex::Regex;

use super::{Apply, LibraryValue, base64, timestamp, url};
use crate::error::EvalError;
use crate::value::{Value, characters};

pub const SIGNATURES: &str = "
    format . validate(string) -> optional(list(string))
    format.named(string) -> optional(format)
    format.dns1123Label() -> format
    format.dns1123Subdomain() -> format
    format.dns1035Label() -> format
    format.qualifiedName() -> format
    format.dns1123LabelPrefix() -> format
    format.dns1123SubdomainPrefix() -> format
    format.dns1035LabelPrefix() -> format
    format.labelValue() -> format
    format.uri() -> format
    format.uuid() -> format
    format.byte() -> format
    format.date() -> format
    format.datetime() -> format
";

#[derive(Debug)]
pub struct NamedFormat {
    pub name: &'static str,
    /// Characters of its pattern, which costs are counted by.
    pub pattern_size: u64,
    validate: fn(&str) -> Vec<String>,
}

/// By the names that expressions have for them.
static FORMATS: [(&str, NamedFormat); 13] = [
    ("dns1123Label", of(30, |text| LABEL.check(text))),
    ("dns1123Subdomain", of(60, |text| SUBDOMAIN.check(text))),
    ("dns1035Label", of(30, |text| LABEL_1035.check(text))),
    ("qualifiedName", of(60, qualified_name)),
    ("dns1123LabelPrefix", of(30, |text| LABEL.check(&masked(text)))),
    ("dns1123SubdomainPrefix", of(60, |text| SUBDOMAIN.check(&masked(text)))),
    ("dns1035LabelPrefix", of(30, |text| LABEL_1035.check(&masked(text)))),
    ("labelValue", of(40, |text| LABEL_VALUE.check(text))),
    ("uri", of(1103, |text| url::parse_request(text).err().into_iter().collect())),
    ("uuid", of(70, |text| wrong_unless(is_uuid(text), "does not match the UUID format"))),
    ("byte", of(84, |text| wrong_unless(is_base64(text), "invalid base64"))),
    ("date", of(71, |text| wrong_unless(timestamp::parse_date(text).is_some(), "invalid date"))),
    (
        "datetime",
        of(71, |text| wrong_unless(timestamp::parse_loose(text).is_some(), "invalid datetime")),
    ),
];

const fn of(pattern_size: u64, validate: fn(&str) -> Vec<String>) -> NamedFormat {
    NamedFormat { name: "", pattern_size, validate }
}

pub fn find(name: &str) -> Option<Apply> {
    Some(match name {
        "validate" => |_, args| match args {
            [Value::Library(value), Value::Text(text)] => match &**value {
                LibraryValue::Format(format) => {
                    let wrong = (format.validate)(text);
                    if wrong.is_empty() {
                        return Ok(Value::Optional(None));
                    }
                    Ok(Value::some(Value::list(wrong.into_iter().map(Value::text).collect())))
                }
                _ => Err(EvalError::no_such_overload()),
            },
            _ => Err(EvalError::no_such_overload()),
        },
        "format.named" => |_, args| match args {
            [Value::Text(name)] => Ok(Value::Optional(named(name).map(Into::into))),
            _ => Err(EvalError::no_such_overload()),
        },
        "format.dns1123Label" => |_, _| constant("dns1123Label"),
        "format.dns1123Subdomain" => |_, _| constant("dns1123Subdomain"),
        "format.dns1035Label" => |_, _| constant("dns1035Label"),
        "format.qualifiedName" => |_, _| constant("qualifiedName"),
        "format.dns1123LabelPrefix" => |_, _| constant("dns1123LabelPrefix"),
        "format.dns1123SubdomainPrefix" => |_, _| constant("dns1123SubdomainPrefix"),
        "format.dns1035LabelPrefix" => |_, _| constant("dns1035LabelPrefix"),
        "format.labelValue" => |_, _| constant("labelValue"),
        "format.uri" => |_, _| constant("uri"),
        "format.uuid" => |_, _| constant("uuid"),
        "format.byte" => |_, _| constant("byte"),
        "format.date" => |_, _| constant("date"),
        "format.datetime" => |_, _| constant("datetime"),
        _ => return None,
    })
}

fn named<'a>(name: &str) -> Option<Value<'a>> {
    let (_, format) = FORMATS.iter().find(|(known, _)| *known == name)?;
    Some(Value::library(LibraryValue::Format(format)))
}

fn constant<'a>(name: &str) -> Result<Value<'a>, EvalError> {
    named(name).ok_or_else(EvalError::no_such_overload)
}

/// A pattern with its words, as Kubernetes says them.
struct Rule {
    about: &'static str,
    /// As it is shown.
    pattern: &'static str,
    examples: &'static [&'static str],
    length_max: usize,
    regex: LazyLock<Regex>,
}

static LABEL: Rule = Rule {
    about: "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character",
    pattern: "[a-z0-9]([-a-z0-9]*[a-z0-9])?",
    examples: &["my-name", "123-abc"],
    length_max: 63,
    regex: LazyLock::new(|| whole(LABEL.pattern)),
};

static SUBDOMAIN: Rule = Rule {
    about: "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character",
    pattern: "[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*",
    examples: &["example.com"],
    length_max: 253,
    regex: LazyLock::new(|| whole(SUBDOMAIN.pattern)),
};

static LABEL_1035: Rule = Rule {
    about: "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character",
    pattern: "[a-z]([-a-z0-9]*[a-z0-9])?",
    examples: &["my-name", "abc-123"],
    length_max: 63,
    regex: LazyLock::new(|| whole(LABEL_1035.pattern)),
};

static LABEL_VALUE: Rule = Rule {
    about: "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character",
    pattern: "(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?",
    examples: &["MyValue", "my_value", "12345"],
    length_max: 63,
    regex: LazyLock::new(|| whole(LABEL_VALUE.pattern)),
};

static NAME_PART: Rule = Rule {
    about: "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character",
    pattern: "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]",
    examples: &["MyName", "my.name", "123-abc"],
    length_max: 63,
    regex: LazyLock::new(|| whole(NAME_PART.pattern)),
};

fn whole(pattern: &str) -> Regex {
    Regex::new(&format!("^{pattern}$")).expect("the pattern is one of ours")
}

// === impl Rule ===

impl Rule {
    fn check(&self, text: &str) -> Vec<String> {
        let mut wrong = Vec::new();
        if text.len() > self.length_max {
            wrong.push(format!("must be no more than {} bytes", self.length_max));
        }
        if !self.regex.is_match(text) {
            if std::ptr::eq(self, &LABEL) && SUBDOMAIN.regex.is_match(text) {
                wrong.push("must not contain dots".into());
            } else {
                wrong.push(self.words());
            }
        }
        wrong
    }

    fn words(&self) -> String {
        let examples: String = self
            .examples
            .iter()
            .enumerate()
            .map(|(index, example)| {
                let before = if index == 0 { "e.g." } else { "or" };
                format!("{before} '{example}', ")
            })
            .collect();
        let (about, pattern) = (self.about, self.pattern);
        // A space more than one would write before a second example.
        let examples = examples.replace(", or", ",  or");
        format!("{about} ({examples}regex used for validation is '{pattern}')")
    }
}

/// A generated name may end as no name does: what ends it is still to come.
fn masked(text: &str) -> String {
    match text.strip_suffix('-') {
        Some(rest) if characters(rest) > 0 => format!("{rest}a"),
        _ => text.into(),
    }
}

fn qualified_name(text: &str) -> Vec<String> {
    let parts: Vec<&str> = text.split('/').collect();
    let mut wrong = Vec::new();
    let name = match parts[..] {
        [name] => name,
        [prefix, name] => {
            if prefix.is_empty() {
                wrong.push("prefix part must be non-empty".into());
            } else {
                let of_prefix = SUBDOMAIN.check(prefix);
                wrong.extend(of_prefix.into_iter().map(|why| format!("prefix part {why}")));
            }
            name
        }
        _ => {
            let words = NAME_PART.words();
            let words = words.strip_prefix("name part").unwrap_or(&words);
            return vec![format!(
                "a valid label key{words} with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"
            )];
        }
    };
    if name.is_empty() {
        wrong.push("name part must be non-empty".into());
    } else if name.len() > NAME_PART.length_max {
        wrong.push(format!("name part must be no more than {} bytes", NAME_PART.length_max));
    }
    if !NAME_PART.regex.is_match(name) {
        wrong.push(NAME_PART.words());
    }
    wrong
}

fn wrong_unless(right: bool, words: &str) -> Vec<String> {
    if right { Vec::new() } else { vec![words.into()] }
}

fn is_base64(text: &str) -> bool {
    text.len().is_multiple_of(4)
        && base64::decode(text).is_some()
        && !text.contains(['-', '_', '\n', '\r'])
}

/// Dashes may be left out.
fn is_uuid(text: &str) -> bool {
    let digits: Vec<&str> = text.split('-').collect();
    let lengths: Vec<usize> = digits.iter().map(|part| part.len()).collect();
    let hex = digits.iter().all(|part| part.bytes().all(|byte| byte.is_ascii_hexdigit()));
    hex && (lengths == [8, 4, 4, 4, 12] || lengths == [32])
}
