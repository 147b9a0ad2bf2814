//! Others are asked before something is written ([`crate::admission`]).

use std::time::Duration;

use serde_json::{Value, json};

use super::Registry;
use crate::{
    admission::{Operation, Part, Question},
    caller::Caller,
    failure::Failure,
    look, scale,
    subresource::Subresource,
};

/// What webhooks are shown of a write to `scale`.
const SCALE: Part = Part { group: "autoscaling", version: "v1", kind: "Scale" };

/// Who writes when the server does so by itself.
const OURSELVES: &str = "system:apiserver";

/// How long a write waits to learn which webhooks there are.
const KNOWN_WITHIN: Duration = Duration::from_secs(5);

// === impl Registry ===

impl Registry {
    /// As `caller` asks for it.
    #[must_use]
    pub fn by(self, caller: &Caller) -> Registry {
        Registry { caller: Some(caller.clone()), ..self }
    }

    /// The object as webhooks want it, which may be another one.
    pub(super) async fn admit_change(
        &self,
        operation: Operation,
        name: &str,
        dry_run: bool,
        object: Value,
        old: Option<&Value>,
        warnings: &mut Vec<String>,
    ) -> Result<Value, Failure> {
        if !self.has_webhooks().await? {
            return Ok(object);
        }
        let before = object.clone();
        let caller = self.who();
        let question = self.question(operation, name, dry_run, &caller);
        let admission = &self.cluster.admission;
        let mut object = match self.scale() {
            Some(paths) => {
                let (scale, old) = (paths.show(&object), old.map(|old| paths.show(old)));
                let changed =
                    admission.mutate(&self.cluster, &question, scale.clone(), old.as_ref()).await?;
                warnings.extend(changed.1);
                match changed.0 == scale {
                    true => object,
                    false => paths.apply(self.resource(), &object, &changed.0)?,
                }
            }
            None => {
                let changed = admission.mutate(&self.cluster, &question, object, old).await?;
                warnings.extend(changed.1);
                changed.0
            }
        };
        if object != before {
            let found = look::look(self.resource(), &mut object)?;
            if !found.errors.is_empty() {
                return Err(Failure::invalid(self.resource(), name, &found.errors));
            }
            look::fill(self.resource(), &mut object);
        }
        Ok(object)
    }

    /// Fails when a webhook refuses.
    pub(super) async fn admit(
        &self,
        operation: Operation,
        name: &str,
        dry_run: bool,
        object: Option<&Value>,
        old: Option<&Value>,
    ) -> Result<Vec<String>, Failure> {
        if !self.has_webhooks().await? {
            return Ok(Vec::new());
        }
        let caller = self.who();
        let question = self.question(operation, name, dry_run, &caller);
        let admission = &self.cluster.admission;
        let Some(paths) = self.scale() else {
            return admission.validate(&self.cluster, &question, object, old).await;
        };
        let show = |object: Option<&Value>| object.map(|object| paths.show(object));
        let (object, old) = (show(object), show(old));
        admission.validate(&self.cluster, &question, object.as_ref(), old.as_ref()).await
    }

    /// What is said to an object by another kind: what webhooks make of it, and
    /// what they tell the caller.
    pub async fn admit_part(
        &self,
        operation: Operation,
        part: Part,
        dry_run: bool,
        said: Value,
    ) -> Result<(Value, Vec<String>), Failure> {
        if !self.has_webhooks().await? {
            return Ok((said, Vec::new()));
        }
        let caller = self.who();
        let name = self.place.name.as_deref().unwrap_or_default();
        let question =
            Question { part: Some(part), ..self.question(operation, name, dry_run, &caller) };
        let (cluster, admission) = (&self.cluster, &self.cluster.admission);
        let (said, mut warnings) = admission.mutate(cluster, &question, said, None).await?;
        warnings.extend(admission.validate(cluster, &question, Some(&said), None).await?);
        Ok((said, warnings))
    }

    /// Its writes were judged as a whole before they are made.
    #[must_use]
    pub fn admitted(self) -> Registry {
        Registry { admitted: true, ..self }
    }

    /// Where its count of replicas is, when that is what is written.
    fn scale(&self) -> Option<&scale::Paths> {
        let scales = self.place.subresource == Some(Subresource::Scale);
        self.resource().scale.as_ref().filter(|_| scales)
    }

    /// Whether anybody wants to be asked about anything. Fails while that cannot
    /// be known: nobody is passed over because the server has just started.
    pub(super) async fn has_webhooks(&self) -> Result<bool, Failure> {
        if self.admitted {
            return Ok(false);
        }
        if !self.cluster.mirror().reach(1, KNOWN_WITHIN).await {
            return Err(Failure::unavailable("the webhooks of this cluster are not known yet"));
        }
        Ok(!self.cluster.admission.is_idle(&self.cluster))
    }

    fn who(&self) -> Caller {
        let ours = || Caller::user(OURSELVES, ["system:masters".to_owned()]);
        self.caller.clone().unwrap_or_else(ours)
    }

    fn question<'a>(
        &'a self,
        operation: Operation,
        name: &'a str,
        dry_run: bool,
        caller: &'a Caller,
    ) -> Question<'a> {
        let kind = match operation {
            Operation::Create => "CreateOptions",
            Operation::Update => "UpdateOptions",
            Operation::Delete => "DeleteOptions",
            Operation::Connect => "",
        };
        let mut options = match kind {
            "" => Value::Null,
            kind => json!({ "kind": kind, "apiVersion": "meta.k8s.io/v1" }),
        };
        if dry_run {
            options["dryRun"] = json!(["All"]);
        }
        let part = self.scale().map(|_| SCALE);
        Question { operation, place: &self.place, name, caller, dry_run, options, part }
    }
}
