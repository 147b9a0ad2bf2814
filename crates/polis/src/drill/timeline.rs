//! When the estate itself said what: suspicion, decision, fences. Taken from
//! its objects by watches, at the moment the change reaches us.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use client::{Client, Scope};
use resources::{Center, Observation, ShardMapObject};
use tokio::time::Instant;
use topology::{CenterName, Shard, ShardMap, ShardSet, ShardState, UnitName};

use super::report::Change;

/// First moments since the fault.
#[derive(Clone, Copy, Debug, Default)]
pub struct Moments {
    pub suspected: Option<Instant>,
    /// Every lost shard has a new target.
    pub decided: Option<Instant>,
    /// Every lost shard is served elsewhere.
    pub fenced: Option<Instant>,
}

pub struct Timeline {
    moments: Arc<Mutex<Moments>>,
    changes: Arc<Mutex<Vec<(Instant, Change)>>>,
    watching: tokio::task::JoinHandle<()>,
}

/// What to look for.
pub struct Hit {
    pub centers: Vec<CenterName>,
    pub units: Vec<UnitName>,
    pub shards: ShardSet,
}

// === impl Timeline ===

impl Timeline {
    /// Watches from now on; resolves once the first picture is there.
    pub async fn start(client: &Client, hit: Hit) -> Timeline {
        let moments = Arc::new(Mutex::new(Moments::default()));
        let mut maps = client.federation().watch::<ShardMapObject>(Scope::everything());
        let mut centers = client.federation().watch::<Center>(Scope::everything());
        let at_first = maps.synced().await;
        centers.synced().await;
        let seen = moments.clone();
        let changes = Arc::new(Mutex::new(Vec::new()));
        let noted = changes.clone();
        let mut before = at_first.iter().next().map(|map| map.status.clone()).unwrap_or_default();
        let watching = tokio::spawn(async move {
            loop {
                let now = tokio::select! {
                    maps = maps.changed() => {
                        let now = Instant::now();
                        for map in maps.iter() {
                            note_map(&seen, &hit, &map.status, now);
                            let new = changes_of(&before, &map.status);
                            let mut noted = noted.lock().expect("nobody panics holding it");
                            noted.extend(new.into_iter().map(|change| (now, change)));
                            before = map.status.clone();
                        }
                        continue;
                    }
                    now = centers.changed() => now,
                };
                let suspect = |center: &Arc<Center>| {
                    let about_hit = |(name, seen): (&CenterName, &Observation)| {
                        seen.is_suspicion() && hit.centers.contains(name)
                    };
                    center.status.observations.iter().any(about_hit)
                };
                if now.iter().any(suspect) {
                    first(&seen, |moments| &mut moments.suspected, Instant::now());
                }
            }
        });
        Timeline { moments, changes, watching }
    }

    pub fn moments(&self) -> Moments {
        *self.moments.lock().expect("nobody panics while holding it")
    }
}

impl Timeline {
    /// Every change of the map since the start, with when it was seen.
    pub fn changes(&self) -> Vec<(Instant, Change)> {
        self.changes.lock().expect("nobody panics while holding it").clone()
    }
}

impl Drop for Timeline {
    fn drop(&mut self) {
        self.watching.abort();
    }
}

/// What is other than before: shards that went the same way together.
fn changes_of(before: &ShardMap, now: &ShardMap) -> Vec<Change> {
    let mut changes: BTreeMap<(&str, String), Vec<(Shard, u64)>> = BTreeMap::new();
    for (shard, assignment) in &now.assignments {
        if before.get(*shard) == Some(assignment) {
            continue;
        }
        let state = match &assignment.state {
            ShardState::Serving { .. } => "Serving",
            ShardState::Moving { .. } => "Moving",
        };
        let key = (state, assignment.state.target().to_string());
        changes.entry(key).or_default().push((*shard, assignment.epoch.0));
    }
    let mut found = Vec::new();
    for ((state, unit), together) in changes {
        let shards: ShardSet = together.iter().map(|(shard, _)| *shard).collect();
        let epochs = together.iter().map(|(_, epoch)| *epoch);
        let low_high = [epochs.clone().min(), epochs.max()].map(Option::unwrap_or_default);
        let (shards, state) = (shards.to_string(), state.to_owned());
        found.push(Change { at_us: 0, shards, state, unit, epochs: low_high });
    }
    found
}

fn note_map(seen: &Mutex<Moments>, hit: &Hit, map: &ShardMap, now: Instant) {
    let all = |which: &dyn Fn(&ShardState) -> bool| {
        hit.shards.iter().all(|shard| map.get(shard).is_some_and(|found| which(&found.state)))
    };
    let elsewhere = |state: &ShardState| !hit.units.contains(state.target());
    if all(&elsewhere) {
        first(seen, |moments| &mut moments.decided, now);
    }
    if all(&|state| elsewhere(state) && matches!(state, ShardState::Serving { .. })) {
        first(seen, |moments| &mut moments.fenced, now);
    }
}

fn first(seen: &Mutex<Moments>, of: impl Fn(&mut Moments) -> &mut Option<Instant>, now: Instant) {
    let mut moments = seen.lock().expect("nobody panics while holding it");
    of(&mut moments).get_or_insert(now);
}
