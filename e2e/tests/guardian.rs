//! `polis guardian` beside real MariaDBs: it makes them a group, has another
//! lead when the leader is killed, and takes the old one back.

use std::{process::Output, time::Duration};

use e2e::{Running, polis, run, wait_for};
use testkit::Replicas;

const CITIES: [&str; 3] = ["east", "south", "west"];
const PATIENCE: Duration = Duration::from_secs(60);

struct Group {
    servers: Replicas,
    /// The options of every command.
    options: Vec<String>,
}

fn said(output: &Output) -> String {
    let texts = [&output.stdout, &output.stderr];
    texts.map(|text| String::from_utf8_lossy(text).into_owned()).concat()
}

// === impl Group ===

impl Group {
    fn start() -> Group {
        let servers = Replicas::start(CITIES.len());
        let mut options = vec!["--login".into(), "mysql://root@127.0.0.1/mysql".into()];
        for (at, (server, city)) in servers.iter().zip(CITIES).enumerate() {
            let member = format!("db-{}={city}=127.0.0.1:{}", at + 1, server.port());
            options.extend(["--member".into(), member]);
        }
        Group { servers, options }
    }

    fn ask(&self, words: &[&str]) -> Output {
        let options = self.options.iter().map(String::as_str);
        run(&["guardian"]
            .into_iter()
            .chain(words.iter().copied())
            .chain(options)
            .collect::<Vec<_>>())
    }

    /// Waits until somebody leads at this epoch, and gives their place.
    fn led(&self, epoch: u64) -> usize {
        wait_for("somebody leads", PATIENCE, || {
            let status = self.ask(&["status"]);
            let said = said(&status);
            let leads = format!(" leads since epoch {epoch}");
            let line = said.lines().find_map(|line| line.strip_suffix(&leads))?;
            line.strip_prefix("db-")?.parse::<usize>().ok().map(|number| number - 1)
        })
    }

    fn rows(&self, at: usize) -> Option<String> {
        let rows = self.servers[at].query("SELECT COUNT(*) FROM books.paid").ok()?;
        rows.first()?.first().cloned()
    }
}

#[test]
fn a_killed_leader_is_followed_and_comes_back_as_a_member() {
    let group = Group::start();
    let nobody = group.ask(&["status"]);
    assert!(!nobody.status.success() && said(&nobody).contains("no member knows of a group"));
    let unnamed = run(&["guardian", "status"]);
    assert!(said(&unnamed).contains("--member: name every member"), "{}", said(&unnamed));

    let founded = group.ask(&["found", "db-1"]);
    assert_eq!(said(&founded), "db-1 leads since epoch 1\n");
    let again = group.ask(&["found", "db-2"]);
    assert!(!again.status.success(), "{}", said(&again));
    assert_eq!(group.led(1), 0, "{}", said(&again));

    let mut command = std::process::Command::new(polis());
    let mut guardian = Running::spawn(command.args(["guardian", "run"]).args(&group.options));
    let leader = &group.servers[0];
    leader.query("CREATE DATABASE books").expect("acknowledged");
    leader.query("CREATE TABLE books.paid (id INT PRIMARY KEY)").expect("acknowledged");
    for id in 0..20 {
        leader.query(&format!("INSERT INTO books.paid VALUES ({id})")).expect("acknowledged");
    }
    leader.kill9();
    let second = group.led(2);
    assert_ne!(second, 0, "db-1 is dead");
    assert_eq!(group.rows(second).as_deref(), Some("20"), "what was acknowledged is there");
    let insert = "INSERT INTO books.paid VALUES (20)";
    group.servers[second].query(insert).expect("it takes writes");

    leader.restart();
    // Also the last one that it answered, which it forgot when it crashed.
    let follows = || (group.rows(0).as_deref() == Some("21")).then_some(());
    wait_for("the old leader follows", PATIENCE, follows);
    let moved = wait_for("another leads when it is told to", PATIENCE, || {
        // A member that has only just come back may be wanted first.
        let moved = group.ask(&["fail-over"]);
        moved.status.success().then(|| String::from_utf8_lossy(&moved.stdout).into_owned())
    });
    let third = group.led(3);
    assert_eq!(moved, format!("db-{} leads since epoch 3\n", third + 1));
    assert_eq!(group.rows(third).as_deref(), Some("21"));

    guardian.signal(rustix::process::Signal::TERM);
    assert!(guardian.wait(PATIENCE).success(), "{}", guardian.printed());
}
