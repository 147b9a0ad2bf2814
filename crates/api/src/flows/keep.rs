//! Follows a door's schemas and levels, and keeps those that every cluster has.
//!
//! What changes is in force as soon as the mirror has it. What is mandatory is
//! made when it is missing and mended when it was changed, what is suggested
//! likewise for as long as people leave that to the server
//! (`apf.kubernetes.io/autoupdate-spec`). Every FlowSchema says in its status
//! whether its level is there. Writes compare what they were computed from, so
//! that several servers over one store do no harm; and there is a pause after
//! each, so that two of different opinions are slow about it.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use rt::{backoff::Backoff, random::Random};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{
    Doorway,
    defaults::{self, AUTOUPDATE, GROUP, LEVEL_OBJECTS, SCHEMA_OBJECTS, VERSION},
    lending::PERIOD,
    plan::Plan,
};
use crate::{
    caller::{Caller, MASTERS},
    catalog::Catalog,
    cluster::{Cluster, Clusters},
    failure::Failure,
    object,
    registry::{Part, Registry, Wanted, decode},
    request::{options::WriteOptions, path::Place},
    resource::Resource,
};

const RETRY_FIRST: Duration = Duration::from_millis(100);
const RETRY_MAX: Duration = Duration::from_secs(5);

/// After a write, before the next look at what is to be mended.
const PAUSE: Duration = Duration::from_secs(1);

/// Whose fields they are, in kube-apiserver's words.
const PRODUCER: &str = "api-priority-and-fairness-config-producer-v1";
const CONSUMER: &str = "api-priority-and-fairness-config-consumer-v1";

/// What a status says of a level that is missing.
const CONDITION: &str = "Dangling";

/// Runs until the doorway is gone.
pub async fn run(clusters: Arc<Clusters>, doorway: Weak<Doorway>) {
    let mut backoff = Backoff::new(RETRY_FIRST, RETRY_MAX, Random::from_entropy());
    let cluster = loop {
        let Some(door) = doorway.upgrade().map(|held| held.door.clone()) else { return };
        match clusters.enter(&door).await {
            Ok(cluster) => break cluster,
            Err(_) => tokio::time::sleep(backoff.step()).await,
        }
    };
    drop(clusters);
    let keeper = Keeper::new(cluster);
    while !keeper.cluster.mirror().reach(1, PERIOD).await {
        if doorway.strong_count() == 0 {
            return;
        }
    }
    keeper.follow(&doorway).await;
}

struct Keeper {
    cluster: Arc<Cluster>,
    schemas: Arc<Resource>,
    levels: Arc<Resource>,
}

// === impl Keeper ===

impl Keeper {
    fn new(cluster: Arc<Cluster>) -> Keeper {
        let find = |plural| {
            let found = Catalog::builtin().find(GROUP, VERSION, plural);
            found.expect("the catalog names it").clone()
        };
        let (schemas, levels) = (find("flowschemas"), find("prioritylevelconfigurations"));
        Keeper { cluster, schemas, levels }
    }

    async fn follow(&self, doorway: &Weak<Doorway>) {
        let kinds = [&self.schemas, &self.levels];
        let mut changes = kinds.map(|kind| self.cluster.mirror().changes(&kind.prefix()));
        let mut lend_at = Instant::now() + PERIOD;
        let mut mend_at = Instant::now();
        loop {
            let Some(held) = doorway.upgrade() else { return };
            let _ = held.cluster.set(self.cluster.clone());
            for changes in &mut changes {
                changes.borrow_and_update();
            }
            let (schemas, levels) = (self.list(&self.schemas), self.list(&self.levels));
            // Before anything is said of it: who reads that a schema has its level
            // can rely on it.
            let before = held.plan();
            held.set_plan(Plan::build(&schemas, &levels, held.seats, Some(&before)));
            let now = Instant::now();
            if lend_at <= now {
                held.plan().lend(held.seats);
                lend_at = now + PERIOD;
            }
            drop(held);
            // Looked at with every change, and every period in case something
            // could not be written.
            if mend_at <= now {
                mend_at = match self.mend(&schemas, &levels).await {
                    Ok(false) => now,
                    Ok(true) => Instant::now() + PAUSE,
                    Err(failure) => {
                        let why = failure.message();
                        tracing::debug!(why, "keep flow schemas and priority levels");
                        Instant::now() + PAUSE
                    }
                };
            }
            let next = if mend_at > now { lend_at.min(mend_at) } else { lend_at };
            let [schemas, levels] = &mut changes;
            tokio::select! {
                _ = schemas.changed() => {}
                _ = levels.changed() => {}
                () = tokio::time::sleep_until(next) => {}
            }
        }
    }

    fn list(&self, kind: &Resource) -> Vec<Value> {
        let prefix = kind.prefix();
        let kept = self.cluster.mirror().list(&prefix, &prefix);
        kept.iter().filter_map(|kv| decode(kind, kv).ok()).collect()
    }

    /// Whether there was something to write.
    async fn mend(&self, schemas: &[Value], levels: &[Value]) -> Result<bool, Failure> {
        let mut wrote = false;
        for (kind, wanted, there) in
            [(&self.levels, &LEVEL_OBJECTS, levels), (&self.schemas, &SCHEMA_OBJECTS, schemas)]
        {
            for wanted in wanted.iter() {
                let name = object::name(wanted);
                match there.iter().find(|there| object::name(there) == name) {
                    None => self.create(kind, wanted).await?,
                    Some(there) if mended(there, wanted).is_some() => {
                        self.update(kind, wanted).await?;
                    }
                    Some(_) => continue,
                }
                wrote = true;
            }
        }
        let is_level = |name: &str| levels.iter().any(|level| object::name(level) == name);
        for schema in schemas {
            let level = object::text(schema, "/spec/priorityLevelConfiguration/name");
            let condition = condition(level, is_level(level));
            if !says(schema, &condition) {
                self.tell(object::name(schema), condition).await?;
                wrote = true;
            }
        }
        Ok(wrote)
    }

    fn registry(&self, kind: &Arc<Resource>) -> Registry {
        let place = Place {
            door: self.cluster.door.clone(),
            resource: kind.clone(),
            namespace: None,
            name: None,
            subresource: None,
        };
        Registry::new(self.cluster.clone(), place)
    }

    async fn create(&self, kind: &Arc<Resource>, wanted: &Value) -> Result<(), Failure> {
        let caller = Caller::exactly("system:apiserver", vec![MASTERS.to_owned()]);
        let created = self.registry(kind).create(&caller, wanted.clone(), &[], &by(PRODUCER)).await;
        match created {
            // Another server was faster.
            Err(failure) if !failure.is_already_exists() => Err(failure),
            _ => Ok(()),
        }
    }

    async fn update(&self, kind: &Arc<Resource>, wanted: &Value) -> Result<(), Failure> {
        let change = |there: &Value| {
            let mended = mended(there, wanted).unwrap_or_else(|| there.clone());
            Ok(Wanted::sent((mended, Vec::new())))
        };
        let registry = self.registry(kind);
        let updated =
            registry.update(object::name(wanted), Part::Main, &by(PRODUCER), change).await;
        or_gone(updated)
    }

    async fn tell(&self, name: &str, condition: Value) -> Result<(), Failure> {
        let change = |there: &Value| {
            let mut object = there.clone();
            let conditions = there.pointer("/status/conditions").and_then(Value::as_array);
            let mut conditions = conditions.cloned().unwrap_or_default();
            conditions.retain(|one| one["type"] != CONDITION);
            conditions.push(condition.clone());
            object::child(&mut object, "status").insert("conditions".into(), conditions.into());
            Ok(Wanted::sent((object, Vec::new())))
        };
        let updated =
            self.registry(&self.schemas).update(name, Part::Status, &by(CONSUMER), change).await;
        or_gone(updated)
    }
}

fn by(manager: &str) -> WriteOptions {
    WriteOptions { manager: manager.to_owned(), ..WriteOptions::own() }
}

/// One that is gone meanwhile is looked at anew.
fn or_gone<T>(written: Result<T, Failure>) -> Result<(), Failure> {
    match written {
        Err(failure) if !failure.is_not_found() && !failure.is_conflict() => Err(failure),
        _ => Ok(()),
    }
}

/// `there` as it should be; none when it is.
fn mended(there: &Value, wanted: &Value) -> Option<Value> {
    if object::is_deleting(there) {
        return None;
    }
    let annotation = there.pointer("/metadata/annotations").and_then(|all| all.get(AUTOUPDATE));
    let said = match annotation.and_then(Value::as_str) {
        Some("true") => Some(true),
        Some("false") => Some(false),
        _ => None,
    };
    // Who never touched it has nothing to lose.
    let is_untouched = there["metadata"]["generation"] == 1;
    let name = object::name(wanted);
    let is_ours = defaults::is_mandatory(name) || said.unwrap_or(is_untouched);
    let mut object = there.clone();
    if is_ours && !same_spec(name, &there["spec"], &wanted["spec"]) {
        object["spec"] = wanted["spec"].clone();
    }
    if said != Some(is_ours) {
        object["metadata"]["annotations"][AUTOUPDATE] = is_ours.to_string().into();
    }
    (object != *there).then_some(object)
}

/// What the level `exempt` keeps and lends is the operator's.
fn same_spec(name: &str, there: &Value, wanted: &Value) -> bool {
    match name {
        defaults::EXEMPT if wanted.get("exempt").is_some() => there["type"] == wanted["type"],
        _ => there == wanted,
    }
}

fn condition(level: &str, is_there: bool) -> Value {
    let (status, reason, rest) = match is_there {
        true => ("False", "Found", "and it exists"),
        false => ("True", "NotFound", "but there is no such object"),
    };
    let message = format!(
        "This FlowSchema references the PriorityLevelConfiguration object named {level:?} {rest}"
    );
    json!({
        "type": CONDITION,
        "status": status,
        "reason": reason,
        "message": message,
        "lastTransitionTime": object::timestamp(object::now()),
    })
}

fn says(schema: &Value, condition: &Value) -> bool {
    let conditions = schema.pointer("/status/conditions").and_then(Value::as_array);
    let mut own = conditions.into_iter().flatten().filter(|one| one["type"] == CONDITION);
    own.any(|one| ["status", "reason", "message"].iter().all(|it| one[it] == condition[it]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_mandatory_is_mended_and_what_is_suggested_as_long_as_nobody_minds() {
        let find = |name: &str| {
            let found = LEVEL_OBJECTS.iter().find(|level| object::name(level) == name);
            found.expect("it is one of them")
        };
        let with = |name: &str, said: Option<&str>, generation: u64| {
            let mut there = find(name).clone();
            there["metadata"]["generation"] = generation.into();
            there["metadata"]["annotations"] = match said {
                Some(said) => json!({ AUTOUPDATE: said }),
                None => json!({}),
            };
            there["spec"]["limited"]["nominalConcurrencyShares"] = 77.into();
            there
        };
        let shares = |object: &Value| object["spec"]["limited"]["nominalConcurrencyShares"].clone();
        let says = |object: &Value| object["metadata"]["annotations"][AUTOUPDATE].clone();
        let check = |name: &str, said, generation, expected: Option<(u64, &str)>| {
            let got = mended(&with(name, said, generation), find(name));
            let got = got.map(|object| (shares(&object), says(&object)));
            assert_eq!(got, expected.map(|(shares, says)| (shares.into(), says.into())));
        };
        check("system", Some("true"), 3, Some((30, "true")));
        check("system", Some("false"), 3, None);
        check("system", None, 1, Some((30, "true")));
        check("system", None, 2, Some((77, "false")));
        check("catch-all", Some("false"), 2, Some((5, "true")));
        for wanted in LEVEL_OBJECTS.iter().chain(SCHEMA_OBJECTS.iter()) {
            assert_eq!(mended(wanted, wanted), None);
        }
    }

    #[test]
    fn a_schema_says_whether_its_level_is_there() {
        let there = json!({"status": {"conditions": [condition("a", true)]}});
        assert!(says(&there, &condition("a", true)));
        assert!(!says(&there, &condition("a", false)));
        assert!(!says(&json!({}), &condition("a", true)));
    }
}
