//! Verifying and copying live stores, with the real etcdctl and a real etcd.

use std::{path::Path, time::Duration};

use e2e::{Etcd, Running, Store, done, wait_for};
use kv::{KeyRange, Kv as _, PutRequest, RangeRequest};
use prost::bytes::Bytes;
use rustix::process::Signal;

const LIMIT: Duration = Duration::from_secs(120);

/// Flips a bit of a value in the first file that holds one.
fn hurt(folder: &Path) -> bool {
    std::fs::read_dir(folder).expect("readable").any(|entry| {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            return hurt(&path);
        }
        let mut bytes = std::fs::read(&path).expect("readable");
        let at = bytes.windows(17).position(|window| window == b"a value to damage");
        let Some(at) = at else { return false };
        bytes[at] ^= 1;
        std::fs::write(&path, bytes).expect("written");
        true
    })
}

#[test]
fn a_live_etcd_is_copied_and_its_changes_are_followed() {
    let etcd = Etcd::start("store-import-etcd");
    for n in 0..120 {
        done(etcd.address, &["put", &format!("k{n:03}"), &format!("v{n}")]);
    }
    let granted = done(etcd.address, &["lease", "grant", "900"]);
    let id = granted.split_whitespace().nth(1).expect("an id").to_owned();
    done(etcd.address, &["put", "leased", "v", &format!("--lease={id}")]);
    let store = Store::start("store-import", &[]);
    let (from, to) = (format!("http://{}", etcd.address), store.url());
    let copy = ["store", "import", "--from", &from, "--to", &to];
    let mut following = Running::start(&[&copy[..], &["--follow"]].concat());
    wait_for("the copy", LIMIT, || {
        (done(store.address, &["get", "k119"]) == "k119\nv119").then_some(())
    });
    done(etcd.address, &["put", "k000", "changed"]);
    done(etcd.address, &["del", "k001"]);
    done(etcd.address, &["put", "new", "at the end"]);
    wait_for("the changes", LIMIT, || {
        (done(store.address, &["get", "new"]) == "new\nat the end").then_some(())
    });
    following.signal(Signal::INT);
    assert!(following.wait(LIMIT).success(), "{}", following.printed());
    assert!(
        following.printed().contains("both sides have the same 121 keys"),
        "{}",
        following.printed()
    );
    let all = ["get", "", "--prefix"];
    assert_eq!(done(store.address, &all), done(etcd.address, &all));
    let leased = done(store.address, &["lease", "timetolive", &id, "--keys"]);
    assert!(leased.contains("granted with TTL(900s)") && leased.contains("[leased]"), "{leased}");

    let again = e2e::run(&copy);
    let text = String::from_utf8_lossy(&again.stderr).into_owned();
    assert!(!again.status.success() && text.contains("holds 121 keys"), "{text}");
    done(etcd.address, &["put", "late", "v"]);
    let resumed = e2e::run(&[&copy[..], &["--resume", "--until-caught-up"]].concat());
    assert!(resumed.status.success(), "{}", String::from_utf8_lossy(&resumed.stderr));
    assert_eq!(done(store.address, &all), done(etcd.address, &all));
}

#[test]
fn verify_counts_what_is_there_and_names_what_is_damaged() {
    let store = Store::start("store-verify", &[]);
    let data = store.data();
    for n in 0..20 {
        done(store.address, &["put", &format!("k{n}"), &format!("a value to damage {n}")]);
    }
    let _stopped = store.stop();
    let folder = data.display().to_string();
    let verify = || e2e::run(&["store", "verify", "--data-dir", &folder, "-o", "json"]);
    let sound = verify();
    let text = String::from_utf8_lossy(&sound.stdout).into_owned();
    assert!(sound.status.success() && text.contains("\"keys\":20"), "{text}");

    assert!(hurt(&data), "no file holds the values");
    let damaged = verify();
    let text = [damaged.stdout, damaged.stderr].concat();
    let text = String::from_utf8_lossy(&text).into_owned();
    assert!(!damaged.status.success() && text.contains("PLS"), "{text}");
}

/// Seconds left of a lease.
fn left(address: std::net::SocketAddr, id: &str) -> u64 {
    let told = done(address, &["lease", "timetolive", id]);
    let left = told.split_once("remaining(").and_then(|(_, rest)| rest.split_once("s)"));
    let (left, _) = left.unwrap_or_else(|| panic!("no time in {told}"));
    left.parse().expect("a number")
}

#[test]
fn a_lease_of_an_etcd_comes_over_with_what_is_left_of_it() {
    const TTL: u64 = 600;
    const SPENT: u64 = 4;
    let etcd = Etcd::start("store-import-lease-etcd");
    let granted = done(etcd.address, &["lease", "grant", &TTL.to_string()]);
    let id = granted.split_whitespace().nth(1).expect("an id").to_owned();
    done(etcd.address, &["put", "leased", "v", &format!("--lease={id}")]);
    wait_for("some of its time to pass", LIMIT, || {
        (left(etcd.address, &id) < TTL - SPENT).then_some(())
    });
    let store = Store::start("store-import-lease", &[]);
    let from = format!("http://{}", etcd.address);
    let copied = e2e::run(&["store", "import", "--from", &from, "--to", &store.url()]);
    assert!(copied.status.success(), "{}", String::from_utf8_lossy(&copied.stderr));
    // The other one is asked later, however much later: whole seconds are told,
    // and one is added.
    let here = left(store.address, &id);
    let there = left(etcd.address, &id);
    assert!(here <= TTL - SPENT, "{here} s are left, as if it were new");
    assert!(here + 1 >= there, "{here} s are left here, {there} s there");
    let told = done(store.address, &["lease", "timetolive", &id, "--keys"]);
    assert!(told.contains("granted with TTL(600s)") && told.contains("[leased]"), "{told}");
    // What was carried over survives a restart.
    let store = store.restart(&[]);
    assert!(left(store.address, &id) <= TTL - SPENT);
    wait_for("all of it is left again", LIMIT, || {
        done(store.address, &["lease", "keep-alive", "--once", &id]);
        (left(store.address, &id) > TTL - SPENT).then_some(())
    });
}

#[test]
fn damage_in_the_log_of_a_running_store_is_found_and_stops_all_use_of_keys() {
    let mut store = Store::start("store-audit", &["--experimental-corrupt-check-time=1s"]);
    for n in 0..20 {
        store.done(&["put", &format!("k{n}"), &format!("a value to damage {n}")]);
    }
    wait_for("a first look", LIMIT, || {
        (store.figure("polis_store_audits_total{outcome=\"sound\"}") > 0).then_some(())
    });
    assert_eq!(store.done(&["alarm", "list"]), "");
    assert!(hurt(&store.data()), "no file holds the values");
    wait_for("the alarm", LIMIT, || {
        store.done(&["alarm", "list"]).contains("alarm:CORRUPT").then_some(())
    });
    store.process.wait_for_line("PLS0114", LIMIT);
    for args in [&["put", "k", "v"][..], &["get", "k1"]] {
        let (success, text) = store.ctl(args);
        assert!(!success && text.contains("etcdserver: corrupt cluster"), "{args:?}: {text}");
    }
    let ready = e2e::request(store.address.port(), "GET", "/readyz", &[], &[]);
    assert!(ready.body.contains("[-]data_corruption failed: alarm activated: CORRUPT"));
}

#[tokio::test]
async fn values_beyond_the_memory_budget_are_on_disk_and_right_after_a_restart() {
    const MIB: usize = 1024 * 1024;
    // Much more than what the allocator keeps of the reading at the start.
    const VALUES: usize = 224;
    let value = |n: usize| Bytes::from(vec![b'a' + (n % 26) as u8; MIB]);
    let put = async |store: &Store, n: usize| {
        let put = PutRequest::new(format!("k{n}"), value(n));
        keyspace(store).put(put).await.expect("a put");
    };
    let read = async |store: &Store, n: usize| {
        let request = RangeRequest::new(KeyRange::Key(format!("k{n}").into()));
        let found = keyspace(store).range(request).await.expect("a read");
        found.kvs[0].value.clone()
    };
    let small = ["--memory-budget=1048576"];
    let mut store = Store::start("store-budget", &small);
    for n in 0..VALUES {
        put(&store, n).await;
    }
    let mut memory = Vec::new();
    for options in [&small[..], &[]] {
        store = store.restart(options);
        // The first to ask loads it.
        assert_eq!(read(&store, 0).await, value(0));
        memory.push(resident(&store));
        for n in [1, VALUES / 2, VALUES - 1] {
            assert!(read(&store, n).await == value(n), "k{n}");
        }
        put(&store, 7).await;
        assert!(read(&store, 7).await == value(7));
    }
    let [with_little, with_enough] = memory[..] else { unreachable!("two starts") };
    println!("{with_little} bytes with a budget of 1 MiB, {with_enough} with the default");
    assert!(with_little + VALUES * MIB / 4 < with_enough);
}

fn keyspace(store: &Store) -> kv_etcd::Keyspace {
    let mut config = kv_etcd::Config::new(store.url(), None);
    config.request_timeout = LIMIT;
    let client = kv_etcd::Client::connect(config);
    client.expect("a client").keyspace("default").expect("a keyspace")
}

/// Its own memory: pages of files count for nobody.
fn resident(store: &Store) -> usize {
    let path = format!("/proc/{}/status", store.process.pid());
    let status = std::fs::read_to_string(path).expect("a running process");
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"));
    let text = line.expect("Linux tells it").trim().trim_end_matches(" kB");
    text.parse::<usize>().expect("a number") * 1024
}
