//! Compaction by itself, as etcd's clients see it.

use std::time::Duration;

use e2e::{Store, wait_for};
use testkit::MariaDb;
use tokio::time::Instant;

const LIMIT: Duration = Duration::from_secs(180);

const COMPACTED: &str = "etcdserver: mvcc: required revision has been compacted";

fn put(store: &Store, n: u64) -> bool {
    store.ctl(&["put", "k", &format!("v{n}")]).0
}

/// What became of revision `revision`.
fn read(store: &Store, revision: u64) -> (bool, String) {
    store.ctl(&["get", "k", &format!("--rev={revision}")])
}

fn is_compacted(store: &Store, revision: u64) -> bool {
    let (success, text) = read(store, revision);
    assert!(success || text.contains(COMPACTED), "{text}");
    !success
}

/// As soon as somebody leads.
fn revision(store: &Store) -> u64 {
    let told = wait_for("a read", LIMIT, || {
        let (success, told) = store.ctl(&["get", "k", "--write-out=fields"]);
        success.then_some(told)
    });
    let line = told.lines().find_map(|line| line.strip_prefix("\"Revision\" : "));
    line.unwrap_or_else(|| panic!("no revision in {told}")).parse().expect("a number")
}

#[test]
fn by_revision_the_newest_are_kept_and_older_ones_are_answered_as_etcd_does() {
    const KEPT: u64 = 20;
    let options = ["--auto-compaction-mode=revision", "--auto-compaction-retention=20"];
    let store = Store::start("compaction-revision", &options);
    for n in 2..=30 {
        assert!(put(&store, n));
    }
    wait_for("a compaction", LIMIT, || is_compacted(&store, 2).then_some(()));
    let newest = revision(&store);
    // Kept to the letter, and a fifth more at most.
    assert!(!is_compacted(&store, newest - KEPT));
    assert_eq!(read(&store, newest), (true, format!("k\nv{newest}")));
    let (_, text) = store.ctl(&["watch", "k", "--rev=2"]);
    assert!(text.contains("required revision has been compacted"), "{text}");
}

#[test]
fn by_age_what_is_old_goes_and_what_is_young_stays() {
    const RETENTION: Duration = Duration::from_secs(3);
    let options = ["--auto-compaction-mode=periodic", "--auto-compaction-retention=3s"];
    let store = Store::start("compaction-periodic", &options);
    let written = Instant::now();
    assert!(put(&store, 2) && put(&store, 3));
    let compacted = is_compacted(&store, 2);
    // On a busy machine it may have grown old meanwhile.
    assert!(!compacted || written.elapsed() >= RETENTION, "it is young");
    // Whoever writes finds out what is old.
    wait_for("a compaction", LIMIT, || {
        assert!(put(&store, 0));
        is_compacted(&store, 2).then_some(())
    });
    assert!(!is_compacted(&store, revision(&store)));
}

#[test]
fn whoever_leads_next_compacts_on() {
    let database = MariaDb::shared().empty_database("compaction");
    let mut stores: Vec<Store> = ["store-a", "store-b", "store-c"]
        .iter()
        .map(|name| {
            let (database, name) = (format!("--database={database}"), format!("--name={name}"));
            let mode = "--auto-compaction-mode=revision";
            let options = [&database, &name, mode, "--auto-compaction-retention=20"];
            Store::start("compaction-replica", &options)
        })
        .collect();
    wait_for("a leader", LIMIT, || put(&stores[0], 2).then_some(()));
    for round in 0..2 {
        let before = revision(&stores[0]);
        wait_for("what came before is compacted", LIMIT, || {
            let _ = put(&stores[0], round);
            let (success, text) = read(&stores[0], before);
            (!success && text.contains(COMPACTED)).then_some(())
        });
        // At every replica, from its own copy.
        for store in &stores {
            wait_for("a follower to hear of it", LIMIT, || {
                let old = format!("--rev={before}");
                let (success, text) = store.ctl(&["get", "k", &old, "--consistency=s"]);
                (!success && text.contains(COMPACTED)).then_some(())
            });
        }
        if round == 0 {
            let leads = |store: &Store| store.figure("polis_store_keyspaces_led") == 1;
            let leader = wait_for("a leader", LIMIT, || stores.iter().position(leads));
            stores[leader].kill9();
            drop(stores.remove(leader));
            wait_for("another leader", LIMIT, || put(&stores[0], 0).then_some(()));
        }
    }
}
