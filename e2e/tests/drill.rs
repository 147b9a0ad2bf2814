//! Faults under load: nothing acknowledged is lost, service is back, and the
//! shards go home. The short form; `cargo xtask soak drills` is the long.

use std::{fs, process::Command};

use e2e::{Estate, run};
use serde_json::Value;

/// Runs one drill and checks what every drill must show.
fn drill(estate: &Estate, fault: &[&str]) -> Value {
    let load = ["--rate", "100", "--users", "200", "-o", "json", "--yes"];
    let args: Vec<_> = ["drill"].iter().chain(fault).chain(&load).copied().collect();
    let output = estate.polis(&args);
    let said = String::from_utf8_lossy(&output.stderr);
    let report: Value =
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {said}"));
    let drill = &report["drills"][0];
    assert_eq!(drill["fault"], fault.join(" ").replace("--direction ", ""));
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
    let estate = Estate::up("drill", "2+2+1");
    drill(&estate, &["kill", "city", "east"]);
    let refused = estate.polis(&["drill", "silence", "city", "east", "--yes"]);
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(said.contains("PLS0705"), "centers on one network cannot fall silent: {said}");
    let refused = estate.polis(&["drill", "kill", "city", "east"]);
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(said.contains("PLS0707"), "nobody typed the name back: {said}");
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
