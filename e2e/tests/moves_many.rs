//! Shard after shard moves, from unit to unit, while payments flow: no request
//! fails, nothing is lost or doubled, and the map is what was ordered.
//!
//! `cargo xtask soak moves` is the long form; it also tells how long requests
//! were held, and how many a fence refused before. With `POLIS_SOAK_UNASKED=1`
//! edges are not asked for their acknowledgement of a map.

use std::time::Duration;

use e2e::{Estate, Running, request};
use rustix::process::Signal;
use serde_json::Value;

const MOVES: usize = 25;
const RATE: usize = 50;
const USERS: &str = "1000";
/// No request fails, however slow this machine is.
const GIVE_UP: &str = "120s";

const LAYOUT: &str = "2+2+1";
const CENTERS: u16 = 5;
const UNITS: usize = 5;
const SHARDS: usize = 100;
/// A stride without a common divisor with the number of shards.
const STRIDE: usize = 37;

const EDGE_ADMIN: u16 = 40;
const HOLD: &str = "polis_edge_hold_seconds";
const MISDIRECTED: &str = "polis_edge_misdirected_total ";

const CENTER_NAMES: [&str; CENTERS as usize] = ["east-1", "east-2", "south-1", "south-2", "west-1"];

/// How long requests were held, as the edges count it.
#[derive(Default)]
struct Held {
    /// Upper bounds in seconds, ascending, with how many were within.
    buckets: Vec<(f64, u64)>,
    /// Answers 421.
    misdirected: u64,
}

fn from_env(name: &str, default: usize) -> usize {
    let asked = std::env::var(name).ok().filter(|text| !text.is_empty());
    asked.map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name}={text}")))
}

fn unit(number: usize) -> String {
    format!("rz{:02}", number + 1)
}

#[test]
fn every_move_succeeds_and_no_request_fails() {
    let (moves, rate) = (from_env("POLIS_SOAK_MOVES", MOVES), from_env("POLIS_SOAK_RATE", RATE));
    let estate = Estate::up("moves-many", LAYOUT);
    if from_env("POLIS_SOAK_UNASKED", 0) > 0 {
        // Nobody can be asked who is not listed.
        let patch = r#"{"spec": {"edgeAdminAddress": null}}"#;
        for center in CENTER_NAMES {
            let patched = estate.kubectl(&["patch", "center", center, "--type=merge", "-p", patch]);
            assert!(patched.status.success(), "{patched:?}");
        }
    }
    let (data, shown_rate) = (estate.data.display().to_string(), rate.to_string());
    let args = ["load", "--rate", &shown_rate, "--users", USERS, "--duration", "24h", "--check"];
    let more = ["--give-up", GIVE_UP, "--data", &data];
    let mut load = Running::start(&[args.as_slice(), &more].concat());
    // The head of its table: from here on it pays.
    load.wait_for_line("P99 ms", Duration::from_secs(300));

    let mut owners: Vec<usize> = (0..SHARDS).map(|shard| shard * UNITS / SHARDS).collect();
    let before = Held::of(&estate);
    for turn in 0..moves {
        let shard = turn * STRIDE % SHARDS;
        let to = (owners[shard] + 1 + turn / SHARDS % (UNITS - 1)) % UNITS;
        let (name, target) = (shard.to_string(), unit(to));
        let moved = estate.polis(&["shard", "move", &name, "--to", &target, "-o", "json"]);
        let said = String::from_utf8_lossy(&moved.stderr);
        let order: Value = serde_json::from_slice(&moved.stdout)
            .unwrap_or_else(|error| panic!("move {turn}: {error}: {said}"));
        assert_eq!(order["status"]["phase"], "Succeeded", "move {turn}: {order:#}");
        owners[shard] = to;
        if (turn + 1) % SHARDS == 0 {
            println!("{} of {moves} moves", turn + 1);
        }
    }
    let held = Held::of(&estate).since(&before);
    println!("{held}");

    load.signal(Signal::INT);
    let status = load.wait(Duration::from_secs(600));
    let said = load.printed();
    let summary: Vec<_> = said.lines().rev().take(8).collect();
    println!("{}", summary.into_iter().rev().collect::<Vec<_>>().join("\n"));
    assert!(status.success(), "{said}");
    assert!(said.contains(" 0 refused, 0 unknown, 0 not sent"), "{said}");
    assert!(said.contains(" 0 lost, 0 doubled: passed"), "{said}");

    let list = estate.polis(&["shard", "list", "-o", "json"]);
    let list: Value = serde_json::from_slice(&list.stdout).expect("a list");
    let rows = list["shards"].as_array().expect("rows");
    for (shard, owner) in owners.iter().enumerate() {
        let row = rows.iter().find(|row| contains(&row["shards"], shard));
        let row = row.unwrap_or_else(|| panic!("shard {shard} in {list:#}"));
        assert_eq!((&row["state"], &row["unit"]), (&"Serving".into(), &unit(*owner).into()));
    }
}

/// Whether a set such as `0-3,7` holds it.
fn contains(set: &Value, shard: usize) -> bool {
    let number = |text: &str| text.parse::<usize>().expect("a shard");
    set.as_str().expect("a set").split(',').any(|part| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        (number(first)..=number(last)).contains(&shard)
    })
}

// === impl Held ===

impl Held {
    fn of(estate: &Estate) -> Held {
        let mut held = Held::default();
        for center in 0..CENTERS {
            let port = estate.base_port + EDGE_ADMIN + center;
            let page = request(port, "GET", "/metrics", &[], b"");
            for line in page.body.lines() {
                if let Some(count) = line.strip_prefix(MISDIRECTED) {
                    held.misdirected += count.trim().parse::<u64>().expect("a count");
                }
                let Some(rest) = line.strip_prefix(&format!("{HOLD}_bucket{{le=\"")) else {
                    continue;
                };
                let (bound, count) = rest.split_once("\"} ").expect("a bucket");
                let bound = bound.parse().unwrap_or(f64::INFINITY);
                let count: u64 = count.trim().parse().expect("a count");
                match held.buckets.iter_mut().find(|(known, _)| *known == bound) {
                    Some((_, known)) => *known += count,
                    None => held.buckets.push((bound, count)),
                }
            }
        }
        assert!(!held.buckets.is_empty(), "the edges tell how long requests are held");
        held
    }

    fn since(self, before: &Held) -> Held {
        let counts = self.buckets.iter().zip(&before.buckets);
        let buckets = counts.map(|((bound, now), (_, then))| (*bound, now - then)).collect();
        Held { buckets, misdirected: self.misdirected - before.misdirected }
    }
}

impl std::fmt::Display for Held {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let all = self.buckets.last().map_or(0, |(_, count)| *count);
        write!(f, "{all} requests held")?;
        for percent in [50, 99, 100] {
            let least = (all * percent).div_ceil(100);
            let within = self.buckets.iter().find(|(_, count)| *count >= least);
            if let Some((bound, _)) = within.filter(|_| all > 0) {
                write!(f, ", {percent} % at most {:.0} ms", bound * 1000.0)?;
            }
        }
        write!(f, "; {} were refused by a fence first", self.misdirected)
    }
}
