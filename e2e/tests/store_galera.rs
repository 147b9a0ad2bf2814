//! Replicas of the store over five nodes of MariaDB Galera, with nodes and
//! leaders killed under load. `cargo xtask soak store --minutes N` is the long
//! form.

mod fleet;

use std::time::Duration;

use e2e::{Store, wait_for};
use fleet::{Fleet, Work, let_run, soak};
use kv::{KeyRange, Kv as _, PutRequest, RangeRequest};
use testkit::Galera;
use tokio::time::Instant;

const REPLICAS: usize = 3;

#[test]
fn replicas_over_galera_lose_nothing_acknowledged_when_nodes_are_killed() {
    let galera = Galera::start(5);
    let database = galera.empty_database("store");
    let fleet = Fleet::start(&vec![database; REPLICAS]);
    let _ = fleet.leader();
    let work = Work::start(&fleet.urls(), 2);
    let mut marks = Vec::new();
    let rounds = soak().map_or(1, |length| length.as_secs().div_ceil(45));
    let_run(2);
    for round in 0..rounds {
        let leader = fleet.leader();
        marks.push(work.mark("leader killed"));
        fleet.kill9(leader);
        let_run(4);
        fleet.restart(leader);

        // The node that all replicas write to, as the first in their list.
        marks.push(work.mark("writing node killed"));
        galera.node(0).kill9();
        let_run(10);
        galera.restart(0);
        let_run(2);

        let leader = fleet.leader();
        marks.push(work.mark("leader paused"));
        fleet.pause(leader);
        let_run(4);
        fleet.resume(leader);
        let_run(1);

        let node = 1 + (round as usize) % 4;
        marks.push(work.mark("another node paused"));
        galera.node(node).pause();
        let_run(8);
        galera.node(node).resume();
        let_run(3);
    }
    let summary = work.end(&marks);
    println!("galera: {summary}");
}

/// What docs/operate/databases.md recommends.
const QUICK: &str = "evs.keepalive_period=PT0.3S;evs.inactive_check_period=PT0.3S;\
                     evs.join_retrans_period=PT0.3S;evs.suspect_timeout=PT1.5S;\
                     evs.install_timeout=PT3S";

/// Many times what was ever measured: beyond it they do not come back.
const WRITE_WITHIN: Duration = Duration::from_secs(300);

/// `cargo test -p e2e --test store_galera -- --nocapture writes_come_back`
/// prints how long nothing was written; how long that is, is no matter of right
/// or wrong.
#[tokio::test]
async fn writes_come_back_after_the_node_that_is_written_to_is_lost() {
    for (name, options) in [("default", ""), ("quick", QUICK)] {
        let galera = Galera::start_with(5, options);
        let database = galera.empty_database("lost");
        let store = Store::start("galera-lost", &[&format!("--database={database}")]);
        let client = kv_etcd::Client::connect(kv_etcd::Config::new(store.url(), None));
        let keyspace = client.expect("a client").keyspace("default").expect("a keyspace");
        let write = async || {
            let began = Instant::now();
            let written = async {
                while keyspace.put(PutRequest::new("k", "v")).await.is_err() {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            };
            tokio::time::timeout(WRITE_WITHIN, written).await.expect("writes come back");
            began.elapsed()
        };
        println!("{name}: first write after {:?}", write().await);
        let table = "CREATE TABLE lost.beside (id INT PRIMARY KEY, n INT) ENGINE=InnoDB";
        galera.node(0).query(table).expect("a table");
        // The second time it is a node that this store does not write to.
        for lost in [0, 4] {
            let before = write().await;
            galera.node(lost).kill9();
            let began = Instant::now();
            // What the database itself needs, at a node that stays.
            let url = galera.node(2).url();
            let beside = tokio::task::spawn_blocking(move || {
                let statement = "REPLACE INTO lost.beside VALUES (1, 1)";
                // Until the group knows who is left, it may be refused.
                wait_for("a commit", WRITE_WITHIN, || testkit::query(&url, statement).ok());
                began.elapsed()
            });
            let gap = write().await;
            let beside = beside.await.expect("no panic");
            println!(
                "{name}: node {lost} lost: {gap:?} without a write, {before:?} before; a commit \
                 beside it took {beside:?}"
            );
        }
        if std::env::var_os("POLIS_SHOW").is_some() {
            println!("{}", store.process.printed());
        }
    }
}

/// Two of five that are left do not know that they are alone; a person does.
#[tokio::test]
async fn writes_come_back_when_a_group_without_a_majority_is_told_to_go_on() {
    let galera = Galera::start_with(5, QUICK);
    let database = galera.empty_database("bootstrapped");
    let store = Store::start("galera-bootstrapped", &[&format!("--database={database}")]);
    let client = kv_etcd::Client::connect(kv_etcd::Config::new(store.url(), None));
    let keyspace = client.expect("a client").keyspace("default").expect("a keyspace");
    let write = async |key: &'static str| {
        while keyspace.put(PutRequest::new(key, "v")).await.is_err() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let written = tokio::time::timeout(WRITE_WITHIN, write("before")).await;
    written.expect("a group of five takes writes");
    for node in [0, 1, 2] {
        galera.node(node).kill9();
    }
    let written = tokio::time::timeout(WRITE_WITHIN, write("after")).await;
    written.expect("the two that are left are told to go on");
    let before =
        keyspace.range(RangeRequest::new(KeyRange::key("before"))).await.expect("an answer");
    assert_eq!(before.kvs.len(), 1, "what was acknowledged is there");
}
