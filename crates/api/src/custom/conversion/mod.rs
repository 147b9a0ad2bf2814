//! Objects of one custom kind, from one of its versions to another.
//!
//! Objects are kept in one version, the storage version, and asked for in any.
//! Without a webhook all versions have the same fields, and only the name of
//! the version changes. With one, the webhook is asked: for many objects at
//! once, since every question is a round trip to it. What it may change is
//! checked in [`review`] and [`meta`].

mod meta;
mod review;
mod table;

pub use table::Table;

use std::{collections::HashMap, sync::Arc, time::Duration};

use schema::Schema;
use serde::Deserialize;
use serde_json::Value;

use self::review::Review;
use super::definition::Definition;
use crate::{
    cluster::Cluster,
    failure::Failure,
    object,
    webhook::{Call, Client},
};

/// Objects in one question.
const BATCH_MAX: usize = 500;

/// Bytes of objects after which a question is full. It ends behind an object, so
/// that it may be larger by the largest of them.
const BATCH_BYTES_MAX: usize = 2 * 1024 * 1024;

/// Bound on an answer: what is asked, and much that conversion adds.
const ANSWER_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Kubernetes' own.
const TIMEOUT: Duration = Duration::from_secs(30);

/// How long a conversion waits to learn where Services are.
const KNOWN_WITHIN: Duration = Duration::from_secs(5);

/// What a definition says of its versions.
pub struct Conversion {
    kind: String,
    /// `GROUP/VERSION` that objects are kept in.
    storage: String,
    /// Of all versions by `GROUP/VERSION`, served or not.
    schemas: HashMap<String, Arc<Schema>>,
    webhook: Option<Webhook>,
}

struct Webhook {
    client: Client,
    /// The version of the question.
    review: &'static str,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Told {
    client_config: Client,
    conversion_review_versions: Vec<String>,
}

// === impl Conversion ===

impl Conversion {
    pub fn of(definition: Definition<'_>, schemas: HashMap<String, Arc<Schema>>) -> Conversion {
        let told = &definition.0["spec"]["conversion"];
        let webhook = (told["strategy"] == "Webhook").then(|| Webhook::read(&told["webhook"]));
        let storage = definition.storage().map(|version| version.name()).unwrap_or_default();
        Conversion {
            kind: object::text(definition.0, "/status/acceptedNames/kind").to_owned(),
            storage: format!("{}/{storage}", definition.group()),
            schemas,
            webhook,
        }
    }

    pub fn kind(&self) -> &str {
        &self.kind
    }

    /// Whether there is such a version, `GROUP/VERSION`.
    pub fn has(&self, version: &str) -> bool {
        self.schemas.contains_key(version)
    }

    pub fn schema_of(&self, version: &str) -> Option<&Schema> {
        self.schemas.get(version).map(|schema| &**schema)
    }

    /// By which a version's objects are read; every version has one.
    pub fn schema(&self, api_version: &str) -> Arc<Schema> {
        self.schemas.get(api_version).cloned().unwrap_or_default()
    }

    /// `GROUP/VERSION` that objects are kept in.
    pub fn storage(&self) -> &str {
        &self.storage
    }

    /// Whether another version is another object.
    pub fn asks(&self) -> bool {
        self.webhook.is_some()
    }

    /// A stored object, as it was by the schema of its own version.
    pub fn complete(&self, object: &mut Value) {
        if let Some(schema) = self.schemas.get(object::text(object, "/apiVersion")) {
            let _ = schema.look(object);
            schema.fill(object);
        }
    }

    /// `objects` in version `wanted` (`GROUP/VERSION`), in their order.
    pub async fn convert(
        &self,
        cluster: &Cluster,
        mut objects: Vec<Value>,
        wanted: &str,
    ) -> Result<Vec<Value>, Failure> {
        let own = |object: &Value| object::text(object, "/apiVersion") == wanted;
        let others: Vec<usize> = (0..objects.len()).filter(|at| !own(&objects[*at])).collect();
        let Some(schema) = self.schemas.get(wanted) else {
            let why = format!("request to convert CR to an invalid group/version: {wanted}");
            return Err(failure(why));
        };
        match &self.webhook {
            None => others.iter().for_each(|at| objects[*at]["apiVersion"] = wanted.into()),
            Some(webhook) => {
                let many = objects.len() > 1;
                let mut rest = &others[..];
                while !rest.is_empty() {
                    let mut review = Review::new(wanted, webhook.review);
                    let mut taken = 0;
                    while taken < rest.len().min(BATCH_MAX) && review.len() < BATCH_BYTES_MAX {
                        let object = &objects[rest[taken]];
                        self.check(object)?;
                        review.push(object);
                        taken += 1;
                    }
                    let (batch, later) = rest.split_at(taken);
                    rest = later;
                    let asked: Vec<&Value> = batch.iter().map(|at| &objects[*at]).collect();
                    let converted = self.ask(cluster, webhook, review, &asked, many).await?;
                    for (at, converted) in batch.iter().zip(converted) {
                        objects[*at] = converted;
                    }
                }
            }
        }
        for at in others {
            let _ = schema.look(&mut objects[at]);
        }
        Ok(objects)
    }

    fn check(&self, object: &Value) -> Result<(), Failure> {
        let version = object::text(object, "/apiVersion");
        match self.schemas.contains_key(version) {
            true => Ok(()),
            false => Err(failure(format!(
                "request to convert CR from an invalid group/version: {version}"
            ))),
        }
    }

    async fn ask(
        &self,
        cluster: &Cluster,
        webhook: &Webhook,
        review: Review,
        objects: &[&Value],
        many: bool,
    ) -> Result<Vec<Value>, Failure> {
        if !cluster.mirror().reach(1, KNOWN_WITHIN).await {
            return Err(Failure::unavailable("the Services of this cluster are not known yet"));
        }
        let first = objects.first().map_or("", |object| object::text(object, "/apiVersion"));
        let (kind, wanted) = (format!("{first}, Kind={}", self.kind), review.wanted.clone());
        let call =
            Call { client: &webhook.client, timeout: TIMEOUT, answer_bytes_max: ANSWER_BYTES_MAX };
        let (uid, question) = review.end();
        let answer = cluster.callers.call(cluster, &call, question).await;
        let converted = answer.and_then(|answer| review::read(&answer, &uid, webhook.review));
        let mut converted = converted
            .map_err(|why| failure(format!("conversion webhook for {kind} failed: {why}")))?;
        if converted.len() != objects.len() {
            return Err(failure(format!(
                "conversion webhook for {kind} returned {} objects, expected {}",
                converted.len(),
                objects.len()
            )));
        }
        for (at, (original, converted)) in objects.iter().zip(&mut converted).enumerate() {
            review::check(original, converted, &wanted, &self.kind)
                .map_err(|wrong| failure(wrong.tell(&kind, many.then_some(at))))?;
        }
        Ok(converted)
    }
}

/// As kube-apiserver says it: an error of nobody's in particular.
fn failure(why: String) -> Failure {
    Failure::new(http::StatusCode::INTERNAL_SERVER_ERROR, "", why)
}

// === impl Webhook ===

impl Webhook {
    fn read(told: &Value) -> Webhook {
        // It was checked when it was written.
        let told: Told = serde_json::from_value(told.clone()).unwrap_or_default();
        let speaks = |version: &str| told.conversion_review_versions.iter().any(|v| v == version);
        // The older one asks the same.
        let review = match speaks("v1") || !speaks("v1beta1") {
            true => "apiextensions.k8s.io/v1",
            false => "apiextensions.k8s.io/v1beta1",
        };
        Webhook { client: told.client_config, review }
    }
}
