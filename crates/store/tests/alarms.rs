//! Alarms of a store that has several replicas: one of them raises or disarms,
//! all of them know and obey.

mod common;
mod estate;

use std::time::Duration;

use engine::Memory;
use estate::{Line, Node, leader_of, start_on, start_three, within};
use kv::{Error, KeyRange, Kv, PutRequest, RangeRequest};
use pb_etcd::etcdserverpb::{
    self as pb, AlarmType, alarm_request::AlarmAction, maintenance_client::MaintenanceClient,
};
use store::Config;

async fn ask(node: &Node, request: pb::AlarmRequest) -> Vec<pb::AlarmMember> {
    let channel = kv_etcd::connect::channel(&node.url, None).expect("a channel");
    let answer = within(MaintenanceClient::new(channel).alarm(request)).await;
    answer.expect("an answer").into_inner().alarms
}

async fn listed(node: &Node) -> Vec<pb::AlarmMember> {
    ask(node, pb::AlarmRequest::default()).await
}

fn change(action: AlarmAction, member_id: u64, alarm: AlarmType) -> pb::AlarmRequest {
    pb::AlarmRequest { action: action.into(), member_id, alarm: alarm.into() }
}

async fn put(node: &Node) -> Result<(), Error> {
    within(node.wire().put(PutRequest::new("k", "v"))).await.map(drop)
}

/// Until every node answers a put so.
async fn all_answer(nodes: &[Node], expected: &Result<(), Error>) {
    for node in nodes {
        within(async {
            while put(node).await != *expected {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_alarm_raised_at_any_replica_is_obeyed_by_all_until_any_disarms_it() {
    let engine = Memory::new();
    let mut nodes = start_three(&engine).await;
    all_answer(&nodes, &Ok(())).await;
    let leading = leader_of(&nodes, &engine).await;
    let (one, other) = ((leading + 1) % 3, (leading + 2) % 3);

    let raised = ask(&nodes[one], change(AlarmAction::Activate, 7, AlarmType::Nospace)).await;
    let expected = pb::AlarmMember { member_id: 7, alarm: AlarmType::Nospace.into() };
    assert_eq!(raised, [expected]);
    for node in &nodes {
        assert_eq!(put(node).await, Err(Error::NoSpace), "{}", node.name);
        let grant = within(node.wire().lease_grant(None, Duration::from_secs(60))).await;
        assert_eq!(grant.map(drop), Err(Error::NoSpace));
        assert_eq!(listed(node).await, [expected]);
        within(node.wire().range(RangeRequest::new(KeyRange::key("k")))).await.expect("a read");
    }
    // Another keyspace is of the same store, whoever leads it.
    let elsewhere = nodes[other].keyspace("elsewhere");
    within(async {
        while elsewhere.put(PutRequest::new("k", "v")).await.map(drop) != Err(Error::NoSpace) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    // Whoever leads next knows of it too.
    nodes.remove(leading).kill();
    all_answer(&nodes, &Err(Error::NoSpace)).await;
    assert_eq!(listed(&nodes[0]).await, [expected]);
    let disarmed = ask(&nodes[0], change(AlarmAction::Deactivate, 7, AlarmType::Nospace)).await;
    assert_eq!(disarmed, [expected]);
    all_answer(&nodes, &Ok(())).await;
    assert_eq!(listed(&nodes[1]).await, []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_the_alarm_corrupt_no_replica_says_anything_about_keys() {
    let engine = Memory::new();
    let nodes = start_three(&engine).await;
    all_answer(&nodes, &Ok(())).await;
    ask(&nodes[0], change(AlarmAction::Activate, 7, AlarmType::Corrupt)).await;
    all_answer(&nodes, &Err(Error::Corrupt)).await;
    for node in &nodes {
        let serializable =
            RangeRequest { serializable: true, ..RangeRequest::new(KeyRange::key("k")) };
        // Its own copy learns of it in a moment.
        within(async {
            while node.wire().range(serializable.clone()).await.map(drop) != Err(Error::Corrupt) {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        })
        .await;
    }
    ask(&nodes[1], change(AlarmAction::Deactivate, 7, AlarmType::Corrupt)).await;
    all_answer(&nodes, &Ok(())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_that_runs_out_of_space_stops_puts_everywhere() {
    let engine = Memory::new();
    let mut nodes = start_three(&engine).await;
    all_answer(&nodes, &Ok(())).await;
    let full = Line::to(&engine).holding(2);
    let config = Config { quota_bytes: 1, ..estate::config("store-d") };
    nodes.push(start_on(full, config).await);
    all_answer(&nodes, &Err(Error::NoSpace)).await;
    let alarms = listed(&nodes[0]).await;
    assert_eq!(alarms.len(), 1);
    assert_eq!(alarms[0].alarm(), AlarmType::Nospace);
}
