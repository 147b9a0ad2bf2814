//! Whether a webhook is to be asked.

use cel::{Bindings, Budget};
use serde_json::Value;

use super::{
    form::Form,
    hook::{Hook, Rule},
    review::Question,
};
use crate::{
    catalog, cluster::Cluster, failure::Failure, registry, resource::Resource,
    selector::LabelSelector,
};

/// Whether one of its rules names what is written, as `form` says it.
pub fn covers(hook: &Hook, question: &Question<'_>, form: &Resource) -> bool {
    hook.rules.iter().any(|rule| rule.covers(question, form))
}

/// Whether its selectors take the object.
pub fn selects(
    cluster: &Cluster,
    hook: &Hook,
    question: &Question<'_>,
    object: Option<&Value>,
    old: Option<&Value>,
) -> bool {
    let labelled = || {
        let labels = |object: Option<&Value>| object.is_some_and(|o| hook.objects.matches(o));
        hook.objects.is_empty() || labels(object) || labels(old)
    };
    labelled() && in_namespace(cluster, &hook.namespaces, question, object.or(old))
}

/// Those who judge are not judged by themselves: a wrong one could not be taken
/// away again.
pub fn is_exempt(question: &Question<'_>) -> bool {
    question.resource().group == "admissionregistration.k8s.io"
}

/// Whether it is about something in a selected namespace, or about one.
pub(super) fn in_namespace(
    cluster: &Cluster,
    selector: &LabelSelector,
    question: &Question<'_>,
    object: Option<&Value>,
) -> bool {
    if selector.is_empty() {
        return true;
    }
    if question.resource().is_core("Namespace") {
        return object.is_none_or(|object| selector.matches(object));
    }
    let Some(namespace) = question.place.namespace.as_deref() else { return true };
    self::namespace(cluster, namespace).is_some_and(|object| selector.matches(&object))
}

/// The namespace as it is known.
pub(super) fn namespace(cluster: &Cluster, name: &str) -> Option<Value> {
    let namespaces = catalog::namespaces();
    let kept = cluster.mirror().get(&namespaces.prefix(), &namespaces.key(None, name))?;
    registry::decode(namespaces, &kept).ok()
}

/// Whether its conditions hold. One that does not passes the hook over, whatever
/// becomes of the others; one that cannot be judged counts as the hook's
/// failure.
pub fn conditions(
    hook: &Hook,
    question: &Question<'_>,
    form: &Form,
    object: Option<&Value>,
    old: Option<&Value>,
) -> Result<bool, Failure> {
    if hook.conditions.is_empty() {
        return Ok(true);
    }
    let (_, review) = question.review(form, None, None);
    let bindings = Bindings::new()
        .json("object", object.unwrap_or(&Value::Null))
        .json("oldObject", old.unwrap_or(&Value::Null))
        .json("request", &review["request"]);
    let mut budget = Budget::per_object();
    let mut failed = None;
    for (name, program) in &hook.conditions {
        let held = match program {
            Ok(program) => program.holds(&bindings, &mut budget).map_err(|e| e.to_string()),
            Err(why) => Err(why.clone()),
        };
        match held {
            Ok(true) => {}
            Ok(false) => return Ok(false),
            Err(why) => failed = failed.or(Some((name, why))),
        }
    }
    match failed {
        None => Ok(true),
        Some((name, why)) if hook.ignore => {
            tracing::warn!(webhook = hook.name, condition = name, why, "failed open");
            Ok(false)
        }
        Some((name, why)) => {
            let why = format!("expression '{name}' resulted in error: {why}");
            Err(Failure::forbidden_object(question.resource(), question.name, &why))
        }
    }
}

// === impl Rule ===

impl Rule {
    pub(super) fn covers(&self, question: &Question<'_>, resource: &Resource) -> bool {
        let has =
            |list: &[String], wanted: &str| list.iter().any(|one| one == "*" || one == wanted);
        let scope = match self.scope.as_deref() {
            None | Some("*") => true,
            Some("Namespaced") => resource.is_namespaced(),
            Some(_) => !resource.is_namespaced(),
        };
        scope
            && has(&self.operations, question.operation.as_str())
            && has(&self.api_groups, &resource.group)
            && has(&self.api_versions, &resource.version)
            && self.resources.iter().any(|one| names(one, question))
    }
}

impl Rule {
    /// Whether it is about the object's name, or about any.
    pub(super) fn names(&self, question: &Question<'_>, object: Option<&Value>) -> bool {
        let name = match question.name {
            "" => object.map_or("", crate::object::name),
            name => name,
        };
        self.resource_names.is_empty() || self.resource_names.iter().any(|own| own == name)
    }
}

/// `pods`, `pods/status`, `pods/*`, `*/scale`, `*`, `*/*`.
fn names(pattern: &str, question: &Question<'_>) -> bool {
    let (resource, sub) = match pattern.split_once('/') {
        Some((resource, sub)) => (resource, Some(sub)),
        None => (pattern, None),
    };
    let own = question.place.subresource.map(|sub| sub.as_str());
    let fits = |wanted: &str, own: &str| wanted == "*" || wanted == own;
    fits(resource, &question.resource().plural)
        && match (sub, own) {
            (None, None) => true,
            (Some("*"), _) => true,
            (Some(wanted), Some(own)) => wanted == own,
            (Some(_), None) | (None, Some(_)) => false,
        }
}
