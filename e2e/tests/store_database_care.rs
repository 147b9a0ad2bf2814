//! Restoring into a database and verifying one that is in use, on seekdb,
//! OceanBase's kernel, with the real etcdctl and a real etcd.

use std::{net::SocketAddr, path::Path, time::Duration};

use e2e::{Etcd, Running, Scratch, wait_for};
use rustix::process::Signal;
use testkit::{Fault, FaultProxy, Seekdb, When};

const LIMIT: Duration = Duration::from_secs(180);

struct Store {
    address: SocketAddr,
    process: Running,
}

fn start(place: &[&str]) -> Store {
    let address = SocketAddr::from(([127, 0, 0, 1], e2e::free_base_port()));
    let url = format!("http://{address}");
    let mut args = vec!["store", "--insecure", "--auto-compaction-retention=0"];
    args.extend(place);
    let mut process = Running::start(&[&args[..], &["--listen-client-urls", &url]].concat());
    process.wait_for_line("store serves", LIMIT);
    Store { address, process }
}

fn on_database(url: &str, data: &Path) -> Store {
    start(&["--database", url, "--data-dir", &data.display().to_string()])
}

fn stop(mut store: Store) {
    store.process.signal(Signal::TERM);
    store.process.wait(LIMIT);
}

/// What etcdctl prints; it must succeed.
fn ctl(address: SocketAddr, args: &[&str]) -> String {
    let endpoint = format!("--endpoints=http://{address}");
    let args: Vec<&str> = [endpoint.as_str()].iter().chain(args).copied().collect();
    let output = e2e::etcdctl(&args);
    let text = String::from_utf8_lossy(&output.stdout).trim_end().to_owned();
    let log = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "etcdctl {args:?}: {text}\n{log}");
    text
}

fn save(address: SocketAddr, file: &Path) {
    ctl(address, &["snapshot", "save", &file.display().to_string()]);
}

/// Whether `polis` succeeds, and all that it says.
fn polis(args: &[&str]) -> (bool, String) {
    let output = e2e::run(args);
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&text).into_owned())
}

fn restore(url: &str, file: &Path, more: &[&str]) -> (bool, String) {
    let file = file.display().to_string();
    polis(&[&["store", "restore", &file, "--database", url, "-o", "json"], more].concat())
}

fn verify(url: &str) -> (bool, String) {
    polis(&["store", "verify", "--database", url, "-o", "json"])
}

/// Keys, leases and history as both sides must have them.
fn told(address: SocketAddr) -> [String; 3] {
    let hash = ctl(address, &["endpoint", "hashkv"]);
    let all = ctl(address, &["get", "", "--prefix", "-w", "json"]);
    let kvs = all[all.find("\"kvs\"").expect("keys")..].to_owned();
    [hash.rsplit(", ").next().unwrap_or_default().to_owned(), kvs, ctl(address, &["lease", "list"])]
}

/// History before and after a compaction, a deletion, a lease, and more than
/// goes into one piece.
fn fill(address: SocketAddr) {
    for n in 0..60 {
        ctl(
            address,
            &["put", &format!("k{}", n % 20), &format!("value {n} {}", "x".repeat(40_000))],
        );
    }
    ctl(address, &["del", "k5"]);
    ctl(address, &["compaction", "40"]);
    let granted = ctl(address, &["lease", "grant", "5000"]);
    let lease = format!("--lease={}", granted.split_whitespace().nth(1).expect("an id"));
    ctl(address, &["put", "leased", "x", &lease]);
}

#[test]
fn snapshots_of_ours_and_of_an_etcd_become_a_database_that_is_refused_ever_after() {
    let scratch = Scratch::new("database-restore");
    let server = Seekdb::shared();
    let etcd = Etcd::start("database-restore-etcd");
    let ours = start(&["--data-dir", &scratch.join("ours").display().to_string()]);
    for (name, address) in [("etcd", etcd.address), ("ours", ours.address)] {
        fill(address);
        let file = scratch.join(&format!("{name}.db"));
        save(address, &file);
        let url = server.empty_database(&format!("care_{name}"));
        let (done, text) = restore(&url, &file, &[]);
        assert!(done && text.contains("\"compacted\":40"), "{text}");

        let store = on_database(&url, &scratch.join(name).join("data"));
        assert_eq!(told(store.address), told(address), "{name}");
        let (sound, text) = verify(&url);
        assert!(
            sound && text.contains("\"keys\":20") && text.contains("\"findings\":[]"),
            "{text}"
        );
        ctl(store.address, &["put", "k1", "and it goes on"]);

        // Held, in use or not.
        let (done, text) = restore(&url, &file, &[]);
        assert!(!done && text.contains("PLS0127") && text.contains("default"), "{text}");
        stop(store);
        let (done, text) = restore(&url, &file, &["--start-over"]);
        assert!(!done && text.contains("PLS0127"), "{text}");
    }
}

#[test]
fn a_restore_that_was_killed_is_never_served_and_can_be_started_over() {
    let scratch = Scratch::new("database-killed");
    let server = Seekdb::shared();
    let ours = start(&["--data-dir", &scratch.join("ours").display().to_string()]);
    for n in 0..40 {
        ctl(ours.address, &["put", &format!("k{n}"), &"x".repeat(100_000)]);
    }
    ctl(ours.address, &["compaction", "35"]);
    let file = scratch.join("s.db");
    save(ours.address, &file);
    let url = server.empty_database("care_killed");
    {
        // Stuck within its second piece, so that it dies with the first one written.
        let proxy = FaultProxy::start(server.port());
        let through = proxy.url("care_killed");
        let words = When::Text("REPLACE INTO polis_cell".to_owned());
        let stuck = proxy.strike_after(6, words, Fault::SwallowBefore);
        let path = file.display().to_string();
        let mut running = Running::start(&["store", "restore", &path, "--database", &through]);
        wait_for("the second piece", LIMIT, || stuck.has_struck().then_some(()));
        running.signal(Signal::KILL);
        running.wait(LIMIT);
    }
    let counted = server.query("SELECT COUNT(*) FROM care_killed.polis_cell").expect("an answer");
    assert_ne!(counted[0][0], "0");
    let refused = |(done, text): (bool, String)| {
        assert!(!done && text.contains("PLS0126"), "{text}");
    };
    refused(verify(&url));
    refused(restore(&url, &file, &[]));
    let data = scratch.join("data").display().to_string();
    refused(polis(&[
        "store",
        "--insecure",
        "--database",
        &url,
        "--data-dir",
        &data,
        "--listen-client-urls",
        &format!("http://127.0.0.1:{}", e2e::free_base_port()),
    ]));
    let (done, text) = restore(&url, &file, &["--start-over"]);
    assert!(done, "{text}");
    let store = on_database(&url, &scratch.join("data"));
    assert_eq!(told(store.address), told(ours.address));
}

#[test]
fn verify_names_what_was_damaged_in_a_database_in_use_and_writes_nothing() {
    let scratch = Scratch::new("database-verify");
    let server = Seekdb::shared();
    let url = server.empty_database("care_verify");
    let (done, text) = verify(&url);
    assert!(!done && text.contains("no tables"), "{text}");
    let tables = server.query("SHOW TABLES IN care_verify").expect("an answer");
    assert!(tables.is_empty(), "{tables:?}");

    let store = on_database(&url, &scratch.join("data"));
    for n in 0..30 {
        ctl(store.address, &["put", &format!("k{n:02}"), &format!("value {n}")]);
    }
    ctl(store.address, &["compaction", "20"]);
    let heads = || server.query("SELECT * FROM care_verify.polis_keyspace").expect("an answer");
    let cells = || {
        let counted =
            server.query("SELECT COUNT(*) FROM care_verify.polis_cell").expect("an answer");
        counted[0][0].parse::<u64>().expect("a number")
    };
    wait_for("the fold", LIMIT, || (cells() > 10).then_some(()));
    let before = heads();
    let (sound, text) = verify(&url);
    assert!(sound && text.contains("\"keys\":30"), "{text}");
    assert_eq!(heads(), before);

    let change = |sql: &str| {
        server.query(&sql.replace("polis_", "care_verify.polis_")).expect("it is changed");
    };
    let finds = |what: &str| {
        let (sound, text) = verify(&url);
        let named = text.contains("keyspace default") && text.contains(what);
        assert!(!sound && named && text.contains("PLS0112"), "{text}");
    };
    // The last byte but the checksum is the value's.
    let flip = |of: &str| {
        format!(
            "SET {of} = INSERT({of}, LENGTH({of}) - 8, 1, CHAR(ASCII(SUBSTRING({of}, LENGTH({of}) - 8, 1)) ^ 1))"
        )
    };
    let row = "WHERE name = 'kk07'";
    change(&format!("UPDATE polis_cell {} {row}", flip("value")));
    finds("row \\\"k07\\\", which says revision 9");
    change(&format!("UPDATE polis_cell {} {row}", flip("value")));
    assert!(verify(&url).0);
    change(&format!("UPDATE polis_log {} WHERE revision = 25", flip("data")));
    finds("to revision 25: its checksum does not match");
    change(&format!("UPDATE polis_log {} WHERE revision = 25", flip("data")));
    change("DELETE FROM polis_log WHERE revision = 27");
    finds("it is missing");
}
