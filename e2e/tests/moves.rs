//! Shards move there and back while payments flow, with a controller killed in
//! between: no request fails, nothing is lost or doubled.

use std::{
    collections::BTreeSet,
    io::{BufRead, BufReader, Write},
    ops::RangeInclusive,
    os::unix::net::UnixStream,
    path::Path,
    process::Output,
    time::Duration,
};

use e2e::{Estate, Running, wait_for};
use rustix::process::Signal;
use serde_json::{Value, json};

const RATE: &str = "50";
const LIMIT: Duration = Duration::from_secs(300);
/// No request fails, however slowly this machine finds a center lost.
const GIVE_UP: &str = "120s";

fn json_of(output: &Output) -> Value {
    let said = String::from_utf8_lossy(&output.stderr);
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {said}"))
}

/// Who serves these shards, by `polis shard list`; none while they differ. Those
/// that were held for too long and moved again have a line of their own.
fn owner(estate: &Estate, mut shards: RangeInclusive<usize>) -> Option<String> {
    let list = json_of(&estate.polis(&["shard", "list", "-o", "json"]));
    let lines = list["shards"].as_array().expect("lines").iter();
    let mut served = BTreeSet::new();
    let mut units = BTreeSet::new();
    for line in lines.filter(|line| line["state"] == "Serving") {
        let mine: Vec<_> = numbers(&line["shards"]).filter(|at| shards.contains(at)).collect();
        if !mine.is_empty() {
            units.insert(line["unit"].as_str().expect("a unit").to_owned());
            served.extend(mine);
        }
    }
    let all = shards.all(|shard| served.contains(&shard));
    units.pop_first().filter(|_| all && units.is_empty())
}

/// Of a set such as `0-3,7`.
fn numbers(set: &Value) -> impl Iterator<Item = usize> {
    let number = |text: &str| text.parse::<usize>().expect("a shard");
    set.as_str().expect("a set").split(',').flat_map(move |part| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        number(first)..=number(last)
    })
}

/// Tells `polis up` to do something to a center.
fn control(data: &Path, request: &Value) -> BufReader<UnixStream> {
    let mut socket = UnixStream::connect(data.join("up.sock")).expect("reach polis up");
    writeln!(socket, "{request}").expect("ask");
    let mut reader = BufReader::new(socket);
    let mut answer = String::new();
    reader.read_line(&mut answer).expect("an answer");
    assert!(answer.contains("ok"), "{answer}");
    reader
}

/// The center whose controllers lead.
fn leader(estate: &Estate) -> String {
    let args = ["-n", "polis-system", "get", "lease", "controllers", "-o", "json"];
    let lease = json_of(&estate.kubectl(&args));
    let holder = lease["spec"]["holderIdentity"].as_str().expect("a holder");
    holder.rsplit_once('-').expect("center and number").0.to_owned()
}

#[test]
fn ten_shards_move_there_and_back_under_load_and_outlive_a_killed_leader() {
    let estate = Estate::up("moves", "2+2+1");
    let dry = json_of(&estate.polis(&[
        "shard",
        "move",
        "40-49",
        "--to",
        "rz01",
        "--dry-run",
        "-o",
        "json",
    ]));
    assert_eq!(dry["moves"].as_array().map(Vec::len), Some(10), "{dry:#}");
    assert_eq!(dry["units"]["rz01"]["after"]["shards"], 30, "{dry:#}");
    assert_eq!(owner(&estate, 40..=59).as_deref(), Some("rz03"), "nothing was done");
    for (refused, why) in [
        (["shard", "move", "42", "--to", "rz09", "--dry-run"].as_slice(), "there is no unit rz09"),
        (&["shard", "move", "42", "--to", "rz09"], "there is no unit rz09"),
        (&["shard", "move", "10%", "--to", "rz03"], "--of"),
        (&["shard", "move", "42", "--to", "rz01", "--hold-ms", "1"], "spec.holdMs"),
        (&["unit", "drain", "rz09"], "there is no unit rz09"),
        (&["unit", "drain", "rz01", "--to", "rz01"], "is the unit they leave"),
    ] {
        let output = estate.polis(refused);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && said.contains(why), "{said}");
    }
    let orders = json_of(&estate.kubectl(&["get", "shardmoves", "-o", "json"]));
    assert_eq!(orders["items"], json!([]), "what is refused leaves no order");

    let data = estate.data.display().to_string();
    let args = ["load", "--rate", RATE, "--users", "200", "--duration", "24h", "--check"];
    let more = ["--give-up", GIVE_UP, "--data", &data];
    let mut load = Running::start(&[args.as_slice(), &more].concat());
    // The head of its table: from here on it pays.
    load.wait_for_line("P99 ms", LIMIT);
    for to in ["rz01", "rz03"] {
        let order = json_of(&estate.polis(&["shard", "move", "40-49", "--to", to, "-o", "json"]));
        assert_eq!(order["status"]["phase"], "Succeeded", "{order:#}");
        assert_eq!(order["status"]["moved"], 10, "{order:#}");
        assert_eq!(owner(&estate, 40..=49).as_deref(), Some(to));
        let late = json!({"spec": {"to": "rz05"}}).to_string();
        let name = order["metadata"]["name"].as_str().expect("a name");
        let patch = estate.kubectl(&["patch", "shardmove", name, "--type=merge", "-p", &late]);
        let said = String::from_utf8_lossy(&patch.stderr);
        assert!(!patch.status.success() && said.contains("the order has ended"), "{said}");
    }
    outlive_the_leader(&estate);
    // It finishes what it has begun, and checks every payment.
    load.signal(Signal::INT);
    let status = load.wait(LIMIT);
    let said = load.printed();
    println!("{said}");
    assert!(status.success(), "{said}");
    assert!(said.contains(" 0 refused, 0 unknown, 0 not sent"), "{said}");
    assert!(said.contains(" 0 lost, 0 doubled: passed"), "{said}");
}

/// Gives an order that has nothing to do with the leader's center, and kills
/// that center.
fn outlive_the_leader(estate: &Estate) {
    let leader = leader(estate);
    let homes =
        [("south-1", "rz03", "40-59"), ("west-1", "rz05", "80-99"), ("east-2", "rz02", "20-39")];
    let mut others = homes.into_iter().filter(|(center, ..)| *center != leader);
    let ((_, _, shards), (_, to, _)) =
        (others.next().expect("three less one"), others.next().expect("three less one"));
    let args = ["shard", "move", shards, "--to", to, "--no-wait", "-o", "json"];
    let order = json_of(&estate.polis(&args));
    // The end of the conversation starts the center again.
    let kill = json!({ "kind": "kill", "names": [leader] });
    let kill = json!({ "do": "inject", "fault": kill, "heal_after_ms": 60_000 });
    drop(control(&estate.data, &kill));
    let name = order["metadata"]["name"].as_str().expect("a name");
    let ended = wait_for("the order ends", LIMIT, || {
        let output = estate.kubectl(&["get", "shardmove", name, "-o", "json"]);
        let order: Value = serde_json::from_slice(&output.stdout).ok()?;
        ["Succeeded", "Failed"].contains(&order["status"]["phase"].as_str()?).then_some(order)
    });
    println!("{:#}", ended["status"]["history"]);
    assert_eq!(ended["status"]["phase"], "Succeeded", "{ended:#}");
}
