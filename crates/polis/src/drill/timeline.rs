//! When the estate itself said what: suspicion, decision, fences. Taken from
//! its objects by watches, at the moment the change reaches us.

use std::sync::{Arc, Mutex};

use client::{Client, Scope};
use resources::{Center, Observation, ShardMapObject};
use tokio::time::Instant;
use topology::{CenterName, ShardMap, ShardSet, ShardState, UnitName};

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
        maps.synced().await;
        centers.synced().await;
        let seen = moments.clone();
        let watching = tokio::spawn(async move {
            loop {
                let now = tokio::select! {
                    maps = maps.changed() => {
                        let now = Instant::now();
                        maps.iter().for_each(|map| note_map(&seen, &hit, &map.status, now));
                        continue;
                    }
                    now = centers.changed() => now,
                };
                let suspect = |center: &Arc<Center>| {
                    let about_hit = |(name, seen): (&CenterName, &Observation)| {
                        *seen == Observation::Suspect && hit.centers.contains(name)
                    };
                    center.status.observations.iter().any(about_hit)
                };
                if now.iter().any(suspect) {
                    first(&seen, |moments| &mut moments.suspected, Instant::now());
                }
            }
        });
        Timeline { moments, watching }
    }

    pub fn moments(&self) -> Moments {
        *self.moments.lock().expect("nobody panics while holding it")
    }
}

impl Drop for Timeline {
    fn drop(&mut self) {
        self.watching.abort();
    }
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
