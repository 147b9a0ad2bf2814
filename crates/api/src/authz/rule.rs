//! One rule of a role: which questions it answers with yes, and which other
//! rules it covers.
//!
//! Sources: RBAC's documentation and behaviour (`rbac.authorization.k8s.io/v1`).

use std::fmt;

use serde_json::{Value, json};

use super::Attributes;

/// Everything, wherever it stands.
const ALL: &str = "*";

/// A `PolicyRule`. Either about resources or about paths.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rule {
    pub verbs: Vec<String>,
    pub groups: Vec<String>,
    /// `pods`, `pods/log`, `*`, `*/scale`.
    pub resources: Vec<String>,
    /// Empty for any.
    pub names: Vec<String>,
    /// `/healthz`, `/healthz/*`, `*`.
    pub paths: Vec<String>,
}

// === impl Rule ===

impl Rule {
    /// Tolerates any JSON: what is no list of texts is empty, and a rule that
    /// names nothing allows nothing.
    pub fn of(value: &Value) -> Rule {
        let texts = |field: &str| {
            let list = value.get(field).and_then(Value::as_array);
            list.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
        };
        Rule {
            verbs: texts("verbs"),
            groups: texts("apiGroups"),
            resources: texts("resources"),
            names: texts("resourceNames"),
            paths: texts("nonResourceURLs"),
        }
    }

    /// The rules of a role.
    pub fn all_of(role: &Value) -> Vec<Rule> {
        let rules = role.get("rules").and_then(Value::as_array);
        rules.into_iter().flatten().map(Rule::of).collect()
    }

    pub fn to_value(&self) -> Value {
        let mut rule = json!({ "verbs": self.verbs });
        let lists = [
            ("apiGroups", &self.groups),
            ("resources", &self.resources),
            ("resourceNames", &self.names),
            ("nonResourceURLs", &self.paths),
        ];
        for (field, list) in lists.into_iter().filter(|(_, list)| !list.is_empty()) {
            rule[field] = json!(list);
        }
        rule
    }

    pub fn is_about_paths(&self) -> bool {
        !self.paths.is_empty()
    }

    pub fn allows(&self, what: &Attributes<'_>) -> bool {
        if !has_or_all(&self.verbs, what.verb) {
            return false;
        }
        if !what.path.is_empty() {
            return self.paths.iter().any(|pattern| path_matches(pattern, what.path));
        }
        has_or_all(&self.groups, what.group)
            && self.resources.iter().any(|own| resource_matches(own, &what.resource))
            && (self.names.is_empty() || has(&self.names, what.name))
    }

    /// Whether whoever has this rule has `part`, which names one verb of one
    /// thing (see [`Rule::parts`]).
    pub fn covers(&self, part: &Rule) -> bool {
        let all = |own: &[String], wanted: &[String]| {
            has(own, ALL) || wanted.iter().all(|wanted| has(own, wanted))
        };
        let resources = part
            .resources
            .iter()
            .all(|wanted| self.resources.iter().any(|own| resource_matches(own, wanted)));
        let names = match part.names.is_empty() {
            true => self.names.is_empty(),
            false => self.names.is_empty() || part.names.iter().all(|name| has(&self.names, name)),
        };
        let paths =
            part.paths.iter().all(|wanted| self.paths.iter().any(|own| path_covers(own, wanted)));
        all(&self.verbs, &part.verbs)
            && all(&self.groups, &part.groups)
            && resources
            && names
            && paths
    }

    /// This rule in its smallest parts.
    pub fn parts(&self) -> Vec<Rule> {
        let mut parts = Vec::new();
        let one = |text: &String| vec![text.clone()];
        for group in &self.groups {
            for resource in &self.resources {
                for verb in &self.verbs {
                    let part = Rule {
                        verbs: one(verb),
                        groups: one(group),
                        resources: one(resource),
                        ..Rule::default()
                    };
                    match self.names.is_empty() {
                        true => parts.push(part),
                        false => parts.extend(
                            self.names.iter().map(|name| Rule { names: one(name), ..part.clone() }),
                        ),
                    }
                }
            }
        }
        for path in &self.paths {
            let part = |verb| Rule { verbs: one(verb), paths: one(path), ..Rule::default() };
            parts.extend(self.verbs.iter().map(part));
        }
        parts
    }
}

/// As Kubernetes writes a rule in refusals.
impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lists = [
            ("APIGroups", &self.groups),
            ("Resources", &self.resources),
            ("NonResourceURLs", &self.paths),
            ("ResourceNames", &self.names),
            ("Verbs", &self.verbs),
        ];
        f.write_str("{")?;
        let mut first = true;
        for (name, list) in lists.into_iter().filter(|(_, list)| !list.is_empty()) {
            let comma = if first { "" } else { ", " };
            write!(f, "{comma}{name}:{}", quoted(list))?;
            first = false;
        }
        f.write_str("}")
    }
}

/// `["a" "b"]`, as Go writes a list of quoted texts.
pub fn quoted(list: &[String]) -> String {
    let texts: Vec<String> = list.iter().map(|text| format!("{text:?}")).collect();
    format!("[{}]", texts.join(" "))
}

/// What of `wanted` none of `own` covers.
pub fn missing<'a>(own: impl Iterator<Item = &'a Rule> + Clone, wanted: &[Rule]) -> Vec<Rule> {
    let parts = wanted.iter().flat_map(Rule::parts);
    parts.filter(|part| !own.clone().any(|own| own.covers(part))).collect()
}

/// Parts of one resource (and one name) as one rule with all their verbs.
pub fn compact(parts: Vec<Rule>) -> Vec<Rule> {
    let mut rules: Vec<Rule> = Vec::new();
    for part in parts {
        let same = |rule: &&mut Rule| {
            part.paths.is_empty()
                && rule.paths.is_empty()
                && rule.groups == part.groups
                && rule.resources == part.resources
                && rule.names == part.names
        };
        match rules.iter_mut().find(same) {
            Some(rule) => rule.verbs.extend(part.verbs),
            None => rules.push(part),
        }
    }
    rules
}

fn has(list: &[String], text: &str) -> bool {
    list.iter().any(|own| own == text)
}

fn has_or_all(list: &[String], text: &str) -> bool {
    list.iter().any(|own| own == text || own == ALL)
}

/// `*` is every resource with its subresources, `*/scale` that subresource of
/// every resource.
fn resource_matches(own: &str, wanted: &str) -> bool {
    own == wanted
        || own == ALL
        || own.strip_prefix("*/").is_some_and(|own| {
            wanted.split_once('/').is_some_and(|(_, subresource)| own == subresource)
        })
}

fn path_matches(pattern: &str, path: &str) -> bool {
    pattern == path || pattern.strip_suffix('*').is_some_and(|start| path.starts_with(start))
}

fn path_covers(own: &str, wanted: &str) -> bool {
    path_matches(own, wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(verbs: &[&str], groups: &[&str], resources: &[&str], names: &[&str]) -> Rule {
        Rule::of(&json!({
            "verbs": verbs, "apiGroups": groups, "resources": resources, "resourceNames": names,
        }))
    }

    #[test]
    fn a_rule_allows_what_it_names_and_stars_stand_for_all() {
        let check = |rule: &Rule, verb: &str, group: &str, resource: &str, name: &str| {
            rule.allows(&Attributes::of_resource(verb, group, resource, "ns", name))
        };
        let pods = rule(&["get", "list"], &[""], &["pods"], &[]);
        assert!(check(&pods, "get", "", "pods", "a") && check(&pods, "list", "", "pods", ""));
        assert!(!check(&pods, "get", "", "pods/log", "a"), "a subresource is another thing");
        assert!(
            !check(&pods, "get", "apps", "pods", "a") && !check(&pods, "watch", "", "pods", "")
        );
        let scale = rule(&["*"], &["*"], &["*/scale"], &[]);
        assert!(check(&scale, "update", "apps", "deployments/scale", "d"));
        assert!(!check(&scale, "update", "apps", "deployments", "d"));
        let everything = rule(&["*"], &["*"], &["*"], &[]);
        assert!(check(&everything, "x", "g", "pods/exec", ""));
        let one = rule(&["get", "create"], &[""], &["secrets"], &["mine"]);
        assert!(check(&one, "get", "", "secrets", "mine"));
        assert!(!check(&one, "get", "", "secrets", "other"));
        assert!(!check(&one, "create", "", "secrets", ""), "a creation has no name yet");
        assert!(!check(&Rule::of(&json!({"verbs": "get"})), "get", "", "pods", ""));
    }

    #[test]
    fn paths_match_whole_or_by_their_start() {
        let check = |patterns: &[&str], path: &str| {
            let rule = Rule::of(&json!({"verbs": ["get"], "nonResourceURLs": patterns}));
            rule.allows(&Attributes::of_path("get", path))
        };
        assert!(check(&["/healthz"], "/healthz") && !check(&["/healthz"], "/healthz/ping"));
        assert!(check(&["/healthz/*"], "/healthz/ping") && check(&["*"], "/anything"));
        assert!(!check(&["/api/*"], "/apis"));
        let resources = rule(&["*"], &["*"], &["*"], &[]);
        assert!(
            !resources.allows(&Attributes::of_path("get", "/healthz")),
            "paths are not resources"
        );
    }

    #[test]
    fn whoever_lacks_a_part_of_a_rule_is_told_which() {
        let own = [rule(&["get"], &[""], &["pods"], &[]), rule(&["*"], &["apps"], &["*"], &[])];
        let check = |wanted: Rule, expected: &[&str]| {
            let missing = compact(missing(own.iter(), &[wanted]));
            let shown: Vec<String> = missing.iter().map(ToString::to_string).collect();
            assert_eq!(shown, expected);
        };
        check(rule(&["get"], &[""], &["pods"], &[]), &[]);
        check(rule(&["get"], &[""], &["pods"], &["one"]), &[]);
        check(rule(&["*"], &["apps"], &["deployments", "deployments/scale"], &[]), &[]);
        check(
            rule(&["get", "list", "watch"], &[""], &["pods"], &[]),
            &[r#"{APIGroups:[""], Resources:["pods"], Verbs:["list" "watch"]}"#],
        );
        check(
            rule(&["get"], &[""], &["secrets"], &["a"]),
            &[r#"{APIGroups:[""], Resources:["secrets"], ResourceNames:["a"], Verbs:["get"]}"#],
        );
        check(
            Rule::of(&json!({"verbs": ["get"], "nonResourceURLs": ["/metrics"]})),
            &[r#"{NonResourceURLs:["/metrics"], Verbs:["get"]}"#],
        );
    }

    #[test]
    fn one_who_may_read_one_name_may_not_grant_all() {
        let own = [rule(&["get"], &[""], &["secrets"], &["a"])];
        let all = rule(&["get"], &[""], &["secrets"], &[]);
        assert_eq!(missing(own.iter(), &[all]).len(), 1);
    }
}
