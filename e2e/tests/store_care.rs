//! Verifying and copying live stores, with the real etcdctl and a real etcd.

use std::{net::SocketAddr, path::Path, time::Duration};

use e2e::{Etcd, Running, Scratch, wait_for};
use rustix::process::Signal;

const LIMIT: Duration = Duration::from_secs(30);

struct Store {
    address: SocketAddr,
    process: Running,
}

fn start(data: &Path, options: &[&str]) -> Store {
    let address = SocketAddr::from(([127, 0, 0, 1], e2e::free_base_port()));
    let (folder, url) = (data.display().to_string(), format!("http://{address}"));
    let args = ["store", "--data-dir", &folder, "--listen-client-urls", &url, "--insecure"];
    let mut process = Running::start(&[&args[..], options].concat());
    process.wait_for_line("store serves", LIMIT);
    Store { address, process }
}

fn stop(mut store: Store) {
    store.process.signal(Signal::TERM);
    store.process.wait(LIMIT);
}

/// What etcdctl prints on both streams, without its log, and how it ends.
fn ctl(address: SocketAddr, args: &[&str]) -> (bool, String) {
    let endpoint = format!("--endpoints=http://{address}");
    let args: Vec<&str> = [endpoint.as_str()].iter().chain(args).copied().collect();
    let output = e2e::etcdctl(&args);
    let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    let told: Vec<&str> = text.lines().filter(|line| !line.starts_with('{')).collect();
    (output.status.success(), told.join("\n"))
}

fn done(address: SocketAddr, args: &[&str]) -> String {
    let (success, text) = ctl(address, args);
    assert!(success, "etcdctl {args:?}: {text}");
    text
}

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
    let scratch = Scratch::new("store-import");
    let etcd = Etcd::start("store-import-etcd");
    for n in 0..120 {
        done(etcd.address, &["put", &format!("k{n:03}"), &format!("v{n}")]);
    }
    let granted = done(etcd.address, &["lease", "grant", "900"]);
    let id = granted.split_whitespace().nth(1).expect("an id").to_owned();
    done(etcd.address, &["put", "leased", "v", &format!("--lease={id}")]);
    let store = start(&scratch.join("data"), &[]);
    let (from, to) = (format!("http://{}", etcd.address), format!("http://{}", store.address));
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
    let scratch = Scratch::new("store-verify");
    let data = scratch.join("data");
    let store = start(&data, &[]);
    for n in 0..20 {
        done(store.address, &["put", &format!("k{n}"), &format!("a value to damage {n}")]);
    }
    stop(store);
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
