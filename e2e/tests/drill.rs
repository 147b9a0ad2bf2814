//! Faults under load: nothing acknowledged is lost, service is back, and the
//! shards go home. The short form; `cargo xtask soak drills` is the long.

use std::{collections::BTreeSet, fs, process::Command};

use e2e::{Estate, clock_library, run};
use serde_json::Value;

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
    assert!(drill["rto_ms"]["total"].is_u64(), "service came back: {report:#}");
    report
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
fn slow_lines_and_slow_disks_lose_no_payment() {
    assert!(
        rustix::process::geteuid().is_root(),
        "namespaces and limits of disks need root: run as root, or without this test by \
         `--skip slow_lines`"
    );
    let mut estate = Estate::up_with("faults", "2+2+1", &["--network", "namespaces"]);
    let refused = estate.polis(&["drill", "skew", "center", "east-1", "--yes"]);
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(said.contains("PLS0711"), "its clock is this machine's: {said}");
    let refused = estate.polis(&["drill", "full-disk", "process", "store", "--yes"]);
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(said.contains("PLS0710"), "others use this disk too: {said}");
    drill(&estate, &["slow-line", "center", "south-1", "--lasts", "4"]);
    drill(&estate, &["slow-disk", "process", "store", "--lasts", "4"]);
    drill(&estate, &["kill", "process", "store"]);
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
    check_proof(&estate);
    // In order, so that its networks are removed.
    estate.stop();
}
