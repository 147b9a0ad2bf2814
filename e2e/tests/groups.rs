//! Two groups of a unit under load: another release serves some shards, is
//! compared with the first, and everything goes back by one command; no
//! request fails.

use std::{process::Output, time::Duration};

use e2e::{Estate, Running, wait_for};
use rustix::process::Signal;
use serde_json::{Value, json};

const LIMIT: Duration = Duration::from_secs(180);

/// No payment may be unknown, and a busy machine is no reason for one.
const GIVE_UP: &str = "120s";

fn json_of(output: &Output) -> Value {
    let said = String::from_utf8_lossy(&output.stderr);
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {said}"))
}

fn good(output: &Output) {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// The shards of each group.
fn groups(estate: &Estate) -> (String, String) {
    let shown = json_of(&estate.polis(&["unit", "groups", "rz01", "-o", "json"]));
    let shards = |index: usize| shown["groups"][index]["shards"].as_str().expect("shards").into();
    (shards(0), shards(1))
}

#[test]
fn another_release_serves_some_shards_is_compared_and_goes_back_under_load() {
    let estate = Estate::up("groups", "2+2+1");
    for (refused, why) in [
        (["unit", "groups", "rz09"].as_slice(), "there is no unit rz09"),
        (&["unit", "groups", "rz01", "--return"], "has no group B"),
        (&["unit", "groups", "rz01", "--return", "--compare"], "cannot be used with"),
    ] {
        let output = estate.polis(refused);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && said.contains(why), "{said}");
    }
    good(&estate.polis(&["unit", "groups", "rz01", "--open"]));
    assert_eq!(groups(&estate), ("00-19".into(), String::new()));
    let output = estate.polis(&["unit", "groups", "rz01", "--to-b", "42"]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && said.contains("rz01 does not serve 42"), "{said}");

    // Another release for group B alone.
    let args = ["-n", "payments", "get", "pods", "-o", "json"];
    let release = |pod: &Value| {
        let label = &pod["metadata"]["labels"]["release"];
        let ready = pod["status"]["conditions"].as_array().is_some_and(|conditions| {
            conditions.iter().any(|one| one["type"] == "Ready" && one["status"] == "True")
        });
        (label == "next" && ready).then(|| pod["metadata"]["labels"]["polis.dev/unit"].clone())
    };
    let patch = json!({"spec": {"template": {"metadata": {"labels": {"release": "next"}}}}});
    let patch = patch.to_string();
    let args_patch = ["-n", "payments", "patch", "cafedeployment", "ledger-rz01-b"];
    good(&estate.kubectl(&[args_patch.as_slice(), &["--type=merge", "-p", &patch]].concat()));
    let next = wait_for("group B runs the next release", LIMIT, || {
        let pods = json_of(&estate.kubectl(&args));
        let pods = pods["items"].as_array().expect("pods").clone();
        let next: Vec<_> = pods.iter().filter_map(release).collect();
        (!next.is_empty()).then_some(next)
    });
    assert_eq!(next, [json!("rz01-b")], "and nobody else does");

    let data = estate.data.display().to_string();
    let args = ["load", "--rate", "50", "--users", "200", "--duration", "10m", "--check"];
    let more = ["--give-up", GIVE_UP, "--data", &data];
    let mut load = Running::start(&[args.as_slice(), &more].concat());
    load.wait_for_line("P99 ms", LIMIT);
    good(&estate.polis(&["unit", "groups", "rz01", "--to-b", "50%"]));
    assert_eq!(groups(&estate), ("10-19".into(), "00-09".into()));
    let compare = ["unit", "groups", "rz01", "--compare", "--over", "2s", "-o", "json"];
    let compared = wait_for("both groups serve users", LIMIT, || {
        let compared = json_of(&estate.polis(&compare));
        let requests = |index: usize| compared["groups"][index]["requests"].as_u64();
        (requests(0) > Some(0) && requests(1) > Some(0)).then_some(compared)
    });
    println!("{compared:#}");
    for group in [0, 1] {
        assert_eq!(compared["groups"][group]["errors"], 0, "{compared:#}");
        assert!(compared["groups"][group]["p50Ms"].as_f64().is_some(), "{compared:#}");
    }
    // All of it, so that group A could be given the release too; and back.
    good(&estate.polis(&["unit", "groups", "rz01", "--to-b", "100%"]));
    assert_eq!(groups(&estate), (String::new(), "00-19".into()));
    good(&estate.polis(&["unit", "groups", "rz01", "--return"]));
    assert_eq!(groups(&estate), ("00-19".into(), String::new()));
    // A group that still serves gives its shards back before it ends.
    good(&estate.polis(&["unit", "groups", "rz01", "--to-b", "00-02"]));
    good(&estate.polis(&["unit", "groups", "rz01", "--close"]));
    let list = json_of(&estate.polis(&["unit", "list", "-o", "json"]));
    assert_eq!(list["units"].as_array().map(Vec::len), Some(5), "{list:#}");
    let args = ["-n", "payments", "get", "cafedeployment", "-o", "name"];
    let left = estate.kubectl(&args);
    assert!(!String::from_utf8_lossy(&left.stdout).contains("rz01-b"), "its services are left");

    load.signal(Signal::INT);
    let status = load.wait(LIMIT);
    let said = load.printed();
    println!("{said}");
    assert!(status.success(), "{said}");
    assert!(said.contains(" 0 refused, 0 unknown, 0 not sent"), "{said}");
    assert!(said.contains(" 0 lost, 0 doubled: passed"), "{said}");
}
