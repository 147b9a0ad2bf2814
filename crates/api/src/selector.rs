//! Label and field selectors.

use serde_json::Value;

use crate::{names, object, resource::Resource};

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
        self.0.iter().all(|requirement| {
            let value = labels.and_then(|labels| labels.get(&requirement.key));
            requirement.test.holds(value.and_then(Value::as_str))
        })
    }
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
        for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            if requirements.len() == REQUIREMENTS_MAX {
                return Err(format!("fieldSelector: more than {REQUIREMENTS_MAX} requirements"));
            }
            let (label, equal, value) = if let Some((label, value)) = part.split_once("!=") {
                (label, false, value)
            } else if let Some((label, value)) =
                part.split_once("==").or_else(|| part.split_once('='))
            {
                (label, true, value)
            } else {
                return Err(format!("invalid selector: {text:?}; can't understand {part:?}"));
            };
            let pointer = match label {
                "metadata.name" => "/metadata/name",
                "metadata.namespace" => "/metadata/namespace",
                label => resource
                    .selectable
                    .iter()
                    .find(|field| field.label == label)
                    .map(|field| field.pointer)
                    .ok_or_else(|| format!("field label not supported: {label}"))?,
            };
            let (pointer, value) = (pointer.to_owned(), unescape(value));
            requirements.push(FieldRequirement { pointer, equal, value });
        }
        Ok(FieldSelector(requirements))
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn require_name(&mut self, name: &str) {
        let (pointer, value) = ("/metadata/name".to_owned(), name.to_owned());
        self.0.push(FieldRequirement { pointer, equal: true, value });
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
                _ => object::text(object, &one.pointer) == one.value,
            };
            found == one.equal
        })
    }
}

fn unescape(value: &str) -> String {
    let mut out = String::with_capacity(value.len());
    let mut chars = value.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => out.extend(chars.next()),
            c => out.push(c),
        }
    }
    out
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
        let pods = crate::catalog::find("", "v1", "pods").expect("served");
        for bad in ["spec.colour=red", "metadata.name"] {
            assert!(FieldSelector::parse(bad, pods).is_err(), "{bad}");
        }
    }

    #[test]
    fn field_selectors_select_by_value_and_by_absence() {
        let pods = crate::catalog::find("", "v1", "pods").expect("served");
        let pod = json!({"metadata": {"name": "a"}, "spec": {"nodeName": "n1"}});
        let matches = |text| FieldSelector::parse(text, pods).expect(text).matches(&pod);
        assert!(matches("spec.nodeName=n1,status.phase!=Running"));
        assert!(!matches("metadata.name!=a"));
        assert!(matches("status.phase="));
        assert_eq!(FieldSelector::parse("metadata.name=a", pods).expect("ok").name(), Some("a"));
    }
}
