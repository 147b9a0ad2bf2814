//! Five Galera nodes, one in each center: a city is lost or falls silent with
//! its nodes. The short form; `POLIS_GALERA_DRILLS` says how often for a report.

use e2e::{
    Estate, Networks,
    city::{self, CENTERS},
    free_base_port,
};
use testkit::{Galera, Seat};

/// As `docs/operate/databases.md` has them for a recovery of seconds.
const OPTIONS: &str = "evs.keepalive_period=PT0.3S;evs.inactive_check_period=PT0.3S;\
                       evs.join_retrans_period=PT0.3S;evs.suspect_timeout=PT1S;\
                       evs.install_timeout=PT3S";

/// Which database, and which node of it is in which center.
fn options(galera: &Galera) -> Vec<String> {
    let nodes = CENTERS.iter().zip(galera.nodes()).map(|(center, node)| {
        let (address, file) = (node.address(), node.pid_file());
        format!("--database-node={center}={address}={}", file.display())
    });
    // They offer no TLS, which is asked for beyond loopback unless the URL says so.
    let database = galera.empty_database("estate");
    let database = format!("--database={database}?ssl-mode=disabled");
    [database].into_iter().chain(nodes).collect()
}

#[test]
fn a_city_is_lost_with_its_nodes_of_the_database_and_service_comes_back() {
    let galera = Galera::start_with(CENTERS.len(), OPTIONS);
    let options = options(&galera);
    let options: Vec<_> = options.iter().map(String::as_str).collect();
    let estate = Estate::up_with("up-galera", "2+2+1", &options);
    let mut seen = Vec::new();
    for _ in 0..city::drills("POLIS_GALERA_DRILLS") {
        seen.push(city::lose(&estate, "kill", "east"));
        for at in city::nodes_of("east") {
            assert!(galera.node(at).query("SELECT 1").is_err(), "it died with its center");
            galera.restart(at);
        }
    }
    // What is lost is measured here, and not promised.
    city::sum_up("five Galera nodes", &seen);

    let last = CENTERS.len() - 1;
    lose_node(&estate, "kill", last);
    assert!(galera.node(last).query("SELECT 1").is_err(), "it was killed");
}

/// A node by itself: its center stays where it is.
fn lose_node(estate: &Estate, how: &str, at: usize) {
    let report = estate.drill(&[how, "database-node", CENTERS[at]]);
    let drill = &report["drills"][0];
    println!("a node was lost; recovered: {}; lost {}", drill["rto_ms"], drill["lost"]);
    for nothing in ["doubled", "unresolved"] {
        assert_eq!(drill[nothing], 0, "{nothing}: {report:#}");
    }
    assert_eq!(drill["aborted"], false, "{report:#}");
}

#[test]
fn a_city_falls_silent_with_its_nodes_of_the_database_and_service_comes_back() {
    assert!(
        rustix::process::geteuid().is_root(),
        "network namespaces need root: run as root, or without this test by \
         `--skip a_city_falls_silent`"
    );
    let networks = Networks::prepare("silent-galera");
    let seat = |[_, address, namespace]: &[String; 3]| Seat {
        namespace: Some(namespace.clone()),
        address: address.clone(),
    };
    let seats: Vec<_> = networks.places().iter().map(seat).collect();
    let galera = Galera::start_in(&seats, OPTIONS);
    let options = options(&galera);
    let more: Vec<_> =
        ["--network", "namespaces"].into_iter().chain(options.iter().map(String::as_str)).collect();
    let mut estate = Estate::start_with(networks.data(), free_base_port(), "2+2+1", &more);
    let mut seen = Vec::new();
    for _ in 0..city::drills("POLIS_GALERA_DRILLS") {
        let before = left(&galera);
        seen.push(city::lose(&estate, "silence", "east"));
        for at in city::nodes_of("east") {
            galera.await_back(at);
        }
        assert!(left(&galera) > before, "the other nodes went on without those that were silent");
    }
    city::sum_up("five Galera nodes, silent", &seen);

    let before = left(&galera);
    lose_node(&estate, "silence", 0);
    galera.await_back(0);
    assert!(left(&galera) > before, "the others went on without it");
    estate.stop();
}

/// How often a node in the west has seen the group change.
fn left(galera: &Galera) -> u64 {
    let west = galera.node(CENTERS.len() - 1);
    let rows = west.query("SHOW STATUS LIKE 'wsrep_cluster_conf_id'").expect("it is never cut off");
    rows[0][1].parse().expect("a number")
}
