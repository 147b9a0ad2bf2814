//! A failover that waits for a person: shown with what it would do, approved,
//! carried out, and its shards go home again.

use std::{
    io::{BufRead, BufReader, Write},
    os::unix::net::UnixStream,
    process::Output,
    time::Duration,
};

use e2e::{Estate, wait_for};
use serde_json::{Value, json};

const POLICY: &str = r#"{
    "apiVersion": "polis.dev/v1alpha1",
    "kind": "FailoverPolicy",
    "metadata": {"name": "main"},
    "spec": {"city": "Manual", "center": "Manual", "paused": {"rule": "Manual", "afterMs": 10000}}
}"#;

const PATIENCE: Duration = Duration::from_secs(180);

/// Longer than all of it takes: nothing comes back by itself.
const DEAD_MS: u64 = 3_600_000;

fn json_of(output: &Output) -> Option<Value> {
    serde_json::from_slice(&output.stdout).ok()
}

fn apply(estate: &Estate, manifest: &str) {
    let path = estate.data.join("policy.json");
    std::fs::write(&path, manifest).expect("write the manifest");
    let applied = estate.kubectl(&["apply", "-f", &path.display().to_string()]);
    assert!(applied.status.success(), "{}", String::from_utf8_lossy(&applied.stderr));
}

/// Kills a center for as long as the answer is kept.
fn kill(estate: &Estate, center: &str) -> BufReader<UnixStream> {
    let mut socket = UnixStream::connect(estate.data.join("up.sock")).expect("reach polis up");
    let fault = json!({ "kind": "kill", "names": [center] });
    let inject = json!({ "do": "inject", "fault": fault, "heal_after_ms": DEAD_MS });
    writeln!(socket, "{inject}").expect("ask");
    let mut reader = BufReader::new(socket);
    let mut answer = String::new();
    reader.read_line(&mut answer).expect("an answer");
    assert!(answer.contains("ok"), "{answer}");
    reader
}

/// The center's failover of this phase, by `polis failover list`, once it says
/// what it does: a record waits from its first moment, and its plan follows.
fn failover(estate: &Estate, center: &str, phase: &str) -> Value {
    wait_for("a failover gets so far", PATIENCE, || {
        let list = json_of(&estate.polis(&["failover", "list", "-o", "json"]))?;
        let is_it = |one: &&Value| {
            let (spec, status) = (&one["spec"], &one["status"]);
            let is_planned = status["plan"].is_array();
            is_planned && status["phase"] == phase && spec["centers"] == json!([center])
        };
        list["failovers"].as_array()?.iter().find(is_it).cloned()
    })
}

fn shards_of(estate: &Estate, center: &str) -> String {
    wait_for("the estate answers", PATIENCE, || {
        let status = json_of(&estate.polis(&["status", "-o", "json"]))?;
        let mut centers = status["centers"].as_array()?.iter();
        let found = centers.find(|line| line["center"] == center)?;
        Some(found["serving"].as_str()?.to_owned())
    })
}

#[test]
fn a_failover_that_the_policy_wants_approved_waits_for_the_word() {
    let estate = Estate::up("failover", "2+2+1");
    apply(&estate, POLICY);
    let killed = kill(&estate, "south-2");
    let waits = failover(&estate, "south-2", "Waiting");
    assert_eq!(waits["spec"]["evidence"], "Center", "{waits:#}");
    assert_eq!(waits["status"]["plan"][0]["to"], "rz03", "the same city: {waits:#}");
    assert_eq!(waits["status"]["loads"][0]["shardsAfter"], 40, "{waits:#}");
    let name = waits["metadata"]["name"].as_str().expect("a name");
    let said = estate.polis(&["status"]);
    let said = String::from_utf8_lossy(&said.stdout);
    assert!(said.contains(&format!("{name}: waits for approval")), "{said}");
    assert_eq!(shards_of(&estate, "south-2"), "60-79", "nothing was moved");

    let unknown = estate.polis(&["failover", "approve", "failover-x"]);
    assert!(String::from_utf8_lossy(&unknown.stderr).contains("there is no failover failover-x"));
    assert!(estate.polis(&["failover", "approve", name]).status.success());
    wait_for("rz03 serves them", PATIENCE, || {
        (shards_of(&estate, "south-1") == "40-79").then_some(())
    });
    assert_eq!(failover(&estate, "south-2", "Done")["metadata"]["name"], name);
    let over = estate.polis(&["failover", "approve", name]);
    assert!(String::from_utf8_lossy(&over.stderr).contains("is over: approved, and moved"));

    drop(killed);
    wait_for("they are home", PATIENCE, || {
        (shards_of(&estate, "south-2") == "60-79").then_some(())
    });
}
