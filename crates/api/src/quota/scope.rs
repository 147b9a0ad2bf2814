//! Which objects a quota is about: all, unless it has scopes.

use serde_json::Value;

use super::usage::Counted;
use crate::kinds::{
    check::{at, int, list, some, text, texts},
    pod_spec::qos_class,
};

/// What one scope asks for.
struct Requirement<'a> {
    scope: &'a str,
    operator: &'a str,
    values: Vec<&'a str>,
}

/// Whether all scopes of `quota` hold for `object`; only pods and claims can be
/// told apart at all.
pub fn concerns(counted: &Counted, quota: &Value, object: &Value) -> bool {
    let spec = at(quota, "spec");
    let plain = texts(spec, "scopes").map(|(_, scope)| Requirement {
        scope,
        operator: "Exists",
        values: Vec::new(),
    });
    let chosen = list(at(spec, "scopeSelector"), "matchExpressions").map(|(_, of)| Requirement {
        scope: text(of, "scopeName"),
        operator: text(of, "operator"),
        values: texts(of, "values").map(|(_, value)| value).collect(),
    });
    plain.chain(chosen).all(|requirement| match counted {
        Counted::Pods => requirement.holds_for_pod(at(object, "spec")),
        Counted::Claims => requirement.holds_for_claim(object),
        _ => false,
    })
}

// === impl Requirement ===

impl Requirement<'_> {
    fn holds_for_pod(&self, spec: &Value) -> bool {
        let brief = int(spec, "activeDeadlineSeconds").is_some_and(|seconds| seconds >= 0);
        match self.scope {
            "Terminating" => brief,
            "NotTerminating" => !brief,
            "BestEffort" => qos_class(spec) == "BestEffort",
            "NotBestEffort" => qos_class(spec) != "BestEffort",
            "PriorityClass" => self.chooses(&[text(spec, "priorityClassName")]),
            "CrossNamespacePodAffinity" => looks_elsewhere(at(spec, "affinity")),
            _ => false,
        }
    }

    fn holds_for_claim(&self, claim: &Value) -> bool {
        let (spec, status) = (at(claim, "spec"), at(claim, "status"));
        let classes = [
            text(spec, "volumeAttributesClassName"),
            text(status, "currentVolumeAttributesClassName"),
            text(at(status, "modifyVolumeStatus"), "targetVolumeAttributesClassName"),
        ];
        self.scope == "VolumeAttributesClass" && self.chooses(&classes)
    }

    /// Whether one of the names is chosen, where no name is one too.
    fn chooses(&self, names: &[&str]) -> bool {
        let given: Vec<&&str> = names.iter().filter(|name| !name.is_empty()).collect();
        let one_of = |name: &str| self.values.contains(&name);
        match self.operator {
            "Exists" => !given.is_empty(),
            "DoesNotExist" => given.is_empty(),
            "In" => given.iter().any(|name| one_of(name)),
            "NotIn" => given.is_empty() || given.iter().any(|name| !one_of(name)),
            _ => false,
        }
    }
}

/// Whether a pod wants to be near, or far from, pods of other namespaces.
fn looks_elsewhere(affinity: &Value) -> bool {
    let elsewhere = |term: &Value| {
        list(term, "namespaces").next().is_some() || some(term, "namespaceSelector").is_some()
    };
    ["podAffinity", "podAntiAffinity"].iter().any(|part| {
        let part = at(affinity, part);
        let required = "requiredDuringSchedulingIgnoredDuringExecution";
        let preferred = "preferredDuringSchedulingIgnoredDuringExecution";
        list(part, required).any(|(_, term)| elsewhere(term))
            || list(part, preferred).any(|(_, it)| elsewhere(at(it, "podAffinityTerm")))
    })
}
