//! What a caller may do: Polis' own processes and groups first, then the roles
//! of the cluster that is asked.

mod aggregation;
mod authorizer;
mod defaults;
mod escalation;
mod node;
mod policy;
mod processes;
pub mod reconcile;
mod rights;
mod rule;

use std::borrow::Cow;

use serde_json::Value;

pub use authorizer::{Authorizer, Decision};
pub use escalation::Guard;
pub use policy::ACCOUNT_PREFIX;
pub use processes::own_rules;
pub use rule::Rule;

use crate::{
    caller::Caller,
    failure::Failure,
    request::path::{Address, Place},
};

/// What is about to be done, in the words of an authorizer.
#[derive(Clone, Debug)]
pub struct Attributes<'a> {
    pub verb: &'a str,
    pub group: &'a str,
    /// With its subresource: `pods/log`.
    pub resource: Cow<'a, str>,
    pub namespace: &'a str,
    pub name: &'a str,
    /// Of what is no resource; empty otherwise.
    pub path: &'a str,
}

/// Longest path that is repeated in a refusal.
const PATH_CHARS_MAX: usize = 256;

// === impl Attributes ===

impl<'a> Attributes<'a> {
    pub fn of(verb: &'a str, address: &'a Address) -> Attributes<'a> {
        Attributes {
            verb,
            group: &address.group,
            resource: Cow::Owned(address.resource()),
            namespace: address.own_namespace().unwrap_or_default(),
            name: address.name.as_deref().unwrap_or_default(),
            path: "",
        }
    }

    /// Of what is known to be served.
    pub fn of_place(verb: &'a str, place: &'a Place) -> Attributes<'a> {
        let namespace = place.namespace.as_deref().unwrap_or_default();
        let name = place.name.as_deref().unwrap_or_default();
        let resource = &place.resource;
        Attributes::of_resource(verb, &resource.group, &*resource.plural, namespace, name)
    }

    pub fn of_resource(
        verb: &'a str,
        group: &'a str,
        resource: impl Into<Cow<'a, str>>,
        namespace: &'a str,
        name: &'a str,
    ) -> Attributes<'a> {
        Attributes { verb, group, resource: resource.into(), namespace, name, path: "" }
    }

    pub fn of_path(verb: &'a str, path: &'a str) -> Attributes<'a> {
        let resource = Cow::Borrowed("");
        Attributes { verb, group: "", resource, namespace: "", name: "", path }
    }

    /// As a review asks it; `spec` has attributes of a resource or of a path.
    pub fn of_review(spec: &'a Value) -> Attributes<'a> {
        let text = |part: &str, field: &str| {
            spec.get(part)
                .and_then(|part| part.get(field))
                .and_then(Value::as_str)
                .unwrap_or_default()
        };
        if spec.get("resourceAttributes").is_none_or(Value::is_null) {
            let of = |field| text("nonResourceAttributes", field);
            return Attributes::of_path(of("verb"), of("path"));
        }
        let of = |field| text("resourceAttributes", field);
        let resource = match of("subresource") {
            "" => Cow::Borrowed(of("resource")),
            sub => Cow::Owned(format!("{}/{sub}", of("resource"))),
        };
        Attributes::of_resource(of("verb"), of("group"), resource, of("namespace"), of("name"))
    }

    /// The refusal, with what else is known of why.
    pub fn refuse(&self, caller: &Caller, reason: &str) -> Failure {
        let message = self.refusal(caller);
        let message = match reason {
            "" => message,
            reason => format!("{message}: {reason}"),
        };
        let failure = Failure::forbidden(message);
        match self.path {
            "" => failure.on(self.group, self.plural(), self.name),
            _ => failure,
        }
    }

    /// Without the subresource.
    fn plural(&self) -> &str {
        self.resource.split_once('/').map_or(&*self.resource, |(plural, _)| plural)
    }

    /// Kubernetes' wording.
    pub fn refusal(&self, caller: &Caller) -> String {
        let Attributes { verb, group, resource, namespace, name, path } = self;
        let user = &caller.name;
        if !path.is_empty() {
            let path: String = path.chars().take(PATH_CHARS_MAX).collect();
            return format!("forbidden: User {user:?} cannot {verb} path {path:?}");
        }
        let plural = self.plural();
        let object = match (*group, *name) {
            ("", "") => plural.to_owned(),
            ("", name) => format!("{plural} {name:?}"),
            (group, "") => format!("{plural}.{group}"),
            (group, name) => format!("{plural}.{group} {name:?}"),
        };
        let scope = match *namespace {
            "" => "at the cluster scope".to_owned(),
            namespace => format!("in the namespace {namespace:?}"),
        };
        format!(
            "{object} is forbidden: User {user:?} cannot {verb} resource {resource:?} in API group {group:?} {scope}"
        )
    }
}

#[cfg(test)]
mod tests;
