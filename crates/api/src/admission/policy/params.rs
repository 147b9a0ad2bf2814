//! The objects that a binding gives its policy as parameters.

use serde_json::Value;

use super::read::{ParamKind, ParamRef};
use crate::{cluster::Cluster, registry, resource::Resource, selector::of_label_selector};

/// One for each time the policy is to be judged; without a kind, once with
/// none. Says what is wrong where none may be missing.
pub fn collect(
    cluster: &Cluster,
    kind: Option<&ParamKind>,
    wanted: Option<&ParamRef>,
    namespace: Option<&str>,
) -> Result<Vec<Option<Value>>, String> {
    let (Some(kind), Some(wanted)) = (kind, wanted) else { return Ok(vec![None]) };
    let (group, version) = kind.api_version.split_once('/').unwrap_or(("", &kind.api_version));
    let catalog = cluster.catalog();
    let resource = catalog.of_kind(group, version, &kind.kind).ok_or_else(|| {
        format!(
            "failed to find resource referenced by paramKind: '{group}/{version}, Kind={}'",
            kind.kind
        )
    })?;
    let namespace = match (resource.is_namespaced(), wanted.namespace.as_str()) {
        (false, "") => None,
        (false, _) => {
            return Err("cannot use namespaced paramRef in policy bindings that match \
            cluster-scoped params"
                .to_owned());
        }
        (true, "") => Some(namespace.ok_or(
            "cannot use namespaced paramRef in policy bindings that match cluster-scoped resources",
        )?),
        (true, own) => Some(own),
    };
    let found = find(cluster, resource, namespace, wanted);
    match found.is_empty() {
        true if wanted.parameter_not_found_action == "Allow" => Ok(Vec::new()),
        true => {
            Err("no params found for policy binding with `Deny` parameterNotFoundAction".to_owned())
        }
        false => Ok(found.into_iter().map(Some).collect()),
    }
}

fn find(
    cluster: &Cluster,
    resource: &Resource,
    namespace: Option<&str>,
    wanted: &ParamRef,
) -> Vec<Value> {
    let prefix = resource.prefix();
    let kept = match &wanted.selector {
        None => {
            let key = resource.key(namespace, &wanted.name);
            cluster.mirror().get(&prefix, &key).into_iter().collect()
        }
        Some(_) => {
            let start = namespace.map_or_else(|| prefix.clone(), |it| format!("{prefix}{it}/"));
            cluster.mirror().list(&prefix, &start)
        }
    };
    let selector = wanted.selector.as_ref().map(of_label_selector).unwrap_or_default();
    let objects = kept.iter().filter_map(|kv| registry::decode(resource, kv).ok());
    objects.filter(|object| selector.matches(object)).collect()
}
