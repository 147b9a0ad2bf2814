//! Snapshots from Polis to a real etcd and back, by the real etcdctl.

use std::{net::SocketAddr, path::Path, time::Duration};

use e2e::{Etcd, Running, Scratch};

const LIMIT: Duration = Duration::from_secs(120);

/// The ports and folders of a store of ours.
struct Store {
    address: SocketAddr,
    _process: Running,
}

fn start(data: &Path) -> Store {
    let address = SocketAddr::from(([127, 0, 0, 1], e2e::free_base_port()));
    let (folder, url) = (data.display().to_string(), format!("http://{address}"));
    let options = ["--insecure", "--bcrypt-cost=4", "--auto-compaction-retention=0"];
    let mut args = vec!["store", "--data-dir", &folder, "--listen-client-urls", &url];
    args.extend(options);
    let mut process = Running::start(&args);
    process.wait_for_line("store serves", LIMIT);
    Store { address, _process: process }
}

/// What etcdctl prints; it must succeed.
fn ctl(address: SocketAddr, args: &[&str]) -> String {
    ctl_with_input(address, args, "")
}

fn ctl_with_input(address: SocketAddr, args: &[&str], input: &str) -> String {
    let endpoint = format!("--endpoints=http://{address}");
    let args: Vec<&str> = [endpoint.as_str()].iter().chain(args).copied().collect();
    let output = e2e::etcdctl_with_input(&args, input);
    let text = String::from_utf8_lossy(&output.stdout).trim_end().to_owned();
    let log = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "etcdctl {args:?}: {text}\n{log}");
    text
}

fn restore(file: &Path, data: &Path) -> String {
    let (file, data) = (file.display().to_string(), data.display().to_string());
    let output = e2e::run(&["store", "restore", &file, "--data-dir", &data, "-o", "json"]);
    let log = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{log}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Some of everything: history before and after a compaction, transactions of
/// several changes, deletions, leases, users.
fn fill(address: SocketAddr) {
    for n in 0..300 {
        ctl(address, &["put", &format!("k{}", n % 40), &format!("value {n}")]);
    }
    let txn = "mod(\"k1\") > \"0\"\n\nput t1 a\nput t2 b\ndel k3\nput t3 c\n\n\n";
    assert!(ctl_with_input(address, &["txn"], txn).starts_with("SUCCESS"));
    ctl(address, &["del", "k5"]);
    ctl(address, &["compaction", "200"]);
    let granted = ctl(address, &["lease", "grant", "5000"]);
    let lease = format!("--lease={}", granted.split_whitespace().nth(1).expect("an id"));
    ctl(address, &["put", "leased", "x", &lease]);
    ctl(address, &["put", "large", &"x".repeat(100_000)]);
    // The transaction's first change is gone with this: its others keep names.
    ctl(address, &["put", "t1", "again"]);
    ctl(address, &["compaction", "303"]);
    ctl(address, &["put", "k7", "last"]);
    ctl(address, &["del", "t2"]);
    for args in [
        &["user", "add", "root:secret"][..],
        &["user", "add", "app:app"],
        &["user", "add", "cert", "--no-password"],
        &["role", "add", "app"],
        &["role", "grant-permission", "app", "readwrite", "app/", "--prefix"],
        &["role", "grant-permission", "app", "read", "z", "--from-key"],
        &["user", "grant-role", "app", "app"],
        &["user", "grant-role", "root", "root"],
    ] {
        ctl(address, args);
    }
}

/// All that two stores can be compared by.
fn told(address: SocketAddr) -> Vec<String> {
    let without_header = |text: String| {
        let from = text.find("\"kvs\"").or_else(|| text.find("\"count\"")).unwrap_or(0);
        text[from..].to_owned()
    };
    let revision = |text: String| {
        let at = text.find("\"revision\":").expect("a header") + 11;
        text[at..].chars().take_while(char::is_ascii_digit).collect::<String>()
    };
    let hash = |text: String| text.rsplit(", ").next().unwrap_or_default().to_owned();
    let leases = ctl(address, &["lease", "list"]);
    let lease = leases.lines().nth(1).expect("one lease").to_owned();
    let time_to_live = ctl(address, &["lease", "timetolive", &lease, "--keys"]);
    let attached = time_to_live.split("attached").nth(1).expect("keys").to_owned();
    let mut told = vec![
        revision(ctl(address, &["get", "none", "-w", "json"])),
        without_header(ctl(address, &["get", "", "--prefix", "-w", "json"])),
        hash(ctl(address, &["endpoint", "hashkv"])),
        leases,
        attached,
        ctl(address, &["user", "list"]),
        ctl(address, &["user", "get", "app", "--detail"]),
        ctl(address, &["role", "get", "app"]),
    ];
    // What is between the compaction and the end.
    for revision in ["303", "304", "305"] {
        told.push(without_header(ctl(
            address,
            &["get", "", "--prefix", "--rev", revision, "-w", "json"],
        )));
        // etcd 3.5.1 refuses the revision of the compaction itself.
        if revision != "303" {
            told.push(hash(ctl(address, &["endpoint", "hashkv", "--rev", revision])));
        }
    }
    told
}

fn save(address: SocketAddr, file: &Path) -> String {
    let path = file.display().to_string();
    ctl(address, &["snapshot", "save", &path]);
    ctl(address, &["snapshot", "status", &path, "-w", "json"])
}

fn etcd_from(file: &Path, name: &str) -> Etcd {
    let file = file.display().to_string();
    Etcd::start_with(name, |data, peers| {
        let output = e2e::etcdctl(&[
            "snapshot",
            "restore",
            &file,
            "--name=peer",
            &format!("--data-dir={}", data.display()),
            &format!("--initial-cluster=peer={peers}"),
            &format!("--initial-advertise-peer-urls={peers}"),
        ]);
        let log = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{log}");
    })
}

#[test]
fn a_snapshot_goes_to_a_real_etcd_and_back_and_nothing_changes() {
    let scratch = Scratch::new("store-snapshot");
    let ours = start(&scratch.join("first"));
    fill(ours.address);
    let at_ours = told(ours.address);
    let status = save(ours.address, &scratch.join("ours.db"));
    assert!(status.contains(&format!("\"revision\":{}", at_ours[0])), "{status}");

    let etcd = etcd_from(&scratch.join("ours.db"), "store-snapshot-etcd");
    assert_eq!(told(etcd.address), at_ours);

    // It goes on there, is compacted there, and comes back.
    ctl(etcd.address, &["put", "k7", "at etcd"]);
    ctl(etcd.address, &["compaction", "306"]);
    ctl(etcd.address, &["put", "k8", "at etcd"]);
    let hash = ctl(etcd.address, &["endpoint", "hashkv"]);
    save(etcd.address, &scratch.join("etcd.db"));
    let printed = restore(&scratch.join("etcd.db"), &scratch.join("second"));
    assert!(printed.contains("\"compacted\":306"), "{printed}");
    let back = start(&scratch.join("second"));
    let last = |text: &str| text.rsplit(", ").next().unwrap_or_default().to_owned();
    assert_eq!(last(&ctl(back.address, &["endpoint", "hashkv"])), last(&hash));
    let all = ["get", "", "--prefix"];
    assert_eq!(ctl(back.address, &all), ctl(etcd.address, &all));
}

#[test]
fn a_snapshot_of_ours_becomes_a_store_of_ours() {
    let scratch = Scratch::new("store-snapshot-ours");
    let first = start(&scratch.join("first"));
    fill(first.address);
    save(first.address, &scratch.join("s.db"));
    restore(&scratch.join("s.db"), &scratch.join("second"));
    let second = start(&scratch.join("second"));
    assert_eq!(told(second.address), told(first.address));
}

#[test]
fn what_is_no_whole_snapshot_is_refused_and_leaves_nothing() {
    let scratch = Scratch::new("store-snapshot-refused");
    let store = start(&scratch.join("data"));
    ctl(store.address, &["put", "a", "1"]);
    save(store.address, &scratch.join("good.db"));
    let good = std::fs::read(scratch.join("good.db")).expect("the snapshot");
    let refused = |name: &str, bytes: &[u8], data: &str, options: &[&str], expected: &str| {
        let file = scratch.join(name);
        std::fs::write(&file, bytes).expect("written");
        let (file, data) = (file.display().to_string(), scratch.join(data).display().to_string());
        let args = [&["store", "restore", &file, "--data-dir", &data][..], options].concat();
        let output = e2e::run(&args);
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && text.contains(expected), "{name}: {text}");
    };
    let mut flipped = good.clone();
    flipped[5000] ^= 1;
    refused("flipped.db", &flipped, "new", &[], "its hash does not match");
    refused("short.db", &good[..good.len() - 512], "new", &[], "its hash does not match");
    refused("hashless.db", &good[..good.len() - 32], "new", &[], "no hash at its end");
    refused("text.db", &[b'x'; 4096], "new", &["--skip-hash-check"], "not a bbolt file");
    refused("good.db", &good, "data", &[], "not empty");
    assert!(!scratch.join("new").join("log").exists());
    let hashless = scratch.join("hashless.db").display().to_string();
    let data = scratch.join("new").display().to_string();
    let taken =
        e2e::run(&["store", "restore", &hashless, "--data-dir", &data, "--skip-hash-check"]);
    assert!(taken.status.success());
}
