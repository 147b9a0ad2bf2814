//! The whole estate with its store and its ledgers' books on a real database:
//! seekdb, OceanBase's kernel. The short form; `polis drill --repeat` is the long.

use e2e::{Estate, Scratch, run};
use testkit::Seekdb;

#[test]
fn a_killed_city_loses_no_payment_with_store_and_books_on_a_database() {
    let database = Seekdb::shared().empty_database("estate");
    let estate = Estate::up_on("up-database", "2+2+1", &database);
    let report = estate.drill(&["kill", "city", "east"]);
    let drill = &report["drills"][0];
    for nothing in ["lost", "doubled", "unresolved"] {
        assert_eq!(drill[nothing], 0, "{nothing}: {report:#}");
    }
    assert_eq!(drill["acked"], drill["present"], "{report:#}");
    let invariants = drill["invariants"].as_object().expect("invariants are reported");
    assert!(invariants.values().all(|verdict| verdict != "violated"), "{report:#}");
    // Every lost shard paid again. That ten seconds in a row are as good as those
    // before is more than a busy machine can promise.
    assert_eq!(drill["aborted"], false, "{report:#}");
    assert!(drill["rto_ms"]["reroute"].is_u64(), "service came back: {report:#}");
    let written = "SELECT COUNT(*) FROM estate.polis_ledger_payment";
    let written = Seekdb::shared().query(written).expect("it may be asked");
    let written: u64 = written[0][0].parse().expect("a number");
    assert!(
        drill["acked"].as_u64().is_some_and(|acked| acked > 0 && acked <= written),
        "{written}"
    );
    println!("recovered on seekdb: {}", drill["rto_ms"]);
}

#[test]
fn a_database_that_cannot_be_used_is_refused_with_a_code() {
    let server = Seekdb::shared();
    let (port, dead) = (server.port(), testkit::FaultProxy::start(1).port());
    let refused = [
        ("PLS0120", format!("mysql://root:secret@127.0.0.1:{port}/estate")),
        ("PLS0121", format!("mysql://root@127.0.0.1:{dead}/estate")),
        ("PLS0122", format!("mysql://root@127.0.0.1:{port}/no_such_database")),
        ("PLS0122", format!("mysql://nobody@127.0.0.1:{port}/estate")),
    ];
    for (code, database) in refused {
        let data = Scratch::new("refused");
        let folder = data.join("data").display().to_string();
        let base_port = e2e::free_base_port().to_string();
        let output =
            run(&["up", "--data", &folder, "--base-port", &base_port, "--database", &database]);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && said.contains(code), "{database}: {said}");
    }
}
