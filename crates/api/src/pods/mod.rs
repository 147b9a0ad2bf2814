//! What is done to a pod besides writing it: it is given a node, or evicted, or
//! changed where pods do not change otherwise.
//!
//! The only handlers of one kind there are, since Kubernetes gives these to no
//! other. The rules are pure; around them are reads and writes of the registry.

mod binding;
mod budget;
mod eviction;
mod parts;

pub(crate) use parts::{check as check_part, merge as merge_part};

use std::sync::Arc;

use bytes::Bytes;
use http::{Response, StatusCode};
use serde_json::{Value, json};

use crate::{
    admission::{self, Operation},
    cluster::Cluster,
    failure::Failure,
    handler::{Ask, Handler},
    registry::{Part, Registry, Wanted},
    request::{
        body,
        options::{ListOptions, WriteOptions},
        path::Place,
        query::Query,
    },
    response::{self, Body},
    subresource::Subresource,
};
use budget::Guard;
use eviction::{Eviction, Way};

/// What webhooks are asked about.
const BINDING: admission::Part = admission::Part { group: "", version: "v1", kind: "Binding" };
const EVICTION: admission::Part =
    admission::Part { group: "policy", version: "v1", kind: "Eviction" };

// === impl Handler ===

impl Handler {
    /// `pods/binding` and `pods/eviction`.
    pub(crate) async fn act_on_pod(
        &self,
        sub: Subresource,
        ask: &Ask<'_>,
        cluster: Arc<Cluster>,
        place: &Place,
        bytes: &Bytes,
    ) -> Result<Response<Body>, Failure> {
        let options = WriteOptions::parse(&ask.query)?;
        let (said, _) = body::require_object(body::json(&ask.headers, bytes)?)?;
        let name = place.name.as_deref().unwrap_or_default();
        let pods = Registry::new(cluster.clone(), place.clone()).by(ask.caller);
        let kind = match sub {
            Subresource::Binding => BINDING,
            _ => EVICTION,
        };
        let dry_run = options.dry_run || said["deleteOptions"]["dryRun"][0] == "All";
        let (said, warnings) = pods.admit_part(Operation::Create, kind, dry_run, said).await?;
        let pods = pods.admitted();
        match sub {
            Subresource::Binding => bind(&pods, name, &said, &options).await?,
            _ => evict(&pods, cluster, place, &said, options).await?,
        }
        let mut response = response::json(StatusCode::CREATED, &success());
        response::warn(&mut response, &warnings);
        Ok(response)
    }
}

async fn bind(
    pods: &Registry,
    name: &str,
    said: &Value,
    options: &WriteOptions,
) -> Result<(), Failure> {
    binding::check(name, said)?;
    let change = |pod: &Value| Ok(Wanted::sent((binding::bind(pod, said)?, Vec::new())));
    pods.update(name, Part::Whole, options, change).await?;
    Ok(())
}

async fn evict(
    pods: &Registry,
    cluster: Arc<Cluster>,
    place: &Place,
    said: &Value,
    options: WriteOptions,
) -> Result<(), Failure> {
    let name = place.name.as_deref().unwrap_or_default();
    let eviction = Eviction::parse(name, said, options.dry_run)?;
    let options = WriteOptions { dry_run: eviction.options.is_dry_run(), ..options };
    let mut attempts_left = eviction::ATTEMPTS_MAX;
    loop {
        let pod = pods.get(name).await?;
        let guards = match eviction::is_free(&pod) {
            true => Vec::new(),
            false => guards(&cluster, place, &pod).await?,
        };
        let way = eviction::way(&pod, &guards)?;
        if let Way::Spend(guard) = &way {
            let budgets = Registry::new(cluster.clone(), guard.place.clone());
            let spend =
                |budget: &Value| Ok(Wanted::sent((budget::spend(budget, name)?, Vec::new())));
            budgets.update(&guard.name, Part::Status, &options, spend).await?;
            let mark = |pod: &Value| Ok(Wanted::sent((eviction::mark(pod), Vec::new())));
            pods.update(name, Part::Status, &options, mark).await?;
        }
        let unchanged = eviction.pins(&way, &pod);
        match pods.delete(name, &unchanged).await {
            Err(failure) if failure.is_conflict() && !eviction.is_pinned() => match &way {
                // It was free a moment ago, so look again.
                Way::Free if attempts_left > 0 => attempts_left -= 1,
                Way::Unready(guard) => return Err(budget::busy(guard)),
                _ => return Err(failure),
            },
            deleted => return deleted.map(|_| ()),
        }
    }
}

/// The budgets that count this pod.
async fn guards(cluster: &Arc<Cluster>, place: &Place, pod: &Value) -> Result<Vec<Guard>, Failure> {
    let catalog = cluster.catalog();
    let Some(resource) = catalog.find("policy", "v1", "poddisruptionbudgets") else {
        return Ok(Vec::new());
    };
    let resource = resource.clone();
    let place = Place { resource, name: None, subresource: None, ..place.clone() };
    let everything = ListOptions::parse(&Query::default(), &place)?;
    let page = Registry::new(cluster.clone(), place.clone()).list(&everything).await?;
    let mut guards = Vec::new();
    for item in page.items {
        let budget = item.into_object(&place.resource)?;
        guards.extend(Guard::of(budget, pod, &place));
    }
    Ok(guards)
}

fn success() -> Value {
    json!({
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Success",
        "code": 201,
    })
}
