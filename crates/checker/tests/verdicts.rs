//! Histories whose verdict is known: the good ones, and the classic bad ones.

mod common;

use checker::history::{Change, KeyValue, Request, Said};
use common::{
    check, events, get, grant, history, kv, operation, put, put_refused, put_unknown, swap,
    watch_all, wrote, wrote_put,
};

fn one() -> KeyValue {
    kv("a", "1", (2, 2, 1))
}

fn two() -> KeyValue {
    kv("a", "2", (2, 3, 2))
}

#[test]
fn reads_and_writes_that_overlap_may_go_either_way() {
    let log = vec![wrote_put(15, one()), wrote_put(25, two())];
    let writes = [put((10, 20), "a", "1", 2), put((12, 40), "a", "2", 3)];
    for read in [
        get((13, 30), 1, "a", None),
        get((13, 30), 2, "a", Some(one())),
        get((13, 30), 3, "a", Some(two())),
    ] {
        check(&history([&writes[..], &[read]].concat(), log.clone()), &[]);
    }
}

#[test]
fn a_read_that_misses_what_was_acknowledged_is_stale() {
    let log = vec![wrote_put(15, one()), wrote_put(25, two())];
    let writes = vec![put((10, 20), "a", "1", 2), put((21, 30), "a", "2", 3)];
    let stale = get((31, 40), 2, "a", Some(one()));
    let stale = history([writes, vec![stale]].concat(), log);
    check(&stale, &["linearizability", "no stale reads"]);
}

#[test]
fn two_swaps_of_one_version_are_a_lost_update() {
    let log =
        vec![wrote_put(15, one()), wrote_put(25, two()), wrote_put(35, kv("a", "3", (2, 4, 3)))];
    let operations = vec![
        put((10, 20), "a", "1", 2),
        swap((21, 30), "a", 2, "2", Some(3)),
        swap((22, 40), "a", 2, "3", Some(4)),
    ];
    check(&history(operations, log), &["linearizability", "strict serializability"]);
}

#[test]
fn what_was_acknowledged_is_in_the_log() {
    let operations = vec![put((10, 20), "a", "1", 2), put((21, 30), "a", "2", 3)];
    let lost = history(operations, vec![wrote_put(15, one())]);
    check(&lost, &["nothing acknowledged is lost"]);
}

#[test]
fn an_unknown_write_happens_late_or_never_but_not_twice() {
    let (first, again) = (kv("b", "1", (3, 3, 1)), kv("b", "1", (3, 4, 2)));
    let operations = vec![put((10, 20), "a", "1", 2), put_unknown((11, 21), "b", "1")];
    check(&history(operations.clone(), vec![wrote_put(15, one())]), &[]);

    let late = get((60, 70), 3, "b", Some(first.clone()));
    let log = vec![wrote_put(15, one()), wrote_put(50, first)];
    check(&history([&operations[..], &[late]].concat(), log.clone()), &[]);

    let twice = get((60, 70), 4, "b", Some(again.clone()));
    let log = [log, vec![wrote_put(55, again)]].concat();
    let twice = history([operations, vec![twice]].concat(), log);
    check(&twice, &["every revision has a cause", "linearizability"]);
}

#[test]
fn an_unknown_swap_is_either_way_until_a_read_tells() {
    let operations = [put((10, 20), "a", "1", 2), swap((21, 0), "a", 2, "2", None)];
    let not_yet = [get((30, 40), 2, "a", Some(one())), get((50, 60), 3, "a", Some(two()))];
    let log = vec![wrote_put(15, one()), wrote_put(45, two())];
    check(&history([&operations[..], &not_yet].concat(), log.clone()), &[]);

    let back = [get((30, 40), 3, "a", Some(two())), get((50, 60), 2, "a", Some(one()))];
    let back = history([&operations[..], &back].concat(), log);
    check(&back, &["linearizability", "no stale reads"]);
}

#[test]
fn what_was_refused_did_not_happen() {
    let operations = vec![put_refused((10, 20), "a", "1"), get((30, 40), 2, "a", Some(one()))];
    let applied = history(operations, vec![wrote_put(15, one())]);
    check(&applied, &["every revision has a cause", "linearizability"]);
}

#[test]
fn a_write_is_not_seen_before_it_is_asked_for() {
    let operations = vec![get((10, 20), 2, "a", Some(one())), put((30, 40), "a", "1", 2)];
    let early = history(operations, vec![wrote_put(15, one())]);
    check(&early, &["linearizability", "real time"]);
}

#[test]
fn revisions_have_no_gaps_and_are_given_once() {
    let log = vec![wrote_put(15, one()), wrote_put(25, kv("a", "2", (2, 4, 2)))];
    let operations = vec![put((10, 20), "a", "1", 2), put((21, 30), "a", "2", 4)];
    check(&history(operations, log), &["no gaps"]);
    let operations = vec![put((10, 20), "a", "1", 2), put((10, 30), "b", "2", 2)];
    check(&history(operations, vec![wrote_put(15, one())]), &["unique revisions"]);
}

fn watched(items: Vec<Said>) -> checker::History {
    let log =
        vec![wrote_put(15, one()), wrote_put(25, two()), wrote_put(35, kv("b", "3", (4, 4, 1)))];
    let operations =
        vec![put((10, 20), "a", "1", 2), put((21, 30), "a", "2", 3), put((31, 40), "b", "3", 4)];
    checker::History { watches: vec![watch_all(2, items)], ..history(operations, log) }
}

#[test]
fn watchers_see_everything_once_and_in_order() {
    let three = kv("b", "3", (4, 4, 1));
    let progress = |revision| Said::Progress { revision };
    let items = |items: &[&[KeyValue]]| items.iter().map(|kvs| events(kvs)).collect::<Vec<_>>();
    check(&watched(items(&[&[one(), two()], std::slice::from_ref(&three)])), &[]);
    check(&watched(vec![events(&[one()]), progress(2), events(&[two(), three.clone()])]), &[]);
    check(&watched(vec![events(&[one(), two()]), progress(4)]), &["Bookmarkable"]);
    check(&watched(vec![progress(2), events(&[one()])]), &["Bookmarkable", "Ordered"]);
    check(&watched(items(&[&[two()]])), &["Reliable"]);
    check(&watched(items(&[&[one()], std::slice::from_ref(&three)])), &["Reliable"]);
    check(&watched(items(&[&[one()], &[one(), two()]])), &["Unique"]);
    check(&watched(items(&[&[one(), two()], &[one()]])), &["Ordered"]);
    check(&watched(items(&[&[kv("a", "9", (2, 2, 1))]])), &["Reliable"]);
}

#[test]
fn a_revision_is_watched_whole_and_only_what_was_asked_for() {
    let (a, b) = (kv("a", "1", (2, 2, 1)), kv("b", "1", (2, 2, 1)));
    let log = vec![wrote(2, 15, vec![Change::Put(a.clone()), Change::Put(b.clone())])];
    let txn = checker::history::Txn {
        success: [&a, &b]
            .map(|kv| checker::history::Op::Put {
                key: kv.key.clone(),
                value: kv.value.clone(),
                lease: None,
            })
            .to_vec(),
        ..Default::default()
    };
    let unknown = checker::history::Outcome::Unknown("timed out".into());
    let operations = vec![operation((10, 20), Request::Txn(txn), unknown)];
    let history = history(operations, log);
    let watched = |watch| {
        let mut history = history.clone();
        history.watches = vec![watch];
        history
    };
    check(&watched(watch_all(2, vec![events(&[a.clone(), b.clone()])])), &[]);
    check(&watched(watch_all(2, vec![events(std::slice::from_ref(&a))])), &["Atomic"]);
    let mut only_a = watch_all(2, vec![events(&[a.clone(), b.clone()])]);
    only_a.keys = checker::history::Keys::one("a");
    check(&watched(only_a), &["Unique", "filter"]);
    let mut no_puts = watch_all(2, vec![events(&[a, b])]);
    no_puts.no_put = true;
    check(&watched(no_puts), &["Unique", "filter"]);
}

#[test]
fn a_lease_lasts_from_its_last_renewal_and_takes_all_its_keys_along() {
    const MS: u64 = 1_000_000;
    let leased =
        |key: &str, revision| KeyValue { lease: Some(7), ..kv(key, "1", (revision, revision, 1)) };
    let deleted = |key: &str| Change::Delete { key: key.into() };
    let put = |span, key: &str| {
        let put = checker::history::Op::Put { key: key.into(), value: "1".into(), lease: Some(7) };
        let txn = checker::history::Txn { success: vec![put], ..Default::default() };
        operation(span, Request::Txn(txn), checker::history::Outcome::Unknown("?".into()))
    };
    let ended = |at, keys: &[&str]| {
        let operations = vec![
            grant((MS, 2 * MS), 7, 1000),
            put((3 * MS, 4 * MS), "a"),
            put((3 * MS, 4 * MS), "b"),
        ];
        let changes = keys.iter().map(|key| deleted(key)).collect();
        let log = vec![
            wrote_put(4 * MS, leased("a", 2)),
            wrote_put(4 * MS, leased("b", 3)),
            wrote(4, at, changes),
        ];
        history(operations, log)
    };
    check(&ended(1001 * MS, &["a", "b"]), &[]);
    check(&ended(1000 * MS, &["a", "b"]), &["leases never end early"]);
    check(&ended(1001 * MS, &["a"]), &["every revision has a cause"]);
}
