//! FailoverPolicy: which evidence may move shards by itself, and what waits for
//! a person. Without the object the defaults hold: everything moves at once.

use serde::{Deserialize, Serialize};

use crate::{FieldError, Kind, Object, Scope};

/// The one policy of a federation.
pub const FAILOVER_POLICY_NAME: &str = "main";

pub type FailoverPolicy = Object<FailoverPolicySpec>;

/// What a silent center has to be silent for in any case: four probes.
pub const SUSPECT_AFTER_MS: u64 = 800;

/// Between failovers; longer is a manual approval by another name.
const INTERVAL_MS_MAX: u64 = 86_400_000;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct FailoverPolicySpec {
    /// Every center of a city is silent.
    pub city: Rule,
    /// A center is silent, and another of its city answers.
    pub center: Rule,
    /// The center's machine takes connections and its process does not answer.
    pub paused: PausedRule,
    /// Who takes over first.
    pub prefer: Preference,
    /// Least time from one failover to the next; none unless said.
    pub min_interval_ms: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Rule {
    /// Evidence alone moves shards.
    #[default]
    Automatic,
    /// A person approves.
    Manual,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct PausedRule {
    pub rule: Rule,
    /// How long it must have been silent. A pause that is over by then moves
    /// nothing.
    pub after_ms: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Preference {
    /// A unit of the same city, whose users stay near; then the standbys.
    #[default]
    SameCity,
    /// The unit's standbys, in their order.
    Standbys,
}

/// Nothing is written here.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailoverPolicyStatus {}

impl Default for PausedRule {
    fn default() -> PausedRule {
        PausedRule { rule: Rule::default(), after_ms: SUSPECT_AFTER_MS }
    }
}

impl Kind for FailoverPolicySpec {
    type Status = FailoverPolicyStatus;
    const GROUP: &'static str = "polis.dev";
    const VERSION: &'static str = "v1alpha1";
    const KIND: &'static str = "FailoverPolicy";
    const PLURAL: &'static str = "failoverpolicies";
    const SINGULAR: &'static str = "failoverpolicy";
    const SHORT_NAMES: &'static [&'static str] = &["fop"];
    const SCOPE: Scope = Scope::Cluster;

    fn validate(&self) -> Vec<FieldError> {
        let mut errors = Vec::new();
        let after_ms = self.paused.after_ms;
        if !(SUSPECT_AFTER_MS..=INTERVAL_MS_MAX).contains(&after_ms) {
            let detail = format!("must be {SUSPECT_AFTER_MS} to {INTERVAL_MS_MAX}");
            errors.push(FieldError::invalid("spec.paused.afterMs", after_ms, detail));
        }
        if self.min_interval_ms > INTERVAL_MS_MAX {
            let detail = format!("must be at most {INTERVAL_MS_MAX}");
            errors.push(FieldError::invalid("spec.minIntervalMs", self.min_interval_ms, detail));
        }
        errors
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_says_only_what_differs_from_the_defaults() {
        let check = |text: &str, expected: &[&str]| {
            let spec: FailoverPolicySpec = serde_json::from_str(text).expect(text);
            let paths: Vec<_> = spec.validate().into_iter().map(|error| error.path).collect();
            assert_eq!(paths, expected, "{text}");
            spec
        };
        assert_eq!(check("{}", &[]), FailoverPolicySpec::default());
        let spec = check(r#"{"city": "Manual", "paused": {"afterMs": 10000}}"#, &[]);
        assert_eq!((spec.city, spec.center), (Rule::Manual, Rule::Automatic));
        assert_eq!(spec.paused, PausedRule { rule: Rule::Automatic, after_ms: 10_000 });
        check(r#"{"paused": {"afterMs": 10}}"#, &["spec.paused.afterMs"]);
        check(r#"{"minIntervalMs": 86400001}"#, &["spec.minIntervalMs"]);
    }
}
