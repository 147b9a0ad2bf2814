//! Power lost at any moment: whatever the disk then keeps of what was not
//! synced, everything that was acknowledged is there.

#[path = "../common/mod.rs"]
mod common;
mod disk;

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use common::{Folder, batch, claim, commit, fold, name, put};
use disk::{ACKNOWLEDGED, Point};
use engine::{Embedded, EmbeddedConfig, Engine, Seq};
use keyspace::{Handle, Keyspace};
use kv::Revision;
use rt::{Millis, random::Random};

const BATCHES: u64 = 420;
const KEYS: u64 = 7;
/// Each is crashed at in both ways.
const POINTS: usize = 500;

/// Small, so that tables are written and the log's files replaced all the time.
const MEMTABLE_BYTES: u64 = 16 * 1024;
const SEGMENT_BYTES: u64 = 64 * 1024;
const SEGMENTS_MAX: usize = 3;

#[test]
fn what_was_acknowledged_survives_the_loss_of_what_was_not_synced() {
    let folder = Folder::new();
    disk::watch(folder.path());
    runtime().block_on(write(&folder));
    let points = disk::unwatch();
    assert!(points.len() >= POINTS, "{} moments before a sync", points.len());
    let next = AtomicUsize::new(0);
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| {
                loop {
                    let turn = next.fetch_add(1, SeqCst);
                    if turn >= POINTS {
                        break;
                    }
                    let index = turn * points.len() / POINTS;
                    examine(index, &points[index]);
                }
            });
        }
    });
    println!("{} crashes survived, at {POINTS} of {} moments", 2 * POINTS, points.len());
}

async fn write(folder: &Folder) {
    let engine = Embedded::open(config(folder)).expect("the folder opens");
    let ks = name("a");
    let epoch = claim(&engine, &ks).await;
    for seq in 1..=BATCHES {
        let record = put(seq + 1, &key(seq), &value(seq));
        commit(&engine, &ks, batch(epoch, seq, vec![record])).await;
        ACKNOWLEDGED.store(seq, SeqCst);
        if seq % 25 == 0 {
            fold(&engine, &ks, epoch, Revision(seq - 10)).await;
        }
        if seq % 100 == 0 {
            engine.reclaim().await.expect("it gives back");
        }
    }
}

fn config(folder: &Folder) -> EmbeddedConfig {
    EmbeddedConfig {
        memtable_bytes: MEMTABLE_BYTES,
        segment_bytes: SEGMENT_BYTES,
        segments_max: SEGMENTS_MAX,
        ..EmbeddedConfig::new(folder.path())
    }
}

fn key(seq: u64) -> String {
    format!("key-{}", seq % KEYS)
}

/// Some span pages.
fn value(seq: u64) -> String {
    let length = if seq.is_multiple_of(5) { 9_000 } else { 200 };
    let mut random = Random::seeded(seq);
    let word = || format!("{:016x}", random.next_u64());
    std::iter::repeat_with(word).take(length / 16).collect()
}

fn examine(index: usize, point: &Point) {
    let all = Folder::new();
    point.lose_all(all.path());
    runtime().block_on(check(&all, point.acknowledged, &format!("all lost at {index}")));
    let some = Folder::new();
    point.lose_some(some.path(), &mut Random::seeded(index as u64));
    runtime().block_on(check(&some, point.acknowledged, &format!("some lost at {index}")));
}

async fn check(folder: &Folder, acknowledged: (u64, u64), when: &str) {
    let engine = Embedded::open(config(folder));
    let engine = engine.unwrap_or_else(|error| panic!("{when}: {error}"));
    let ks = name("a");
    let loaded = engine.load(&ks).await.unwrap_or_else(|error| panic!("{when}: {error}"));
    let seq = loaded.seq;
    // The last one may be durable without having been acknowledged.
    let expected = Seq(acknowledged.0)..=Seq(acknowledged.1 + 1);
    assert!(expected.contains(&seq), "{when}: {seq} of {acknowledged:?}");
    let rows = loaded.base.rows.clone();
    let log = loaded.log.clone();
    let config = keyspace::Config::default();
    let keyspace = Keyspace::load(config, loaded.base, loaded.log, Millis(0));
    let keyspace = keyspace.unwrap_or_else(|error| panic!("{when}: {error}"));
    assert_eq!(keyspace.revision(), Revision(seq.0 + 1), "{when}");
    assert_eq!(keyspace.keys() as u64, seq.0.min(KEYS), "{when}");
    for row in rows {
        let due = value(row.mod_revision.0 - 1);
        assert_eq!(row.value, Handle::Inline(due.into()), "{when}");
    }
    for record in log {
        let revision = record.revision().expect("all are transactions").0;
        assert_eq!(record, put(revision, &key(revision - 1), &value(revision - 1)), "{when}");
    }
    if loaded.epoch.0 > 0 {
        let next = put(seq.0 + 2, "more", "on it goes");
        commit(&engine, &ks, batch(loaded.epoch, seq.0 + 1, vec![next])).await;
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime")
}
