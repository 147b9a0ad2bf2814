//! What a caller may do. Three groups, until roles are served.

use crate::{
    caller::{Caller, MASTERS, POLIS, VIEWERS},
    failure::Failure,
    request::path::{Place, Target},
};

/// What is about to be done, in the words of an authorizer.
#[derive(Clone, Debug)]
pub struct Attributes<'a> {
    pub verb: &'a str,
    pub group: &'a str,
    pub resource: String,
    pub namespace: &'a str,
    pub name: &'a str,
}

/// Whether `caller` may `verb` anything of the API.
pub fn may(caller: &Caller, verb: &str) -> bool {
    let all = caller.is_in(MASTERS) || caller.is_in(POLIS);
    all || (caller.is_in(VIEWERS) && matches!(verb, "get" | "list" | "watch"))
}

pub fn check_resource(caller: &Caller, verb: &str, place: &Place) -> Result<(), Failure> {
    match may(caller, verb) {
        true => Ok(()),
        false => Err(Failure::forbidden(sentence(caller, &Attributes::of(verb, place)))),
    }
}

/// Paths that are not of a kind.
pub fn check_path(caller: &Caller, target: &Target, path: &str) -> Result<(), Failure> {
    let allowed = match target {
        Target::Health(_) | Target::Version => true,
        Target::Metrics => may(caller, "get"),
        _ => !caller.is_anonymous(),
    };
    match allowed {
        true => Ok(()),
        false => {
            let path: String = path.chars().take(256).collect();
            let message = format!("forbidden: User {:?} cannot get path {path:?}", caller.name);
            Err(Failure::forbidden(message))
        }
    }
}

/// Kubernetes' wording.
fn sentence(caller: &Caller, what: &Attributes<'_>) -> String {
    let Attributes { verb, group, resource, namespace, name } = what;
    let object = match (*group, *name) {
        ("", "") => (*resource).to_string(),
        ("", name) => format!("{resource} {name:?}"),
        (group, "") => format!("{resource}.{group}"),
        (group, name) => format!("{resource}.{group} {name:?}"),
    };
    let scope = match *namespace {
        "" => "at the cluster scope".to_owned(),
        namespace => format!("in the namespace {namespace:?}"),
    };
    format!(
        "{object} is forbidden: User {:?} cannot {verb} resource {resource:?} in API group {group:?} {scope}",
        caller.name
    )
}

// === impl Attributes ===

impl<'a> Attributes<'a> {
    fn of(verb: &'a str, place: &'a Place) -> Attributes<'a> {
        let resource = match place.subresource {
            Some(sub) => format!("{}/{}", place.resource.plural, sub.as_str()),
            None => place.resource.plural.to_owned(),
        };
        Attributes {
            verb,
            group: place.resource.group,
            resource,
            namespace: place.namespace.as_deref().unwrap_or_default(),
            name: place.name.as_deref().unwrap_or_default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn viewers_read_strangers_do_nothing_and_nobody_calls_themselves_a_process_of_ours() {
        let viewer = Caller::user("ann", [VIEWERS.to_owned()]);
        assert!(may(&viewer, "watch") && !may(&viewer, "create"));
        assert!(may(&Caller::user("root", [MASTERS.to_owned()]), "delete"));
        assert!(!may(&Caller::user("mallory", [POLIS.to_owned()]), "get"));
        assert!(may(&Caller::process("spiffe://polis.local/unit/u/ns/n/sa/s"), "delete"));
        assert!(!may(&Caller::anonymous(), "get"));
    }

    #[test]
    fn a_refusal_reads_like_kubernetes() {
        let Ok(Target::Resource(place)) =
            Target::parse("/apis/polis.dev/v1alpha1/units/rz01/status")
        else {
            panic!("a resource");
        };
        let failure = check_resource(&Caller::anonymous(), "update", &place).expect_err("refused");
        assert_eq!(
            failure.message(),
            "units/status.polis.dev \"rz01\" is forbidden: User \"system:anonymous\" cannot update \
             resource \"units/status\" in API group \"polis.dev\" at the cluster scope"
        );
    }
}
