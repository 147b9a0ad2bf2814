//! Objects that the server itself asks for, whatever serves their kind.

use kv::{KeyRange, RangeRequest};
use serde_json::Value;

use crate::{cluster::Cluster, failure::Failure};

/// What the keys of a kind's objects start with.
pub const SERVICE_ACCOUNTS: &str = "/registry/core/serviceaccounts/";
pub const SECRETS: &str = "/registry/core/secrets/";
pub const PODS: &str = "/registry/core/pods/";
pub const NODES: &str = "/registry/core/nodes/";

/// As it is now, by a linearizable read. None when it is not there.
pub async fn get(
    cluster: &Cluster,
    prefix: &str,
    namespace: &str,
    name: &str,
) -> Result<Option<Value>, Failure> {
    // Names come from tokens: one with a slash would be another object's key.
    if name.is_empty() || name.contains('/') || namespace.contains('/') {
        return Ok(None);
    }
    let key = match namespace {
        "" => format!("{prefix}{name}"),
        namespace => format!("{prefix}{namespace}/{name}"),
    };
    let response = cluster.kv.range(RangeRequest::new(KeyRange::key(key))).await?;
    let Some(kv) = response.kvs.first() else { return Ok(None) };
    serde_json::from_slice(&kv.value).map(Some).map_err(|_| Failure::corrupt(&kv.key))
}
