//! Orders to move shards, over real API servers and ledgers: carried out to
//! the end whoever leads, taken back when a hold lasts.

use client::{DeleteOptions, Objects, k8s_openapi::api::core::v1::Pod};
use resources::{
    Metadata, MovePhase, MoveState, SHARD_MAP_NAME, ShardMapObject, ShardMove, ShardMoveSpec, Unit,
};
use serde_json::json;
use topology::{Epoch, Shard, ShardMap, ShardSet, ShardState, UnitName};

use crate::{
    failover::all_home,
    support::{Estate, LAYOUT, all_serve, eventually, served},
};

fn orders(estate: &Estate, at: &str) -> Objects<ShardMove> {
    estate.client(at).federation().all()
}

async fn give(estate: &Estate, at: &str, name: &str, spec: ShardMoveSpec) {
    let order = ShardMove::new(Metadata::named(name), spec);
    orders(estate, at).create(&order).await.expect("create the order");
}

fn of_shards(shards: &str, to: &str) -> ShardMoveSpec {
    ShardMoveSpec {
        shards: shards.parse().expect("shards"),
        to: Some(to.parse().expect("a name")),
        ..ShardMoveSpec::default()
    }
}

fn epoch_of(map: &ShardMap, number: u16) -> Epoch {
    map.get(Shard::new(number).expect("a shard")).expect("it is assigned").epoch
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_order_moves_its_shards_and_they_belong_there() {
    let estate = Estate::start().await;
    estate.wait_for_map("west-1", "first assignment", all_home).await;
    give(&estate, "west-1", "there", of_shards("38-49", "rz05")).await;
    let orders = orders(&estate, "west-1");
    eventually("the order ends", async || {
        orders.get("there").await.expect("the order").status.phase.is_final()
    })
    .await;
    let status = orders.get("there").await.expect("the order").status;
    assert_eq!((status.phase, status.moved, status.total), (MovePhase::Succeeded, 12, 12));
    let states = |state| status.history.iter().filter(move |event| event.state == state);
    let arrived: usize = states(MoveState::Moved).map(|event| event.shards.len()).sum();
    assert!(arrived >= 12 && states(MoveState::Holding).count() >= 2, "{:?}", status.history);

    let maps = estate.client("west-1").federation().all::<ShardMapObject>();
    let map = maps.get(SHARD_MAP_NAME).await.expect("the map");
    assert_eq!(served(&map.status, "rz05"), 32);
    assert_eq!(epoch_of(&map.status, 42), Epoch(2));
    assert_eq!(epoch_of(&map.status, 50), Epoch(1), "others are not touched");
    let home = map.spec.home_of(Shard::new(42).expect("a shard"));
    assert_eq!(home.map(ToString::to_string).as_deref(), Some("rz05"));

    // All of a unit, spread over the others.
    let spec = ShardMoveSpec { unit: Some("rz05".parse().expect("a name")), ..Default::default() };
    give(&estate, "west-1", "drain", spec).await;
    let emptied = |map: &ShardMap| all_serve(map) && served(map, "rz05") == 0;
    estate.wait_for_map("west-1", "rz05 is empty", emptied).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_split_of_buckets_that_were_split_before_fails_and_says_why() {
    let estate = Estate::start().await;
    estate.wait_for_map("west-1", "first assignment", all_home).await;
    let end = async |name: &str, buckets: &str| {
        let spec = ShardMoveSpec {
            shards: "42".parse().expect("shards"),
            buckets: Some(buckets.parse().expect("buckets")),
            ..ShardMoveSpec::default()
        };
        give(&estate, "west-1", name, spec).await;
        let orders = orders(&estate, "west-1");
        eventually("the order ends", async || {
            orders.get(name).await.expect("the order").status.phase.is_final()
        })
        .await;
        let status = orders.get(name).await.expect("the order").status;
        (status.phase, status.message)
    };
    assert_eq!(end("half", "4250-4299").await.0, MovePhase::Succeeded);
    let (phase, why) = end("across", "4240-4259").await;
    assert_eq!(phase, MovePhase::Failed);
    assert!(why.contains("are of more than one shard"), "{why}");
    let (phase, why) = end("again", "4290-4299").await;
    assert_eq!((phase, why.as_str()), (MovePhase::Failed, "buckets 4290-4299 are of shard 100"));
    // What is done already is no fault.
    assert_eq!(end("the-same", "4250-4299").await.0, MovePhase::Succeeded);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hold_that_cannot_end_goes_back_and_the_order_can_be_taken_back() {
    let estate = Estate::start().await;
    estate.wait_for_map("west-1", "first assignment", all_home).await;
    // Ready by its word, and nobody listens there.
    let pods = estate.client("west-1").unit(&"rz05".parse().expect("a name"));
    let pods = pods.namespaced::<Pod>("payments");
    let patch = json!({ "status": { "podIP": "127.0.0.9" } });
    pods.patch_status("ledger-rz05-0", &patch).await.expect("patch");
    give(&estate, "west-1", "stuck", ShardMoveSpec { hold_ms: 500, ..of_shards("42", "rz05") })
        .await;
    let back = |map: &ShardMap| {
        let now = map.get(Shard::new(42).expect("a shard")).expect("it is assigned");
        let unit = "rz03".parse().expect("a name");
        now.epoch >= Epoch(3) && now.state == ShardState::Serving { unit }
    };
    estate.wait_for_map("west-1", "back at rz03", back).await;
    let orders = orders(&estate, "west-1");
    eventually("the order knows", async || {
        let status = orders.get("stuck").await.expect("the order").status;
        status.progress.iter().any(|row| row.reverts > 0)
    })
    .await;
    orders.delete("stuck", &DeleteOptions::default()).await.expect("delete");
    estate.wait_for_map("west-1", "all at home", |map| all_home(map) && back(map)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_order_outlives_the_leader_that_carries_it_out() {
    let mut estate = Estate::start().await;
    estate.wait_for_map("west-1", "first assignment", all_home).await;
    let leads = |estate: &Estate| {
        let leader = estate.centers.iter().find(|host| {
            let metrics = host.metrics.as_ref().map(|metrics| metrics.render());
            metrics.is_some_and(|text| text.contains("polis_controllers_leader 1"))
        });
        leader.map(|host| host.name)
    };
    eventually("somebody leads", async || leads(&estate).is_some()).await;
    let leader = leads(&estate).expect("somebody leads");
    let others: Vec<_> = LAYOUT.iter().filter(|(_, center, ..)| *center != leader).collect();
    let ((_, at, _, _, shards), (_, _, to, ..)) = (others[0], others[1]);
    // So that the leader plans, and cannot begin.
    let pods = estate.client(at).unit(&to.parse().expect("a name")).namespaced::<Pod>("payments");
    let ready = async |status: &str| {
        let condition = json!({ "type": "Ready", "status": status });
        let patch = json!({ "status": { "conditions": [condition] } });
        pods.patch_status(&format!("ledger-{to}-0"), &patch).await.expect("patch");
    };
    ready("False").await;
    let units = estate.client(at).federation().all::<Unit>();
    eventually("controllers see it", async || !units.get(to).await.expect("a unit").status.ready)
        .await;
    give(&estate, at, "outlives", of_shards(shards, to)).await;
    let orders = orders(&estate, at);
    eventually("the plan is written", async || {
        let status = orders.get("outlives").await.expect("the order").status;
        status.total == 20 && status.message == format!("unit {to} is not ready")
    })
    .await;
    estate.kill(leader);
    ready("True").await;
    // Asked of the shards, not of the unit they leave: the lost center's own
    // may find a new home just there.
    let ordered: ShardSet = shards.parse().expect("shards");
    let unit: UnitName = to.parse().expect("a name");
    let there = |map: &ShardMap| {
        let target = ShardState::Serving { unit: unit.clone() };
        ordered.iter().all(|shard| map.get(shard).is_some_and(|now| now.state == target))
    };
    estate.wait_for_map(at, "all there", there).await;
    eventually("the order says so", async || {
        orders.get("outlives").await.is_ok_and(|order| order.status.phase == MovePhase::Succeeded)
    })
    .await;
}
