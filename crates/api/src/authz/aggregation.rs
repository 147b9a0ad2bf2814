//! ClusterRoles that are made of others, by the others' labels.

use std::collections::HashMap;

use serde_json::Value;

use super::rule::Rule;
use crate::object;

/// A role may be made of roles that are themselves made of others, so deep.
const DEPTH_MAX: usize = 8;

/// The rules of every role that has an `aggregationRule`, by its name.
pub fn aggregate(roles: &[&Value]) -> HashMap<String, Vec<Rule>> {
    let mut sorted: Vec<&Value> = roles.to_vec();
    sorted.sort_by_key(|role| object::name(role));
    let own: Vec<Vec<Rule>> = sorted.iter().map(|role| Rule::all_of(role)).collect();
    let made: Vec<&Value> = sorted.iter().copied().filter(|role| is_made(role)).collect();
    let mut rules: HashMap<String, Vec<Rule>> = HashMap::new();
    for _ in 0..DEPTH_MAX {
        let mut changed = false;
        for role in &made {
            let name = object::name(role);
            let mut sum: Vec<Rule> = Vec::new();
            let parts = sorted.iter().zip(&own);
            for (part, own) in parts.filter(|(part, _)| selects(role, part)) {
                let own = rules.get(object::name(part)).unwrap_or(own);
                for rule in own {
                    if !sum.contains(rule) {
                        sum.push(rule.clone());
                    }
                }
            }
            changed |= rules.get(name) != Some(&sum);
            rules.insert(name.to_owned(), sum);
        }
        if !changed {
            break;
        }
    }
    rules
}

pub fn is_made(role: &Value) -> bool {
    role.get("aggregationRule").is_some_and(|rule| !rule.is_null())
}

fn selects(role: &Value, part: &Value) -> bool {
    let selectors = role.pointer("/aggregationRule/clusterRoleSelectors").and_then(Value::as_array);
    let other = object::name(role) != object::name(part);
    other && selectors.into_iter().flatten().any(|selector| selector_matches(selector, part))
}

/// A `LabelSelector` as an object writes it; what is not understood selects
/// nothing.
fn selector_matches(selector: &Value, object: &Value) -> bool {
    let labels = object.pointer("/metadata/labels").unwrap_or(&Value::Null);
    let label = |key: &str| labels.get(key).and_then(Value::as_str);
    let equal = selector.get("matchLabels").and_then(Value::as_object);
    let equal = equal.into_iter().flatten().all(|(key, value)| label(key) == value.as_str());
    let expressions = selector.get("matchExpressions").and_then(Value::as_array);
    let holds = |expression: &Value| {
        let found = label(object::text(expression, "/key"));
        let values = expression.get("values").and_then(Value::as_array);
        let listed = values.into_iter().flatten().any(|value| value.as_str() == found);
        match object::text(expression, "/operator") {
            "In" => found.is_some() && listed,
            "NotIn" => found.is_none() || !listed,
            "Exists" => found.is_some(),
            "DoesNotExist" => found.is_none(),
            _ => false,
        }
    };
    equal && expressions.into_iter().flatten().all(holds)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn plain(name: &str, label: &str, resource: &str) -> Value {
        let rule = json!({"verbs": ["get"], "apiGroups": [""], "resources": [resource]});
        json!({"metadata": {"name": name, "labels": {label: "true"}}, "rules": [rule]})
    }

    fn made(name: &str, own: &str, selector: Value) -> Value {
        json!({
            "metadata": {"name": name, "labels": {own: "true"}},
            "aggregationRule": {"clusterRoleSelectors": [selector]},
            "rules": [{"verbs": ["*"]}],
        })
    }

    #[test]
    fn a_role_is_the_sum_of_those_it_selects_and_of_theirs() {
        let by = |label: &str| json!({"matchLabels": {label: "true"}});
        let exists = json!({"matchExpressions": [{"key": "view", "operator": "Exists"}]});
        let roles = [
            plain("a", "view", "pods"),
            plain("b", "view", "nodes"),
            plain("c", "edit", "secrets"),
            made("edit", "x", by("edit")),
            made("view", "edit", exists),
            made("self", "self", by("self")),
        ];
        let list: Vec<&Value> = roles.iter().collect();
        let rules = aggregate(&list);
        let resources = |name: &str| -> Vec<&str> {
            rules[name].iter().map(|rule| rule.resources[0].as_str()).collect()
        };
        assert_eq!(resources("view"), ["pods", "nodes"]);
        assert_eq!(resources("edit"), ["secrets", "pods", "nodes"]);
        assert_eq!(resources("self"), [""; 0], "not of itself, and not of what was written");
        assert_eq!(rules.len(), 3);
    }
}
