//! `polis bench api`, as short as it gets: that every operation is answered, and
//! that what is printed has its shape. Never how fast.

use e2e::{Scratch, run};
use serde_json::Value;

const OPS: [&str; 8] =
    ["ready", "create", "get", "list-100", "list-10000", "watch-fanout", "memory", "churn"];

fn number(figures: &Value, name: &str) -> f64 {
    figures[name].as_f64().unwrap_or_else(|| panic!("{name} in {figures}"))
}

#[test]
fn every_operation_is_measured_and_nothing_is_left() {
    let scratch = Scratch::new("bench-api");
    let data = scratch.path().display().to_string();
    let mut args = vec!["bench", "api", "--no-peer", "--data", &data, "--output", "json"];
    args.extend(["--duration", "300ms", "--rounds", "1", "--clients", "4", "--watchers", "3"]);
    args.extend(["--memory-objects", "100"]);
    let output = run(&args);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert!(said.is_empty(), "whoever reads JSON is told nothing beside it: {said}");
    assert_eq!(std::fs::read_dir(scratch.path()).expect("a folder").count(), 0, "all is removed");
    let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let runs = report["runs"].as_array().expect("runs");
    let found: Vec<_> = runs.iter().map(|run| run["op"].as_str().expect("a name")).collect();
    assert_eq!(found, OPS);
    assert!(report["reference_of"].as_str().is_some_and(|text| text.contains("another machine")));
    for run in runs {
        // What ran elsewhere is shown, and nothing is made of it.
        assert!(run["peer"].is_null() && run["ratio"].is_null(), "{run}");
        let polis = &run["polis"];
        match run["op"].as_str() {
            Some("ready") => assert!(number(polis, "ready_s") > 0.0),
            Some("memory" | "churn") => assert!(number(polis, "resident_bytes") > 1e6),
            Some("watch-fanout") => assert!(number(polis, "watches_ended") < 1.0, "{run}"),
            _ => assert!(number(polis, "cpu_us") >= 0.0),
        }
    }
}
