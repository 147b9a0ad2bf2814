//! The file: `Policy` of `audit.k8s.io/v1`, as kube-apiserver reads it. What it
//! takes with a warning, a field that nobody knows, is refused here: a rule that
//! was mistyped would write down less than was meant.

use std::path::Path;

use serde::{Deserialize, de::IgnoredAny};

use super::policy::{Kinds, Level, Policy, Rule, Stage, Stages, SubjectRule};
use crate::names;

const API_VERSION: &str = "audit.k8s.io/v1";
const KIND: &str = "Policy";

/// Ten thousand rules.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// As deep as a rule's resources' names, and some.
const DEPTH_MAX: usize = 16;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Document {
    api_version: Option<String>,
    kind: Option<String>,
    #[serde(rename = "metadata")]
    _metadata: Option<IgnoredAny>,
    rules: Option<Vec<RuleEntry>>,
    omit_stages: Option<Vec<String>>,
    omit_managed_fields: Option<bool>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct RuleEntry {
    level: Option<String>,
    users: Option<Vec<String>>,
    user_groups: Option<Vec<String>>,
    verbs: Option<Vec<String>>,
    resources: Option<Vec<KindsEntry>>,
    namespaces: Option<Vec<String>>,
    #[serde(rename = "nonResourceURLs")]
    non_resource_urls: Option<Vec<String>>,
    omit_stages: Option<Vec<String>>,
    omit_managed_fields: Option<bool>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct KindsEntry {
    group: Option<String>,
    resources: Option<Vec<String>>,
    resource_names: Option<Vec<String>>,
}

/// The policy in a file; the message says what is wrong with it, and where.
pub fn read(path: &Path) -> Result<Policy, String> {
    let named = |why: String| format!("{}: {why}", path.display());
    let bytes = std::fs::metadata(path).map_err(|error| named(error.to_string()))?.len();
    if bytes > FILE_BYTES_MAX {
        return Err(named(format!("it is larger than {FILE_BYTES_MAX} bytes")));
    }
    let text = std::fs::read_to_string(path).map_err(|error| named(error.to_string()))?;
    parse(&text).map_err(named)
}

pub fn parse(text: &str) -> Result<Policy, String> {
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! { max_depth: DEPTH_MAX, max_documents: 1 },
        with_snippet: false,
    };
    let document: Document =
        serde_saphyr::from_str_with_options(text, options).map_err(|error| error.to_string())?;
    let (version, kind) = (document.api_version.as_deref(), document.kind.as_deref());
    if (version, kind) != (Some(API_VERSION), Some(KIND)) {
        return Err(format!(
            "it is {} {}, and not {API_VERSION} {KIND}",
            version.unwrap_or("of no apiVersion,"),
            kind.unwrap_or("of no kind")
        ));
    }
    let mut wrong = Vec::new();
    let omit_stages = stages(document.omit_stages, "omitStages", &mut wrong);
    let rules = document.rules.unwrap_or_default();
    if rules.is_empty() {
        wrong.push("loaded illegal policy with 0 rules".to_owned());
    }
    let rules = rules
        .into_iter()
        .enumerate()
        .map(|(index, rule)| rule.resolve(&format!("rules[{index}]"), &mut wrong))
        .collect();
    match wrong.as_slice() {
        [] => Ok(Policy {
            rules,
            omit_stages,
            omit_managed_fields: document.omit_managed_fields.unwrap_or(false),
        }),
        [one] => Err(one.clone()),
        several => Err(format!("[{}]", several.join(", "))),
    }
}

// === impl RuleEntry ===

impl RuleEntry {
    fn resolve(self, at: &str, wrong: &mut Vec<String>) -> Rule {
        let level = level(self.level.as_deref(), at, wrong);
        let paths = self.non_resource_urls.unwrap_or_default();
        for (index, path) in paths.iter().enumerate() {
            if let Some(why) = odd_path(path) {
                let at = format!("{at}.nonResourceURLs[{index}]");
                wrong.push(invalid(&at, path, why));
            }
        }
        let kinds: Vec<Kinds> = self
            .resources
            .unwrap_or_default()
            .into_iter()
            .enumerate()
            .map(|(index, kinds)| kinds.resolve(&format!("{at}.resources[{index}]"), wrong))
            .collect();
        let namespaces = self.namespaces.unwrap_or_default();
        let subject = match (paths.is_empty(), kinds.is_empty() && namespaces.is_empty()) {
            (true, true) => SubjectRule::Anything,
            (true, false) => SubjectRule::Resources { kinds, namespaces },
            (false, of_paths) => {
                if !of_paths {
                    let why = "rules cannot apply to both regular resources and non-resource URLs";
                    wrong.push(invalid(&format!("{at}.nonResourceURLs"), &paths.join(", "), why));
                }
                SubjectRule::Paths(paths)
            }
        };
        Rule {
            level,
            users: self.users.unwrap_or_default(),
            groups: self.user_groups.unwrap_or_default(),
            verbs: self.verbs.unwrap_or_default(),
            subject,
            omit_stages: stages(self.omit_stages, &format!("{at}.omitStages"), wrong),
            omit_managed_fields: self.omit_managed_fields,
        }
    }
}

// === impl KindsEntry ===

impl KindsEntry {
    fn resolve(self, at: &str, wrong: &mut Vec<String>) -> Kinds {
        let kinds = Kinds {
            group: self.group.unwrap_or_default(),
            resources: self.resources.unwrap_or_default(),
            names: self.resource_names.unwrap_or_default(),
        };
        if !matches!(kinds.group.as_str(), "" | "*")
            && let Some(why) = names::subdomain(&kinds.group)
        {
            wrong.push(invalid(&format!("{at}.group"), &kinds.group, &why));
        }
        if !kinds.names.is_empty() && kinds.resources.is_empty() {
            let why = "using resourceNames requires at least one resource";
            wrong.push(invalid(&format!("{at}.resourceNames"), &kinds.names.join(", "), why));
        }
        kinds
    }
}

fn level(text: Option<&str>, at: &str, wrong: &mut Vec<String>) -> Level {
    let text = text.unwrap_or_default();
    if let Some(level) = Level::ALL.into_iter().find(|level| level.as_str() == text) {
        return level;
    }
    wrong.push(match text {
        "" => format!("{at}.level: Required value"),
        text => {
            let known = Level::ALL.map(|level| format!("{:?}", level.as_str())).join(", ");
            format!("{at}.level: Unsupported value: {text:?}: supported values: {known}")
        }
    });
    Level::None
}

fn stages(listed: Option<Vec<String>>, at: &str, wrong: &mut Vec<String>) -> Stages {
    let mut stages = Stages::default();
    for (index, text) in listed.unwrap_or_default().iter().enumerate() {
        match Stage::ALL.into_iter().find(|stage| stage.as_str() == text) {
            Some(stage) => stages = stages.with(stage),
            None => {
                let known = Stage::ALL.map(Stage::as_str).join(",");
                let why = format!("allowed stages are {known}");
                wrong.push(invalid(&format!("{at}[{index}]"), text, &why));
            }
        }
    }
    stages
}

fn odd_path(path: &str) -> Option<&'static str> {
    match path {
        "*" => None,
        path if !path.starts_with('/') => {
            Some("non-resource URL rules must begin with a '/' character")
        }
        path => path
            .strip_suffix('*')
            .unwrap_or(path)
            .contains('*')
            .then_some("non-resource URL wildcards '*' must be the final character of the rule"),
    }
}

fn invalid(at: &str, value: &str, why: &str) -> String {
    format!("{at}: Invalid value: {value:?}: {why}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(rules: &str, expected: &[&str]) {
        let text = format!("apiVersion: audit.k8s.io/v1\nkind: Policy\n{rules}");
        let why = parse(&text).expect_err(rules);
        for part in expected {
            assert!(why.contains(part), "{rules}: {why}");
        }
    }

    #[test]
    fn a_file_that_is_wrong_says_where() {
        check("rules: []\n", &["0 rules"]);
        check("rules:\n- users: [a]\n", &["rules[0].level: Required value"]);
        check(
            "rules:\n- level: Metadata\n- level: metadata\n",
            &["rules[1].level: Unsupported value: \"metadata\"", "\"RequestResponse\""],
        );
        check("rules:\n- level: None\n  user: [a]\n", &["line 5", "user"]);
        check("rules:\n- level: None\n  users: [a\n", &["line"]);
        check(
            "omitStages: [Sent]\nrules:\n- {level: None, omitStages: [Panic, Gone]}\n",
            &["omitStages[0]: Invalid value: \"Sent\"", "rules[0].omitStages[1]", "[omit"],
        );
        check(
            "rules:\n- {level: None, nonResourceURLs: [healthz, '/a*b', '/a/*', '*']}\n",
            &["nonResourceURLs[0]: Invalid value: \"healthz\"", "nonResourceURLs[1]", "final"],
        );
        check(
            "rules:\n- {level: None, nonResourceURLs: ['*'], namespaces: [a]}\n",
            &["both regular resources and non-resource URLs"],
        );
        check(
            "rules:\n- {level: None, resources: [{group: apps/v1}, {resourceNames: [a]}]}\n",
            &["rules[0].resources[0].group", "resources[1].resourceNames", "at least one resource"],
        );
        assert!(
            parse("apiVersion: v1\nkind: Policy\nrules: []\n")
                .is_err_and(|why| { why.contains("audit.k8s.io/v1") })
        );
        assert!(parse("{}").is_err());
    }

    #[test]
    fn a_whole_file_is_read() {
        let text = "apiVersion: audit.k8s.io/v1\nkind: Policy\nmetadata:\n  name: all\n\
                    omitManagedFields: true\nomitStages:\n- RequestReceived\nrules:\n\
                    - level: RequestResponse\n  resources:\n  - group: ''\n    \
                    resources: ['pods/*', configmaps]\n    resourceNames: [a]\n  users:\n";
        let policy = parse(text).expect("it is sound");
        assert!(policy.omit_managed_fields && policy.omit_stages.has(Stage::RequestReceived));
        assert_eq!((policy.rules.len(), policy.rules[0].level), (1, Level::RequestResponse));
    }
}
