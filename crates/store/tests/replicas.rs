//! Three stores over one log: one leads, the others follow and take over.

mod common;
mod estate;

use std::{sync::Arc, time::Duration};

use engine::{Memory, Shared as _};
use estate::{Node, leader, leader_of, next, start, start_remembering, start_three, within};
use kv::{
    Compare, DeleteRequest, Error, KeyRange, Kv, LeaseId, Op, PutRequest, RangeRequest, Revision,
    Txn, WatchItem, WatchRequest, WatchStream,
};
use pb_etcd::etcdserverpb as pb;
use rt::Clock;
use store::{Config, Notebook, Store};

fn everything() -> KeyRange {
    KeyRange::prefix("")
}

fn range(serializable: bool) -> RangeRequest {
    RangeRequest { serializable, ..RangeRequest::new(everything()) }
}

async fn put(kv: &dyn Kv, key: &str) -> Result<Revision, Error> {
    kv.put(PutRequest::new(key.to_owned(), "v")).await.map(|(revision, _)| revision)
}

/// Until it is done; what is not known to be done is done again.
async fn put_at_last(kv: &dyn Kv, key: &str) -> Revision {
    within(async {
        loop {
            match put(kv, key).await {
                Ok(revision) => return revision,
                Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
            }
        }
    })
    .await
}

async fn watch(kv: &dyn Kv) -> WatchStream {
    let mut watch =
        within(kv.watch(WatchRequest::new(everything()).from(Revision(2)))).await.expect("a watch");
    let first = next(&mut watch).await;
    assert!(matches!(first, Ok(WatchItem::Created { .. })), "{first:?}");
    watch
}

/// The revisions that come, up to `last`.
async fn seen(watch: &mut WatchStream, last: Revision) -> Vec<Revision> {
    let mut seen = Vec::new();
    while seen.last() < Some(&last) {
        if let WatchItem::Events(batch) = next(watch).await.expect("the watch goes on") {
            seen.extend(batch.events.iter().map(|event| event.kv.mod_revision));
        }
    }
    seen
}

fn all_up_to(last: Revision) -> Vec<Revision> {
    (2..=last.0).map(Revision).collect()
}

async fn status(node: &Node) -> pb::StatusResponse {
    let channel = kv_etcd::connect::channel(&node.url, None).expect("a channel");
    let mut client = pb::maintenance_client::MaintenanceClient::new(channel);
    within(client.status(pb::StatusRequest {})).await.expect("a status").into_inner()
}

/// Its list of members, once it knows them all.
async fn all_three(node: &Node) -> Vec<pb::Member> {
    let channel = kv_etcd::connect::channel(&node.url, None).expect("a channel");
    let mut cluster = pb::cluster_client::ClusterClient::new(channel);
    within(async {
        loop {
            let request = pb::MemberListRequest::default();
            let list = cluster.member_list(request).await.expect("a list").into_inner();
            if list.members.len() == 3 {
                return list.members;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await
}

#[tokio::test]
async fn another_replica_takes_over_from_a_killed_leader_and_has_everything() {
    let engine = Memory::new();
    let mut nodes = start_three(&engine).await;
    for round in 0..2 {
        let before = put_at_last(&nodes[0].wire(), &format!("before {round}")).await;
        let dead = leader_of(&nodes, &engine).await;
        nodes.remove(dead).kill();
        let since = tokio::time::Instant::now();
        let after = put_at_last(&nodes[0].wire(), &format!("after {round}")).await;
        println!("writes again after {:?}", since.elapsed());
        assert!(after > before);
    }
    let all = within(nodes[0].wire().range(range(false))).await.expect("a range");
    assert_eq!(all.kvs.len(), 4);
}

#[tokio::test]
async fn a_leader_that_is_stopped_hands_over_at_once() {
    let engine = Memory::new();
    let mut nodes = start_three(&engine).await;
    let wire = nodes[0].wire();
    put_at_last(&wire, "k").await;
    let leading = leader_of(&nodes, &engine).await;
    let survivor = nodes[(leading + 1) % 3].wire();
    nodes.remove(leading).stop().await;
    // Not one write fails meanwhile.
    within(put(&survivor, "k")).await.expect("a put");
    let board = engine.look().await.expect("a board");
    assert_eq!(board.replicas.len(), 2, "it has left the board");
}

#[tokio::test]
async fn watchers_everywhere_see_everything_once_and_in_order_across_takeovers() {
    let engine = Memory::new();
    let mut nodes = start_three(&engine).await;
    put_at_last(&nodes[0].wire(), "first").await;
    let leading = leader_of(&nodes, &engine).await;
    let mut watches = Vec::new();
    for node in &nodes {
        watches.push((node.name.clone(), watch(&node.wire()).await));
    }
    let dead = nodes.remove(leading);
    let dead_name = dead.name.clone();
    let writer = nodes[0].wire();
    for n in 0..50 {
        put_at_last(&writer, &format!("k{n}")).await;
    }
    dead.kill();
    let mut last = Revision::ZERO;
    for n in 0..50 {
        last = put_at_last(&writer, &format!("k{n}")).await;
    }
    for (name, watch) in &mut watches {
        if *name != dead_name {
            assert_eq!(seen(watch, last).await, all_up_to(last), "{name}");
        }
    }
}

#[tokio::test]
async fn a_follower_passes_on_what_needs_the_leader_and_answers_the_rest() {
    let engine = Memory::new();
    let nodes = start_three(&engine).await;
    put_at_last(&nodes[0].wire(), "k").await;
    let leading = leader_of(&nodes, &engine).await;
    let follower = &nodes[(leading + 1) % 3];
    let wire = follower.wire();

    let revision = within(put(&wire, "a")).await.expect("a put");
    let found = within(wire.range(range(false))).await.expect("a range");
    assert_eq!((found.revision, found.kvs.len()), (revision, 2));
    let create = Txn::when(vec![Compare::absent("b")]).then(vec![Op::put("b", "v")]);
    assert!(within(wire.txn(create.clone())).await.expect("a txn").succeeded);
    assert!(!within(wire.txn(create)).await.expect("a txn").succeeded);
    let delete = DeleteRequest { range: KeyRange::key("b"), prev_kv: false };
    within(wire.delete(delete)).await.expect("a delete");
    let ttl = Duration::from_secs(60);
    let lease = within(wire.lease_grant(Some(LeaseId(7)), ttl)).await.expect("a lease");
    assert_eq!(within(wire.lease_keep_alive(lease.id)).await, Ok(ttl));
    assert_eq!(within(wire.lease_info(lease.id, true)).await.expect("a lease").granted, ttl);
    within(wire.lease_revoke(lease.id)).await.expect("revoked");
    assert_eq!(within(wire.lease_keep_alive(lease.id)).await, Err(Error::LeaseNotFound));
    within(wire.compact(revision)).await.expect("compacted");

    // The follower's own copy catches up by itself.
    within(async {
        while follower.kv.range(range(true)).await.expect("a range").revision < found.revision {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    assert_eq!(follower.kv.range(range(false)).await, Err(Error::NotLeader));
    assert_eq!(put(&*follower.kv, "k").await, Err(Error::NotLeader));
}

#[tokio::test]
async fn a_request_that_was_passed_on_is_not_passed_on_again() {
    let engine = Memory::new();
    let nodes = start_three(&engine).await;
    put_at_last(&nodes[0].wire(), "k").await;
    let leading = leader_of(&nodes, &engine).await;
    let channel =
        kv_etcd::connect::channel(&nodes[(leading + 1) % 3].url, None).expect("a channel");
    let mut client = pb::kv_client::KvClient::new(channel);
    let put = pb::PutRequest { key: "k".into(), ..Default::default() };
    let mut request = tonic::Request::new(put);
    request.metadata_mut().insert("polis-forwarded", "1".parse().expect("metadata"));
    let refused = within(client.put(request)).await.expect_err("refused");
    assert_eq!(refused.message(), "etcdserver: no leader");
}

#[tokio::test]
async fn a_leader_that_is_cut_off_from_the_log_never_answers_with_what_is_old() {
    let engine = Memory::new();
    let nodes = start_three(&engine).await;
    let old = put_at_last(&nodes[0].wire(), "k").await;
    let leading = leader_of(&nodes, &engine).await;
    let cut_off = &nodes[leading];
    assert_eq!(cut_off.kv.range(range(false)).await.expect("a range").revision, old);
    cut_off.line.cut();
    let new = put_at_last(&nodes[(leading + 1) % 3].wire(), "k").await;

    // It still believes that it leads, and is still asked.
    let answer = within(cut_off.kv.range(range(false))).await;
    assert_eq!(answer, Err(Error::NotLeader));
    let lagging = cut_off.kv.range(range(true)).await.expect("a serializable range");
    assert_eq!(lagging.revision, old);

    // What it had under way when it was cut off is lost or known, never both.
    let late = cut_off.kv.put(PutRequest::new("late", "v"));
    // That a compare fails is a read as well.
    let compare = Txn::when(vec![Compare::absent("k")]).then(vec![Op::put("k", "v")]);
    let compare = cut_off.kv.txn(compare);
    tokio::pin!(late, compare);
    assert!(futures::poll!(&mut late).is_pending() && futures::poll!(&mut compare).is_pending());
    cut_off.line.mend();
    let late = within(late).await;
    assert!(matches!(late, Err(Error::Unknown(_) | Error::NotLeader)), "{late:?}");
    let compare = within(compare).await;
    assert!(matches!(compare, Err(Error::Unknown(_) | Error::NotLeader)), "{compare:?}");
    within(async {
        while cut_off.kv.range(range(true)).await.is_ok_and(|found| found.revision < new) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    let found = within(cut_off.wire().range(range(false))).await.expect("a range");
    assert_eq!((found.revision, found.kvs.len()), (new, 1));
}

#[tokio::test]
async fn a_watch_that_wants_a_leader_ends_when_nobody_can_be_seen_to_lead() {
    let engine = Memory::new();
    let node = start(&engine, "store-a").await;
    put_at_last(&node.wire(), "k").await;
    let channel = kv_etcd::connect::channel(&node.url, None).expect("a channel");
    let mut client = pb::watch_client::WatchClient::new(channel);
    let mut watch = async |needs_leader: &'static str| {
        // It has nothing to say and goes on listening.
        let mut request = tonic::Request::new(futures::stream::pending());
        let value = needs_leader.parse().expect("metadata");
        request.metadata_mut().insert("hasleader", value);
        within(client.watch(request)).await.expect("a stream").into_inner()
    };
    let (mut needs, mut does_not) = (watch("true").await, watch("false").await);
    node.line.cut();
    let ended = within(needs.message()).await.expect_err("it ends");
    assert_eq!(ended.message(), "etcdserver: no leader");
    let quiet = tokio::time::timeout(Duration::from_millis(100), does_not.message()).await;
    assert!(quiet.is_err(), "{quiet:?}");
}

#[tokio::test]
async fn keyspaces_spread_over_replicas_that_stay() {
    const KEYSPACES: usize = 12;
    let engine = Memory::new();
    let first = start(&engine, "store-a").await;
    for n in 0..KEYSPACES {
        put_at_last(&first.keyspace(&format!("ledger-{n:02}")), "k").await;
    }
    let _second = start(&engine, "store-b").await;
    within(async {
        loop {
            let mut led_by_second = 0;
            for n in 0..KEYSPACES {
                let led = leader(&engine, &format!("ledger-{n:02}")).await == "store-b";
                led_by_second += usize::from(led);
            }
            if led_by_second >= KEYSPACES / 4 {
                return;
            }
            // Whoever asks the first meanwhile notices nothing.
            for n in 0..KEYSPACES {
                let keyspace = first.keyspace(&format!("ledger-{n:02}"));
                put(&keyspace, "k").await.expect("a put");
            }
        }
    })
    .await;
}

#[tokio::test]
async fn the_lead_goes_where_it_is_sent_and_members_are_the_replicas() {
    let engine = Memory::new();
    let nodes = start_three(&engine).await;
    put_at_last(&nodes[0].wire(), "k").await;
    let target = (leader_of(&nodes, &engine).await + 1) % 3;
    let asked = (target + 1) % 3;
    let mut members = Vec::new();
    for node in &nodes {
        members = all_three(node).await;
    }
    let member = members.iter().find(|member| member.name == nodes[target].name).expect("there");
    assert_eq!(member.client_ur_ls, [nodes[target].url.clone()]);

    let channel = kv_etcd::connect::channel(&nodes[asked].url, None).expect("a channel");
    let mut maintenance = pb::maintenance_client::MaintenanceClient::new(channel);
    let wrong = pb::MoveLeaderRequest { target_id: 1 };
    let refused = within(maintenance.move_leader(wrong)).await.expect_err("nobody");
    assert_eq!(refused.message(), "etcdserver: bad leader transferee");
    let right = pb::MoveLeaderRequest { target_id: member.id };
    within(maintenance.move_leader(right)).await.expect("moved");
    assert_eq!(leader_of(&nodes, &engine).await, target);
    let status = within(async {
        loop {
            let status = status(&nodes[asked]).await;
            if status.leader == member.id {
                return status;
            }
        }
    })
    .await;
    assert!(status.raft_term >= 2);
    within(put(&nodes[asked].wire(), "k")).await.expect("a put");
}

#[tokio::test]
async fn a_log_older_than_what_a_replica_has_seen_is_not_served() {
    let folder = std::env::temp_dir().join(format!("polis-replicas-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    let memory = Notebook::File(folder.join("high-water"));
    let engine = Memory::new();
    let node = start_remembering(&engine, "store-a", memory.clone()).await;
    for n in 0..10 {
        put_at_last(&node.wire(), &format!("k{n}")).await;
    }
    put_at_last(&node.keyspace("other"), "k").await;
    node.stop().await;

    // As after a backup was restored: a good log, only shorter.
    let older = Memory::new();
    let helper = start(&older, "store-a").await;
    put_at_last(&helper.wire(), "k0").await;
    put_at_last(&helper.keyspace("other"), "k").await;
    helper.stop().await;
    let node = start_remembering(&older, "store-a", memory).await;
    for serializable in [false, true] {
        let answer = within(node.kv.range(range(serializable))).await;
        assert_eq!(answer.map(|_| ()), Err(Error::Corrupt));
    }
    assert_eq!(within(put(&node.wire(), "k")).await, Err(Error::Corrupt));
    // What has lost nothing goes on.
    within(put(&node.keyspace("other"), "k")).await.expect("a put");
    std::fs::remove_dir_all(&folder).expect("removed");
}

#[tokio::test(start_paused = true)]
async fn a_change_of_leader_does_not_give_a_long_lease_all_its_time_again() {
    const HOUR: Duration = Duration::from_secs(3_600);
    let engine = Memory::new();
    let store = |name: &str, clock: Clock| {
        let config = Config { name: name.into(), ..common::config() };
        Store::build_on(Arc::new(engine.clone()), config, clock)
    };
    let (clock, hand) = Clock::manual();
    let first = store("store-a", clock).await.expect("built");
    let kv = first.handle("default").expect("a keyspace");
    let id = within(kv.lease_grant(None, HOUR)).await.expect("a lease").id;
    let renewed = within(kv.lease_grant(None, HOUR)).await.expect("a lease").id;
    hand.advance(3_000_000);
    put_at_last(&*kv, "any batch writes it down").await;
    put_at_last(&*kv, "and the next finds it written").await;
    assert_eq!(within(kv.lease_keep_alive(renewed)).await, Ok(HOUR));
    drop(first);

    let (clock, _hand) = Clock::manual();
    let second = store("store-b", clock).await.expect("built");
    let kv = second.handle("default").expect("a keyspace");
    put_at_last(&*kv, "it leads").await;
    let left = |id| within(kv.lease_info(id, false));
    assert_eq!(left(id).await.expect("a lease").remaining, Duration::from_secs(600));
    assert_eq!(left(renewed).await.expect("a lease").remaining, HOUR);
}
