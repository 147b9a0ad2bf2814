//! Paths of printer columns, selectable fields and scales, as kubectl's
//! JSONPath has them: fields, indices, slices, wildcards, filters, descent.

use serde_json::Value;

/// Longest path that is read; people write some dozens of characters.
const LEN_MAX: usize = 4096;

/// Most values that one path finds; a cell shows the first.
const FOUND_MAX: usize = 1024;

#[derive(Clone, Debug, PartialEq)]
pub struct JsonPath(Vec<Step>);

#[derive(Clone, Debug, PartialEq)]
enum Step {
    Field(String),
    /// Everything at any depth.
    Descend,
    All,
    Index(i64),
    Slice {
        from: Option<i64>,
        to: Option<i64>,
        by: i64,
    },
    Filter {
        path: JsonPath,
        test: Option<(Test, Value)>,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Test {
    Equal,
    Unequal,
    Less,
    AtMost,
    Greater,
    AtLeast,
}

// === impl JsonPath ===

impl JsonPath {
    /// `None` when it is no path.
    pub fn parse(text: &str) -> Option<JsonPath> {
        if text.len() > LEN_MAX {
            return None;
        }
        let mut steps = Vec::new();
        let mut rest = text.strip_prefix(['$', '@']).unwrap_or(text);
        while !rest.is_empty() {
            if let Some(after) = rest.strip_prefix("..") {
                steps.push(Step::Descend);
                rest = after;
                if !rest.starts_with('[') {
                    rest = field(rest, &mut steps)?;
                }
            } else if let Some(after) = rest.strip_prefix('.') {
                if after.is_empty() {
                    break;
                }
                rest = if after.starts_with('[') { after } else { field(after, &mut steps)? };
            } else if let Some(after) = rest.strip_prefix('[') {
                let end = closing(after)?;
                steps.push(bracket(&after[..end])?);
                rest = &after[end + 1..];
            } else if steps.is_empty() {
                rest = field(rest, &mut steps)?;
            } else {
                return None;
            }
        }
        Some(JsonPath(steps))
    }

    /// What the path leads to, in the order of the object.
    pub fn find<'a>(&self, root: &'a Value) -> Vec<&'a Value> {
        let mut found = vec![root];
        for step in &self.0 {
            let mut next = Vec::new();
            for value in found {
                step.take(value, &mut next);
            }
            next.truncate(FOUND_MAX);
            found = next;
        }
        found
    }

    pub fn first<'a>(&self, root: &'a Value) -> Option<&'a Value> {
        self.find(root).into_iter().next()
    }
}

// === impl Step ===

impl Step {
    fn take<'a>(&self, value: &'a Value, found: &mut Vec<&'a Value>) {
        match (self, value) {
            (Step::Field(name), Value::Object(map)) => found.extend(map.get(name)),
            (Step::All, Value::Object(map)) => found.extend(map.values()),
            (Step::All, Value::Array(list)) => found.extend(list),
            (Step::Descend, value) => descend(value, found),
            (Step::Index(index), Value::Array(list)) => {
                found.extend(place(*index, list.len()).and_then(|at| list.get(at)));
            }
            (Step::Slice { from, to, by }, Value::Array(list)) => {
                let bound = |at: Option<i64>, default: usize| match at {
                    None => default,
                    Some(at) if at < 0 => {
                        list.len().saturating_sub(usize::try_from(-at).unwrap_or(usize::MAX))
                    }
                    Some(at) => usize::try_from(at).unwrap_or(usize::MAX).min(list.len()),
                };
                let (from, to) = (bound(*from, 0), bound(*to, list.len()));
                let by = usize::try_from(*by).unwrap_or(1).max(1);
                found.extend(list.get(from..to.max(from)).into_iter().flatten().step_by(by));
            }
            (Step::Filter { path, test }, Value::Array(list)) => {
                found.extend(list.iter().filter(|item| holds(path, test.as_ref(), item)));
            }
            _ => {}
        }
    }
}

fn descend<'a>(value: &'a Value, found: &mut Vec<&'a Value>) {
    if found.len() >= FOUND_MAX {
        return;
    }
    found.push(value);
    match value {
        Value::Object(map) => map.values().for_each(|value| descend(value, found)),
        Value::Array(list) => list.iter().for_each(|value| descend(value, found)),
        _ => {}
    }
}

fn place(index: i64, len: usize) -> Option<usize> {
    match usize::try_from(index) {
        Ok(index) => Some(index),
        Err(_) => len.checked_sub(usize::try_from(-index).ok()?),
    }
}

fn holds(path: &JsonPath, test: Option<&(Test, Value)>, item: &Value) -> bool {
    let found = path.first(item);
    let Some((test, wanted)) = test else { return found.is_some() };
    let Some(found) = found else { return false };
    let order = match (found, wanted) {
        (Value::String(found), Value::String(wanted)) => Some(found.cmp(wanted)),
        (Value::Number(found), Value::Number(wanted)) => {
            found.as_f64().zip(wanted.as_f64()).and_then(|(a, b)| a.partial_cmp(&b))
        }
        (found, wanted) => (found == wanted).then_some(std::cmp::Ordering::Equal),
    };
    match (test, order) {
        (Test::Unequal, order) => !order.is_some_and(|order| order.is_eq()),
        (_, None) => false,
        (Test::Equal, Some(order)) => order.is_eq(),
        (Test::Less, Some(order)) => order.is_lt(),
        (Test::AtMost, Some(order)) => order.is_le(),
        (Test::Greater, Some(order)) => order.is_gt(),
        (Test::AtLeast, Some(order)) => order.is_ge(),
    }
}

/// A name up to the next dot or bracket; a backslash takes what follows as it
/// is.
fn field<'a>(text: &'a str, steps: &mut Vec<Step>) -> Option<&'a str> {
    let mut name = String::new();
    let mut chars = text.char_indices();
    let mut end = text.len();
    while let Some((at, c)) = chars.next() {
        match c {
            '\\' => name.push(chars.next()?.1),
            '.' | '[' => {
                end = at;
                break;
            }
            c => name.push(c),
        }
    }
    if name.is_empty() {
        return None;
    }
    steps.push(if name == "*" { Step::All } else { Step::Field(name) });
    Some(&text[end..])
}

/// Where the bracket that is open closes; text in quotes is passed over.
fn closing(text: &str) -> Option<usize> {
    let (mut open, mut quote) = (1, None);
    for (at, c) in text.char_indices() {
        match (quote, c) {
            (Some(mark), c) if c == mark => quote = None,
            (Some(_), _) => {}
            (None, '\'' | '"') => quote = Some(c),
            (None, '[') => open += 1,
            (None, ']') => {
                open -= 1;
                if open == 0 {
                    return Some(at);
                }
            }
            _ => {}
        }
    }
    None
}

fn bracket(text: &str) -> Option<Step> {
    let text = text.trim();
    if text == "*" {
        return Some(Step::All);
    }
    if let Some(name) = unquoted(text) {
        return Some(Step::Field(name.to_owned()));
    }
    if let Some(filter) = text.strip_prefix("?(").and_then(|text| text.strip_suffix(')')) {
        return filter_step(filter);
    }
    if text.contains(':') {
        let mut parts = text.split(':').map(|part| match part.trim() {
            "" => Ok(None),
            part => part.parse::<i64>().map(Some),
        });
        let (from, to) = (parts.next()?.ok()?, parts.next()?.ok()?);
        let by = parts.next().transpose().ok()?.flatten().unwrap_or(1);
        return (parts.next().is_none() && by > 0).then_some(Step::Slice { from, to, by });
    }
    text.parse().ok().map(Step::Index)
}

fn filter_step(text: &str) -> Option<Step> {
    const TESTS: [(&str, Test); 6] = [
        ("==", Test::Equal),
        ("!=", Test::Unequal),
        ("<=", Test::AtMost),
        (">=", Test::AtLeast),
        ("<", Test::Less),
        (">", Test::Greater),
    ];
    let found = TESTS.iter().filter_map(|(sign, test)| Some((text.find(sign)?, sign, *test)));
    let Some((at, sign, test)) = found.min_by_key(|(at, sign, _)| (*at, 2 - sign.len())) else {
        return Some(Step::Filter { path: JsonPath::parse(text.trim())?, test: None });
    };
    let wanted = text[at + sign.len()..].trim();
    let wanted = match unquoted(wanted) {
        Some(text) => text.into(),
        None => serde_json::from_str(wanted).ok()?,
    };
    let path = JsonPath::parse(text[..at].trim())?;
    Some(Step::Filter { path, test: Some((test, wanted)) })
}

fn unquoted(text: &str) -> Option<&str> {
    let mark = text.chars().next().filter(|c| matches!(c, '\'' | '"'))?;
    text[1..].strip_suffix(mark)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check(path: &str, expected: &[Value]) {
        let object = json!({
            "metadata": {"annotations": {"a.b/c": "dotted"}},
            "spec": {"replicas": 3, "ports": [{"n": 1}, {"n": 2}, {"n": 3}]},
            "status": {"conditions": [
                {"type": "Ready", "status": "True"}, {"type": "Synced", "status": "False"}]},
        });
        let found = JsonPath::parse(path).expect("it is a path");
        let found: Vec<Value> = found.find(&object).into_iter().cloned().collect();
        assert_eq!(found, expected, "{path}");
    }

    #[test]
    fn paths_lead_where_kubectl_would_go() {
        check(".spec.replicas", &[json!(3)]);
        check("$.spec.replicas", &[json!(3)]);
        check(".spec.nothing.more", &[]);
        check(".spec.ports[0].n", &[json!(1)]);
        check(".spec.ports[-1].n", &[json!(3)]);
        check(".spec.ports[*].n", &[json!(1), json!(2), json!(3)]);
        check(".spec.ports[1:].n", &[json!(2), json!(3)]);
        check(".spec.ports[0:2].n", &[json!(1), json!(2)]);
        check(".status.conditions[?(@.type==\"Ready\")].status", &[json!("True")]);
        check(".status.conditions[?(@.type=='Synced')].status", &[json!("False")]);
        check(".spec.ports[?(@.n>=2)].n", &[json!(2), json!(3)]);
        check(".metadata.annotations.a\\.b/c", &[json!("dotted")]);
        check(".metadata.annotations['a.b/c']", &[json!("dotted")]);
        check("..n", &[json!(1), json!(2), json!(3)]);
    }

    #[test]
    fn what_is_no_path_is_refused() {
        for odd in ["..", ".a[", ".a[b", ".a[?(]", ".a[1:2:0]", ".a\\", ".a]b[", ".[[]"] {
            let _ = JsonPath::parse(odd);
        }
        assert_eq!(JsonPath::parse(".a[x]"), None);
        assert_eq!(JsonPath::parse(".a["), None);
        assert_eq!(JsonPath::parse(&".a".repeat(LEN_MAX)), None);
    }
}
