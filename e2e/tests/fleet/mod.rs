//! Replicas of the store over one database, as processes, and what is done to
//! them; clients and watchers that write down all they are told.

mod said;
mod work;

use std::{sync::Mutex, time::Duration};

use e2e::{Running, Scratch, etcdctl, wait_for};
use rustix::process::Signal;
use serde_json::Value;

pub use work::Work;

const START_LIMIT: Duration = Duration::from_secs(180);

/// From a leader's end to another one's first answer; far above what is aimed
/// at, since a busy machine measures itself.
const LEADER_LIMIT: Duration = Duration::from_secs(180);

pub struct Fleet {
    replicas: Vec<Replica>,
    scratch: Scratch,
}

struct Replica {
    name: String,
    url: String,
    database: String,
    process: Mutex<Option<Running>>,
}

// === impl Fleet ===

impl Fleet {
    /// One replica for each URL, all of which lead to the same database.
    pub fn start(databases: &[String]) -> Fleet {
        let base_port = e2e::free_base_port();
        let replica = |(index, database): (usize, &String)| Replica {
            name: format!("replica-{index}"),
            url: format!("http://127.0.0.1:{}", base_port + index as u16),
            database: database.clone(),
            process: Mutex::new(None),
        };
        let replicas = databases.iter().enumerate().map(replica).collect();
        let fleet = Fleet { replicas, scratch: Scratch::new("fleet") };
        (0..databases.len()).for_each(|index| fleet.restart(index));
        fleet
    }

    pub fn urls(&self) -> Vec<String> {
        self.replicas.iter().map(|replica| replica.url.clone()).collect()
    }

    /// Starts one that was killed, and waits until it serves.
    pub fn restart(&self, index: usize) {
        let replica = &self.replicas[index];
        let folder = self.scratch.join(&replica.name).display().to_string();
        let mut process = Running::start(&[
            "store",
            "--database",
            &replica.database,
            "--data-dir",
            &folder,
            "--name",
            &replica.name,
            "--listen-client-urls",
            &replica.url,
            "--insecure",
        ]);
        process.wait_for_line("store serves", START_LIMIT);
        *replica.process.lock().expect("no holder panics") = Some(process);
    }

    pub fn kill9(&self, index: usize) {
        let process = self.replicas[index].process.lock().expect("no holder panics").take();
        drop(process.expect("a replica that runs is killed"));
    }

    pub fn pause(&self, index: usize) {
        self.signal(index, Signal::STOP);
    }

    pub fn resume(&self, index: usize) {
        self.signal(index, Signal::CONT);
    }

    /// Who leads the default keyspace, as soon as a replica that answers knows.
    pub fn leader(&self) -> usize {
        wait_for("a leader", LEADER_LIMIT, || {
            self.replicas.iter().find_map(|replica| {
                let endpoint = format!("--endpoints={}", replica.url);
                let args = [&endpoint, "--command-timeout=10s", "endpoint", "status", "-w", "json"];
                let output = etcdctl(&args);
                let said: Value = serde_json::from_slice(&output.stdout).ok()?;
                let leader = said[0]["Status"]["leader"].as_u64().filter(|id| *id != 0)?;
                self.replicas.iter().position(|other| self.member_id(other) == Some(leader))
            })
        })
    }

    fn member_id(&self, replica: &Replica) -> Option<u64> {
        let endpoint = format!("--endpoints={}", replica.url);
        let args = [&endpoint, "--command-timeout=10s", "endpoint", "status", "-w", "json"];
        let said: Value = serde_json::from_slice(&etcdctl(&args).stdout).ok()?;
        said[0]["Status"]["header"]["member_id"].as_u64()
    }

    fn signal(&self, index: usize, signal: Signal) {
        let process = self.replicas[index].process.lock().expect("no holder panics");
        process.as_ref().expect("a replica that runs is signalled").signal(signal);
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        for replica in &self.replicas {
            // A process that stands still is killed all the same.
            drop(replica.process.lock().map(|mut process| process.take()));
        }
    }
}

/// How long the long form goes on, if it is the long one: `cargo xtask soak
/// store --minutes N`.
pub fn soak() -> Option<Duration> {
    let minutes = std::env::var("POLIS_SOAK_MINUTES").ok()?.parse::<u64>().ok()?;
    Some(Duration::from_secs(minutes * 60))
}

#[expect(clippy::disallowed_methods, reason = "the time between faults, on a test's own thread")]
pub fn let_run(seconds: u64) {
    std::thread::sleep(Duration::from_secs(seconds));
}
