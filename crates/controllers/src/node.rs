//! Nodes whose agent is gone, by the leader: after a lease's time without a
//! beat the Node's Ready is Unknown, and its Pods are not Ready. An agent that
//! comes back tells both anew by itself.
//!
//! Nothing of failover waits for this; it is by seconds slower, and about what
//! people and routes see of Pods that nobody watches over.
//!
//! Only what passed between looks of our own is counted, by our own clock: after
//! a time in which we could not look, nobody could renew anything either.

use std::{collections::BTreeMap, time::Duration};

use client::{
    Door, Leadership,
    k8s_openapi::{
        api::{
            coordination::v1::Lease,
            core::v1::{Node, Pod},
        },
        apimachinery::pkg::apis::meta::v1::{MicroTime, Time},
        jiff::Timestamp,
    },
};
use rt::Millis;
use serde_json::json;
use topology::UnitName;

use crate::role::Shared;

const LEASES: &str = "kube-node-lease";
/// Where a lease does not say it: four beats.
const LEASE_SECONDS: i32 = 40;
/// A tenth of a lease is soon enough.
const LOOK_EVERY: Duration = Duration::from_secs(4);
/// Longer between two looks: we did not watch.
const GAP_MS: u64 = 12_000;

pub struct Nodes {
    shared: Shared,
    leadership: Leadership,
    beats: Beats,
}

/// When each Node's lease was last seen to change. Pure: the caller brings the
/// time.
#[derive(Debug, Default)]
struct Beats {
    looked: Option<Millis>,
    heard: BTreeMap<(UnitName, String), (Option<MicroTime>, Millis)>,
}

// === impl Nodes ===

impl Nodes {
    pub fn new(shared: Shared, leadership: Leadership) -> Nodes {
        Nodes { shared, leadership, beats: Beats::default() }
    }

    pub async fn run(mut self) {
        loop {
            if self.leadership.leads() {
                self.beats.begin(self.shared.clock.now());
                let units = self.shared.picture.units();
                for unit in units.iter().filter_map(|unit| unit.unit().ok()) {
                    if let Err(error) = self.look(&unit).await {
                        tracing::debug!(%unit, %error, "look after nodes");
                    }
                }
            }
            tokio::select! {
                () = self.leadership.changed() => {}
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
        }
    }

    async fn look(&mut self, unit: &UnitName) -> Result<(), client::Error> {
        let door = self.shared.client.unit(unit);
        let leases = door.namespaced::<Lease>(LEASES).list("").await?.items;
        let now = self.shared.clock.now();
        let mut silent = Vec::new();
        for lease in leases {
            let (Some(name), Some(spec)) = (lease.metadata.name, lease.spec) else { continue };
            let seconds = spec.lease_duration_seconds.unwrap_or(LEASE_SECONDS).max(1);
            let patience_ms = u64::from(seconds.unsigned_abs()) * 1000;
            if self.beats.heard(unit, &name, spec.renew_time, now) >= patience_ms {
                silent.push((name, seconds));
            }
        }
        for (node, seconds) in silent {
            tell(&door, &node, seconds).await?;
        }
        Ok(())
    }
}

/// That nobody watches over this Node and its Pods.
async fn tell(door: &Door, name: &str, seconds: i32) -> Result<(), client::Error> {
    let nodes = door.all::<Node>();
    let Some(node) = nodes.find(name).await? else { return Ok(()) };
    let mut conditions = node.status.and_then(|status| status.conditions).unwrap_or_default();
    let ready = conditions.iter_mut().find(|condition| condition.type_ == "Ready");
    if let Some(ready) = ready.filter(|ready| ready.status == "True") {
        ready.status = "Unknown".into();
        ready.reason = Some("NodeStatusUnknown".into());
        ready.message = Some(format!("its agent renewed no lease for {seconds} s"));
        ready.last_transition_time = Some(Time(Timestamp::now()));
        tracing::warn!(node = name, seconds, "the agent of a node is silent");
        nodes.patch_status(name, &json!({ "status": { "conditions": conditions } })).await?;
    }
    let query = format!("fieldSelector=spec.nodeName%3D{name}");
    let everywhere = door.all::<Pod>().list(&query).await?.items;
    for pod in everywhere {
        let metadata = pod.metadata;
        let (Some(namespace), Some(name)) = (metadata.namespace, metadata.name) else { continue };
        let mut conditions = pod.status.and_then(|status| status.conditions).unwrap_or_default();
        let ready = conditions.iter_mut().find(|condition| condition.type_ == "Ready");
        let Some(ready) = ready.filter(|ready| ready.status == "True") else { continue };
        ready.status = "False".into();
        ready.reason = Some("NodeNotReady".into());
        ready.last_transition_time = Some(Time(Timestamp::now()));
        // The uid is a precondition: a later Pod of the name is left alone.
        let status = json!({ "conditions": conditions });
        let patch = json!({ "metadata": { "uid": metadata.uid }, "status": status });
        match door.namespaced::<Pod>(&namespace).patch_status(&name, &patch).await {
            Err(error) if error.is_not_found() || error.is_conflict() => {}
            told => told.map(drop)?,
        }
    }
    Ok(())
}

// === impl Beats ===

impl Beats {
    /// A look begins. After a gap everyone is heard anew.
    fn begin(&mut self, now: Millis) {
        if self.looked.is_none_or(|looked| now.since(looked) > GAP_MS) {
            self.heard.clear();
        }
        self.looked = Some(now);
    }

    /// What the lease of a Node says now; how long it has said so.
    fn heard(
        &mut self,
        unit: &UnitName,
        node: &str,
        renewed: Option<MicroTime>,
        now: Millis,
    ) -> u64 {
        let heard = self.heard.entry((unit.clone(), node.to_owned()));
        let (before, since) = heard.or_insert_with(|| (renewed.clone(), now));
        if *before != renewed {
            (*before, *since) = (renewed, now);
        }
        now.since(*since)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_is_counted_from_the_last_beat_and_not_across_a_gap_of_our_own() {
        let unit: UnitName = "rz01".parse().expect("a name");
        let beat = |second| Some(MicroTime(Timestamp::from_second(second).expect("a time")));
        let mut beats = Beats::default();
        let mut look = |now: u64, renewed| {
            beats.begin(Millis(now));
            beats.heard(&unit, "east-1", renewed, Millis(now))
        };
        // What its clock says does not matter, only that it changes.
        assert_eq!(look(0, beat(7)), 0);
        assert_eq!(look(8_000, beat(7)), 8_000);
        assert_eq!(look(12_000, beat(1)), 0);
        assert_eq!(look(24_000, beat(1)), 12_000);
        assert_eq!(look(24_001 + GAP_MS, beat(1)), 0, "we did not watch");
    }
}
