//! CafeDeployment → Pods in the keyspaces of its units, by the leader.
//!
//! The plan is `planner`'s; here it is carried out, and then waited for in our
//! own picture, so that the next plan is not made from one that does not show
//! yet what we did. What fails, in one unit or for one deployment, holds up no
//! other; its author is told by an Event.

use std::{
    collections::{BTreeMap, BTreeSet},
    error::Error as _,
    time::Duration,
};

use client::{
    Client, DeleteOptions, Key, Leadership, Snapshot,
    k8s_openapi::{
        api::core::v1::{Namespace, Pod},
        apimachinery::pkg::apis::meta::v1::ObjectMeta,
    },
};
use planner::{
    cafe_deployment::{HASH_LABEL, NAME_LABEL, Seen, SeenPod, UnitPlan, plan},
    template,
};
use resources::{CafeDeployment, CafeDeploymentStatus, Unit};
use serde_json::{Value, json};
use topology::UnitName;

use crate::{center::Health, events::Reason, role::Shared, service::is_ready};

/// After something failed.
const RETRY: Duration = Duration::from_secs(1);

/// How long our picture may need to show what we did.
const SETTLE_MAX: Duration = Duration::from_secs(2);

/// Of an Event; refusals quote what they refuse.
const MESSAGE_CHARS_MAX: usize = 512;

pub struct CafeDeployments {
    shared: Shared,
    leadership: Leadership,
    /// Unit and namespace that are known to exist.
    namespaces: BTreeSet<(UnitName, String)>,
    /// Units that were reported as out of ports.
    full: BTreeSet<UnitName>,
    /// Where a deployment's author was told of a failure, and of which
    /// generation: once is enough.
    told: BTreeMap<(Key, UnitName), i64>,
}

/// Changes in one unit that its pods must come to show.
#[derive(Default)]
struct Done {
    created: Vec<Key>,
    /// By uid: a new pod may take the name.
    deleted: Vec<(Key, String)>,
}

// === impl CafeDeployments ===

impl CafeDeployments {
    pub fn new(shared: Shared, leadership: Leadership) -> CafeDeployments {
        let (namespaces, full, told) = (BTreeSet::new(), BTreeSet::new(), BTreeMap::new());
        CafeDeployments { shared, leadership, namespaces, full, told }
    }

    pub async fn run(mut self) {
        loop {
            let health = self.shared.health.borrow_and_update().clone();
            let failed = if self.leadership.leads() {
                let done = self.reconcile_all(&health).await;
                done.inspect_err(|error| tracing::warn!(%error, "deploy pods")).is_err()
            } else {
                false
            };
            tokio::select! {
                () = self.shared.picture.changed() => {}
                _ = self.shared.health.changed() => {}
                () = self.leadership.changed() => {}
                () = tokio::time::sleep(RETRY), if failed => {}
            }
        }
    }

    /// Fails with the first error, after everything was tried.
    async fn reconcile_all(&mut self, health: &Health) -> Result<(), client::Error> {
        let deployments = self.shared.picture.deployments();
        let units = self.shared.picture.units();
        if !deployments.synced || !units.synced {
            return Ok(());
        }
        self.told.retain(|(key, _), _| deployments.objects.contains_key(key));
        let mut outcome = Ok(());
        for (key, deployment) in &deployments.objects {
            outcome = outcome.and(self.reconcile(key, Some(deployment), health).await);
        }
        for key in self.orphans(&deployments) {
            outcome = outcome.and(self.reconcile(&key, None, health).await);
        }
        outcome
    }

    /// Deployments that are gone and still have pods.
    fn orphans(&self, deployments: &Snapshot<CafeDeployment>) -> BTreeSet<Key> {
        let mut orphans = BTreeSet::new();
        for unit in self.shared.picture.units().iter() {
            let pods = unit.unit().ok().and_then(|name| self.shared.picture.pods(&name));
            for pod in pods.iter().flat_map(|pods| pods.iter()) {
                let Some(key) = owner(pod) else { continue };
                if pod.metadata.deletion_timestamp.is_none()
                    && !deployments.objects.contains_key(&key)
                {
                    orphans.insert(key);
                }
            }
        }
        orphans
    }

    async fn reconcile(
        &mut self,
        key: &Key,
        wanted: Option<&CafeDeployment>,
        health: &Health,
    ) -> Result<(), client::Error> {
        let seen = self.seen(key, wanted, health);
        let plans = plan(wanted, &seen);
        let mut all_done = BTreeMap::<_, Done>::new();
        let mut outcome = Ok(());
        for (unit, plan) in &plans {
            self.report_ports(unit, plan);
            if plan.create.is_empty() && plan.delete.is_empty() {
                continue;
            }
            let done = all_done.entry(unit.clone()).or_default();
            let carried_out = self.carry_out(key, unit, plan, done).await;
            if let Some(wanted) = wanted {
                self.tell_author(key, unit, wanted, &carried_out);
            }
            outcome = outcome.and(carried_out);
        }
        if let Some(wanted) = wanted {
            outcome = outcome.and(self.write_status(wanted, &plans).await);
        }
        self.settle(&all_done).await;
        outcome
    }

    /// Says once what the author of a deployment alone can mend.
    fn tell_author(
        &mut self,
        key: &Key,
        unit: &UnitName,
        wanted: &CafeDeployment,
        carried_out: &Result<(), client::Error>,
    ) {
        let place = (key.clone(), unit.clone());
        let error = match carried_out {
            Ok(()) => {
                self.told.remove(&place);
                return;
            }
            Err(error) if is_the_authors(error) => error,
            Err(_) => return,
        };
        let generation = wanted.metadata.generation.unwrap_or(0);
        if self.told.insert(place, generation) != Some(generation) {
            let reason = error.source().map(|source| format!(": {source}")).unwrap_or_default();
            let text = format!("pods in unit {unit} cannot be made as asked for: {error}{reason}");
            let message = text.chars().take(MESSAGE_CHARS_MAX).collect();
            self.shared.recorder.warn_author(Reason::DeploymentFailed, key, message);
        }
    }

    /// Units whose pods we know and that are named or have pods of this one.
    fn seen(
        &self,
        key: &Key,
        wanted: Option<&CafeDeployment>,
        health: &Health,
    ) -> BTreeMap<UnitName, Seen> {
        let mut all_seen = BTreeMap::new();
        for unit in self.shared.picture.units().iter() {
            let Some((name, seen)) = self.seen_in(unit, key, health) else { continue };
            let named = wanted.is_some_and(|wanted| wanted.spec.replicas_in(&name) > 0);
            if named || !seen.pods.is_empty() {
                all_seen.insert(name, seen);
            }
        }
        all_seen
    }

    fn seen_in(&self, unit: &Unit, key: &Key, health: &Health) -> Option<(UnitName, Seen)> {
        let name = unit.unit().ok()?;
        let pods = self.shared.picture.pods(&name)?;
        let center = self.shared.picture.center(&unit.spec.center)?;
        let ports = pods.iter().filter_map(|pod| serde_json::to_value(pod.spec.as_ref()?).ok());
        let ports_taken = ports.flat_map(|spec| template::ports_of(&spec)).collect();
        let ours = pods.iter().filter(|pod| owner(pod).as_ref() == Some(key));
        let seen = Seen {
            center: unit.spec.center.clone(),
            city: center.spec.city.clone(),
            ports: unit.spec.ports,
            ports_taken,
            alive: !health.suspects.contains(&unit.spec.center),
            pods: ours.map(|pod| seen_pod(pod)).collect(),
        };
        Some((name, seen))
    }

    async fn carry_out(
        &mut self,
        key: &Key,
        unit: &UnitName,
        plan: &UnitPlan,
        done: &mut Done,
    ) -> Result<(), client::Error> {
        let door = self.shared.client.unit(unit);
        let pods = door.namespaced::<Pod>(&key.namespace);
        for name in &plan.delete {
            let key = Key::new(&key.namespace, name);
            let Some(uid) = self.uid(unit, &key) else { continue };
            let options = DeleteOptions { uid: Some(&uid), grace_seconds: None };
            match pods.delete(name, &options).await {
                Ok(_) => {
                    tracing::info!(%unit, pod = %key, "pod deleted");
                    self.shared.metrics.pods_deleted.add(1);
                }
                // Another pod has the name by now; the picture will show it.
                Err(error) if error.is_conflict() => {}
                Err(error) => return Err(error),
            }
            done.deleted.push((key, uid));
        }
        if !plan.create.is_empty() {
            ensure_namespace(&mut self.namespaces, &self.shared.client, unit, &key.namespace)
                .await?;
        }
        for object in &plan.create {
            let pod: Pod =
                serde_json::from_value(object.clone()).map_err(client::Error::Malformed)?;
            let key = Key::of(&pod);
            match pods.create(&pod).await {
                Ok(_) => {
                    tracing::info!(%unit, pod = %key, "pod created");
                    self.shared.metrics.pods_created.add(1);
                }
                Err(error) if error.is_already_exists() => {}
                Err(error) => {
                    // It may have been deleted since we made it.
                    self.namespaces.remove(&(unit.clone(), key.namespace.to_string()));
                    return Err(error);
                }
            }
            done.created.push(key);
        }
        Ok(())
    }

    fn uid(&self, unit: &UnitName, key: &Key) -> Option<String> {
        self.shared.picture.pods(unit)?.objects.get(key)?.metadata.uid.clone()
    }

    /// Waits until the picture shows what was done.
    async fn settle(&mut self, all_done: &BTreeMap<UnitName, Done>) {
        let mut picture = self.shared.picture.clone();
        let shown = async {
            while !all_done.iter().all(|(unit, done)| is_shown(&picture.pods(unit), done)) {
                picture.changed().await;
            }
        };
        if tokio::time::timeout(SETTLE_MAX, shown).await.is_err() {
            tracing::debug!("pods do not show what was done yet");
        }
    }

    fn report_ports(&mut self, unit: &UnitName, plan: &UnitPlan) {
        if plan.without_port == 0 {
            self.full.remove(unit);
        } else if self.full.insert(unit.clone()) {
            let code = errors::PORTS_USED_UP;
            let pods = plan.without_port;
            let message = format!("{code}: no host port for {pods} pods. {}", code.remedy());
            tracing::warn!(%unit, "{message}");
            self.shared.recorder.warn(Reason::PortsUsedUp, "Unit", unit.as_str(), message);
        }
    }

    async fn write_status(
        &self,
        wanted: &CafeDeployment,
        plans: &BTreeMap<UnitName, UnitPlan>,
    ) -> Result<(), client::Error> {
        let units: BTreeMap<_, _> =
            plans.iter().map(|(unit, plan)| (unit.clone(), plan.status)).collect();
        let status = CafeDeploymentStatus {
            observed_generation: wanted.metadata.generation.unwrap_or(0),
            replicas: units.values().map(|unit| unit.replicas).sum(),
            ready_replicas: units.values().map(|unit| unit.ready_replicas).sum(),
            updated_replicas: units.values().map(|unit| unit.updated_replicas).sum(),
            units,
        };
        if status == wanted.status {
            return Ok(());
        }
        let mut patch = json!({ "status": status });
        // A merge patch keeps what it does not name.
        for unit in wanted.status.units.keys().filter(|unit| !status.units.contains_key(*unit)) {
            patch["status"]["units"][unit.as_str()] = Value::Null;
        }
        let namespace = wanted.metadata.namespace.as_deref().unwrap_or("default");
        let objects = self.shared.client.federation().namespaced::<CafeDeployment>(namespace);
        match objects.patch_status(wanted.name(), &patch).await {
            Err(error) if error.is_not_found() => Ok(()),
            other => other.map(drop),
        }
    }
}

async fn ensure_namespace(
    known: &mut BTreeSet<(UnitName, String)>,
    client: &Client,
    unit: &UnitName,
    namespace: &str,
) -> Result<(), client::Error> {
    if known.contains(&(unit.clone(), namespace.to_owned())) {
        return Ok(());
    }
    let metadata = ObjectMeta { name: Some(namespace.to_owned()), ..ObjectMeta::default() };
    let object = Namespace { metadata, ..Namespace::default() };
    client.unit(unit).all().create_if_absent(&object).await?;
    known.insert((unit.clone(), namespace.to_owned()));
    Ok(())
}

/// Whether the API refused what was asked for, or it makes no pod at all;
/// anything else passes.
fn is_the_authors(error: &client::Error) -> bool {
    match error {
        client::Error::Malformed(_) => true,
        error => error.is_definite() && !error.is_conflict(),
    }
}

/// The deployment a pod was made for.
fn owner(pod: &Pod) -> Option<Key> {
    let name = pod.metadata.labels.as_ref()?.get(NAME_LABEL)?;
    Some(Key::new(pod.metadata.namespace.as_deref()?, name))
}

fn seen_pod(pod: &Pod) -> SeenPod {
    let metadata = &pod.metadata;
    let hash = metadata.labels.as_ref().and_then(|labels| labels.get(HASH_LABEL));
    SeenPod {
        name: metadata.name.clone().unwrap_or_default(),
        hash: hash.cloned().unwrap_or_default(),
        ready: is_ready(pod),
        deleting: metadata.deletion_timestamp.is_some(),
    }
}

fn is_shown(pods: &Option<std::sync::Arc<Snapshot<Pod>>>, done: &Done) -> bool {
    let Some(pods) = pods else { return false };
    let gone = |(key, uid): &(Key, String)| {
        pods.objects.get(key).is_none_or(|pod| {
            pod.metadata.deletion_timestamp.is_some() || pod.metadata.uid.as_ref() != Some(uid)
        })
    };
    done.created.iter().all(|key| pods.objects.contains_key(key)) && done.deleted.iter().all(gone)
}
