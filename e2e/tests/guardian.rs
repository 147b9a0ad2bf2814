//! `polis guardian` beside real MariaDBs: it makes them a group, has another
//! lead when the leader is killed, and takes the old one back.

use std::{process::Output, time::Duration};

use e2e::{Running, polis, run, wait_for};
use testkit::Replicas;

const CITIES: [&str; 3] = ["east", "south", "west"];
const PATIENCE: Duration = Duration::from_secs(180);

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

    /// Waits until somebody leads at this epoch or a later one, for whoever leads
    /// may falter too; gives their place and the epoch.
    fn led(&self, least: u64) -> (usize, u64) {
        wait_for("somebody leads", PATIENCE, || {
            let status = self.ask(&["status"]);
            let said = said(&status);
            let leads = said.lines().find_map(|line| line.split_once(" leads since epoch "));
            let (name, epoch) = leads?;
            let number: usize = name.strip_prefix("db-")?.parse().ok()?;
            let epoch: u64 = epoch.parse().ok()?;
            (epoch >= least).then_some((number - 1, epoch))
        })
    }

    /// Waits until so many rows are there: all that is acknowledged, and no more.
    fn holds(&self, at: usize, rows: &str, why: &str) {
        wait_for(why, PATIENCE, || (self.rows(at).as_deref() == Some(rows)).then_some(()));
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
    assert_eq!(group.led(1), (0, 1), "{}", said(&again));

    let mut command = std::process::Command::new(polis());
    let mut guardian = Running::spawn(command.args(["guardian", "run"]).args(&group.options));
    let leader = &group.servers[0];
    leader.query("CREATE DATABASE books").expect("acknowledged");
    leader.query("CREATE TABLE books.paid (id INT PRIMARY KEY)").expect("acknowledged");
    for id in 0..20 {
        leader.query(&format!("INSERT INTO books.paid VALUES ({id})")).expect("acknowledged");
    }
    leader.kill9();
    let (second, epoch) = group.led(2);
    assert_ne!(second, 0, "db-1 is dead");
    group.holds(second, "20", "what was acknowledged is there");
    // One whose answer was late may be there already.
    let insert = "INSERT IGNORE INTO books.paid VALUES (20)";
    wait_for("it takes writes", PATIENCE, || group.servers[second].query(insert).ok());

    leader.restart();
    // Also the last one that it answered, which it forgot when it crashed.
    group.holds(0, "21", "the old leader follows");
    let moved = wait_for("another leads when it is told to", PATIENCE, || {
        // A member that has only just come back may be wanted first.
        let moved = group.ask(&["fail-over"]);
        moved.status.success().then(|| String::from_utf8_lossy(&moved.stdout).into_owned())
    });
    let (third, epoch) = group.led(epoch + 1);
    assert_eq!(moved, format!("db-{} leads since epoch {epoch}\n", third + 1));
    group.holds(third, "21", "nothing is lost on the way");

    guardian.signal(rustix::process::Signal::TERM);
    assert!(guardian.wait(PATIENCE).success(), "{}", guardian.printed());
}
