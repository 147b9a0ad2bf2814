//! A shard is split while payments flow, and its new half moves away: no request
//! fails, nothing is lost or doubled, and what people see goes on.

use std::{
    io::{BufRead, BufReader, Write},
    os::unix::net::UnixStream,
    process::Output,
    time::Duration,
};

use e2e::{Estate, Running, wait_for};
use rustix::process::Signal;
use serde_json::{Value, json};

const RATE: &str = "200";
const LIMIT: Duration = Duration::from_secs(300);
/// No request fails, however slowly this machine finds a center lost.
const GIVE_UP: &str = "120s";

/// As in `docs/operate/moves.md`.
const MANIFEST: &str = r#"
apiVersion: polis.dev/v1alpha1
kind: ShardMove
metadata: {name: busy-half}
spec: {shards: "45", buckets: "4550-4599", to: rz04}
"#;

fn json_of(output: &Output) -> Value {
    let said = String::from_utf8_lossy(&output.stderr);
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {said}"))
}

/// The row of `polis shard list` with exactly these buckets.
fn row(estate: &Estate, buckets: &str) -> Value {
    let list: Value = wait_for("the estate answers", LIMIT, || {
        // A center that is only just back may not answer yet.
        let listed = estate.polis(&["shard", "list", "-o", "json"]);
        serde_json::from_slice(&listed.stdout).ok()
    });
    let rows = list["shards"].as_array().expect("rows");
    let row = rows.iter().find(|row| row["buckets"] == buckets);
    row.unwrap_or_else(|| panic!("{buckets} in {list:#}")).clone()
}

/// An order at its end.
fn ended(estate: &Estate, name: &str) -> Value {
    wait_for("the order ends", LIMIT, || {
        let output = estate.kubectl(&["get", "shardmove", name, "-o", "json"]);
        let order: Value = serde_json::from_slice(&output.stdout).ok()?;
        ["Succeeded", "Failed"].contains(&order["status"]["phase"].as_str()?).then_some(order)
    })
}

fn apply(estate: &Estate, manifest: &str) {
    let file = estate.data.join("order.yaml");
    std::fs::write(&file, manifest).expect("write the manifest");
    let applied = estate.kubectl(&["apply", "-f", &file.display().to_string()]);
    assert!(applied.status.success(), "{}", String::from_utf8_lossy(&applied.stderr));
}

/// Gives an order that splits and moves, in units that have nothing to do with the
/// leader's center, and kills that center before it can be carried out.
fn outlive_the_leader(estate: &Estate) {
    let args = ["-n", "polis-system", "get", "lease", "controllers", "-o", "json"];
    let lease = json_of(&estate.kubectl(&args));
    let holder = lease["spec"]["holderIdentity"].as_str().expect("a holder");
    let leader = holder.rsplit_once('-').expect("center and number").0;
    let homes = [("east-2", "rz02", "30"), ("west-1", "rz05", "90"), ("south-2", "rz04", "70")];
    let mut others = homes.into_iter().filter(|(center, ..)| *center != leader);
    let ((_, _, shard), (_, to, _)) =
        (others.next().expect("three less one"), others.next().expect("three less one"));
    let args = ["shard", "split", shard, "--to", to, "--no-wait", "-o", "json"];
    let order = json_of(&estate.polis(&args));
    // The end of the conversation starts the center again.
    let kill = json!({ "kind": "kill", "names": [leader] });
    let kill = json!({ "do": "inject", "fault": kill, "heal_after_ms": 60_000 });
    let mut socket = UnixStream::connect(estate.data.join("up.sock")).expect("reach polis up");
    writeln!(socket, "{kill}").expect("ask");
    let mut answer = String::new();
    BufReader::new(socket).read_line(&mut answer).expect("an answer");
    assert!(answer.contains("ok"), "{answer}");
    let order = ended(estate, order["metadata"]["name"].as_str().expect("a name"));
    assert_eq!(order["status"]["phase"], "Succeeded", "{order:#}");
    assert_eq!(row(estate, &format!("{shard}50-{shard}99"))["unit"], to);
}

fn refused(estate: &Estate, args: &[&str], why: &str) {
    let output = estate.polis(args);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && said.contains(why), "{args:?}: {said}");
}

/// A payer of shard 42 with an account, in the lower or the upper half.
struct Payer {
    uid: String,
    bucket: u16,
}

/// Opens accounts through an edge until each half has one.
fn payers(estate: &Estate) -> [Payer; 2] {
    let mut halves = [None, None];
    for n in 0..64 {
        let uid = format!("3099{n:03}420");
        let body = json!({"uid": uid, "currency": "CNY", "opening_balance": 10_000}).to_string();
        let header = format!("polis-uid: {uid}");
        let opened = estate.edge(0, "POST", "/v1/accounts", &[&header], &body);
        assert_eq!(opened.status, 201, "{}", opened.body);
        let account = opened.json();
        let bucket: u16 =
            account["bucket"].as_str().and_then(|b| b.parse().ok()).expect("a bucket");
        halves[usize::from(bucket >= 4250)].get_or_insert(Payer { uid, bucket });
        if halves.iter().all(Option::is_some) {
            break;
        }
    }
    halves.map(|half| half.expect("users are spread evenly"))
}

/// Pays with nothing but the cookie to route by; gives the unit and the cookie of
/// the answer.
fn pay(estate: &Estate, payer: &Payer, key: &str, zone: &str) -> (String, Option<String>) {
    let body = json!({"payer": payer.uid, "merchant": "tea", "amount": 1, "currency": "CNY"});
    let (cookie, key) = (format!("cookie: zone_op={zone}"), format!("idempotency-key: {key}"));
    let paid = estate.edge(1, "POST", "/v1/payments", &[&cookie, &key], &body.to_string());
    assert_eq!(paid.status, 201, "{}", paid.body);
    let given = paid.head.split("zone_op=").nth(1).and_then(|rest| rest.split(';').next());
    (paid.json()["unit"].as_str().expect("a unit").to_owned(), given.map(str::to_owned))
}

#[test]
fn a_shard_is_split_and_its_half_moves_under_load() {
    let estate = Estate::up("split", "2+2+1");
    let dry = json_of(&estate.polis(&[
        "shard",
        "split",
        "42",
        "--to",
        "rz01",
        "--dry-run",
        "-o",
        "json",
    ]));
    assert_eq!(dry["split"]["into"][1], json!({"shard": "100", "buckets": "4250-4299"}), "{dry:#}");
    assert_eq!(dry["units"]["rz01"]["after"]["buckets"], 2050, "{dry:#}");
    refused(&estate, &["shard", "split", "100"], "there is no shard 100");
    refused(&estate, &["shard", "split", "42", "--buckets", "4210-4219"], "at one end");
    refused(&estate, &["shard", "split", "42", "--to", "rz09"], "there is no unit rz09");
    refused(&estate, &["shard", "move", "100", "--to", "rz01"], "there is no shard 100");

    let data = estate.data.display().to_string();
    let args = ["load", "--rate", RATE, "--users", "1000", "--duration", "24h", "--check"];
    let more = ["--give-up", GIVE_UP, "--data", &data];
    let mut load = Running::start(&[args.as_slice(), &more].concat());
    // The head of its table: from here on it pays.
    load.wait_for_line("P99 ms", LIMIT);
    let [lower, upper] = payers(&estate);

    let order = json_of(&estate.polis(&["shard", "split", "42", "-o", "json"]));
    assert_eq!(order["status"]["phase"], "Succeeded", "{order:#}");
    let (left, part) = (row(&estate, "4200-4249"), row(&estate, "4250-4299"));
    for field in ["state", "unit", "epoch", "home"] {
        assert_eq!(left[field], part[field], "{field}: nobody's right has changed");
    }
    assert_eq!((&left["shards"], &part["shards"]), (&json!("42"), &json!("100")));

    let order = json_of(&estate.polis(&["shard", "move", "100", "--to", "rz01", "-o", "json"]));
    assert_eq!(order["status"]["phase"], "Succeeded", "{order:#}");
    let part = row(&estate, "4250-4299");
    assert_eq!((&part["unit"], &part["home"]), (&json!("rz01"), &json!("rz01")));
    assert_eq!(row(&estate, "4200-4249")["unit"], "rz03");

    // An old cookie is good for either half, and is renewed where it must be.
    for (payer, unit) in [(&lower, "rz03"), (&upper, "rz01")] {
        let zone = payer.bucket.to_string();
        let (by, cookie) = pay(&estate, payer, "old-cookie", "42");
        assert_eq!(by, unit);
        // The edge learns the bucket only where the old cookie led astray.
        assert_eq!(cookie, (unit == "rz01").then(|| zone.clone()));
        assert_eq!(pay(&estate, payer, "new-cookie", &zone), (unit.to_owned(), None));
    }

    // A split that goes on as a move, the other way round, and one of the part.
    let order = json_of(
        &estate.polis(&["shard", "split", "43", "--at", "4380", "--to", "rz05", "-o", "json"]),
    );
    assert_eq!(order["status"]["phase"], "Succeeded", "{order:#}");
    assert_eq!(row(&estate, "4380-4399")["unit"], "rz05");
    let order = json_of(&estate.polis(&[
        "shard",
        "split",
        "100",
        "--buckets",
        "4250-4259",
        "--to",
        "rz03",
        "-o",
        "json",
    ]));
    assert_eq!(order["status"]["phase"], "Succeeded", "{order:#}");
    assert_eq!(row(&estate, "4250-4259")["unit"], "rz03");
    assert_eq!(row(&estate, "4260-4299")["unit"], "rz01");

    apply(&estate, MANIFEST);
    let order = ended(&estate, "busy-half");
    assert_eq!(order["status"]["phase"], "Succeeded", "{order:#}");
    let shown = String::from_utf8(estate.kubectl(&["get", "shardmoves"]).stdout).expect("text");
    assert!(shown.contains("4550-4599 of 45"), "{shown}");

    // There and back, and each part by itself.
    for to in ["rz02", "rz04", "rz01"] {
        let order = json_of(&estate.polis(&["shard", "move", "42,100", "--to", to, "-o", "json"]));
        assert_eq!(order["status"]["phase"], "Succeeded", "{order:#}");
    }
    outlive_the_leader(&estate);

    // It finishes what it has begun, and checks every payment and every bucket.
    load.signal(Signal::INT);
    let status = load.wait(2 * LIMIT);
    let said = load.printed();
    println!("{said}");
    assert!(status.success(), "{said}");
    assert!(said.contains(" 0 refused, 0 unknown, 0 not sent"), "{said}");
    assert!(said.contains(" 0 lost, 0 doubled: passed"), "{said}");
}
