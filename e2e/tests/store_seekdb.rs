//! Replicas of the store over seekdb, OceanBase's kernel, with faults of every
//! kind under load: nothing acknowledged is lost, and what clients saw could
//! have been one etcd. `cargo xtask soak store --minutes N` is the long form.

mod fleet;

use std::time::Duration;

use fleet::{Fleet, Work, let_run, soak};
use testkit::{FaultProxy, Flow, Odds, Seekdb};

const REPLICAS: usize = 3;

/// A commit in twelve meets a fault.
const ODDS: Odds = Odds {
    cut_before: 20,
    cut_after: 20,
    late: 10,
    swallow_before: 5,
    swallow_after: 5,
    delay: 20,
    delay_max: Duration::from_millis(300),
};

#[test]
fn replicas_over_seekdb_lose_nothing_acknowledged() {
    let seekdb = Seekdb::start();
    let _ = seekdb.empty_database("store");
    let proxies: Vec<_> = (0..REPLICAS).map(|_| FaultProxy::start(seekdb.port())).collect();
    let databases: Vec<_> = proxies.iter().map(|proxy| proxy.url("store")).collect();
    let fleet = Fleet::start(&databases);
    let _ = fleet.leader();
    let work = Work::start(&fleet.urls(), 1);
    let mut marks = Vec::new();
    let rounds = soak().map_or(1, |length| length.as_secs().div_ceil(35));
    let_run(2);
    for round in 0..rounds {
        let leader = fleet.leader();
        marks.push(work.mark("leader killed"));
        fleet.kill9(leader);
        let_run(4);
        fleet.restart(leader);

        for (index, proxy) in proxies.iter().enumerate() {
            proxy.strike_at_random(round * 10 + index as u64, ODDS);
        }
        let_run(5);
        proxies.iter().for_each(FaultProxy::calm);

        let leader = fleet.leader();
        marks.push(work.mark("leader paused"));
        fleet.pause(leader);
        let_run(4);
        fleet.resume(leader);
        let_run(1);

        let leader = fleet.leader();
        marks.push(work.mark("leader cut off from the database"));
        proxies[leader].set_flow(Flow::Stalled);
        let_run(4);
        proxies[leader].calm();
        let_run(1);

        marks.push(work.mark("database killed and started"));
        seekdb.restart();
        let_run(4);
    }
    let struck: u64 = proxies.iter().map(FaultProxy::struck).sum();
    let summary = work.end(&marks);
    println!("seekdb: {struck} commits struck; {summary}");
}
