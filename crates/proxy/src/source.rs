//! Where views come from: the API's lists and watches, the snapshot before
//! they answer, and a direct read when a fence says that our map is old.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    pin::pin,
    sync::Arc,
    time::Duration,
};

use client::k8s_openapi::api::core::v1::Pod;
use resources::{SHARD_MAP_NAME, ShardMapObject, Unit};
use tokio::{
    sync::{Notify, watch},
    task::JoinSet,
    time::{Instant, sleep_until},
};
use topology::{ShardMap, UnitName};

use crate::{
    config::Source,
    snapshot,
    table::View,
    transport::{LEDGER_ACCOUNT, LEDGER_NAMESPACE},
};

/// Between two direct reads of the map. A fence that is ahead of everyone's
/// watch would otherwise turn every refused request into a read.
const REFRESH_GAP: Duration = Duration::from_millis(50);

/// What the ledger's container calls the port it serves.
const LEDGER_PORT: &str = "https";

/// Asks for a newer map. Many asks at once are one.
#[derive(Clone, Debug, Default)]
pub(crate) struct Refresh(Arc<Notify>);

/// How the current view was learnt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    Nothing,
    Snapshot,
    Live,
}

/// The newest view, for every thread.
pub(crate) type Views = watch::Sender<(Origin, Arc<View>)>;

/// Watches the API and publishes views.
struct Follower {
    client: client::Client,
    maps: client::Cache<ShardMapObject>,
    units: client::Cache<Unit>,
    pods: BTreeMap<UnitName, client::Cache<Pod>>,
    /// Some cache has changed.
    dirty: Arc<Notify>,
    /// One task per cache that turns its changes into `dirty`.
    nudges: JoinSet<()>,
    /// The newest map that was read from the API.
    map: Option<ShardMap>,
    snapshot: Option<PathBuf>,
    views: Views,
}

// === impl Refresh ===

impl Refresh {
    pub(crate) fn ask(&self) {
        self.0.notify_one();
    }

    async fn asked(&self) {
        self.0.notified().await;
    }
}

/// The view to begin with: what somebody knows already, else the snapshot's,
/// else an empty one.
pub(crate) fn first(source: &Source, snapshot: Option<&PathBuf>) -> (Origin, Arc<View>) {
    if let Source::Given(given) = source {
        let view = given.borrow().clone();
        if *view != View::default() {
            return (Origin::Nothing, view);
        }
    }
    let Some(path) = snapshot else { return (Origin::Nothing, Arc::default()) };
    match snapshot::load(path) {
        Ok(Some(view)) => (Origin::Snapshot, Arc::new(view)),
        Ok(None) => (Origin::Nothing, Arc::default()),
        Err(error) => {
            let code = errors::EDGE_SNAPSHOT;
            tracing::warn!(%code, %error, "starting without a snapshot of the map");
            (Origin::Nothing, Arc::default())
        }
    }
}

/// Follows the API for as long as it is polled.
pub(crate) async fn follow(
    client: client::Client,
    refresh: Refresh,
    snapshot: Option<PathBuf>,
    views: Views,
) {
    Follower::start(client, snapshot, views).run(refresh).await;
}

/// Passes on what somebody else keeps up to date.
pub(crate) async fn pass_on(
    mut given: watch::Receiver<Arc<View>>,
    snapshot: Option<PathBuf>,
    views: Views,
) {
    loop {
        let view = given.borrow_and_update().clone();
        // Knowing nothing yet is no reason to forget the snapshot.
        if *view != View::default() {
            publish(&views, snapshot.as_ref(), view);
        }
        if given.changed().await.is_err() {
            return std::future::pending().await;
        }
    }
}

fn publish(views: &Views, snapshot: Option<&PathBuf>, view: Arc<View>) {
    let news = views.send_if_modified(|(origin, known)| {
        let news = *known != view || *origin != Origin::Live;
        if news {
            *origin = Origin::Live;
            *known = view.clone();
        }
        news
    });
    let Some(path) = snapshot.filter(|_| news) else { return };
    if let Err(error) = snapshot::save(path, &view) {
        tracing::warn!(path = %path.display(), %error, "cannot keep the snapshot of the map");
    }
}

/// The map as it is once somebody asked, read `not_before` then. What is asked
/// until then, and while an earlier read is under way, is one ask.
async fn read(client: &client::Client, refresh: &Refresh, not_before: Instant) -> Option<ShardMap> {
    sleep_until(not_before).await;
    refresh.asked().await;
    let maps = client.federation().all::<ShardMapObject>();
    match maps.get(SHARD_MAP_NAME).await {
        Ok(object) => Some(object.status),
        Err(error) => {
            tracing::debug!(%error, "cannot read the map directly");
            None
        }
    }
}

// === impl Follower ===

impl Follower {
    fn start(client: client::Client, snapshot: Option<PathBuf>, views: Views) -> Follower {
        let federation = client.federation();
        let maps = federation.watch(client::Scope::everything());
        let units = federation.watch(client::Scope::everything());
        let mut follower = Follower {
            maps,
            units,
            client,
            pods: BTreeMap::new(),
            dirty: Arc::default(),
            nudges: JoinSet::new(),
            map: None,
            snapshot,
            views,
        };
        follower.nudge_on(follower.maps.clone());
        follower.nudge_on(follower.units.clone());
        follower
    }

    async fn run(mut self, refresh: Refresh) {
        let (client, dirty) = (self.client.clone(), self.dirty.clone());
        // Beside the watch and never before it: a read may take its time.
        let mut reading = pin!(read(&client, &refresh, Instant::now()));
        loop {
            tokio::select! {
                () = dirty.notified() => {}
                map = &mut reading => {
                    if let Some(map) = map {
                        self.adopt(map);
                    }
                    reading.set(read(&client, &refresh, Instant::now() + REFRESH_GAP));
                }
            }
            self.follow_units();
            self.publish();
        }
    }

    fn nudge_on<T: client::Entity>(&mut self, mut cache: client::Cache<T>) {
        let dirty = self.dirty.clone();
        self.nudges.spawn(async move {
            loop {
                cache.changed().await;
                dirty.notify_one();
            }
        });
    }

    /// Maps only grow newer: replicas of the API may answer out of order.
    fn adopt(&mut self, map: ShardMap) {
        if self.map.as_ref().is_none_or(|known| known.version < map.version) {
            self.map = Some(map);
        }
    }

    /// Watches the ledger's pods of every unit. A unit that was deleted keeps
    /// its watch until we restart: units come and go with the layout.
    fn follow_units(&mut self) {
        for unit in self.units.current().iter() {
            let name = match unit.unit() {
                Ok(name) if !self.pods.contains_key(&name) => name,
                Ok(_) => continue,
                Err(error) => {
                    tracing::debug!(name = unit.name(), %error, "a unit is left out");
                    continue;
                }
            };
            let scope = client::Scope::namespace(LEDGER_NAMESPACE)
                .with_labels(&format!("app={LEDGER_ACCOUNT}"));
            let pods = self.client.unit(&name).watch::<Pod>(scope);
            self.nudge_on(pods.clone());
            self.pods.insert(name, pods);
        }
    }

    fn publish(&mut self) {
        if let Some(object) = self.maps.current().get(SHARD_MAP_NAME) {
            self.adopt(object.status.clone());
        }
        let Some(map) = self.map.clone() else { return };
        // Units whose pods were not read yet keep what the snapshot says.
        let mut endpoints = self.views.borrow().1.endpoints.clone();
        for (unit, pods) in &self.pods {
            let pods = pods.current();
            if pods.synced {
                endpoints
                    .insert(unit.clone(), pods.iter().filter_map(|pod| endpoint(pod)).collect());
            }
        }
        publish(&self.views, self.snapshot.as_ref(), Arc::new(View { map, endpoints }));
    }
}

/// Where a pod serves, if it is ready and meant to stay.
fn endpoint(pod: &Pod) -> Option<SocketAddr> {
    let status = pod.status.as_ref()?;
    let ready = status
        .conditions
        .iter()
        .flatten()
        .any(|condition| condition.type_ == "Ready" && condition.status == "True");
    if !ready || pod.metadata.deletion_timestamp.is_some() {
        return None;
    }
    let address: IpAddr = status.pod_ip.as_ref()?.parse().ok()?;
    let port = pod
        .spec
        .as_ref()?
        .containers
        .iter()
        .flat_map(|container| container.ports.iter().flatten())
        .find(|port| port.name.as_deref() == Some(LEDGER_PORT))?;
    let port = u16::try_from(port.container_port).ok()?;
    Some(SocketAddr::new(address, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(ready: &str, address: &str, port_name: &str, deleted: bool) -> Pod {
        let mut pod = serde_json::json!({
            "metadata": {"name": "ledger-0"},
            "spec": {"containers": [
                {"name": "ledger", "ports": [{"name": port_name, "containerPort": 7401}]},
            ]},
            "status": {"podIP": address, "conditions": [{"type": "Ready", "status": ready}]},
        });
        if deleted {
            pod["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z".into();
        }
        serde_json::from_value(pod).expect("a pod")
    }

    #[test]
    fn only_a_ready_pod_that_stays_and_names_its_port_is_an_endpoint() {
        let address = "127.0.0.1:7401".parse().ok();
        assert_eq!(endpoint(&pod("True", "127.0.0.1", "https", false)), address);
        assert_eq!(endpoint(&pod("False", "127.0.0.1", "https", false)), None);
        assert_eq!(endpoint(&pod("True", "", "https", false)), None);
        assert_eq!(endpoint(&pod("True", "127.0.0.1", "metrics", false)), None);
        assert_eq!(endpoint(&pod("True", "127.0.0.1", "https", true)), None);
    }
}
