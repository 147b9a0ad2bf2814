//! Failover and return over real API servers and ledgers: what is lost is
//! served elsewhere within seconds, what is not is not touched, and everything
//! goes home again.

use crate::support::{Estate, LAYOUT, all_serve, eventually, served};
use client::{
    Scope,
    k8s_openapi::api::core::v1::{Event, Pod},
};
use resources::{
    Center, CenterPhase, Evidence, FAILOVER_POLICY_NAME, Failover, FailoverPhase, FailoverPolicy,
    FailoverPolicySpec, Metadata, Rule, SHARD_MAP_NAME, ShardMapObject, Unit,
};
use serde_json::json;
use tokio::time::Instant;
use topology::{Assignment, Epoch, MapVersion, Shard, ShardMap, ShardState};

pub fn all_home(map: &ShardMap) -> bool {
    all_serve(map) && LAYOUT.iter().all(|(_, _, unit, _, _)| served(map, unit) == 20)
}

async fn phase(estate: &Estate, at: &str, center: &str) -> CenterPhase {
    let centers = estate.client(at).federation().all::<Center>();
    centers.get(center).await.expect("a center").status.phase
}

async fn reasons(estate: &Estate, at: &str) -> Vec<String> {
    let events = estate.client(at).federation().namespaced::<Event>("default");
    let events = events.list("").await.expect("events").items;
    events.into_iter().filter_map(|event| event.reason).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_city_is_taken_over_and_gets_its_shards_back() {
    let mut estate = Estate::start().await;
    estate.wait_for_map("west-1", "first assignment", all_home).await;
    let before = estate.map("west-1").await;
    assert!(before.assignments.values().all(|assignment| assignment.epoch == Epoch(1)));
    eventually("every center is Ready", async || {
        for (_, center, ..) in LAYOUT {
            if phase(&estate, "west-1", center).await != CenterPhase::Ready {
                return false;
            }
        }
        true
    })
    .await;

    let killed = Instant::now();
    estate.kill_all(&["east-1", "east-2"]);
    let moved = |map: &ShardMap| served(map, "rz03") == 40 && served(map, "rz04") == 40;
    estate.wait_for_map("west-1", "takeover by the standbys", moved).await;
    println!("failover of a city: {} ms", killed.elapsed().as_millis());

    let after = estate.map("west-1").await;
    for (shard, assignment) in &after.assignments {
        let lost = shard.number() < 40;
        let expected = if lost { Epoch(2) } else { Epoch(1) };
        assert_eq!(assignment.epoch, expected, "shard {shard}");
    }
    eventually("phases say it", async || {
        phase(&estate, "west-1", "east-1").await == CenterPhase::Lost
    })
    .await;
    eventually("events say it", async || {
        let reasons = reasons(&estate, "west-1").await;
        ["CenterLost", "Failover"].iter().all(|reason| reasons.iter().any(|seen| seen == reason))
    })
    .await;

    let healed = Instant::now();
    estate.power_on("east-1");
    estate.power_on("east-2");
    estate.wait_for_map("west-1", "return", all_home).await;
    println!("return of 40 shards: {} ms", healed.elapsed().as_millis());
    let back = estate.map("west-1").await;
    assert!(back.assignments.iter().all(|(shard, assignment)| {
        assignment.epoch == if shard.number() < 40 { Epoch(3) } else { Epoch(1) }
    }));
    eventually("a center that is back is Ready", async || {
        phase(&estate, "west-1", "east-1").await == CenterPhase::Ready
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_center_costs_only_its_own_shards() {
    let mut estate = Estate::start().await;
    estate.wait_for_map("west-1", "first assignment", all_home).await;
    let killed = Instant::now();
    estate.kill("south-2");
    let moved = |map: &ShardMap| all_serve(map) && served(map, "rz03") == 40;
    estate.wait_for_map("west-1", "takeover by the same city", moved).await;
    println!("failover of a center: {} ms", killed.elapsed().as_millis());
}

/// The failover in this phase, once there is one.
async fn failover_in(estate: &Estate, phase: FailoverPhase) -> Failover {
    let failovers = estate.client("west-1").federation().all::<Failover>();
    let mut found = None;
    eventually("a failover gets so far", async || {
        let items = failovers.list("").await.expect("failovers").items;
        found = items
            .into_iter()
            .find(|one| one.status.phase == phase && !one.status.message.is_empty());
        found.is_some()
    })
    .await;
    found.expect("it was found a line before")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_policy_wants_approved_waits_for_a_person_or_until_it_answers_again() {
    let mut estate = Estate::start().await;
    estate.wait_for_map("west-1", "first assignment", all_home).await;
    let federation = estate.client("west-1").federation();
    let spec = FailoverPolicySpec {
        city: Rule::Manual,
        center: Rule::Manual,
        ..FailoverPolicySpec::default()
    };
    let policy = FailoverPolicy::new(Metadata::named(FAILOVER_POLICY_NAME), spec);
    // Centers judge by their own pictures: it is told everywhere before anything
    // is lost.
    let pictures = LAYOUT.iter().map(|(_, center, ..)| {
        let federation = estate.client(center).federation();
        federation.watch::<FailoverPolicy>(Scope::everything())
    });
    let mut pictures: Vec<_> = pictures.collect();
    for picture in &mut pictures {
        picture.synced().await;
    }
    federation.all().create(&policy).await.expect("create the policy");
    eventually("the policy is told everywhere", async || {
        pictures.iter().all(|picture| picture.current().get(FAILOVER_POLICY_NAME).is_some())
    })
    .await;
    drop(pictures);

    estate.kill("south-2");
    let waits = failover_in(&estate, FailoverPhase::Waiting).await;
    assert_eq!(waits.spec.evidence, Evidence::Center);
    let moves: Vec<_> =
        waits.status.plan.iter().map(|s| format!("{} {}", s.shards, s.to)).collect();
    assert_eq!(moves, ["60-79 rz03"]);
    let load = &waits.status.loads[0];
    assert_eq!((load.shards_before, load.shards_after), (20, 40));
    assert!(load.shards_if_another_is_lost >= 40, "{load:?}");
    assert!(all_home(&estate.map("west-1").await), "nothing was moved");
    estate.power_on("south-2");
    failover_in(&estate, FailoverPhase::Withdrawn).await;
    assert!(all_home(&estate.map("west-1").await), "and nothing is");

    estate.kill("east-1");
    let waits = failover_in(&estate, FailoverPhase::Waiting).await;
    assert_eq!(waits.spec.evidence, Evidence::Center);
    let patch = json!({ "spec": { "approved": true } });
    federation.all::<Failover>().patch(waits.name(), &patch).await.expect("approve");
    let moved = |map: &ShardMap| served(map, "rz02") == 40;
    estate.wait_for_map("west-1", "takeover by the same city", moved).await;
    let done = failover_in(&estate, FailoverPhase::Done).await;
    assert_eq!((done.name(), done.status.message.as_str()), (waits.name(), "approved, and moved"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fence_that_its_own_center_does_not_raise_is_raised_by_another() {
    let mut estate = Estate::start_without_controllers_in("south-1").await;
    estate.wait_for_map("west-1", "first assignment", all_home).await;
    estate.kill("south-2");
    let moved = |map: &ShardMap| all_serve(map) && served(map, "rz03") == 40;
    estate.wait_for_map("west-1", "takeover by rz03", moved).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_move_whose_target_does_not_get_ready_goes_back() {
    let estate = Estate::start().await;
    estate.wait_for_map("west-1", "first assignment", all_home).await;
    let client = estate.client("west-1");
    let unit = |name: &str| name.parse().expect("a name");
    let pods = client.unit(&unit("rz01")).namespaced::<Pod>("payments");
    let condition = json!({ "type": "Ready", "status": "False" });
    let patch = json!({ "status": { "conditions": [condition] } });
    pods.patch_status("ledger-rz01-0", &patch).await.expect("patch");

    let units = client.federation().all::<Unit>();
    eventually("controllers see it", async || {
        !units.get("rz01").await.expect("a unit").status.ready
    })
    .await;

    let maps = client.federation().all::<ShardMapObject>();
    let mut map = maps.get(SHARD_MAP_NAME).await.expect("the map");
    let state = ShardState::Moving { from: Some(unit("rz03")), to: unit("rz01") };
    // Of rz01: it does not go home as long as that is not well.
    let shard = Shard::new(7).expect("a shard");
    map.status.version = MapVersion(map.status.version.0 + 1);
    map.status.assignments.insert(shard, Assignment { epoch: Epoch(2), state });
    maps.update_status(&map).await.expect("update");
    let back = Assignment { epoch: Epoch(3), state: ShardState::Serving { unit: unit("rz03") } };
    let back = |map: &ShardMap| map.get(shard) == Some(&back);
    estate.wait_for_map("west-1", "the shard is served where it came from", back).await;
}
