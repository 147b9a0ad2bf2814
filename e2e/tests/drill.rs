//! Faults under load: nothing acknowledged is lost, service is back, and the
//! shards go home. The short form; `cargo xtask soak drills` is the long.

use std::{collections::BTreeSet, fs, process::Command};

use e2e::{Estate, Scratch, clock_library, run};
use serde_json::{Value, json};

/// Runs one drill and checks what every drill must show.
fn drill(estate: &Estate, fault: &[&str]) -> Value {
    let report = estate.drill(fault);
    let drill = &report["drills"][0];
    let named = drill["fault"].as_str().expect("a fault is named");
    assert!(named.starts_with(&fault[..3].join(" ")), "{named}");
    for nothing in ["lost", "doubled", "unresolved"] {
        assert_eq!(drill[nothing], 0, "{nothing}: {report:#}");
    }
    assert_eq!(drill["acked"], drill["present"], "{report:#}");
    assert!(drill["acked"].as_u64() > Some(1000), "{report:#}");
    let invariants = drill["invariants"].as_object().expect("invariants are reported");
    assert_eq!(invariants.len(), 11);
    assert!(invariants.values().all(|verdict| verdict != "violated"), "{report:#}");
    came_back(&report);
    report
}

/// Every unit's users were served again. How soon, and how well the ten seconds
/// after, is the report's to tell: a busy machine may have no ten such seconds.
fn came_back(report: &Value) {
    let drill = &report["drills"][0];
    assert_eq!(drill["aborted"], false, "{report:#}");
    let number = |value: &Value| value.as_u64().expect("a number");
    let healed = number(&drill["injected"]["healed_us"]) / 1_000_000;
    let seconds = drill["seconds"].as_array().expect("seconds").iter();
    let after = seconds.filter(|line| number(&line["second"]) >= healed);
    let served = after.filter(|line| number(&line["in_time"]) + number(&line["late"]) > 0);
    let units: BTreeSet<_> = served.filter_map(|line| line["unit"].as_str()).collect();
    assert_eq!(units.len(), 5, "service came back in {units:?}: {report:#}");
}

/// The last report checks out, and no longer once a byte of its history differs.
fn check_proof(estate: &Estate) {
    let dir = estate.data.join("reports");
    let chain = fs::read_to_string(dir.join("chain.jsonl")).expect("a chain");
    let link: Value = serde_json::from_str(chain.lines().last().expect("a link")).expect("JSON");
    let name = |at: usize| dir.join(link["files"][at]["name"].as_str().expect("a name"));
    let (report, history) = (name(0).display().to_string(), name(2));
    let verified = run(&["drill", "verify", &report]);
    let said = String::from_utf8_lossy(&verified.stdout);
    assert!(verified.status.success() && said.contains("checks out"), "{verified:?}");
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/reference/verify_drill.py");
    let outside = Command::new("python3").args([script, &report]).output().expect("run python3");
    assert!(outside.status.success(), "{outside:?}");

    let text = fs::read_to_string(&history).expect("a history");
    fs::write(&history, text.replacen("\"acked\"", "\"refused\"", 1)).expect("write");
    let verified = run(&["drill", "verify", &report]);
    let said = String::from_utf8_lossy(&verified.stderr);
    assert!(said.contains("PLS0708") && said.contains("lines 1 and 1000"), "{said}");
    assert!(said.contains("acked is"), "the figures no longer follow: {said}");
    let outside = Command::new("python3").args([script, &report]).output().expect("run python3");
    assert!(!outside.status.success(), "{outside:?}");
}

#[test]
fn a_killed_city_loses_no_payment_and_comes_back() {
    let library = clock_library().display().to_string();
    let estate = Estate::up_with("drill", "2+2+1", &["--clock-library", &library]);
    drill(&estate, &["kill", "city", "east"]);
    let report = drill(&estate, &["skew", "center", "east-1", "--lasts", "4"]);
    // Days end while tests run, but not eight of them.
    let [wrong, right] = ["rz01", "rz03"].map(|unit| days(&estate, &report, unit));
    assert!(!wrong.is_subset(&right), "its clock was wrong for a while: {wrong:?}");
    assert!(right.is_subset(&wrong) || right.len() == 2, "and no other: {right:?}");
    let refused = estate.polis(&["drill", "silence", "city", "east", "--yes"]);
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(said.contains("PLS0705"), "centers on one network cannot fall silent: {said}");
    let refused = estate.polis(&["drill", "kill", "city", "east"]);
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(said.contains("PLS0707"), "nobody typed the name back: {said}");
}

#[test]
fn one_process_of_a_center_is_killed_or_paused_and_no_payment_is_lost() {
    let estate = Estate::up("drill-process", "2+2+1");
    // The edge is in the server; what hangs is ended by its center's agent.
    for (fault, name, edges) in [
        ("kill", "east-1/ledger", json!([])),
        ("pause", "west-1/ledger", json!([])),
        ("pause", "south-1/server", json!([2])),
    ] {
        let report = drill(&estate, &[fault, "process", name]);
        assert_eq!(report["drills"][0]["injected"]["dead_edges"], edges, "{report:#}");
    }
    for (scope, name) in [("process", "east-1/nobody"), ("database-node", "east-1")] {
        let refused = estate.polis(&["drill", "kill", scope, name, "--yes"]);
        let said = String::from_utf8_lossy(&refused.stderr);
        assert!(!refused.status.success(), "{said}");
        assert!(said.contains("PLS0702") && said.contains("east-1/ledger"), "{said}");
    }
}

/// Days on which a unit made the payments of a drill, by its own clock.
fn days(estate: &Estate, report: &Value, unit: &str) -> BTreeSet<String> {
    let history = report["drills"][0]["files"]["history"].as_str().expect("a history");
    let history = fs::read_to_string(estate.data.join("reports").join(history)).expect("read it");
    let made = history.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
    let made = made.filter(|record| record["unit"] == unit && record["outcome"] == "acked");
    let day = |record: Value| {
        let path = format!("/v1/payments/{}", record["id"].as_str().expect("an id"));
        let answer = estate.edge(1, "GET", &path, &[], "");
        let payment: Value = serde_json::from_str(&answer.body).expect("a payment");
        payment["committed_at"].as_str().expect("a time")[..10].to_owned()
    };
    // Every tenth: a few for each second.
    made.step_by(10).map(day).collect()
}

#[test]
fn slow_and_long_lines_and_slow_disks_lose_no_payment() {
    assert!(
        rustix::process::geteuid().is_root(),
        "namespaces and limits of disks need root: run as root, or without this test by \
         `--skip slow_and_long`"
    );
    let mut estate = Estate::up_with("faults", "2+2+1", &["--network", "namespaces"]);
    let refused = estate.polis(&["drill", "skew", "center", "east-1", "--yes"]);
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(said.contains("PLS0711"), "its clock is this machine's: {said}");
    let refused = estate.polis(&["drill", "full-disk", "process", "store", "--yes"]);
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(said.contains("PLS0710"), "others use this disk too: {said}");
    drill(&estate, &["slow-line", "center", "south-1", "--lasts", "4"]);
    let long = ["--to", "south,west,store", "--ms", "30", "--jitter-ms", "5", "--lasts", "6"];
    let delay = [&["delay", "city", "east"][..], &long].concat();
    // A center that this machine lets stand still for a second is lost, however
    // long its lines: where lines cost it, it is lost every time.
    let mut reports = (0..3).map(|_| drill(&estate, &delay));
    let report = reports.find(|report| report["drills"][0]["map"] == serde_json::json!([]));
    let report = report.expect("nothing moved");
    let drill_of = &report["drills"][0];
    assert_eq!(drill_of["affected_errors"], 0, "{report:#}");
    // There and back, to the store and perhaps to a payer's unit.
    assert!(drill_of["slowest_ms"].as_u64() > Some(60), "it was a long line: {report:#}");
    drill(&estate, &["slow-disk", "process", "store", "--lasts", "4"]);
    drill(&estate, &["kill", "process", "store"]);
    estate.stop();
}

/// A file system of its own for the store of an estate.
struct SmallDisk(Scratch);

impl SmallDisk {
    fn new(name: &str) -> SmallDisk {
        let scratch = Scratch::new(name);
        let store = scratch.join("data/store");
        fs::create_dir_all(&store).expect("create a folder");
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=192m", "tmpfs"]).arg(&store);
        assert!(mount.status().expect("run mount").success());
        SmallDisk(scratch)
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Whoever had files there is gone, or goes with this process.
        let _ = Command::new("umount").arg("-l").arg(self.0.join("data/store")).status();
    }
}

#[test]
fn what_needs_room_on_a_full_disk_is_refused_and_taken_once_there_is_some() {
    assert!(
        rustix::process::geteuid().is_root(),
        "a file system needs root: run as root, or without this test by \
         `--skip what_needs_room`"
    );
    let disk = SmallDisk::new("full-disk");
    let mut estate = Estate::start(disk.0.join("data"), e2e::free_base_port(), "2+2+1");
    let report = drill(&estate, &["full-disk", "process", "store", "--lasts", "3"]);
    let said = fs::read_to_string(estate.data.join("logs/store.log")).expect("the store's log");
    assert!(said.contains("No space left on device"), "it bit: {said}");
    let fault = &report["drills"][0]["injected"];
    let second = |name: &str| fault[name].as_u64().expect("a time") / 1_000_000;
    let meanwhile = second("at_us")..=second("ordered_us");
    let mut seconds = report["drills"][0]["seconds"].as_array().expect("seconds").iter();
    let refused = seconds.any(|line| {
        let at = line["second"].as_u64().expect("a second");
        meanwhile.contains(&at) && line["failed_tries"].as_u64() > Some(0)
    });
    assert!(refused, "payments need room too: {report:#}");
    let args = ["create", "configmap", "room", "--from-literal=is=there"];
    let created = estate.kubectl(&args);
    assert!(created.status.success(), "there is room again: {created:?}");
    estate.stop();
}

#[test]
fn a_city_that_falls_silent_or_is_not_heard_loses_no_payment() {
    assert!(
        rustix::process::geteuid().is_root(),
        "network namespaces need root: run as root, or without this test by \
         `--skip a_city_that_falls_silent`"
    );
    let mut estate = Estate::up_with("silence", "2+2+1", &["--network", "namespaces"]);
    drill(&estate, &["silence", "city", "east"]);
    drill(&estate, &["cut", "center", "east-1", "--direction", "out"]);
    drill(&estate, &["silence", "process", "west-1/ledger"]);
    check_proof(&estate);
    // In order, so that its networks are removed.
    estate.stop();
}
