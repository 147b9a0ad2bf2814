//! Five MariaDBs, one in each center, of which one leads and is watched by
//! guardians: the city that it is in is lost, and no payment. The short form;
//! `POLIS_REPLICAS_DRILLS` says how often for a report.

use std::time::Duration;

use e2e::{
    Estate,
    city::{self, CENTERS},
    run, wait_for,
};
use testkit::Replicas;

const LOGIN: &str = "mysql://root@127.0.0.1/mysql";
const PATIENCE: Duration = Duration::from_secs(180);

struct Group {
    servers: Replicas,
    /// Of `polis guardian`.
    options: Vec<String>,
}

// === impl Group ===

impl Group {
    /// The first of them leads, and whoever pays may write there.
    fn start() -> Group {
        let servers = Replicas::start(CENTERS.len());
        let members = servers.iter().enumerate().map(|(at, server)| {
            let (center, city) = (CENTERS[at], city::city_of(at));
            format!("--member={center}={city}=127.0.0.1:{}", server.port())
        });
        let options = [format!("--login={LOGIN}")].into_iter().chain(members).collect();
        let group = Group { servers, options };
        assert_eq!(
            group.ask(&["found", CENTERS[0]]),
            format!("{} leads since epoch 1\n", CENTERS[0])
        );
        group.servers.make_user(0, "polis", "estate").expect("acknowledged");
        group
    }

    fn ask(&self, words: &[&str]) -> String {
        let options = self.options.iter().map(String::as_str);
        let args: Vec<_> =
            ["guardian"].into_iter().chain(words.iter().copied()).chain(options).collect();
        let output = run(&args);
        let texts = [&output.stdout, &output.stderr];
        texts.map(|text| String::from_utf8_lossy(text).into_owned()).concat()
    }

    /// Who leads, once all members in other cities acknowledge to it.
    fn leader(&self) -> usize {
        wait_for("the group is whole", PATIENCE, || {
            let said = self.ask(&["status"]);
            let leads = said.lines().find_map(|line| line.split_once(" leads since epoch "))?;
            let at = CENTERS.iter().position(|center| *center == leads.0)?;
            let acknowledge = "SHOW GLOBAL STATUS LIKE 'Rpl_semi_sync_master_clients'";
            let rows = self.servers[at].query(acknowledge).ok()?;
            let others = CENTERS.len() - city::nodes_of(city::city_of(at)).len();
            (rows.first()?.get(1)? == &others.to_string()).then_some(at)
        })
    }

    fn url(&self) -> String {
        let servers: Vec<_> =
            self.servers.iter().map(|server| format!("127.0.0.1:{}", server.port())).collect();
        format!("mysql://polis@{}/estate", servers.join(","))
    }
}

#[test]
fn a_city_is_lost_with_the_leading_database_and_no_payment_is() {
    let group = Group::start();
    let nodes = CENTERS.iter().zip(group.servers.iter()).map(|(center, server)| {
        let (port, file) = (server.port(), server.pid_file());
        format!("--database-node={center}=127.0.0.1:{port}={}", file.display())
    });
    let nodes: Vec<String> = nodes.collect();
    let url = group.url();
    let more = ["--database", &url, "--guardian", LOGIN];
    let more: Vec<&str> = more.into_iter().chain(nodes.iter().map(String::as_str)).collect();
    let estate = Estate::up_with("up-replicas", "2+2+1", &more);
    let mut seen = Vec::new();
    for _ in 0..city::drills("POLIS_REPLICAS_DRILLS") {
        let city = city::city_of(group.leader());
        seen.push(city::lose(&estate, "kill", city));
        for at in city::nodes_of(city) {
            assert!(group.servers[at].query("SELECT 1").is_err(), "it died with its center");
            group.servers[at].restart();
        }
        assert_ne!(city::city_of(group.leader()), city, "another leads");
    }
    city::sum_up("a primary with replicas", &seen);
    assert!(seen.iter().all(|(lost, _)| *lost == 0), "nothing acknowledged is lost");
}
