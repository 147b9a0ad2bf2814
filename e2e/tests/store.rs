//! The store as the real etcdctl sees it, and as it survives being killed.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use e2e::{Running, Scratch, wait_for};
use kv::{Error, KeyRange, Kv as _, PutRequest, RangeRequest};
use rustix::process::Signal;

const LIMIT: Duration = Duration::from_secs(120);

struct Store {
    process: Running,
    address: SocketAddr,
    _data: Scratch,
}

fn start(name: &str) -> Store {
    let data = Scratch::new(name);
    let address = free_address();
    let process = run_store(&data, address);
    Store { process, address, _data: data }
}

fn run_store(data: &Scratch, address: SocketAddr) -> Running {
    let folder = data.join("data").display().to_string();
    let url = format!("http://{address}");
    let mut process = Running::start(&[
        "store",
        "--data-dir",
        &folder,
        "--listen-client-urls",
        &url,
        "--insecure",
    ]);
    process.wait_for_line("store serves", LIMIT);
    process
}

/// Free a moment ago; a store that is killed must come back on the same port.
/// Where a store can listen again after it was killed.
fn free_address() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], e2e::free_base_port()))
}

// === etcdctl ===

impl Store {
    /// What etcdctl prints, on both streams, and whether it succeeded.
    fn etcdctl(&self, args: &[&str]) -> (bool, String) {
        let endpoint = format!("--endpoints=http://{}", self.address);
        let args: Vec<&str> = [endpoint.as_str()].iter().chain(args).copied().collect();
        let output = e2e::etcdctl(&args);
        let text = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8_lossy(&text).trim_end().to_owned())
    }

    fn prints(&self, args: &[&str], expected: &str) {
        assert_eq!(self.etcdctl(args), (true, expected.into()), "etcdctl {args:?}");
    }

    fn fails(&self, args: &[&str], expected: &str) {
        let (success, text) = self.etcdctl(args);
        let last = text.lines().last().unwrap_or_default();
        assert_eq!((success, last), (false, expected), "etcdctl {args:?}");
    }
}

#[test]
fn etcdctl_writes_reads_and_deletes_as_with_etcd() {
    let store = start("store-kv");
    store.prints(&["put", "a", "1"], "OK");
    store.prints(&["put", "a", "2", "--prev-kv"], "OK\na\n1");
    store.prints(&["put", "b", "3"], "OK");
    store.prints(&["get", "a"], "a\n2");
    store.prints(&["get", "a", "--rev", "2"], "a\n1");
    store.prints(&["get", "", "--prefix", "--keys-only"], "a\n\nb");
    store.prints(&["get", "", "--prefix", "--sort-by=value", "--order=descend"], "b\n3\na\n2");
    store.prints(&["get", "--from-key", "b"], "b\n3");
    store.prints(&["del", "b", "--prev-kv"], "1\nb\n3");
    store.prints(&["del", "b"], "0");
    store.fails(
        &["get", "a", "--rev", "99"],
        "Error: etcdserver: mvcc: required revision is a future revision",
    );
    store.fails(&["put", "", "x"], "Error: etcdserver: key is not provided");
    store.fails(&["put", "new", "--ignore-value"], "Error: etcdserver: key not found");
    store.fails(&["put", "k", "v", "--lease=123"], "Error: etcdserver: requested lease not found");
}

#[test]
fn etcdctl_transactions_run_one_branch_or_nothing() {
    let store = start("store-txn");
    store.prints(&["put", "a", "2"], "OK");
    let txn = |script: &str| {
        let endpoint = format!("--endpoints=http://{}", store.address);
        let output = e2e::etcdctl_with_input(&[&endpoint, "txn"], script);
        String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).trim_end().to_owned()
    };
    let yes = txn("value(\"a\") = \"2\"\n\nput c yes\nget a\n\nput c no\n\n");
    assert_eq!(yes, "SUCCESS\n\nOK\n\na\n2");
    let no = txn("mod(\"a\") > \"100\"\n\nput c yes\n\ndel c\n\n");
    assert_eq!(no, "FAILURE\n\n1");
    let twice = txn("\nput d 1\nput d 2\n\n\n");
    assert!(twice.ends_with("Error: etcdserver: duplicate key given in txn request"), "{twice}");
    store.prints(&["get", "d"], "");
}

#[test]
fn etcdctl_watches_from_a_revision_until_it_is_compacted() {
    let store = start("store-watch");
    for value in ["1", "2", "3"] {
        store.prints(&["put", "w", value], "OK");
    }
    store.prints(&["del", "w"], "1");
    // Revisions 2 to 5; the watch ends when it has seen the delete.
    let endpoint = format!("--endpoints=http://{}", store.address);
    let seen = e2e::etcdctl_until(
        &[&endpoint, "watch", "w", "--rev", "3", "--prev-kv"],
        "DELETE\nw\n3\nw\n\n",
        LIMIT,
    );
    assert_eq!(seen.trim_end(), "PUT\nw\n1\nw\n2\nPUT\nw\n2\nw\n3\nDELETE\nw\n3\nw");

    store.prints(&["compaction", "5"], "compacted revision 5");
    let compacted = "Error: etcdserver: mvcc: required revision has been compacted";
    store.fails(&["compaction", "5"], compacted);
    store.fails(&["get", "w", "--rev", "4"], compacted);
    let (success, text) = store.etcdctl(&["watch", "w", "--rev", "3"]);
    assert!(!success && text.contains("required revision has been compacted"), "{text}");
}

#[test]
fn etcdctl_grants_renews_and_revokes_leases() {
    let store = start("store-lease");
    let (_, granted) = store.etcdctl(&["lease", "grant", "100"]);
    let id = granted.split_whitespace().nth(1).expect("an id").to_owned();
    assert_eq!(granted, format!("lease {id} granted with TTL(100s)"));
    let lease = format!("--lease={id}");
    store.prints(&["put", "l1", "v", &lease], "OK");
    store.prints(&["put", "l2", "v", &lease], "OK");
    let (_, left) = store.etcdctl(&["lease", "timetolive", &id, "--keys"]);
    assert!(left.starts_with(&format!("lease {id} granted with TTL(100s), remaining(")), "{left}");
    assert!(left.ends_with("attached keys([l1 l2])"), "{left}");
    store.prints(
        &["lease", "keep-alive", "--once", &id],
        &format!("lease {id} keepalived with TTL(100)"),
    );
    store.prints(&["lease", "list"], &format!("found 1 leases\n{id}"));
    store.prints(&["lease", "revoke", &id], &format!("lease {id} revoked"));
    store.prints(&["get", "l", "--prefix"], "");
    store.prints(&["lease", "timetolive", &id], &format!("lease {id} already expired"));

    // Two seconds is the shortest; nobody renews it, so its key goes.
    // On a busy machine it may be over before its key is written.
    wait_for("a key with a short lease", LIMIT, || {
        let (_, short) = store.etcdctl(&["lease", "grant", "1"]);
        let short = short.split_whitespace().nth(1).expect("an id").to_owned();
        let put = store.etcdctl(&["put", "brief", "v", &format!("--lease={short}")]);
        (put == (true, "OK".into())).then_some(())
    });
    wait_for("the lease to expire", LIMIT, || {
        (store.etcdctl(&["get", "brief"]) == (true, String::new())).then_some(())
    });
}

#[test]
fn etcdctl_finds_one_healthy_member() {
    let store = start("store-status");
    let address = store.address;
    let (healthy, text) = store.etcdctl(&["endpoint", "health"]);
    assert!(healthy && text.contains("is healthy"), "{text}");
    let (_, status) = store.etcdctl(&["endpoint", "status", "-w", "json"]);
    let status: serde_json::Value = serde_json::from_str(&status).expect("JSON");
    let status = &status[0]["Status"];
    assert_eq!(status["leader"], status["header"]["member_id"]);
    assert!(status["version"].as_str().is_some_and(|version| version.starts_with("3.5.")));
    let (_, members) = store.etcdctl(&["member", "list"]);
    assert_eq!(members.lines().count(), 1);
    assert!(members.contains("started") && members.contains(&format!("http://{address}")));
    store.prints(&["alarm", "list"], "");
}

// === kill -9 ===

/// Kills while writers write.
const KILLS: usize = 50;
/// Acknowledged writes between two kills, so that each kill has something to
/// destroy.
const ACKED_BETWEEN: u64 = 40;
const WRITERS: usize = 8;

#[derive(Default)]
struct Written {
    acked: AtomicU64,
    /// Key → revision that was acknowledged.
    revisions: Mutex<BTreeMap<String, u64>>,
    /// Definitely not written.
    refused: Mutex<BTreeSet<String>>,
}

#[test]
fn a_store_that_is_killed_fifty_times_keeps_every_acknowledged_write_and_no_gap() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    let Store { mut process, address, _data: data } = start("store-kill");
    let client = {
        let _inside = runtime.enter();
        let config = kv_etcd::Config::new(format!("http://{address}"), None);
        kv_etcd::Client::connect(config).expect("a client")
    };
    let written = Arc::new(Written::default());
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| {
            let kv = client.keyspace("default").expect("a keyspace");
            runtime.spawn(write(kv, writer, written.clone()))
        })
        .collect();
    for _ in 0..KILLS {
        let enough = written.acked.load(Relaxed) + ACKED_BETWEEN;
        wait_for("writes to be acknowledged", LIMIT, || {
            (written.acked.load(Relaxed) >= enough).then_some(())
        });
        process.signal(Signal::KILL);
        process.wait(LIMIT);
        process = run_store(&data, address);
    }
    for writer in writers {
        writer.abort();
    }

    let kv = client.keyspace("default").expect("a keyspace");
    // The client may have to find out first that the store is back.
    let all = wait_for("everything there is", LIMIT, || {
        runtime.block_on(kv.range(RangeRequest::new(KeyRange::prefix("")))).ok()
    });
    let found: BTreeMap<String, u64> = all
        .kvs
        .iter()
        .map(|kv| (String::from_utf8_lossy(&kv.key).into_owned(), kv.mod_revision.0))
        .collect();
    let revisions = written.revisions.lock().expect("no writer panicked");
    let lost: Vec<_> = revisions.iter().filter(|(k, at)| found.get(*k) != Some(at)).collect();
    assert!(lost.is_empty(), "{} of {} lost: {lost:?}", lost.len(), revisions.len());
    let refused = written.refused.lock().expect("no writer panicked");
    let undead: Vec<_> = refused.iter().filter(|key| found.contains_key(*key)).collect();
    assert!(undead.is_empty(), "refused and yet there: {undead:?}");
    // Every write made a key of its own, so every revision has one.
    let mut used: Vec<_> = found.values().copied().collect();
    used.sort_unstable();
    assert_eq!(used, (2..=all.revision.0).collect::<Vec<_>>());
    drop(process);
}

async fn write(kv: kv_etcd::Keyspace, writer: usize, written: Arc<Written>) {
    for n in 0.. {
        let key = format!("w{writer}/{n}");
        match kv.put(PutRequest::new(key.clone(), "v")).await {
            Ok((revision, _)) => {
                written.acked.fetch_add(1, Relaxed);
                written.revisions.lock().expect("no panic").insert(key, revision.0);
            }
            Err(error) => {
                if error.is_definite() {
                    written.refused.lock().expect("no panic").insert(key);
                }
                // The store is being started again; a look at it costs a
                // connection attempt.
                if matches!(error, Error::Unreachable(_)) {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            }
        }
    }
}
