//! The API client against real API servers: caches outlive their replica and
//! lost history, writes compare, one candidate leads.

use std::{collections::BTreeMap, time::Duration};

use crate::support::{Estate, LIMIT, eventually};
use client::{
    Cache, Door, Election, Leadership, Scope,
    k8s_openapi::{api::core::v1::ConfigMap, apimachinery::pkg::apis::meta::v1::ObjectMeta},
};
use resources::{City, CitySpec, DrillPolicy, Metadata};

fn config_map(name: &str, value: &str) -> ConfigMap {
    let metadata = ObjectMeta {
        name: Some(name.into()),
        namespace: Some("payments".into()),
        ..ObjectMeta::default()
    };
    let data = Some(BTreeMap::from([("value".to_owned(), value.to_owned())]));
    ConfigMap { metadata, data, ..ConfigMap::default() }
}

fn values(cache: &Cache<ConfigMap>) -> Vec<String> {
    let value = |map: &ConfigMap| map.data.as_ref()?.get("value").cloned();
    cache.current().iter().filter_map(|map| value(map)).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cache_goes_on_at_another_replica_when_its_own_dies() {
    let mut estate = Estate::start().await;
    let client = estate.client_of_all(&["east-1", "west-1"]);
    let maps = client.federation().namespaced::<ConfigMap>("payments");
    let mut cache = client.federation().watch::<ConfigMap>(Scope::namespace("payments"));
    maps.create(&config_map("one", "1")).await.expect("create");
    cache.synced().await;
    eventually("the cache shows it", async || values(&cache) == ["1"]).await;

    estate.kill("east-1");
    assert_eq!(values(&cache), ["1"], "the last good picture stays");
    let written = tokio::time::timeout(LIMIT, async {
        while maps.create_if_absent(&config_map("two", "2")).await.is_err() {}
    });
    written.await.expect("a write reaches the other replica");
    eventually("the cache follows there", async || values(&cache) == ["1", "2"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cache_that_was_away_longer_than_history_lists_again() {
    let mut estate = Estate::start().await;
    let cache = estate
        .client("east-1")
        .federation()
        .watch::<ConfigMap>(Scope::namespace("payments").with_labels(""));
    let maps = estate.client("west-1").federation().namespaced::<ConfigMap>("payments");
    maps.create(&config_map("gone", "0")).await.expect("create");
    eventually("the cache shows it", async || values(&cache) == ["0"]).await;

    estate.kill("east-1");
    maps.delete("gone", &client::DeleteOptions::default()).await.expect("delete");
    for round in 0..100 {
        let map = config_map("stays", &round.to_string());
        let stored = maps.create_if_absent(&map).await.expect("create");
        let metadata = stored.metadata;
        maps.update(&ConfigMap { metadata, ..map }).await.expect("update");
    }
    assert_eq!(values(&cache), ["0"], "the last good picture stays");
    estate.power_on("east-1");
    eventually("the cache has caught up", async || values(&cache) == ["99"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_from_an_old_read_is_a_conflict_and_a_patch_is_not() {
    let estate = Estate::start().await;
    let cities = estate.client("east-1").federation().all::<City>();
    let city = City::new(Metadata::named("north"), CitySpec::default());
    let old = cities.create_if_absent(&city).await.expect("create");
    assert_eq!(cities.create_if_absent(&city).await.expect("again"), old);
    assert!(cities.create(&city).await.expect_err("twice").is_already_exists());

    let patch = serde_json::json!({ "spec": { "drills": DrillPolicy::Allowed } });
    let patched = cities.patch("north", &patch).await.expect("patch");
    assert_eq!(patched.spec.drills, DrillPolicy::Allowed);
    let conflict = cities.update(&old).await.expect_err("an old read");
    assert!(conflict.is_conflict() && conflict.is_definite(), "{conflict}");
    assert!(cities.get("nowhere").await.expect_err("absent").is_not_found());
    assert!(cities.find("nowhere").await.expect("absent").is_none());
}

/// Stands for election until the trigger is dropped.
fn stand(door: &Door, identity: &str) -> (rt::Trigger, Leadership) {
    let (trigger, drain) = rt::drain::channel();
    let election = Election {
        namespace: "payments".into(),
        name: "test".into(),
        identity: identity.into(),
        term: Duration::from_secs(2),
    };
    (trigger, election.start(door, rt::Clock::real(), drain))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_candidate_leads_and_hands_over_when_it_drains() {
    let mut estate = Estate::start().await;
    let (first_stop, first) = stand(&estate.client("east-1").federation(), "first");
    eventually("the first leads", async || first.leads()).await;
    let (second_stop, second) = stand(&estate.client("west-1").federation(), "second");
    let (_third_stop, third) = stand(&estate.client("east-2").federation(), "third");
    // The one is asked twice: it may hand over while the other is asked.
    let at_once =
        |one: &Leadership, other: &Leadership| one.leads() && other.leads() && one.leads();
    let two_lead =
        || at_once(&first, &second) || at_once(&first, &third) || at_once(&second, &third);

    drop(first_stop);
    eventually("another leads", async || {
        assert!(!two_lead());
        !first.leads() && (second.leads() || third.leads())
    })
    .await;

    // Cut one off from the API: it stops leading before another starts.
    let (cut_off, other) = if second.leads() { ("west-1", &third) } else { ("east-2", &second) };
    estate.kill(cut_off);
    eventually("the last one leads", async || {
        assert!(!two_lead());
        other.leads()
    })
    .await;
    drop(second_stop);
}
