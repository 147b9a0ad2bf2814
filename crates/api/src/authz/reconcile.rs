//! Keeps the default roles and bindings of a plain cluster, and the roles that
//! are made of others.
//!
//! What is missing is made, what lacks a rule or a subject gets it; what people
//! added stays, and what they marked as theirs is left alone. Every write
//! compares what it was computed from, so replicas do not disturb each other.

use std::{sync::Arc, time::Duration};

use futures::{FutureExt, StreamExt, future::BoxFuture, stream};
use kv::{Compare, KeyRange, Op, RangeRequest, Revision, Txn};
use rt::{Drain, backoff::Backoff, random::Random};
use serde_json::{Value, json};

use super::{
    aggregation,
    defaults::{self, AUTOUPDATE},
    rights::{CLUSTER_ROLE_BINDINGS, CLUSTER_ROLES, ROLE_BINDINGS, ROLES, read},
    rule::{Rule, missing},
};
use crate::{
    cluster::{Cluster, Clusters},
    object,
};

/// Written at once at the start: the store syncs them together.
const WRITES_MAX: usize = 32;

const RETRY_FIRST: Duration = Duration::from_millis(100);
const RETRY_MAX: Duration = Duration::from_secs(5);

/// Keeps those of what stands at `/`, until `drain` starts.
pub async fn run(clusters: &Clusters, drain: Drain) {
    tokio::select! {
        () = keep(clusters) => {}
        () = drain.started() => {}
    }
}

async fn keep(clusters: &Clusters) {
    let mut backoff = Backoff::new(RETRY_FIRST, RETRY_MAX, Random::from_entropy());
    let cluster: Arc<Cluster> = loop {
        match clusters.enter(clusters.root()).await {
            Ok(cluster) => break cluster,
            Err(_) => tokio::time::sleep(backoff.step()).await,
        }
    };
    let cluster = &*cluster;
    while let Err(error) = write_defaults(cluster).await {
        tracing::warn!(%error, "write the default roles");
        tokio::time::sleep(backoff.step()).await;
    }
    let mut changes = cluster.mirror().changes(CLUSTER_ROLES);
    loop {
        changes.borrow_and_update();
        match write_aggregated(cluster).await {
            Ok(()) => {
                backoff.reset();
                if changes.changed().await.is_err() {
                    return;
                }
            }
            Err(error) => {
                tracing::warn!(%error, "write aggregated roles");
                tokio::time::sleep(backoff.step()).await;
            }
        }
    }
}

async fn write_defaults(cluster: &Cluster) -> Result<(), kv::Error> {
    let writes: Vec<BoxFuture<'_, Result<(), kv::Error>>> =
        defaults::OBJECTS.iter().map(|wanted| write_default(cluster, wanted).boxed()).collect();
    let mut writes = stream::iter(writes).buffer_unordered(WRITES_MAX);
    while let Some(written) = writes.next().await {
        written?;
    }
    Ok(())
}

async fn write_default(cluster: &Cluster, wanted: &Value) -> Result<(), kv::Error> {
    let key = key(wanted);
    // A few times: another replica may be at it.
    for _ in 0..8 {
        let response = cluster.kv.range(RangeRequest::new(KeyRange::key(key.clone()))).await?;
        let found = response.kvs.first().and_then(|kv| Some((read(kv)?, kv.mod_revision)));
        let (object, since) = match &found {
            None if !response.kvs.is_empty() => return Ok(()),
            None => (fresh(wanted), None),
            Some((there, revision)) => match mended(there, wanted) {
                None => return Ok(()),
                Some(object) => (object, Some(*revision)),
            },
        };
        if put(cluster, &key, &object, since).await? {
            return Ok(());
        }
    }
    Ok(())
}

async fn write_aggregated(cluster: &Cluster) -> Result<(), kv::Error> {
    let kept = cluster.mirror().list(CLUSTER_ROLES, CLUSTER_ROLES);
    let roles: Vec<(Value, Revision)> =
        kept.iter().filter_map(|kv| Some((read(kv)?, kv.mod_revision))).collect();
    let list: Vec<&Value> = roles.iter().map(|(role, _)| role).collect();
    let sums = aggregation::aggregate(&list);
    for (role, revision) in &roles {
        let Some(rules) = sums.get(object::name(role)) else { continue };
        if *rules == Rule::all_of(role) {
            continue;
        }
        let mut role = role.clone();
        role["rules"] = rules.iter().map(Rule::to_value).collect();
        // One that changed meanwhile wakes us again.
        put(cluster, &key(&role), &role, Some(*revision)).await?;
    }
    Ok(())
}

/// False when the object is not the one it was computed from.
async fn put(
    cluster: &Cluster,
    key: &str,
    object: &Value,
    since: Option<Revision>,
) -> Result<bool, kv::Error> {
    let compare = match since {
        Some(revision) => Compare::modified_at(key.to_owned(), revision),
        None => Compare::absent(key.to_owned()),
    };
    let bytes = serde_json::to_vec(object).expect("JSON values have a text form");
    let txn = Txn::when(vec![compare]).then(vec![Op::put(key.to_owned(), bytes)]);
    Ok(cluster.kv.txn(txn).await?.succeeded)
}

fn key(object: &Value) -> String {
    let name = object::name(object);
    let namespace = object::namespace(object);
    match object::text(object, "/kind") {
        "ClusterRole" => format!("{CLUSTER_ROLES}{name}"),
        "ClusterRoleBinding" => format!("{CLUSTER_ROLE_BINDINGS}{name}"),
        "Role" => format!("{ROLES}{namespace}/{name}"),
        _ => format!("{ROLE_BINDINGS}{namespace}/{name}"),
    }
}

fn fresh(wanted: &Value) -> Value {
    let mut object = wanted.clone();
    let metadata = object::metadata(&mut object);
    metadata.insert("uid".into(), uuid::Uuid::new_v4().to_string().into());
    metadata.insert("creationTimestamp".into(), object::timestamp(object::now()).into());
    object
}

/// What is there with what it lacks; none when it lacks nothing or is somebody's
/// own.
fn mended(there: &Value, wanted: &Value) -> Option<Value> {
    let own = there.pointer("/metadata/annotations").and_then(|all| all.get(AUTOUPDATE));
    if own.is_some_and(|value| value == "false") {
        return None;
    }
    if wanted.get("roleRef") != there.get("roleRef") {
        // What a binding binds cannot be changed: it is another one.
        return Some(fresh(wanted));
    }
    let mut object = there.clone();
    for field in ["labels", "annotations"] {
        let all = wanted["metadata"][field].as_object();
        for (key, value) in all.into_iter().flatten() {
            object["metadata"][field][key] = value.clone();
        }
    }
    if let Some(subjects) = wanted["subjects"].as_array() {
        let same = |a: &Value, b: &Value| {
            ["kind", "name", "namespace"].iter().all(|field| a.get(field) == b.get(field))
        };
        let there = there["subjects"].as_array().cloned().unwrap_or_default();
        let lacking = subjects.iter().filter(|one| !there.iter().any(|own| same(own, one)));
        let lacking: Vec<Value> = lacking.cloned().collect();
        object["subjects"] = [there, lacking].concat().into();
    } else if aggregation::is_made(wanted) {
        object["aggregationRule"] = wanted["aggregationRule"].clone();
    } else {
        let own = Rule::all_of(there);
        let lacking = Rule::all_of(wanted);
        let lacking =
            lacking.iter().filter(|rule| !missing(own.iter(), &[(*rule).clone()]).is_empty());
        let all: Vec<Value> = own.iter().chain(lacking).map(Rule::to_value).collect();
        object["rules"] = json!(all);
    }
    let same = |field: &str| object.pointer(field) == there.pointer(field);
    let parts =
        ["/metadata/labels", "/metadata/annotations", "/subjects", "/aggregationRule", "/rules"];
    let changed = parts.iter().any(|part| !same(part));
    changed.then_some(object)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_added_and_what_was_added_stays() {
        for wanted in defaults::OBJECTS.iter() {
            let there = fresh(wanted);
            assert_eq!(mended(&there, wanted), None, "{}", object::name(wanted));
        }
        let rule =
            |resource: &str| json!({"verbs": ["get"], "apiGroups": [""], "resources": [resource]});
        let wanted =
            json!({"metadata": {"labels": {"a": "b"}}, "rules": [rule("pods"), rule("nodes")]});
        let mut there =
            json!({"metadata": {"labels": {"c": "d"}}, "rules": [rule("nodes"), rule("own")]});
        let mended_role = mended(&there, &wanted).expect("it lacks a rule");
        assert_eq!(mended_role["rules"], json!([rule("nodes"), rule("own"), rule("pods")]));
        assert_eq!(mended_role["metadata"]["labels"], json!({"a": "b", "c": "d"}));
        there["metadata"]["annotations"] = json!({AUTOUPDATE: "false"});
        assert_eq!(mended(&there, &wanted), None);
    }

    #[test]
    fn a_binding_gets_its_subjects_back_and_is_made_anew_for_another_role() {
        let of = |role: &str, users: &[&str]| {
            let users: Vec<Value> =
                users.iter().map(|name| json!({"kind": "User", "name": name})).collect();
            json!({"metadata": {}, "roleRef": {"name": role}, "subjects": users})
        };
        let mended_binding = mended(&of("a", &["x"]), &of("a", &["y"])).expect("it lacks one");
        assert_eq!(mended_binding["subjects"], of("a", &["x", "y"])["subjects"]);
        let anew = mended(&of("a", &["x"]), &of("b", &["y"])).expect("another role");
        assert_eq!(anew["subjects"], of("b", &["y"])["subjects"]);
        assert!(anew["metadata"]["uid"].is_string());
    }
}
