//! The embedded engine across restarts, crashes and damage.

mod common;

use std::{sync::Arc, time::Duration};

use common::{Folder, batch, claim, commit, fold, name, put};
use engine::{Embedded, EmbeddedConfig, Engine, Error, Seq};
use fjall::{Database, KeyspaceCreateOptions, PersistMode};
use keyspace::Keyspace;
use kv::{KeyspaceName, Revision};

#[tokio::test]
async fn what_was_committed_is_there_after_a_restart() {
    let folder = Folder::new();
    let ks = name("a");
    let (cluster_id, epoch) = {
        let engine = folder.open();
        let epoch = claim(&engine, &ks).await;
        for seq in 1..=20 {
            commit(&engine, &ks, batch(epoch, seq, vec![put(seq + 1, "k", "v")])).await;
        }
        fold(&engine, &ks, epoch, Revision(10)).await;
        (engine.cluster_id(), epoch)
    };
    let engine = folder.open();
    assert_eq!(engine.cluster_id(), cluster_id);
    let loaded = engine.load(&ks).await.expect("it loads");
    assert_eq!((loaded.epoch, loaded.seq), (epoch, Seq(20)));
    assert_eq!((loaded.base.revision, loaded.log.len()), (Revision(9), 12));
    // And it goes on from there.
    commit(&engine, &ks, batch(epoch, 21, vec![put(22, "k", "v")])).await;
}

#[tokio::test]
async fn what_was_committed_survives_a_crash_at_any_moment() {
    let folder = Folder::new();
    let ks = name("a");
    let engine = folder.open();
    let epoch = claim(&engine, &ks).await;
    for seq in 1..=10 {
        commit(&engine, &ks, batch(epoch, seq, vec![put(seq + 1, "k", "v")])).await;
        let crashed = folder.copy();
        let loaded = crashed.open().load(&ks).await.expect("it loads");
        assert_eq!((loaded.seq, loaded.log.len() as u64), (Seq(seq), seq));
    }
}

#[tokio::test]
async fn a_torn_last_write_is_as_if_it_had_never_been() {
    let folder = Folder::new();
    let ks = name("a");
    {
        let engine = folder.open();
        let epoch = claim(&engine, &ks).await;
        for seq in 1..=3 {
            commit(&engine, &ks, batch(epoch, seq, vec![put(seq + 1, "k", "value")])).await;
        }
    }
    let file = folder.log_file();
    let bytes = std::fs::read(&file).expect("it is readable");
    let end = bytes.iter().rposition(|byte| *byte != 0).expect("something was written") + 1;
    for torn in [1, 8, 30] {
        let crashed = folder.copy();
        std::fs::write(crashed.log_file(), &bytes[..end - torn]).expect("it is writable");
        let engine = crashed.open();
        let loaded = engine.load(&ks).await.expect("it loads");
        assert_eq!((loaded.seq, loaded.log.len()), (Seq(2), 2), "{torn} bytes torn off");
        commit(&engine, &ks, batch(loaded.epoch, 3, vec![put(4, "k", "again")])).await;
    }
}

#[tokio::test]
async fn a_folder_in_use_is_refused_with_a_code() {
    let folder = Folder::new();
    let _first = folder.open();
    let second = Embedded::open(EmbeddedConfig::new(folder.path()));
    let error = second.expect_err("it is in use");
    assert!(matches!(error, Error::Locked { .. }), "{error}");
    assert_eq!(error.code(), Some(errors::STORE_DATA_LOCKED));
    assert!(error.to_string().contains("in use"), "{error}");
}

#[tokio::test]
async fn a_folder_that_cannot_be_made_is_an_error_with_its_path() {
    let folder = Folder::new();
    std::fs::write(folder.path(), "a file").expect("it is writable");
    let error = Embedded::open(EmbeddedConfig::new(folder.path().join("data")));
    let error = error.expect_err("there is a file in the way");
    assert_eq!(error.code(), Some(errors::STORE_DATA_UNREADABLE));
    assert!(error.to_string().contains("/data: "), "{error}");
    std::fs::remove_file(folder.path()).expect("it is a file");
}

/// Changes stored values behind the engine's back.
fn tamper(folder: &Folder, change: impl Fn(&fjall::Keyspace)) {
    let db = Database::builder(folder.path()).open().expect("the engine is closed");
    let log = db.keyspace("log", KeyspaceCreateOptions::default).expect("it is there");
    change(&log);
    db.persist(PersistMode::SyncAll).expect("it can be synced");
}

/// Writes until the log's first files were given back, though nothing was
/// folded: the batches moved.
async fn fill(folder: &Folder, keyspaces: &[&KeyspaceName]) {
    const BATCHES: u64 = 40;
    let engine = folder.open_short(1);
    for ks in keyspaces {
        let epoch = claim(&engine, ks).await;
        for seq in 1..=BATCHES {
            commit(&engine, ks, batch(epoch, seq, vec![put(seq + 1, "k", &"v".repeat(9_000))]))
                .await;
        }
    }
    engine.reclaim().await.expect("files are given back");
    for ks in keyspaces {
        assert_eq!(engine.load(ks).await.expect("it loads").log.len() as u64, BATCHES);
    }
}

#[tokio::test]
async fn a_hurt_batch_is_named_and_nothing_of_its_keyspace_is_served() {
    let folder = Folder::new();
    let (hurt, whole) = (name("hurt"), name("whole"));
    fill(&folder, &[&hurt, &whole]).await;
    // The first keyspace has number 0.
    let second_batch = [&b"l"[..], &0u32.to_be_bytes(), &2u64.to_be_bytes()].concat();
    tamper(&folder, |log| {
        let mut stored = log.get(&second_batch).expect("readable").expect("there").to_vec();
        let middle = stored.len() / 2;
        stored[middle] ^= 1;
        log.insert(&second_batch, stored).expect("writable");
    });
    let engine = folder.open();
    let error = engine.load(&hurt).await.expect_err("it is hurt");
    assert_eq!(error.code(), Some(errors::STORE_DATA_CORRUPT));
    assert!(error.to_string().contains("keyspace hurt, batch 2: "), "{error}");
    assert_eq!(engine.load(&whole).await.expect("it is whole").log.len(), 40);
    drop(engine);

    tamper(&folder, |log| log.remove(&second_batch).expect("writable"));
    let error = folder.open().load(&hurt).await.expect_err("it has a hole").to_string();
    assert!(error.contains("batch 2: it is missing"), "{error}");
}

#[tokio::test]
async fn a_log_file_that_is_missing_or_lost_its_end_is_never_passed_over() {
    let folder = Folder::new();
    let ks = name("a");
    let mut seq = 0;
    {
        let engine = folder.open_short(100);
        let epoch = claim(&engine, &ks).await;
        // A file grows past its length while the next one is being made.
        while folder.log_files().len() <= 4 {
            seq += 1;
            let record = put(seq + 1, "k", &"v".repeat(9_000));
            commit(&engine, &ks, batch(epoch, seq, vec![record])).await;
        }
    }
    let files = folder.log_files().len();
    // The last stands ready, and has nothing in it.
    for missing in 0..files - 2 {
        let hurt = folder.copy();
        std::fs::remove_file(&hurt.log_files()[missing]).expect("it is there");
        let opened = Embedded::open(EmbeddedConfig::new(hurt.path()));
        let error = opened.err().map(|error| error.code());
        assert_eq!(error, Some(Some(errors::STORE_DATA_CORRUPT)), "file {missing}");

        let hurt = folder.copy();
        let file = &hurt.log_files()[missing];
        let bytes = std::fs::read(file).expect("it is readable");
        std::fs::write(file, &bytes[..bytes.len() / 2]).expect("it is writable");
        let opened = Embedded::open(EmbeddedConfig::new(hurt.path()));
        assert!(opened.is_err(), "half of file {missing}");
    }
    assert_eq!(folder.open().load(&ks).await.expect("it loads").seq, Seq(seq));
}

#[tokio::test]
async fn files_are_given_back_and_used_again_while_batches_move_or_are_folded() {
    const BATCHES: u64 = 600;
    let folder = Folder::new();
    let (busy, quiet) = (name("busy"), name("quiet"));
    for round in 0..3 {
        let engine = folder.open_short(2);
        let slow = claim(&engine, &quiet).await;
        commit(&engine, &quiet, batch(slow, round + 1, vec![put(round + 2, "k", "rare")])).await;
        let epoch = claim(&engine, &busy).await;
        for number in 1..=BATCHES {
            let seq = round * BATCHES + number;
            let key = format!("key-{}", seq % 10);
            commit(&engine, &busy, batch(epoch, seq, vec![put(seq + 1, &key, &"v".repeat(900))]))
                .await;
            if seq.is_multiple_of(200) {
                fold(&engine, &busy, epoch, Revision(seq - 100)).await;
            }
        }
        engine.reclaim().await.expect("files are given back");
        let crashed = folder.copy();
        drop(engine);
        for folder in [&crashed, &folder] {
            let engine = folder.open_short(2);
            let loaded = engine.load(&busy).await.expect("it loads");
            assert_eq!(loaded.seq, Seq((round + 1) * BATCHES));
            let (config, now) = (keyspace::Config::default(), rt::Millis(0));
            let keyspace = Keyspace::load(config, loaded.base, loaded.log, now).expect("no gap");
            assert_eq!(keyspace.keys(), 10);
            assert_eq!(engine.load(&quiet).await.expect("it loads").seq, Seq(round + 1));
        }
    }
    let files = folder.log_files().len();
    assert!(files <= 5, "{files} files");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn batches_that_arrive_together_share_a_sync() {
    const WRITERS: u64 = 64;
    const EACH: u64 = 20;
    let folder = Folder::new();
    let engine = Arc::new(folder.open());
    let mut writers = Vec::new();
    for writer in 0..WRITERS {
        let ks = name(&format!("ks-{writer}"));
        let epoch = claim(&*engine, &ks).await;
        let engine = engine.clone();
        writers.push(async move {
            for seq in 1..=EACH {
                commit(&*engine, &ks, batch(epoch, seq, vec![put(seq + 1, "k", "v")])).await;
            }
        });
    }
    let before = engine.metrics();
    let writers: Vec<_> = writers.into_iter().map(tokio::spawn).collect();
    for writer in writers {
        writer.await.expect("no panic");
    }
    let after = engine.metrics();
    assert_eq!(after.batches - before.batches, WRITERS * EACH);
    let syncs = after.syncs - before.syncs;
    assert!(syncs * 4 < WRITERS * EACH, "{syncs} syncs for {} batches", WRITERS * EACH);
}

/// A torn write can only be the last one; anything earlier was acknowledged.
#[tokio::test]
async fn a_flipped_bit_never_loses_a_batch_silently() {
    let folder = Folder::new();
    let ks = name("a");
    {
        let engine = folder.open_short(1);
        let epoch = claim(&engine, &ks).await;
        for seq in 1..=6 {
            commit(&engine, &ks, batch(epoch, seq, vec![put(seq + 1, "k", "value")])).await;
        }
        engine.reclaim().await.expect("the first batches move");
        for seq in 7..=9 {
            commit(&engine, &ks, batch(epoch, seq, vec![put(seq + 1, "k", "value")])).await;
        }
    }
    folder.shrink();
    let mut silent = Vec::new();
    for file in folder.files() {
        let bytes = std::fs::read(&file).expect("it is readable");
        let end = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        let place = file.strip_prefix(folder.path()).expect("it is inside");
        for at in (0..end).filter(|at| bytes[*at] != 0).step_by(5) {
            let crashed = folder.copy();
            let mut hurt = bytes.clone();
            hurt[at] ^= 0x40;
            std::fs::write(crashed.path().join(place), &hurt).expect("it is writable");
            let Ok(engine) = Embedded::open(EmbeddedConfig::new(crashed.path())) else { continue };
            match engine.load(&ks).await {
                Err(_) => {}
                Ok(loaded) if loaded.seq >= Seq(8) => {}
                Ok(loaded) => silent.push((place.to_owned(), at, loaded.seq)),
            }
        }
    }
    assert_eq!(silent, []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_load_beside_writes_and_folds_is_of_one_moment() {
    const BATCHES: u64 = 400;
    let folder = Folder::new();
    let engine = Arc::new(folder.open());
    let ks = name("a");
    let epoch = claim(&*engine, &ks).await;
    let writing = tokio::spawn({
        let (engine, ks) = (engine.clone(), ks.clone());
        async move {
            for seq in 1..=BATCHES {
                let key = format!("key-{}", seq % 7);
                commit(&*engine, &ks, batch(epoch, seq, vec![put(seq + 1, &key, "v")])).await;
                if seq % 5 == 0 {
                    fold(&*engine, &ks, epoch, Revision(seq)).await;
                }
            }
        }
    });
    let mut seen = Seq(0);
    while !writing.is_finished() {
        let loaded = engine.load(&ks).await.expect("it loads");
        assert!(loaded.seq >= seen);
        seen = loaded.seq;
        let (config, now) = (keyspace::Config::default(), rt::Millis(0));
        let keyspace = Keyspace::load(config, loaded.base, loaded.log, now).expect("it is whole");
        assert_eq!(keyspace.revision(), Revision(seen.0 + 1));
        assert_eq!(keyspace.keys() as u64, seen.0.min(7));
    }
    writing.await.expect("no panic");
}

#[tokio::test]
async fn a_long_history_is_kept_small_and_whole() {
    const BATCHES: u64 = 900;
    const VALUE_BYTES: usize = 128 * 1024;
    // What is live, the log's files, and the journals that the trees keep.
    const DISK_BYTES_MAX: u64 = 4 * 64 * 1024 * 1024;
    let folder = Folder::new();
    let (busy, quiet) = (name("busy"), name("quiet"));
    let value = "v".repeat(VALUE_BYTES);
    let before = {
        let engine = folder.open();
        let rare = claim(&engine, &quiet).await;
        commit(&engine, &quiet, batch(rare, 1, vec![put(2, "k", "rare")])).await;
        let epoch = claim(&engine, &busy).await;
        for seq in 1..=BATCHES {
            let key = format!("key-{}", seq % 10);
            commit(&engine, &busy, batch(epoch, seq, vec![put(seq + 1, &key, &value)])).await;
            if seq % 50 == 0 {
                fold(&engine, &busy, epoch, Revision(seq - 10)).await;
            }
        }
        // What is not needed any more is given back behind the writes.
        let is_small = || (engine.metrics().disk_bytes < DISK_BYTES_MAX).then_some(());
        let small = testkit::wait_for(Duration::from_secs(60), is_small);
        assert!(small.is_some(), "{} bytes on disk", engine.metrics().disk_bytes);
        (engine.load(&busy).await.expect("it loads"), engine.load(&quiet).await.expect("it loads"))
    };
    assert_eq!((before.0.base.rows.len(), before.0.log.len()), (10, 12));
    let engine = folder.open();
    assert_eq!(engine.load(&busy).await.expect("it loads"), before.0);
    assert_eq!(engine.load(&quiet).await.expect("it loads"), before.1);
}

#[tokio::test]
async fn what_was_folded_away_is_given_back_to_the_disk() {
    let folder = Folder::new();
    let ks = name("a");
    let engine = folder.open();
    let epoch = claim(&engine, &ks).await;
    for seq in 1..=20 {
        // Does not compress away.
        let value: String = (0..100_000_u64)
            .map(|n| format!("{:x}", (n + seq).wrapping_mul(0x9e37_79b9)))
            .collect();
        commit(&engine, &ks, batch(epoch, seq, vec![put(seq + 1, "k", &value)])).await;
    }
    let before = engine.metrics().disk_bytes;
    fold(&engine, &ks, epoch, Revision(21)).await;
    engine.reclaim().await.expect("reclaimed");
    // All of the log but its last batch.
    let given_back = before - engine.metrics().disk_bytes;
    assert!(given_back > 10_000_000, "{given_back} of {before} bytes");
    assert_eq!(engine.load(&ks).await.expect("it loads").seq, Seq(20));
}
