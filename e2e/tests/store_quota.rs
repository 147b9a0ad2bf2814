//! A store that holds as much as it may, from the first refusal to the first put
//! after it, with the real etcdctl.

use std::time::Duration;

use e2e::{Store, wait_for};
use testkit::MariaDb;

const LIMIT: Duration = Duration::from_secs(180);

const QUOTA: usize = 16 * 1024 * 1024;

/// etcdctl takes a value from its arguments, of which none is longer.
const VALUE_BYTES: usize = 100_000;

const FULL: &str = "etcdserver: mvcc: database space exceeded";

/// Nothing of it can be packed tighter.
fn value(seed: u64) -> String {
    let mut random = rt::random::Random::seeded(seed);
    let letter = |_| char::from(b'a' + u8::try_from(random.below(26)).expect("a letter"));
    (0..VALUE_BYTES).map(letter).collect()
}

/// Puts until one is refused for want of room; how many were not.
fn fill(store: &Store, puts_max: usize) -> usize {
    (0..puts_max)
        .find(|n| {
            let (done, text) = store.ctl(&["put", &format!("fill/{n}"), &value(*n as u64)]);
            assert!(done || text.contains(FULL), "{text}");
            !done
        })
        .unwrap_or(puts_max)
}

fn make_room(store: &Store) {
    store.done(&["del", "fill/", "--prefix"]);
    let told = store.done(&["get", "fill/", "--prefix", "--write-out=fields"]);
    let line = told.lines().find_map(|line| line.strip_prefix("\"Revision\" : "));
    // A full store may have come to it first.
    let _ = store.ctl(&["compaction", line.expect("a revision")]);
}

fn refuses_puts(store: &Store) {
    let (done, text) = store.ctl(&["put", "small", "v"]);
    assert!(!done && text.contains(FULL), "{text}");
    let (done, text) = store.ctl(&["lease", "grant", "60"]);
    assert!(!done && text.contains(FULL), "{text}");
    assert!(store.done(&["alarm", "list"]).contains("alarm:NOSPACE"));
    store.done(&["get", "fill/0", "--keys-only"]);
}

#[test]
fn a_store_on_local_disk_fills_up_at_its_quota_and_takes_puts_again() {
    let store = Store::start("quota", &[&format!("--quota-backend-bytes={QUOTA}")]);
    assert_eq!(store.done(&["alarm", "list"]), "");
    let puts = fill(&store, 2 * QUOTA / VALUE_BYTES);
    let full = QUOTA / VALUE_BYTES;
    assert!((full * 9 / 10..full * 11 / 10).contains(&puts), "{puts} puts");
    refuses_puts(&store);

    make_room(&store);
    // What was compacted is folded in the background; until then the files hold
    // it, and an alarm that is disarmed comes back.
    wait_for("room", LIMIT, || {
        store.done(&["--command-timeout=120s", "defrag"]);
        store.done(&["alarm", "disarm"]);
        store.done(&["endpoint", "status"]);
        (store.done(&["alarm", "list"]).is_empty()).then_some(())
    });
    store.done(&["put", "small", "v"]);
    let again = fill(&store, full / 2);
    assert_eq!(again, full / 2, "there is as much room as before");
}

#[test]
fn a_database_that_is_as_large_as_it_may_be_takes_no_puts_until_there_is_room() {
    let database = MariaDb::shared().empty_database("quota");
    let quota = format!("--quota-backend-bytes={QUOTA}");
    let store = Store::start("quota", &[&format!("--database={database}"), &quota]);
    // The database tells how large it is when it likes to.
    wait_for("the alarm", LIMIT, || {
        fill(&store, 40);
        store.done(&["endpoint", "status"]);
        (!store.done(&["alarm", "list"]).is_empty()).then_some(())
    });
    refuses_puts(&store);

    make_room(&store);
    wait_for("room", LIMIT, || {
        store.done(&["--command-timeout=120s", "defrag"]);
        store.done(&["alarm", "disarm"]);
        store.done(&["endpoint", "status"]);
        (store.done(&["alarm", "list"]).is_empty()).then_some(())
    });
    store.done(&["put", "small", "v"]);
}
