//! Label and field selectors.

use serde_json::Value;

use crate::{names, resource::Resource};

/// Requirements in one selector; more is not something a person wrote.
const REQUIREMENTS_MAX: usize = 128;

/// All requirements must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LabelSelector(Vec<Requirement>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Requirement {
    key: String,
    test: Test,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Test {
    In(Vec<String>),
    NotIn(Vec<String>),
    Exists,
    Absent,
    Greater(i64),
    Less(i64),
}

/// `path=value` and `path!=value`, by JSON pointer; all must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FieldSelector(Vec<FieldRequirement>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct FieldRequirement {
    pointer: String,
    equal: bool,
    value: String,
    /// What the field says where it is left out.
    absent: &'static str,
}

// === impl LabelSelector ===

impl LabelSelector {
    /// `a=b,c!=d,e in (f,g),h notin (i),j,!k,l>1`
    pub fn parse(text: &str) -> Result<LabelSelector, String> {
        let mut requirements = Vec::new();
        for part in split(text)? {
            if requirements.len() == REQUIREMENTS_MAX {
                return Err(format!("more than {REQUIREMENTS_MAX} requirements"));
            }
            requirements.push(Requirement::parse(part)?);
        }
        Ok(LabelSelector(requirements))
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn matches(&self, object: &Value) -> bool {
        let labels = object.pointer("/metadata/labels").and_then(Value::as_object);
        self.holds(|key| labels.and_then(|labels| labels.get(key)).and_then(Value::as_str))
    }

    /// Whether it holds for labels with these values.
    pub fn holds<'a>(&self, value: impl Fn(&str) -> Option<&'a str>) -> bool {
        self.0.iter().all(|requirement| requirement.test.holds(value(&requirement.key)))
    }
}

/// A `LabelSelector` of an object; an odd requirement selects nothing.
pub fn of_label_selector(selector: &Value) -> LabelSelector {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let mut requirements = Vec::new();
    for (key, value) in selector["matchLabels"].as_object().into_iter().flatten() {
        requirements.push(Requirement { key: key.clone(), test: Test::In(vec![text(value)]) });
    }
    for expression in selector["matchExpressions"].as_array().into_iter().flatten() {
        let values = || expression["values"].as_array().into_iter().flatten().map(text).collect();
        let test = match expression["operator"].as_str() {
            Some("In") => Test::In(values()),
            Some("NotIn") => Test::NotIn(values()),
            Some("Exists") => Test::Exists,
            Some("DoesNotExist") => Test::Absent,
            _ => Test::In(Vec::new()),
        };
        requirements.push(Requirement { key: text(&expression["key"]), test });
    }
    LabelSelector(requirements)
}

/// At commas outside parentheses.
fn split(text: &str) -> Result<Vec<&str>, String> {
    let (mut parts, mut start, mut depth) = (Vec::new(), 0, 0_u32);
    for (at, c) in text.char_indices() {
        match c {
            '(' => depth += 1,
            ')' => depth = depth.checked_sub(1).ok_or("a ')' too many")?,
            ',' if depth == 0 => {
                parts.push(text[start..at].trim());
                start = at + 1;
            }
            _ => {}
        }
    }
    if depth > 0 {
        return Err("a ')' is missing".into());
    }
    parts.push(text[start..].trim());
    if parts == [""] {
        parts.clear();
    }
    Ok(parts)
}

// === impl Requirement ===

impl Requirement {
    fn parse(part: &str) -> Result<Requirement, String> {
        let new = |key: &str, test| {
            let key = key.trim();
            match names::label_key(key) {
                None => Ok(Requirement { key: key.to_owned(), test }),
                Some(why) => Err(format!("{part:?}: {why}")),
            }
        };
        if let Some((key, set)) = part.split_once('(') {
            let set = set.strip_suffix(')').ok_or_else(|| format!("{part:?}: ')' must be last"))?;
            let values = set.split(',').map(|value| value.trim().to_owned()).collect();
            let words: Vec<&str> = key.split_whitespace().collect();
            return match words.as_slice() {
                [key, "in"] => new(key, Test::In(values)),
                [key, "notin"] => new(key, Test::NotIn(values)),
                _ => Err(format!("{part:?}: write KEY in (A,B) or KEY notin (A,B)")),
            };
        }
        if let Some(key) = part.strip_prefix('!') {
            return new(key, Test::Absent);
        }
        let one = |value: &str| vec![value.trim().to_owned()];
        let bound = |value: &str| {
            value.trim().parse().map_err(|_| format!("{part:?}: {value:?} is not an integer"))
        };
        if let Some((key, value)) = part.split_once("!=") {
            new(key, Test::NotIn(one(value)))
        } else if let Some((key, value)) = part.split_once("==").or_else(|| part.split_once('=')) {
            new(key, Test::In(one(value)))
        } else if let Some((key, value)) = part.split_once('>') {
            new(key, Test::Greater(bound(value)?))
        } else if let Some((key, value)) = part.split_once('<') {
            new(key, Test::Less(bound(value)?))
        } else {
            new(part, Test::Exists)
        }
    }
}

// === impl Test ===

impl Test {
    fn holds(&self, value: Option<&str>) -> bool {
        let number = || value.and_then(|value| value.parse::<i64>().ok());
        match self {
            Test::In(set) => value.is_some_and(|value| set.iter().any(|one| one == value)),
            Test::NotIn(set) => value.is_none_or(|value| set.iter().all(|one| one != value)),
            Test::Exists => value.is_some(),
            Test::Absent => value.is_none(),
            Test::Greater(bound) => number().is_some_and(|number| number > *bound),
            Test::Less(bound) => number().is_some_and(|number| number < *bound),
        }
    }
}

// === impl FieldSelector ===

impl FieldSelector {
    pub fn parse(text: &str, resource: &Resource) -> Result<FieldSelector, String> {
        let mut requirements = Vec::new();
        for part in terms(text).into_iter().map(str::trim).filter(|part| !part.is_empty()) {
            if requirements.len() == REQUIREMENTS_MAX {
                return Err(format!("fieldSelector: more than {REQUIREMENTS_MAX} requirements"));
            }
            let (label, equal, value) = term(part)
                .ok_or_else(|| format!("invalid selector: '{text}'; can't understand '{part}'"))?;
            let pointer = match label {
                "metadata.name" => "/metadata/name",
                "metadata.namespace" => "/metadata/namespace",
                label => resource
                    .selectable
                    .iter()
                    .find(|field| field.label == label)
                    .map(|field| &*field.pointer)
                    .ok_or_else(|| format!("field label not supported: {label}"))?,
            };
            let (pointer, value) = (pointer.to_owned(), unescape(value)?);
            let absent = if resource.custom().is_some() { "" } else { left_out(label) };
            requirements.push(FieldRequirement { pointer, equal, value, absent });
        }
        Ok(FieldSelector(requirements))
    }

    /// The one name that `text` selects, of whatever kind.
    pub fn required_name(text: &str) -> Option<String> {
        let mut terms = terms(text).into_iter().filter_map(|part| term(part.trim()));
        let (_, _, name) = terms.find(|(label, equal, _)| *equal && *label == "metadata.name")?;
        unescape(name).ok().filter(|name| is_path_segment(name))
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn require_name(&mut self, name: &str) {
        let (pointer, value) = ("/metadata/name".to_owned(), name.to_owned());
        self.0.push(FieldRequirement { pointer, equal: true, value, absent: "" });
    }

    /// The one name that can match, if only one can.
    pub fn name(&self) -> Option<&str> {
        let named = |one: &&FieldRequirement| one.equal && one.pointer == "/metadata/name";
        self.0.iter().find(named).map(|one| one.value.as_str())
    }

    pub fn matches(&self, object: &Value) -> bool {
        self.0.iter().all(|one| {
            let found = match object.pointer(&one.pointer) {
                Some(Value::Bool(flag)) => *one.value == flag.to_string(),
                Some(Value::Number(number)) => *one.value == number.to_string(),
                Some(Value::String(text)) => *one.value == *text,
                _ => one.absent == one.value,
            };
            found == one.equal
        })
    }
}

/// A built-in field that is no text has a value where none is written.
fn left_out(label: &str) -> &'static str {
    match label {
        "spec.unschedulable" | "spec.hostNetwork" => "false",
        "status.replicas" | "status.successful" => "0",
        _ => "",
    }
}

fn is_path_segment(name: &str) -> bool {
    !["", ".", ".."].contains(&name) && !name.contains(['/', '%'])
}

/// At commas that no backslash stands before.
fn terms(text: &str) -> Vec<&str> {
    let (mut terms, mut start, mut escaped) = (Vec::new(), 0, false);
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            ',' => {
                terms.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    terms.push(&text[start..]);
    terms
}

/// Label, whether it is to be equal, and the value, at the first operator.
fn term(part: &str) -> Option<(&str, bool, &str)> {
    let unequal = part.find("!=");
    match (unequal, part.find('=')) {
        (Some(at), Some(first)) if at < first => Some((&part[..at], false, &part[at + 2..])),
        (_, Some(at)) => {
            let value = &part[at + 1..];
            Some((&part[..at], true, value.strip_prefix('=').unwrap_or(value)))
        }
        _ => None,
    }
}

/// Commas, equals signs and backslashes stand in values behind a backslash.
fn unescape(value: &str) -> Result<String, String> {
    let mut out = String::with_capacity(value.len());
    let mut chars = value.chars();
    while let Some(c) = chars.next() {
        match (c, chars.clone().next()) {
            ('\\', Some(next @ ('\\' | ',' | '='))) => {
                chars.next();
                out.push(next);
            }
            ('\\', next) => {
                let sequence: String = ['\\'].into_iter().chain(next).collect();
                return Err(format!("invalid field selector: invalid escape sequence: {sequence}"));
            }
            (',' | '=', _) => {
                let code = u32::from(c);
                return Err(format!(
                    "invalid field selector: unescaped character in value: {code}"
                ));
            }
            (c, _) => out.push(c),
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(selector: &str, expected: bool) {
        let object = json!({"metadata": {"labels": {"app": "ledger", "tier": "2"}}});
        let selector = LabelSelector::parse(selector).expect(selector);
        assert_eq!(selector.matches(&object), expected, "{selector:?}");
    }

    #[test]
    fn label_selectors_select() {
        check("", true);
        check("app=ledger", true);
        check("app==ledger,tier!=3", true);
        check("app in (edge, ledger)", true);
        check("app notin (ledger),tier", false);
        check("!app", false);
        check("!zone,zone!=a,zone notin (a)", true);
        check("zone", false);
        check("tier>1,tier<3", true);
        check("tier>2", false);
    }

    #[test]
    fn selectors_that_make_no_sense_are_refused() {
        for bad in ["a in b", "a in (b", "a)", "=b", "a b", "tier>x", "a,,b", "-a=b"] {
            assert!(LabelSelector::parse(bad).is_err(), "{bad}");
        }
        let pods = crate::catalog::Catalog::builtin().find("", "v1", "pods").expect("served");
        for bad in ["spec.colour=red", "metadata.name", "metadata.name=a=b", "metadata.name=a\\b"] {
            assert!(FieldSelector::parse(bad, pods).is_err(), "{bad}");
        }
    }

    #[test]
    fn field_selectors_select_by_value_and_by_absence() {
        let pods = crate::catalog::Catalog::builtin().find("", "v1", "pods").expect("served");
        let pod = json!({"metadata": {"name": "a"}, "spec": {"nodeName": "n1"}});
        let matches = |text| FieldSelector::parse(text, pods).expect(text).matches(&pod);
        assert!(matches("spec.nodeName=n1,status.phase!=Running"));
        assert!(!matches("metadata.name!=a"));
        assert!(matches("status.phase="));
        assert!(matches("status.phase!=a\\,b\\=c\\\\"));
        let escaped = FieldSelector::parse("metadata.name=a\\,b,spec.nodeName==n1", pods);
        assert_eq!(escaped.expect("ok").name(), Some("a,b"));
        assert!(matches("spec.hostNetwork=false") && !matches("spec.hostNetwork=true"));
        assert_eq!(FieldSelector::parse("metadata.name=a", pods).expect("ok").name(), Some("a"));
    }
}
