//! Phases for people to read, by the leader: `Center.status.phase` and
//! `Unit.status.ready`. Nothing is decided by them.

use std::time::Duration;

use client::{Leadership, Objects};
use resources::{Center, CenterPhase, Unit};
use serde_json::json;
use topology::CenterName;

use crate::{center::Health, events::Reason, role::Shared};

/// After a write that failed.
const RETRY: Duration = Duration::from_secs(1);

pub struct Phases {
    shared: Shared,
    leadership: Leadership,
    centers: Objects<Center>,
    units: Objects<Unit>,
}

// === impl Phases ===

impl Phases {
    pub fn new(shared: Shared, leadership: Leadership) -> Phases {
        let federation = shared.client.federation();
        let (centers, units) = (federation.all(), federation.all());
        Phases { shared, leadership, centers, units }
    }

    pub async fn run(mut self) {
        loop {
            let health = self.shared.health.borrow_and_update().clone();
            let failed = if self.leadership.leads() && health.fresh {
                let written = self.reconcile(&health).await;
                written.inspect_err(|error| tracing::debug!(%error, "write phases")).is_err()
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

    async fn reconcile(&self, health: &Health) -> Result<(), client::Error> {
        for center in self.shared.picture.centers().iter() {
            let Ok(name) = center.center() else { continue };
            let wanted = phase(&name, health);
            let seen = center.status.phase;
            if wanted == seen || wanted == CenterPhase::Unknown {
                continue;
            }
            let patch = json!({ "status": { "phase": wanted } });
            self.centers.patch_status(name.as_str(), &patch).await?;
            tracing::info!(center = %name, from = ?seen, to = ?wanted, "center phase changed");
            if wanted == CenterPhase::Ready && seen != CenterPhase::Suspect {
                let message = "answers all other centers' probes".to_owned();
                self.shared.recorder.inform(Reason::CenterReady, "Center", name.as_str(), message);
            }
        }
        for unit in self.shared.picture.units().iter() {
            let Ok(name) = unit.unit() else { continue };
            let ready = health.hears(&unit.spec.center) && self.shared.picture.is_ready(&name);
            if ready != unit.status.ready {
                let patch = json!({ "status": { "ready": ready } });
                self.units.patch_status(name.as_str(), &patch).await?;
            }
        }
        Ok(())
    }
}

fn phase(center: &CenterName, health: &Health) -> CenterPhase {
    // A pause is no loss, whatever the policy lets it move.
    if health.lost.contains(center) && !health.mute.contains(center) {
        CenterPhase::Lost
    } else if health.suspects.contains(center) {
        CenterPhase::Suspect
    } else if health.hears(center) {
        CenterPhase::Ready
    } else {
        CenterPhase::Unknown
    }
}
