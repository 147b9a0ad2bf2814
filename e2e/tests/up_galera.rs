//! Five Galera nodes, one in each center: a city is lost with its nodes. The
//! short form; `POLIS_GALERA_DRILLS` says how often for a report.

use e2e::{
    Estate,
    city::{self, CENTERS},
};
use testkit::Galera;

/// As `docs/operate/databases.md` has them for a recovery of seconds.
const OPTIONS: &str = "evs.keepalive_period=PT0.3S;evs.inactive_check_period=PT0.3S;\
                       evs.suspect_timeout=PT1S;evs.install_timeout=PT3S;evs.inactive_timeout=PT3S";

#[test]
fn a_city_is_lost_with_its_nodes_of_the_database_and_service_comes_back() {
    let galera = Galera::start_with(CENTERS.len(), OPTIONS);
    let database = galera.empty_database("estate");
    let nodes = CENTERS.iter().zip(galera.nodes()).map(|(center, node)| {
        let (port, file) = (node.port(), node.pid_file());
        format!("--database-node={center}=127.0.0.1:{port}={}", file.display())
    });
    let nodes: Vec<String> = nodes.collect();
    let more: Vec<&str> =
        ["--database", &database].into_iter().chain(nodes.iter().map(String::as_str)).collect();
    let estate = Estate::up_with("up-galera", "2+2+1", &more);
    let mut seen = Vec::new();
    for _ in 0..city::drills("POLIS_GALERA_DRILLS") {
        seen.push(city::lose(&estate, "east"));
        for at in city::nodes_of("east") {
            assert!(galera.node(at).query("SELECT 1").is_err(), "it died with its center");
            galera.restart(at);
        }
    }
    // What is lost is measured here, and not promised.
    city::sum_up("five Galera nodes", &seen);
}
