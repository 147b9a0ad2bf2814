//! Audits: damage and differences are found, named, and stop the use of keys.

mod common;
mod estate;

use std::time::Duration;

use bytes::Bytes;
use engine::Memory;
use estate::{Line, Node, leader_of, start_on, within};
use keyspace::{Change, Record};
use kv::{Error, Kv, PutRequest};
use pb_etcd::etcdserverpb::{self as pb, AlarmType, maintenance_client::MaintenanceClient};
use store::{AuditConfig, Config};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

const OFTEN: AuditConfig = AuditConfig { at_start: true, every: Some(Duration::from_millis(200)) };

fn audited(name: &str) -> Config {
    Config { audit: OFTEN, ..estate::config(name) }
}

async fn put(node: &Node, key: &str) -> Result<(), Error> {
    within(node.wire().put(PutRequest::new(key.to_owned(), "v"))).await.map(drop)
}

/// Another value than was written, with nothing else to tell it by.
fn turn(records: &mut [Record]) {
    for record in records {
        let Record::Txn { changes, .. } = record else { continue };
        for change in changes {
            if let Change::Put { key, value, .. } = change
                && key == "turned"
            {
                *value = Bytes::from_static(b"w");
            }
        }
    }
}

async fn metrics(node: &Node) -> String {
    let address = node.url.strip_prefix("http://").expect("a plain address");
    let mut tcp = TcpStream::connect(address).await.expect("connected");
    let request = "GET /metrics HTTP/1.1\r\nHost: store\r\nConnection: close\r\n\r\n";
    tcp.write_all(request.as_bytes()).await.expect("sent");
    let mut answer = String::new();
    within(tcp.read_to_string(&mut answer)).await.expect("answered");
    answer
}

async fn figure(node: &Node, outcome: &str) -> u64 {
    let name = format!("polis_store_audits_total{{outcome=\"{outcome}\"}} ");
    let page = metrics(node).await;
    let line = page.lines().find_map(|line| line.strip_prefix(&name));
    line.expect("the figure").parse().expect("a number")
}

async fn until_audited(node: &Node) {
    let before = figure(node, "sound").await;
    within(async {
        // One that began before is not enough.
        while figure(node, "sound").await < before + 2 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
}

async fn alarms(node: &Node) -> Vec<pb::AlarmMember> {
    let channel = kv_etcd::connect::channel(&node.url, None).expect("a channel");
    let answer = within(MaintenanceClient::new(channel).alarm(pb::AlarmRequest::default())).await;
    answer.expect("an answer").into_inner().alarms
}

async fn member_id(node: &Node) -> u64 {
    let channel = kv_etcd::connect::channel(&node.url, None).expect("a channel");
    let status = within(MaintenanceClient::new(channel).status(pb::StatusRequest {})).await;
    status.expect("a status").into_inner().header.expect("a header").member_id
}

/// Until the node is named in an alarm that all know, and nobody else is.
async fn until_named(nodes: &[Node], guilty: usize) {
    let id = member_id(&nodes[guilty]).await;
    for node in nodes {
        within(async {
            while put(node, "k").await != Err(Error::Corrupt) {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        })
        .await;
        let alarms = alarms(node).await;
        assert!(alarms.iter().all(|alarm| alarm.alarm() == AlarmType::Corrupt), "{alarms:?}");
        let named: Vec<_> = alarms.iter().map(|alarm| alarm.member_id).collect();
        assert_eq!(named, [id], "{}", node.name);
    }
}

async fn three(engine: &Memory) -> Vec<Node> {
    let mut nodes = Vec::new();
    for name in ["store-a", "store-b", "store-c"] {
        nodes.push(start_on(Line::to(engine), audited(name)).await);
        // A request waits for a leader, but not for a store that starts slowly.
        within(async { while put(&nodes[0], name).await.is_err() {} }).await;
    }
    nodes
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_that_agree_are_found_sound_whatever_is_written_meanwhile() {
    let engine = Memory::new();
    let nodes = three(&engine).await;
    let lease = within(nodes[1].wire().lease_grant(None, Duration::from_secs(600))).await;
    let lease = Some(lease.expect("a lease").id);
    for n in 0..100 {
        let put = PutRequest { lease, ..PutRequest::new(format!("k{}", n % 17), "v") };
        let (revision, _) = within(nodes[n % 3].wire().put(put)).await.expect("a put");
        if n % 30 == 20 {
            within(nodes[0].wire().compact(revision)).await.expect("compacted");
        }
        if n % 7 == 0 {
            within(nodes[0].wire().delete(kv::DeleteRequest {
                range: kv::KeyRange::Key(format!("k{}", n % 5).into()),
                prev_kv: false,
            }))
            .await
            .expect("a delete");
        }
    }
    for node in &nodes {
        until_audited(node).await;
        assert_eq!(figure(node, "wrong").await, 0);
        assert_eq!(alarms(node).await, []);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_that_was_fed_another_value_is_found_and_its_replica_named() {
    let engine = Memory::new();
    let nodes = three(&engine).await;
    let guilty = (leader_of(&nodes, &engine).await + 1) % 3;
    nodes[guilty].line.tail_through(turn);
    put(&nodes[guilty], "turned").await.expect("a put");
    until_named(&nodes, guilty).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_whose_database_tells_it_something_else_is_found_and_named() {
    let engine = Memory::new();
    let mut nodes = three(&engine).await;
    put(&nodes[0], "turned").await.expect("a put");
    // Whatever it reads agrees with itself, from the start.
    let lying = Line::to(&engine);
    lying.tail_through(turn);
    lying.load_through(turn);
    nodes.push(start_on(lying, audited("store-d")).await);
    until_named(&nodes, 3).await;
}
