//! Replicas of the store over five nodes of MariaDB Galera, with nodes and
//! leaders killed under load. `cargo xtask soak store --minutes N` is the long
//! form.

mod fleet;

use fleet::{Fleet, Work, let_run, soak};
use testkit::Galera;

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
    assert!(summary.answered > 200, "{summary}");
}
