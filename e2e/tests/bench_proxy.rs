//! `polis bench proxy`, as short as it gets: that every proxy carries every
//! protocol, and that what is printed has its shape. Never how fast.

use e2e::{Scratch, run};
use serde_json::Value;

const PEERS: [&str; 3] = ["envoy", "haproxy", "nginx"];

fn measured(name: &str, more: &[&str]) -> Value {
    let scratch = Scratch::new(name);
    let data = scratch.path().display().to_string();
    let mut args = vec!["bench", "proxy", "--data", &data, "--output", "json"];
    args.extend(["--duration", "200ms", "--rounds", "1", "--clients", "1,12"]);
    args.extend(PEERS.iter().flat_map(|peer| ["--peer", *peer]));
    args.extend(more);
    let output = run(&args);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert!(said.is_empty(), "whoever reads JSON is told nothing beside it: {said}");
    assert_eq!(std::fs::read_dir(scratch.path()).expect("a folder").count(), 0, "all is removed");
    serde_json::from_slice(&output.stdout).expect("JSON")
}

fn number(figures: &Value, name: &str) -> f64 {
    figures[name].as_f64().unwrap_or_else(|| panic!("{name} in {figures}"))
}

/// Each client has had an answer, and every answer was the right one: its unit,
/// its stamp, its length. How many fell into the stretch is the machine's affair.
fn has_served(figures: &Value, run: &Value) {
    assert!(number(figures, "judged") >= number(run, "clients"), "{figures}");
    assert!(number(figures, "per_s") >= 0.0, "{figures}");
    assert!(number(figures, "p50_us") <= number(figures, "p99_us"), "{figures}");
}

fn is_a_proxy(figures: &Value, run: &Value) {
    has_served(figures, run);
    assert!(number(figures, "cpu_us") >= 0.0);
    assert!(number(figures, "resident_bytes") > 1e6);
    for name in ["per_s", "cpu_us", "p50_us", "p99_us", "added_p50_us", "added_p99_us"] {
        assert!(figures["half"][name].is_f64(), "{name} in {figures}");
    }
}

#[test]
fn every_peer_carries_every_protocol_and_is_measured_alike() {
    let report = measured("bench-proxy", &["--tls", "none"]);
    for peer in PEERS {
        let version = report["versions"][peer].as_str().expect("each says its version");
        assert!(version.to_lowercase().contains("version"), "{version}");
    }
    let runs = report["runs"].as_array().expect("runs");
    let protocols = ["http1", "http2", "grpc", "tcp"];
    let wanted = protocols.iter().flat_map(|protocol| [(*protocol, 1), (*protocol, 12)]);
    let found: Vec<_> = runs
        .iter()
        .map(|run| (run["protocol"].as_str().expect("a name"), number(run, "clients") as u32))
        .collect();
    assert_eq!(found, wanted.collect::<Vec<_>>());
    for run in runs {
        assert_eq!((&run["tls"], &run["better"]), (&"none".into(), &"lower".into()));
        is_a_proxy(&run["polis"], run);
        PEERS.iter().for_each(|peer| is_a_proxy(&run["peers"][*peer], run));
        is_a_proxy(&run["ceilings"]["bytes"], run);
        if run["protocol"] != "tcp" {
            is_a_proxy(&run["ceilings"]["hyper"], run);
        }
        has_served(&run["direct"], run);
    }
}

#[test]
fn clients_are_known_by_their_certificates_where_that_is_asked() {
    let report = measured("bench-proxy-mtls", &["--tls", "mtls", "--workers", "2"]);
    let runs = report["runs"].as_array().expect("runs");
    assert_eq!(runs.len(), 8);
    for run in runs {
        assert_eq!(run["tls"], "mtls");
        has_served(&run["polis"], run);
        PEERS.iter().for_each(|peer| has_served(&run["peers"][*peer], run));
    }
}
