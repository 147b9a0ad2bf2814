//! The steps of a rental, one by one. Each may be taken any number of times,
//! and gives back the sentence that says what is done or waited for.

use std::{collections::BTreeSet, sync::Arc};

use client::{DeleteOptions, k8s_openapi::api::core::v1::Pod};
use planner::{
    shard_map,
    takeover::Takeover,
    unit::Places,
    unit_rental::{Step, giver, leave, serves, share, standbys},
};
use resources::{
    CafeDeployment, CafeDeploymentSpec, Metadata, MovePhase, RENTAL_LABEL, RentalPhase,
    RentedPlace, ShardMapObject, ShardMove, ShardMoveSpec, Topology, Unit, UnitKind, UnitRental,
    UnitReplicas, UnitSpec,
};
use serde_json::{Value, json};
use topology::{Shard, ShardMap, ShardSet, UnitName};

use super::{UnitRentals, View, place_id};
use crate::{PlaceOrder, ProviderError, events::Reason, service::is_ready};

type Done = Result<String, client::Error>;

// === impl UnitRentals ===

impl UnitRentals {
    /// Whose services the rented unit will run, or why it cannot be.
    pub(super) fn admit(
        &self,
        unit: &UnitName,
        rental: &UnitRental,
        view: &View<'_>,
    ) -> Result<UnitName, String> {
        let picture = &self.shared.picture;
        let center = &rental.spec.center;
        if self.provider.is_none() {
            return Err("nobody rents places here: name a provider in the centers' \
                        configuration (`provider`)"
                .into());
        }
        if picture.center(center).is_none() {
            let known = picture.centers();
            let known: Vec<_> = known.iter().map(|center| center.name()).collect();
            return Err(format!("there is no center {center}; there are {}", known.join(", ")));
        }
        if picture.unit(unit).is_some() {
            return Err(format!("there is a unit {unit} already: choose another name"));
        }
        let places = picture.places(view.health);
        if let Some(of) = &rental.spec.group_of {
            return match places.get(of) {
                Some(place) if place.center == *center => Ok(of.clone()),
                Some(place) => {
                    Err(format!("unit {of} is in {}: rent the group there", place.center))
                }
                None => Err(format!("there is no unit {of} that owns user shards")),
            };
        }
        let shares = share(unit, &rental.spec, &view.map.status, &places);
        let first = shares.map_err(|unfit| unfit.to_string())?.into_iter().next();
        Ok(first.expect("a share is never nothing").from)
    }

    pub(super) async fn take(
        &mut self,
        step: Step,
        unit: &UnitName,
        rental: &mut UnitRental,
        view: &View<'_>,
    ) -> Done {
        let said = |text: &str| Ok(text.to_owned());
        match step {
            Step::CreatePlace => Ok(self.create_place(unit, rental, view).await),
            Step::CreateUnit => self.create_unit(unit, rental, view).await,
            Step::Deploy => self.deploy(unit, rental, view).await,
            Step::AwaitReady => said("its services start"),
            Step::ChooseShare => Ok(self.choose_share(unit, rental, view)),
            Step::MoveOut => self.move_out(unit, rental).await,
            Step::Stay => Ok(self.stay(unit, rental, view)),
            Step::TakeOver => self.take_over(unit, rental, view).await,
            Step::Close => {
                self.patch_unit(unit, &json!({ "spec": { "shardsMax": 0 } })).await?;
                said("takes no more shards")
            }
            Step::MoveBack => self.move_back(unit, rental, view).await,
            Step::Undeploy => self.undeploy(unit, view).await,
            Step::AwaitPods => said("its services end"),
            Step::RemoveUnit => self.remove_unit(unit).await,
            Step::DestroyPlace => Ok(self.destroy_place(rental).await),
            Step::Over => {
                let message = "its shards are back and the place was taken back".to_owned();
                self.inform(Reason::UnitReturned, unit, &message);
                Ok(message)
            }
        }
    }

    async fn create_place(
        &mut self,
        unit: &UnitName,
        rental: &mut UnitRental,
        view: &View<'_>,
    ) -> String {
        let center = rental.spec.center.clone();
        let city = self.shared.picture.center(&center).map(|center| center.spec.city.clone());
        let (Some(provider), Some(city)) = (&self.provider, city) else {
            return format!("waits for a provider of places in {center}");
        };
        let order = PlaceOrder { unit: unit.clone(), center: center.clone(), city };
        self.places.remove(rental.name());
        match provider.create(&place_id(rental), &order).await {
            Ok(place) => {
                rental.status.place = Some(RentedPlace { id: place.id, ports: place.ports });
                format!("the provider makes a place in {center}")
            }
            Err(ProviderError::Refused(why)) => {
                // What was begun is ended by the other road.
                if self.shared.picture.unit(unit).is_none() && !serves(&view.map.status, unit) {
                    rental.status.phase = RentalPhase::Refused;
                }
                format!("the provider refuses: {why}")
            }
            Err(error) => error.to_string(),
        }
    }

    async fn create_unit(&self, unit: &UnitName, rental: &UnitRental, view: &View<'_>) -> Done {
        let picture = &self.shared.picture;
        let (Some(place), Some(model)) = (&rental.status.place, &rental.status.model) else {
            return Ok("waits for its place".into());
        };
        let Some(like) = picture.unit(model) else {
            return Ok(format!("there is no unit {model}"));
        };
        let places = picture.places(view.health);
        let center = picture.center(&rental.spec.center);
        let is_group = rental.spec.group_of.is_some();
        let standbys = match (is_group, center) {
            (true, _) | (false, None) => like.spec.standbys.clone(),
            (false, Some(center)) => {
                let shares = share(unit, &rental.spec, &view.map.status, &places);
                let shares = shares.unwrap_or_default();
                standbys(&rental.spec.center, &center.spec.city, &shares, &places)
            }
        };
        let spec = UnitSpec {
            kind: UnitKind::RZone,
            center: rental.spec.center.clone(),
            standbys,
            ports: place.ports,
            // A group gets what is moved to it, and nobody else's.
            shards_max: is_group.then_some(0),
            services: like.spec.services.clone(),
        };
        let object = Unit::new(labelled(Metadata::named(unit.as_str()), rental), spec);
        self.shared.client.federation().all().create_if_absent(&object).await?;
        Ok("its unit is made".into())
    }

    /// Deployments that run in the model and not in the unit yet.
    pub(super) fn undeployed(
        &self,
        unit: &UnitName,
        rental: &UnitRental,
        view: &View<'_>,
    ) -> Vec<Arc<CafeDeployment>> {
        let Some(model) = &rental.status.model else { return Vec::new() };
        let is_missing = |deployment: &&Arc<CafeDeployment>| {
            let copy = group_name(deployment.name(), unit);
            let is_there = deployment.spec.replicas_in(unit) > 0
                || view.deployments.iter().any(|other| other.name() == copy);
            deployment.spec.replicas_in(model) > 0 && !is_there
        };
        view.deployments.iter().filter(is_missing).cloned().collect()
    }

    /// A rented unit runs what its model runs. A group gets a copy of its own,
    /// so that it can be given another release.
    async fn deploy(&self, unit: &UnitName, rental: &UnitRental, view: &View<'_>) -> Done {
        let federation = self.shared.client.federation();
        let model = rental.status.model.as_ref().expect("what is missing is missing of a model");
        for deployment in self.undeployed(unit, rental, view) {
            let namespace = deployment.metadata.namespace.as_deref().unwrap_or("default");
            let objects = federation.namespaced::<CafeDeployment>(namespace);
            let count = deployment.spec.replicas_in(model);
            if rental.spec.group_of.is_none() {
                let replicas = json!({ unit.as_str(): count });
                let patch = json!({ "spec": { "topology": { "unitReplicas": replicas } } });
                objects.patch(deployment.name(), &patch).await?;
                continue;
            }
            let name = group_name(deployment.name(), unit);
            let metadata = labelled(Metadata::namespaced(namespace, name), rental);
            let unit_replicas = [(unit.clone(), UnitReplicas::Count(count))].into();
            let topology = Topology { unit_replicas, ..deployment.spec.topology.clone() };
            let spec = CafeDeploymentSpec { topology, ..deployment.spec.clone() };
            objects.create_if_absent(&CafeDeployment::new(metadata, spec)).await?;
        }
        Ok("its services are deployed".into())
    }

    fn choose_share(&self, unit: &UnitName, rental: &mut UnitRental, view: &View<'_>) -> String {
        let places = self.shared.picture.places(view.health);
        match share(unit, &rental.spec, &view.map.status, &places) {
            Ok(shares) => {
                let count: usize = shares.iter().map(|share| share.shards.len()).sum();
                rental.status.shares = shares;
                format!("{count} shards are to move here")
            }
            Err(unfit) => unfit.to_string(),
        }
    }

    async fn move_out(&self, unit: &UnitName, rental: &mut UnitRental) -> Done {
        let shares = rental.status.shares.iter().flat_map(|share| share.shards.iter());
        let shards: ShardSet = shares.collect();
        let name = order_name(rental, unit, "out");
        let order = self.order(rental, &name, shards, unit).await?;
        let (MovePhase::Succeeded | MovePhase::Failed) = order.status.phase else {
            return Ok(progress(&order));
        };
        rental.status.moved_out = true;
        let message = format!("{} ({name})", order.status.message);
        self.inform(Reason::UnitRented, unit, &message);
        Ok(message)
    }

    fn stay(&self, unit: &UnitName, rental: &UnitRental, view: &View<'_>) -> String {
        let count = view.map.status.of_unit(unit).count();
        let until = rental.spec.until.as_ref().map(|until| format!(" until {until}"));
        format!("serves {count} shards{}", until.unwrap_or_default())
    }

    /// Whoever said that these pods are ready does not run any more. Its
    /// successor says so again.
    pub(super) async fn mark_lost(&self, unit: &UnitName) -> Result<(), client::Error> {
        let Some(pods) = self.shared.picture.pods(unit) else { return Ok(()) };
        for pod in pods.iter().filter(|pod| is_ready(pod)) {
            let (Some(namespace), Some(name)) = (&pod.metadata.namespace, &pod.metadata.name)
            else {
                continue;
            };
            let mut conditions = pod
                .status
                .as_ref()
                .and_then(|status| status.conditions.clone())
                .unwrap_or_default();
            for condition in conditions.iter_mut().filter(|one| one.type_ == "Ready") {
                condition.status = "False".into();
                condition.reason = Some("PlaceLost".into());
            }
            let patch = json!({ "status": { "conditions": conditions } });
            let door = self.shared.client.unit(unit);
            match door.namespaced::<Pod>(namespace).patch_status(name, &patch).await {
                Err(error) if error.is_not_found() => {}
                other => other.map(drop)?,
            }
        }
        Ok(())
    }

    /// As a failover does it: nobody is asked to let go, the fence decides.
    async fn take_over(&self, unit: &UnitName, rental: &UnitRental, view: &View<'_>) -> Done {
        let places = self.shared.picture.places(view.health);
        let prefer = self.shared.picture.failover_policy().prefer;
        let lost = BTreeSet::from([unit.clone()]);
        let plan = |map: &ShardMapObject| {
            let mut takeover = Takeover::of(&map.status, &places, prefer);
            shard_map::fail_over(&map.status, &lost, |lost, shard| {
                lender(rental, &map.status, shard, &places).or_else(|| takeover.next(lost))
            })
        };
        let Some(plan) = self.shared.maps.commit(plan).await? else {
            return Ok("its place does not run, and nobody is ready to take its shards".into());
        };
        let shards: ShardSet = plan.steps.iter().map(|step| step.shard).collect();
        let message = format!("its place does not run: shards {shards} are served by others");
        tracing::warn!(%unit, %shards, "a rented place is lost");
        self.shared.recorder.warn(Reason::PlaceLost, "Unit", unit.as_str(), message.clone());
        Ok(message)
    }

    async fn move_back(&self, unit: &UnitName, rental: &mut UnitRental, view: &View<'_>) -> Done {
        // What is still on its way out is taken back.
        let orders = self.shared.client.federation().all::<ShardMove>();
        let out = order_name(rental, unit, "out");
        let picture = self.shared.picture.shard_moves();
        if picture.get(&out).is_some_and(|order| !order.status.phase.is_final()) {
            orders.delete(&out, &DeleteOptions::default()).await?;
            return Ok("its share comes back before it was whole".into());
        }
        let ours = orders.list(&format!("labelSelector={RENTAL_LABEL}%3D{unit}")).await?.items;
        let open: Vec<_> = ours.iter().filter(|order| !order.status.phase.is_final()).collect();
        if let Some(order) = open.first() {
            let more = if open.len() > 1 { ", others with it" } else { "" };
            return Ok(format!("{}{more}", progress(order)));
        }
        // Past the picture: it may be older than the orders.
        let map = self.shared.maps.read().await?;
        let places = self.shared.picture.places(view.health);
        let heir = rental.spec.group_of.as_ref();
        let home_of = |shard| map.spec.home_of(shard);
        let to = leave(unit, &rental.status.shares, heir, &map.status, home_of, &places);
        let mut homes = std::collections::BTreeMap::new();
        let mut given = Vec::new();
        for (target, shards) in &to {
            let is_there = |shard: &Shard| {
                let assignment = map.status.get(*shard);
                assignment.is_some_and(|assignment| assignment.state.target() == target)
            };
            let (there, away): (Vec<_>, Vec<_>) = shards.iter().partition(is_there);
            if !there.is_empty() {
                homes.insert(target.clone(), there);
            }
            if away.is_empty() {
                continue;
            }
            let name = order_name(rental, unit, &format!("back-{target}"));
            if ours.iter().any(|order| order.name() == name) {
                // It has ended, and these are here all the same.
                rental.status.attempt += 1;
                return Ok(format!("{name} did not move all: once more"));
            }
            let shards: ShardSet = away.into_iter().collect();
            given.push(format!("{shards} to {target}"));
            self.order(rental, &name, shards, target).await?;
        }
        // A failover may have brought some where they belong already.
        self.shared.maps.rehome(&homes).await?;
        Ok(format!("shards go back: {}", given.join(", ")))
    }

    async fn undeploy(&self, unit: &UnitName, view: &View<'_>) -> Done {
        let federation = self.shared.client.federation();
        let inside = view.deployments.iter().filter(|one| one.spec.replicas_in(unit) > 0);
        for deployment in inside {
            let namespace = deployment.metadata.namespace.as_deref().unwrap_or("default");
            let objects = federation.namespaced::<CafeDeployment>(namespace);
            let label = deployment.metadata.labels.get(RENTAL_LABEL);
            if label.is_some_and(|label| label == unit.as_str()) {
                objects.delete(deployment.name(), &DeleteOptions::default()).await?;
            } else {
                let replicas = json!({ unit.as_str(): Value::Null });
                let patch = json!({ "spec": { "topology": { "unitReplicas": replicas } } });
                objects.patch(deployment.name(), &patch).await?;
            }
        }
        Ok("its services end".into())
    }

    async fn remove_unit(&self, unit: &UnitName) -> Done {
        // A failover by someone with an old picture may have come in between.
        if serves(&self.shared.maps.read().await?.status, unit) {
            return Ok("shards came here by a failover, and go back".into());
        }
        let units = self.shared.client.federation().all::<Unit>();
        units.delete(unit.as_str(), &DeleteOptions::default()).await?;
        Ok("its unit is removed".into())
    }

    async fn destroy_place(&mut self, rental: &UnitRental) -> String {
        self.places.remove(rental.name());
        let Some(provider) = &self.provider else {
            return "waits for a provider to take the place back".into();
        };
        match provider.destroy(&place_id(rental)).await {
            Ok(true) => "the place was taken back".into(),
            Ok(false) => "the provider takes the place back".into(),
            Err(error) => error.to_string(),
        }
    }

    /// The order of this name, given now if it was not.
    async fn order(
        &self,
        rental: &UnitRental,
        name: &str,
        shards: ShardSet,
        to: &UnitName,
    ) -> Result<ShardMove, client::Error> {
        if let Some(order) = self.shared.picture.shard_moves().get(name) {
            return Ok(ShardMove::clone(order));
        }
        let spec = ShardMoveSpec { shards, to: Some(to.clone()), ..ShardMoveSpec::default() };
        let order = ShardMove::new(labelled(Metadata::named(name), rental), spec);
        self.shared.client.federation().all().create_if_absent(&order).await
    }

    async fn patch_unit(&self, unit: &UnitName, patch: &Value) -> Result<(), client::Error> {
        let units = self.shared.client.federation().all::<Unit>();
        match units.patch(unit.as_str(), patch).await {
            Err(error) if error.is_not_found() => Ok(()),
            other => other.map(drop),
        }
    }

    fn inform(&self, reason: Reason, unit: &UnitName, message: &str) {
        self.shared.recorder.inform(reason, "UnitRental", unit.as_str(), message.to_owned());
    }
}

/// What is said of an order under way.
fn progress(order: &ShardMove) -> String {
    let status = &order.status;
    let name = order.name();
    match (status.total, status.message.as_str()) {
        (0, "") => format!("{name} is given"),
        (0, why) => format!("{name} waits: {why}"),
        (total, _) => format!("{name}: {} of {total} moved", status.moved),
    }
}

/// Who gave this shard, if that is well.
fn lender(rental: &UnitRental, map: &ShardMap, shard: Shard, places: &Places) -> Option<UnitName> {
    let from = giver(&rental.status.shares, map, shard).or(rental.spec.group_of.as_ref())?;
    places.get(from).is_some_and(|place| place.alive && place.ready).then(|| from.clone())
}

fn labelled(metadata: Metadata, rental: &UnitRental) -> Metadata {
    let labels = [(RENTAL_LABEL.to_owned(), rental.name().to_owned())].into();
    Metadata { labels, ..metadata }
}

/// `rz06-out-1f0c9a2b-0`: the same after a crash, another for a later rental.
fn order_name(rental: &UnitRental, unit: &UnitName, what: &str) -> String {
    let uid = rental.metadata.uid.as_deref().unwrap_or_default();
    let number: String = uid.chars().filter(char::is_ascii_alphanumeric).take(8).collect();
    let attempt = if what == "out" { 0 } else { rental.status.attempt };
    format!("{unit}-{what}-{number}-{attempt}")
}

/// A group's own copy of a deployment.
fn group_name(deployment: &str, unit: &UnitName) -> String {
    format!("{deployment}-{unit}")
}
