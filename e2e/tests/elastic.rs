//! A unit is rented and given back while payments flow: its share moves there
//! and back, the leader is killed in between, its place dies; no request fails
//! in what is planned, nothing is ever lost or doubled, and nothing is left.

use std::{
    collections::BTreeSet,
    io::{BufRead, BufReader, Write},
    os::unix::net::UnixStream,
    path::Path,
    process::Output,
    time::Duration,
};

use e2e::{Estate, Running, wait_for};
use rustix::process::{Pid, Signal};
use serde_json::{Value, json};

const RATE: &str = "50";
const LIMIT: Duration = Duration::from_secs(300);
/// No request fails, however slowly this machine finds a center lost.
const GIVE_UP: &str = "120s";

fn json_of(output: &Output) -> Value {
    let said = String::from_utf8_lossy(&output.stderr);
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {said}"))
}

/// As [`json_of`], of something that only looks. A center that is only just back
/// may not answer yet.
fn told(estate: &Estate, question: &[&str]) -> Value {
    wait_for("the estate answers", LIMIT, || {
        serde_json::from_slice(&estate.polis(question).stdout).ok()
    })
}

/// The lines of `polis shard list`.
fn lines(estate: &Estate) -> Vec<Value> {
    let list = told(estate, &["shard", "list", "-o", "json"]);
    list["shards"].as_array().expect("lines").clone()
}

/// Of a set such as `00-03,07`.
fn numbers(set: &Value) -> impl Iterator<Item = usize> {
    let number = |text: &str| text.parse::<usize>().expect("a shard");
    set.as_str().expect("a set").split(',').flat_map(move |part| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        number(first)..=number(last)
    })
}

/// The shards that the unit serves now.
fn shards_of(estate: &Estate, unit: &str) -> BTreeSet<usize> {
    let lines = lines(estate);
    let ours = lines.iter().filter(|line| line["unit"] == unit);
    ours.flat_map(|line| numbers(&line["shards"])).collect()
}

/// It goes up with every change of who serves the shard.
fn epoch_of(estate: &Estate, shard: usize) -> u64 {
    let lines = lines(estate);
    let line = lines.iter().find(|line| numbers(&line["shards"]).any(|other| other == shard));
    line.and_then(|line| line["epoch"].as_u64()).expect("an epoch")
}

fn rental(estate: &Estate) -> Value {
    told(estate, &["unit", "status", "rz06", "-o", "json"])
}

fn wait_for_phase(estate: &Estate, phase: &str) -> Value {
    wait_for(&format!("phase {phase}"), LIMIT, || {
        let rental = rental(estate);
        (rental["status"]["phase"] == phase).then_some(rental)
    })
}

/// Asks `polis up` for something.
fn control(data: &Path, request: &Value) -> (BufReader<UnixStream>, Value) {
    let mut socket = UnixStream::connect(data.join("up.sock")).expect("reach polis up");
    writeln!(socket, "{request}").expect("ask");
    let mut reader = BufReader::new(socket);
    let mut answer = String::new();
    reader.read_line(&mut answer).expect("an answer");
    assert!(answer.contains("ok"), "{answer}");
    let answer = serde_json::from_str(&answer).expect("JSON");
    (reader, answer)
}

fn leader(estate: &Estate) -> String {
    let args = ["-n", "polis-system", "get", "lease", "controllers", "-o", "json"];
    let lease = json_of(&estate.kubectl(&args));
    let holder = lease["spec"]["holderIdentity"].as_str().expect("a holder");
    holder.rsplit_once('-').expect("center and number").0.to_owned()
}

fn pay(estate: &Estate) -> Running {
    let data = estate.data.display().to_string();
    let args = ["load", "--rate", RATE, "--users", "200", "--duration", "24h", "--check"];
    let more = ["--give-up", GIVE_UP, "--data", &data];
    let mut load = Running::start(&[args.as_slice(), &more].concat());
    // The head of its table: from here on it pays.
    load.wait_for_line("P99 ms", LIMIT);
    load
}

/// Ends the load, which checks every payment.
fn settle(mut load: Running) -> String {
    load.signal(Signal::INT);
    let status = load.wait(LIMIT);
    let said = load.printed();
    println!("{said}");
    assert!(status.success(), "{said}");
    assert!(said.contains(" 0 lost, 0 doubled: passed"), "{said}");
    said
}

#[test]
fn a_unit_is_rented_and_returned_under_load_and_outlives_a_killed_leader() {
    let estate = Estate::up("elastic", "2+2+1");
    for (refused, why) in [
        (["unit", "rent", "rz06", "--in", "north-1"].as_slice(), "there is no center north-1"),
        (&["unit", "rent", "rz01", "--in", "east-1"], "there is a unit rz01 already"),
        (&["unit", "rent", "rz06", "--in", "east-1", "--from", "rz09"], "there is no unit rz09"),
        (&["unit", "rent", "rz06", "--in", "east-1", "--share", "0%"], "1% to 100%"),
        (&["unit", "rent", "rz06", "--in", "east-1", "--until", "soon"], "is no time like"),
        (&["unit", "return", "rz06"], "is not rented"),
    ] {
        let output = estate.polis(refused);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && said.contains(why), "{said}");
    }
    let dry = ["unit", "rent", "rz06", "--in", "south-1", "--share", "10%", "--dry-run"];
    let dry = json_of(&estate.polis(&[dry.as_slice(), &["-o", "json"]].concat()));
    assert_eq!(dry["units"]["rz06"]["after"]["shards"], 10, "{dry:#}");
    assert_eq!(json_of(&estate.polis(&["unit", "list", "-o", "json"]))["rentals"], json!([]));

    let before = shards_before(&estate);
    let load = pay(&estate);
    let args = ["unit", "rent", "rz06", "--in", "south-1", "--no-wait", "-o", "json"];
    json_of(&estate.polis(&args));
    let active = wait_for_phase(&estate, "Active");
    println!("{:#}", active["status"]);
    assert_eq!(active["status"]["shares"].as_array().map(Vec::len), Some(5), "{active:#}");
    assert_eq!(shards_of(&estate, "rz06").len(), 10);

    // In the middle of it, whoever carries it out dies; that center's users wait
    // for its failover, and none of them is refused. The end of the conversation
    // starts it again.
    let back = estate.polis(&["unit", "return", "rz06", "--no-wait"]);
    assert!(back.status.success(), "{}", String::from_utf8_lossy(&back.stderr));
    let kill = json!({ "kind": "kill", "names": [leader(&estate)] });
    let kill = json!({ "do": "inject", "fault": kill, "heal_after_ms": 60_000 });
    drop(control(&estate.data, &kill));
    let returned = wait_for_phase(&estate, "Returned");
    println!("{:#}", returned["status"]["history"]);
    wait_for("every shard is home", LIMIT, || (shards_before(&estate) == before).then_some(()));
    let said = settle(load);
    assert!(said.contains(" 0 refused, 0 unknown"), "{said}");
    nothing_is_left(&estate);
}

/// Who serves what, and whose home it is.
fn shards_before(estate: &Estate) -> Vec<(String, String, String)> {
    let mut owners = std::collections::BTreeMap::<_, Vec<String>>::new();
    for line in lines(estate) {
        let text = |name: &str| line[name].as_str().unwrap_or_default().to_owned();
        let key = (text("unit"), text("home"));
        let shards = numbers(&line["shards"]).map(|shard| format!("{shard:02}"));
        owners.entry(key).or_default().extend(shards);
    }
    let sorted = |((unit, home), mut shards): ((String, String), Vec<String>)| {
        shards.sort();
        (unit, home, shards.join(","))
    };
    owners.into_iter().map(sorted).collect()
}

/// The place, its processes, its unit and its part of the deployment are gone.
fn nothing_is_left(estate: &Estate) {
    let units = told(estate, &["unit", "list", "-o", "json"]);
    assert_eq!(units["units"].as_array().map(Vec::len), Some(5), "{units:#}");
    let args = ["-n", "payments", "get", "cafedeployment", "ledger", "-o", "json"];
    let ledger = json_of(&estate.kubectl(&args));
    assert_eq!(ledger["spec"]["topology"]["unitReplicas"].get("rz06"), None, "{ledger:#}");
    let (_, processes) = control(&estate.data, &json!({ "do": "list" }));
    assert!(!processes.to_string().contains("rz06"), "{processes:#}");
    let left = std::fs::read_dir(estate.data.join("places")).expect("the places").count();
    assert_eq!(left, 0, "files of the place are left");
    assert!(!estate.data.join("pki/units/rz06").exists(), "its identity is left");
}

/// The process of the rented place, while it runs.
fn place(estate: &Estate) -> Option<Pid> {
    let (_, processes) = control(&estate.data, &json!({ "do": "list" }));
    let processes = processes["ok"].as_array().expect("processes").iter();
    let place = processes.into_iter().find(|process| process["name"] == "rz06")?;
    Pid::from_raw(i32::try_from(place["pid"].as_i64()?).expect("a pid"))
}

#[test]
fn a_rented_place_that_dies_alone_is_taken_over_and_comes_back() {
    let estate = Estate::up("elastic-loss", "2+2+1");
    let args = ["unit", "rent", "rz06", "--in", "east-1", "--from", "rz03", "--share", "50%"];
    let rented = estate.polis(&args);
    assert!(rented.status.success(), "{}", String::from_utf8_lossy(&rented.stderr));
    let rented: BTreeSet<usize> = (40..50).collect();
    assert_eq!(shards_of(&estate, "rz06"), rented);
    let load = pay(&estate);
    let before = epoch_of(&estate, 40);
    let mut killed = None;
    wait_for("its shards are taken over", LIMIT, || {
        let taken_over = epoch_of(&estate, 40) > before;
        // Its provider starts it again. One that nobody missed meanwhile dies once
        // more, and is away for longer each time.
        if !taken_over && let Some(pid) = place(&estate).filter(|pid| Some(*pid) != killed) {
            // It may be gone by itself since: with its center.
            let _ = rustix::process::kill_process(pid, Signal::KILL);
            killed = Some(pid);
        }
        taken_over.then_some(())
    });
    // It is home to these shards.
    wait_for("its shards are back", LIMIT, || (shards_of(&estate, "rz06") == rented).then_some(()));
    settle(load);
    // Deleting the object gives it back too; then the record is gone.
    let deleted = estate.kubectl(&["delete", "unitrental", "rz06", "--wait=false"]);
    assert!(deleted.status.success(), "{}", String::from_utf8_lossy(&deleted.stderr));
    wait_for("the rental is gone", LIMIT, || {
        let found = estate.kubectl(&["get", "unitrental", "rz06"]);
        (!found.status.success()).then_some(())
    });
    nothing_is_left(&estate);
}
