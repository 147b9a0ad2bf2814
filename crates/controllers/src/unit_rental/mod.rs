//! Carrying out UnitRentals, by the leader: the place is made, the unit's
//! services run in it, its share moves there by an ordinary ShardMove, and all
//! of it goes back the same way.
//!
//! What to do next is `planner`'s to say, from what is there; [`work`] does it.
//! Nothing is kept here but the last word of the provider: a leader that dies
//! leaves the object, the unit, the deployment and the orders, each named after
//! the rental, and the next one finds them.

mod work;

use std::{collections::BTreeMap, sync::Arc};

use client::{
    Leadership, Objects,
    k8s_openapi::jiff::{SignedDuration, Timestamp},
};
use planner::unit_rental::{PlaceSeen, Seen, next, serves};
use resources::{
    CafeDeployment, RENTAL_FINALIZER, RentalCondition, RentalEvent, RentalPhase, ShardMapObject,
    UnitRental,
};
use rt::Millis;
use serde_json::{Value, json};
use topology::UnitName;

use crate::{PlaceState, Provider, center::Health, role::Shared, rounds::Rounds};

/// How often the provider is asked how a place is: part of how long the shards
/// of a place that dies alone are not served.
const ASK_EVERY_MS: u64 = 500;

/// Rows of a rental's history.
const HISTORY_MAX: usize = 50;

pub struct UnitRentals {
    shared: Shared,
    leadership: Leadership,
    provider: Option<Arc<dyn Provider>>,
    objects: Objects<UnitRental>,
    /// What the provider said last, by rental.
    places: BTreeMap<String, (Millis, PlaceSeen)>,
}

/// What one round looks at.
struct View<'a> {
    map: &'a ShardMapObject,
    health: &'a Health,
    deployments: Vec<Arc<CafeDeployment>>,
}

// === impl UnitRentals ===

impl Rounds for UnitRentals {
    const WORK: &'static str = "carry out rentals";

    fn wakes(&mut self) -> (&mut Shared, &mut Leadership) {
        (&mut self.shared, &mut self.leadership)
    }

    async fn round(&mut self) -> Result<bool, client::Error> {
        let health = self.shared.health.borrow_and_update().clone();
        let rentals = self.shared.picture.unit_rentals();
        let deployments = self.shared.picture.deployments();
        let units = self.shared.picture.units();
        let Some(map) = self.shared.picture.map() else { return Ok(false) };
        if !rentals.synced || !deployments.synced || !units.synced || !self.leadership.leads() {
            return Ok(false);
        }
        let deployments = deployments.iter().cloned().collect();
        let view = View { map: &map, health: &health, deployments };
        self.places.retain(|name, _| rentals.get(name).is_some());
        // One that fails holds up no other.
        let mut outcome = Ok(());
        let mut open = false;
        for rental in rentals.iter() {
            let over = rental.is_over() && !is_deleting(rental);
            open |= !over;
            if !over {
                outcome = outcome.and(self.step(rental, &view).await);
            }
        }
        outcome.map(|()| open)
    }
}

impl UnitRentals {
    pub fn new(
        shared: Shared,
        leadership: Leadership,
        provider: Option<Arc<dyn Provider>>,
    ) -> UnitRentals {
        let objects = shared.client.federation().all();
        UnitRentals { shared, leadership, provider, objects, places: BTreeMap::new() }
    }

    /// One round of one rental.
    async fn step(&mut self, rental: &UnitRental, view: &View<'_>) -> Result<(), client::Error> {
        let Ok(unit) = rental.unit() else { return Ok(()) };
        if rental.is_over() {
            return self.let_go(rental).await;
        }
        if !is_deleting(rental) && !finalizers(rental).contains(&RENTAL_FINALIZER.to_owned()) {
            // Before anything is made that a deletion would leave behind.
            let mut all = finalizers(rental);
            all.push(RENTAL_FINALIZER.into());
            let patch = json!({ "metadata": { "finalizers": all } });
            return self.objects.patch(rental.name(), &patch).await.map(drop);
        }
        let mut after = rental.clone();
        if rental.status.phase == RentalPhase::Pending && is_wanted(rental) {
            match self.admit(&unit, rental, view) {
                Ok(model) => {
                    after.status.phase = RentalPhase::Creating;
                    after.status.model = Some(model);
                    after.status.message = "admitted".into();
                }
                Err(why) => {
                    after.status.phase = RentalPhase::Refused;
                    after.status.message = why;
                }
            }
            return self.write(rental, after).await;
        }
        let seen = self.seen(&unit, rental, view).await;
        if seen.place == PlaceSeen::Lost {
            self.mark_lost(&unit).await?;
        }
        let step = next(&seen);
        let message = self.take(step, &unit, &mut after, view).await?;
        if after.status.phase != RentalPhase::Refused {
            after.status.phase = step.phase().unwrap_or(after.status.phase);
        }
        after.status.message = message;
        conditions(&mut after, &seen);
        self.write(rental, after).await
    }

    async fn seen(&mut self, unit: &UnitName, rental: &UnitRental, view: &View<'_>) -> Seen {
        let picture = &self.shared.picture;
        let object = picture.unit(unit);
        let wanted = is_wanted(rental);
        let is_in = |deployment: &&Arc<CafeDeployment>| deployment.spec.replicas_in(unit) > 0;
        let deployed = match wanted {
            true => self.undeployed(unit, rental, view).is_empty(),
            false => view.deployments.iter().any(|deployment| is_in(&deployment)),
        };
        let pods = picture.pods(unit);
        let served = serves(&view.map.status, unit);
        let homed = view.map.spec.homes.iter().any(|home| home.unit == *unit);
        let is_group = rental.spec.group_of.is_some();
        let center = &rental.spec.center;
        Seen {
            wanted,
            unit: object.is_some(),
            closed: object.is_some_and(|object| object.spec.shards_max == Some(0)),
            deployed,
            // What was not listed yet may be there.
            pods: pods.is_none_or(|pods| !pods.objects.is_empty()),
            ready: view.health.hears(center) && picture.is_ready(unit),
            chosen: is_group || !rental.status.shares.is_empty(),
            moved_out: is_group || rental.status.moved_out,
            shards: homed || served,
            served,
            place: self.place(rental).await,
        }
    }

    /// What the provider says of the place, not asked too often.
    async fn place(&mut self, rental: &UnitRental) -> PlaceSeen {
        let now = self.shared.clock.now();
        if let Some((at, seen)) = self.places.get(rental.name())
            && now.since(*at) < ASK_EVERY_MS
        {
            return *seen;
        }
        let Some(provider) = &self.provider else { return PlaceSeen::Unsure };
        let seen = match provider.status(&place_id(rental)).await {
            Ok(None) => PlaceSeen::None,
            Ok(Some(place)) => match place.state {
                PlaceState::Creating => PlaceSeen::Unsure,
                PlaceState::Ready => PlaceSeen::Ready,
                PlaceState::Lost => PlaceSeen::Lost,
            },
            Err(error) => {
                tracing::debug!(rental = rental.name(), %error, "ask for a place");
                PlaceSeen::Unsure
            }
        };
        self.places.insert(rental.name().to_owned(), (now, seen));
        seen
    }

    /// A deleted rental goes once nothing of it is left.
    async fn let_go(&self, rental: &UnitRental) -> Result<(), client::Error> {
        let mut left = finalizers(rental);
        left.retain(|finalizer| finalizer != RENTAL_FINALIZER);
        let patch = json!({ "metadata": { "finalizers": left } });
        match self.objects.patch(rental.name(), &patch).await {
            Err(error) if error.is_not_found() => Ok(()),
            other => other.map(drop),
        }
    }

    async fn write(&self, before: &UnitRental, mut after: UnitRental) -> Result<(), client::Error> {
        let said = |rental: &UnitRental| (rental.status.phase, rental.status.message.clone());
        if said(before) != said(&after) {
            let (phase, message) = said(&after);
            tracing::info!(rental = before.name(), ?phase, message, "rental");
            let history = &mut after.status.history;
            history.push(RentalEvent { at: Timestamp::now().to_string(), phase, message });
            history.drain(..history.len().saturating_sub(HISTORY_MAX));
        }
        if after.status == before.status {
            return Ok(());
        }
        match self.objects.update_status(&after).await {
            Err(error) if error.is_not_found() => Ok(()),
            written => written.map(drop),
        }
    }
}

/// By which the provider knows the place: a rental of the same name later is
/// another one.
fn place_id(rental: &UnitRental) -> String {
    rental.metadata.uid.clone().unwrap_or_else(|| rental.name().to_owned())
}

fn is_deleting(rental: &UnitRental) -> bool {
    rental.metadata.deletion_timestamp.is_some()
}

/// Whether it is to be held. Once it is being given back, it is to the end.
fn is_wanted(rental: &UnitRental) -> bool {
    let given_back =
        matches!(rental.status.phase, RentalPhase::MovingBack | RentalPhase::Releasing);
    !rental.spec.give_back && !is_deleting(rental) && !given_back && !is_expired(rental)
}

fn is_expired(rental: &UnitRental) -> bool {
    let until = rental.spec.until.as_ref().and_then(|until| until.parse::<Timestamp>().ok());
    until.is_some_and(|until| until.duration_since(Timestamp::now()) <= SignedDuration::ZERO)
}

fn finalizers(rental: &UnitRental) -> Vec<String> {
    let list = rental.metadata.other.get("finalizers").and_then(Value::as_array);
    list.into_iter().flatten().filter_map(|name| name.as_str().map(Into::into)).collect()
}

fn conditions(rental: &mut UnitRental, seen: &Seen) {
    let is_true = [
        ("PlaceReady", seen.place == PlaceSeen::Ready),
        ("UnitReady", seen.unit && seen.ready),
        ("ShareMoved", seen.moved_out && seen.shards),
    ];
    let before = std::mem::take(&mut rental.status.conditions);
    rental.status.conditions = is_true
        .into_iter()
        .map(|(kind, holds)| {
            let status = if holds { "True" } else { "False" };
            let known = before.iter().find(|known| known.kind == kind && known.status == status);
            known.cloned().unwrap_or_else(|| RentalCondition {
                kind: kind.into(),
                status: status.into(),
                last_transition_time: Timestamp::now().to_string(),
            })
        })
        .collect();
}

#[cfg(test)]
mod tests {
    use resources::{Metadata, UnitRentalSpec};

    use super::*;

    fn rental(spec: &str) -> UnitRental {
        let spec: UnitRentalSpec = serde_json::from_str(spec).expect(spec);
        UnitRental::new(Metadata::named("rz06"), spec)
    }

    #[test]
    fn a_rental_is_held_until_it_expires_or_is_given_back_and_not_again() {
        let held = rental(r#"{"center": "east-1", "until": "2999-01-01T00:00:00Z"}"#);
        assert!(is_wanted(&held));
        assert!(!is_wanted(&rental(r#"{"center": "east-1", "until": "2001-01-01T00:00:00Z"}"#)));
        assert!(!is_wanted(&rental(r#"{"center": "east-1", "giveBack": true}"#)));
        let mut going = held.clone();
        going.status.phase = RentalPhase::MovingBack;
        assert!(!is_wanted(&going), "another date comes too late");
        let mut deleted = held;
        deleted.metadata.deletion_timestamp = Some("2026-01-01T00:00:00Z".into());
        assert!(!is_wanted(&deleted));
    }
}
