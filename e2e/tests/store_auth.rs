//! Users, roles and rights as the real etcdctl sees them, beside a real etcd.

use std::{net::SocketAddr, process::Output, time::Duration};

use e2e::{Etcd, Running, Scratch, wait_for};

const LIMIT: Duration = Duration::from_secs(120);

/// A Polis store, with what the script made of it.
struct Store {
    address: SocketAddr,
    _process: Running,
    _data: Scratch,
}

fn store(name: &str) -> Store {
    let data = Scratch::new(name);
    let folder = data.join("data").display().to_string();
    let mut process = Running::start(&[
        "store",
        "--data-dir",
        &folder,
        "--listen-client-urls",
        "http://127.0.0.1:0",
        "--insecure",
        "--bcrypt-cost=4",
    ]);
    process.wait_for_line("store serves", LIMIT);
    let printed = process.printed();
    let serves = printed.lines().find(|line| line.contains("store serves")).expect("it was seen");
    let line: serde_json::Value = serde_json::from_str(serves).expect("a log line is JSON");
    let address = line["address"].as_str().and_then(|address| address.parse().ok());
    Store { address: address.expect("an address"), _process: process, _data: data }
}

/// What etcdctl prints on both streams, and how it ends; without its own log.
fn etcdctl(address: SocketAddr, args: &[&str], input: &str) -> String {
    let endpoint = format!("--endpoints=http://{address}");
    let all = [endpoint.as_str()].into_iter().chain(args.iter().copied());
    let args: Vec<&str> = all.collect();
    let Output { status, stdout, stderr } = e2e::etcdctl_with_input(&args, input);
    let text = String::from_utf8_lossy(&[stdout, stderr].concat()).into_owned();
    let told: Vec<&str> = text.lines().filter(|line| !line.starts_with("{\"level\"")).collect();
    let code = status.code().expect("etcdctl ends by itself");
    format!("{}\nexit {code}", told.join("\n"))
}

// === the same script for both ===

const ROOT: &str = "--user=root:secret";
const APP: &str = "--user=app:app";
const READER: &str = "--user=reader:reader";

/// Before auth is on: users, roles, and every refusal.
const SETUP: &[&[&str]] = &[
    &["auth", "status"],
    &["auth", "disable"],
    &["user", "list"],
    &["user", "add", "root:secret"],
    &["user", "add", "root:again"],
    &["user", "add", "app:app"],
    &["user", "add", "reader:reader"],
    &["user", "add", "cert", "--no-password"],
    &["user", "add", "brief:brief"],
    &["user", "list"],
    &["user", "get", "root"],
    &["user", "get", "nobody"],
    &["user", "delete", "nobody"],
    &["user", "delete", "brief"],
    &["user", "delete", "brief"],
    &["user", "grant-role", "app", "app"],
    &["user", "grant-role", "nobody", "app"],
    &["user", "revoke-role", "app", "app"],
    &["role", "list"],
    &["role", "add", "app"],
    &["role", "add", "app"],
    &["role", "add", "reader"],
    &["role", "add", "brief"],
    &["role", "list"],
    &["role", "get", "app"],
    &["role", "get", "none"],
    &["role", "delete", "none"],
    &["role", "grant-permission", "app", "readwrite", "app/", "--prefix"],
    &["role", "grant-permission", "app", "write", "drop"],
    &["role", "grant-permission", "app", "read", "ma", "mz"],
    &["role", "grant-permission", "reader", "read", "app/", "--prefix"],
    &["role", "grant-permission", "reader", "read", "z", "--from-key"],
    &["role", "grant-permission", "none", "read", "x"],
    &["role", "grant-permission", "brief", "read", "x"],
    &["role", "grant-permission", "brief", "readwrite", "x"],
    &["role", "revoke-permission", "brief", "y"],
    &["role", "revoke-permission", "brief", "x"],
    &["role", "revoke-permission", "none", "x"],
    &["role", "get", "app"],
    &["role", "get", "reader"],
    &["role", "get", "brief"],
    &["user", "grant-role", "app", "app"],
    &["user", "grant-role", "app", "app"],
    &["user", "grant-role", "app", "brief"],
    &["user", "revoke-role", "app", "none"],
    &["user", "get", "app"],
    &["user", "get", "app", "--detail"],
    &["role", "delete", "brief"],
    &["user", "get", "app"],
    &["user", "grant-role", "reader", "reader"],
    &["put", "secret", "hidden"],
    &["put", "mb", "first"],
    // A user is no use while auth is off, and does no harm.
    &["get", "secret", APP],
    &["auth", "enable"],
];

/// While it is on: who may do what.
const RULED: &[&[&str]] = &[
    &["auth", "status", ROOT],
    &["auth", "enable", ROOT],
    // Nobody in particular.
    &["get", "secret"],
    &["put", "app/1", "v"],
    &["del", "app/1"],
    &["user", "list"],
    &["user", "get", "app"],
    &["role", "list"],
    &["role", "get", "app"],
    &["role", "add", "mine"],
    &["auth", "disable"],
    // Someone else.
    &["get", "secret", "--user=app:wrong"],
    &["get", "secret", "--user=nobody:nobody"],
    &["get", "secret", "--user=cert:cert"],
    // A user with some rights.
    &["put", "app/1", "1", APP],
    &["put", "app/1", "2", "--prev-kv", APP],
    &["get", "app/1", APP],
    &["get", "app/", "--prefix", APP],
    &["get", "app/", "--prefix", "--count-only", APP],
    &["get", "app/", "--from-key", APP],
    &["get", "app", "--prefix", APP],
    &["get", "", "--prefix", APP],
    &["get", "", "--from-key", APP],
    &["get", "secret", APP],
    &["get", "mb", APP],
    &["get", "ma", "mz", APP],
    &["get", "ma", "mzz", APP],
    &["get", "mz", "ma", APP],
    &["get", "mc", "mb", APP],
    &["put", "mb", "x", APP],
    &["put", "drop", "x", APP],
    &["put", "drop", "x", "--prev-kv", APP],
    &["get", "drop", APP],
    &["del", "drop", "--prev-kv", APP],
    &["del", "drop", APP],
    &["put", "secret", "x", APP],
    &["del", "secret", APP],
    &["del", "", "--prefix", APP],
    &["del", "app/", "--prefix", APP],
    &["user", "list", APP],
    &["user", "get", "app", APP],
    &["user", "get", "root", APP],
    &["role", "list", APP],
    &["role", "get", "app", APP],
    &["role", "get", "reader", APP],
    &["user", "add", "more:more", APP],
    &["user", "grant-role", "app", "root", APP],
    &["role", "grant-permission", "app", "readwrite", "secret", APP],
    &["auth", "disable", APP],
    &["alarm", "list", APP],
    &["alarm", "disarm", APP],
    // Another one, that only reads.
    &["put", "app/1", "3", READER],
    &["get", "app/1", READER],
    &["get", "z", READER],
    &["get", "z", "--from-key", READER],
    &["get", "y", "--from-key", READER],
    // Root.
    &["get", "", "--prefix", ROOT],
    &["user", "delete", "root", ROOT],
    &["role", "add", "root", ROOT],
    &["role", "delete", "root", ROOT],
    &["user", "revoke-role", "root", "root", ROOT],
    &["user", "grant-role", "app", "root", ROOT],
    &["get", "secret", APP],
    &["user", "revoke-role", "app", "root", ROOT],
    &["get", "secret", APP],
    &["role", "revoke-permission", "app", "app/", "--prefix", ROOT],
    &["put", "app/1", "4", APP],
    &["role", "grant-permission", "app", "readwrite", "app/", "--prefix", ROOT],
    &["put", "app/1", "5", APP],
    &["user", "delete", "reader", ROOT],
    &["get", "app/1", READER],
];

/// Transactions are read from the input.
const TXNS: &[(&str, &str)] = &[
    ("value(\"app/1\") = \"5\"\n\nput app/2 yes\nget app/2\n\nput app/2 no\n\n", APP),
    ("value(\"secret\") = \"hidden\"\n\nget app/1\n\nget app/1\n\n", APP),
    ("mod(\"secret\") > \"0\"\n\n\n\n\n", APP),
    ("\nget app/1\n\nget secret\n\n", APP),
    ("\nput app/3 x\nput secret x\n\n\n", APP),
    ("\ndel secret\n\n\n", APP),
    ("value(\"secret\") = \"hidden\"\n\nget secret\n\n\n", ROOT),
];

fn set_up(address: SocketAddr) {
    SETUP.iter().for_each(|args| drop(etcdctl(address, args, "")));
    let status = etcdctl(address, &["auth", "status", ROOT], "");
    assert!(status.contains("Authentication Status: true"), "{status}");
}

#[test]
fn etcdctl_cannot_tell_our_users_and_roles_from_those_of_etcd() {
    let (ours, theirs) = (store("auth"), Etcd::start("auth-etcd"));
    let mut differences = Vec::new();
    let mut run = |args: &[&str], input: &str| {
        let [ours, theirs] = [ours.address, theirs.address].map(|at| etcdctl(at, args, input));
        if ours != theirs {
            differences.push(format!("{args:?} {input:?}\n--- ours\n{ours}\n--- etcd\n{theirs}"));
        }
    };
    SETUP.iter().chain(RULED).for_each(|args| run(args, ""));
    TXNS.iter().for_each(|(script, user)| run(&["txn", user], script));
    run(&["user", "passwd", "app", "--interactive=false", ROOT], "changed\n");
    for user in [APP, "--user=app:changed", "--user=app:"] {
        run(&["get", "app/1", user], "");
    }
    run(&["user", "passwd", "nobody", "--interactive=false", ROOT], "changed\n");
    run(&["user", "passwd", "app", "--interactive=false", "--user=app:changed"], "mine\n");
    run(&["auth", "disable", ROOT], "");
    run(&["get", "secret"], "");
    run(&["get", "secret", APP], "");
    run(&["user", "list"], "");
    assert!(differences.is_empty(), "{}", differences.join("\n\n"));
}

// === leases and watches, whose output changes from run to run ===

/// Both answer alike, but for the ids of leases.
fn both(servers: [SocketAddr; 2], args: impl Fn(usize) -> Vec<String>, expected: &str) {
    for (at, server) in servers.into_iter().enumerate() {
        let args = args(at);
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let text = etcdctl(server, &args, "");
        assert!(text.contains(expected), "server {at}, {args:?}: {text}");
    }
}

fn words(text: &str) -> Vec<String> {
    text.split(' ').map(str::to_owned).collect()
}

#[test]
fn a_lease_is_as_good_as_the_right_to_write_its_keys() {
    let (ours, theirs) = (store("auth-lease"), Etcd::start("auth-lease-etcd"));
    let servers = [ours.address, theirs.address];
    let leases = servers.map(|server| {
        set_up(server);
        ["mine", "hidden"].map(|_| {
            let granted = etcdctl(server, &["lease", "grant", "100", APP], "");
            granted.split_whitespace().nth(1).expect("an id").to_owned()
        })
    });
    let [mine, hidden] = [0, 1].map(|which| {
        let leases = &leases;
        move |at: usize, text: &str| words(&text.replace("ID", &leases[at][which]))
    });
    let denied = "etcdserver: permission denied";
    both(servers, |at| mine(at, &format!("put app/1 v --lease=ID {APP}")), "OK");
    both(servers, |at| hidden(at, &format!("put secret v --lease=ID {ROOT}")), "OK");
    both(servers, |at| hidden(at, &format!("put app/2 v --lease=ID {APP}")), denied);
    both(servers, |at| hidden(at, &format!("lease revoke ID {APP}")), denied);
    // etcd since 3.5.10; the one beside us is older.
    let args = hidden(0, &format!("lease timetolive --keys ID {APP}"));
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let text = etcdctl(ours.address, &args, "");
    assert!(text.contains(denied), "{text}");
    both(servers, |at| hidden(at, &format!("lease timetolive ID {APP}")), "remaining(");
    both(servers, |at| mine(at, &format!("lease timetolive --keys ID {APP}")), "keys([app/1])");
    both(servers, |at| mine(at, &format!("lease keep-alive --once ID {APP}")), "keepalived");
    both(servers, |at| mine(at, &format!("lease revoke ID {APP}")), "revoked");
    both(servers, |_| words(&format!("get app/1 {APP}")), "\nexit 0");
    both(servers, |at| hidden(at, &format!("lease revoke ID {ROOT}")), "revoked");
}

#[test]
fn only_root_cares_for_the_store() {
    let (ours, theirs) = (store("auth-care"), Etcd::start("auth-care-etcd"));
    let servers = [ours.address, theirs.address];
    servers.into_iter().for_each(set_up);
    // The etcd beside us puts another word before it here.
    let denied = "permission denied";
    both(servers, |_| words(&format!("defrag {APP}")), denied);
    both(servers, |_| words(&format!("defrag {ROOT}")), "Finished defragmenting etcd member");
    both(servers, |_| words(&format!("endpoint hashkv {APP}")), denied);
    both(servers, |_| words(&format!("endpoint hashkv {ROOT}")), "\nexit 0");
    both(servers, |_| words(&format!("endpoint status {APP}")), "\nexit 0");
    both(servers, |_| words(&format!("compaction 2 {ROOT}")), "compacted revision 2");
}

#[test]
fn a_watch_is_refused_where_its_range_may_not_be_read() {
    let (ours, theirs) = (store("auth-watch"), Etcd::start("auth-watch-etcd"));
    let servers = [ours.address, theirs.address];
    servers.into_iter().for_each(set_up);
    for args in [
        &["watch", "secret", APP][..],
        &["watch", "", "--prefix", APP],
        &["watch", "app/1", "secret", APP],
        &["watch", "drop", APP],
    ] {
        let [ours, theirs] = servers.map(|server| etcdctl(server, args, ""));
        assert_eq!(ours, theirs, "{args:?}");
        assert!(ours.contains("permission denied"), "{ours}");
    }
    for server in servers {
        etcdctl(server, &["put", "app/1", "v", ROOT], "");
        let endpoint = format!("--endpoints=http://{server}");
        let args = [&endpoint, "watch", "app/", "--prefix", "--rev=1", APP];
        let seen = e2e::etcdctl_until(&args, "PUT\napp/1\nv\n", LIMIT);
        assert_eq!(seen, "PUT\napp/1\nv\n");
    }
}

#[test]
fn a_watch_that_runs_ends_when_its_right_is_taken_away() {
    let ours = store("auth-watch-end");
    set_up(ours.address);
    let address = ours.address;
    let watching = std::thread::spawn(move || etcdctl(address, &["watch", "app/1", APP], ""));
    wait_for("the watch to be there", LIMIT, || {
        let page = e2e::request(address.port(), "GET", "/metrics", &[], b"").body;
        let mut lines = page.lines();
        lines.find(|line| line.contains("mvcc_watcher_total") && line.ends_with(" 1")).map(drop)
    });
    let revoked = etcdctl(address, &["user", "revoke-role", "app", "app", ROOT], "");
    assert!(revoked.ends_with("exit 0"), "{revoked}");
    let ended = watching.join().expect("etcdctl ends");
    assert!(ended.contains("watch is canceled by the server"), "{ended}");
}

// === where we are stricter than the etcd beside us ===

#[test]
fn what_newer_etcds_refuse_is_refused() {
    let ours = store("auth-strict");
    set_up(ours.address);
    let check = |args: &[&str], expected: &str| {
        let text = etcdctl(ours.address, args, "");
        assert!(text.contains(expected), "{args:?}: {text}");
    };
    let nobody = "etcdserver: user name is empty";
    check(&["lease", "grant", "10"], nobody);
    check(&["lease", "list"], nobody);
    check(&["member", "list"], nobody);
    check(&["endpoint", "status"], nobody);
    check(&["compaction", "2"], nobody);
    check(&["defrag"], nobody);
    check(&["watch", "app/1"], nobody);
    check(&["defrag", APP], "etcdserver: permission denied");
    check(&["endpoint", "hashkv", APP], "etcdserver: permission denied");
    check(&["member", "list", APP], "started");
    check(&["compaction", "2", APP], "etcdserver: permission denied");
    // One that keeps its permissions to itself would be taken for one without.
    check(&["role", "get", "root", ROOT], "<open ended>");
    let backwards = ["role", "grant-permission", "app", "read", "b", "a", ROOT];
    check(&backwards, "etcdserver: invalid auth management");
}
