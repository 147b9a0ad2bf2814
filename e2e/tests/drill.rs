//! A city is killed under load: nothing acknowledged is lost, service is back,
//! and the shards go home. The short form; `polis drill --repeat` is the long.

use e2e::Estate;
use serde_json::Value;

#[test]
fn a_killed_city_loses_no_payment_and_comes_back() {
    let estate = Estate::up("drill", "2+2+1");
    let args = ["drill", "kill", "city", "east", "--rate", "100", "--users", "200", "-o", "json"];
    let output = estate.polis(&args);
    let said = String::from_utf8_lossy(&output.stderr);
    let report: Value =
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {said}"));
    let drill = &report["drills"][0];
    assert_eq!(drill["fault"], "kill city east");
    for nothing in ["lost", "doubled", "unresolved"] {
        assert_eq!(drill[nothing], 0, "{nothing}: {report:#}");
    }
    assert_eq!(drill["acked"], drill["present"], "{report:#}");
    assert!(drill["acked"].as_u64() > Some(1000), "{report:#}");
    let invariants = drill["invariants"].as_object().expect("invariants are reported");
    assert_eq!(invariants.len(), 11);
    assert!(invariants.values().all(|verdict| verdict != "violated"), "{report:#}");
    assert!(drill["rto_ms"]["total"].is_u64(), "service came back: {report:#}");
}
