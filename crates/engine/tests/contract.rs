//! What every engine must do, shown on each of them.

mod common;

use common::{Folder, batch, claim, commit, name, put};
use engine::{
    Batch, Engine, Epoch, Error, Fault, Loaded, Memory, Outcome, Piece, Raised, ReplicaId,
    ScanHead, Seq,
};
use keyspace::{Base, Fold, Keyspace, Place, Record};
use kv::{KeyspaceName, LeaseId, Revision};
use rt::Millis;

async fn a_claim_shuts_out_the_writer_before(engine: &dyn Engine) {
    let ks = name("a");
    assert_eq!(engine.load(&ks).await.expect("it loads").epoch, Epoch(0));
    let nobody = engine.append(&ks, batch(Epoch(0), 1, vec![])).await.expect("an answer");
    assert_eq!(nobody, Outcome::Deposed);

    let first = claim(engine, &ks).await;
    commit(engine, &ks, batch(first, 1, vec![put(2, "k", "1")])).await;
    let second = claim(engine, &ks).await;
    let late = engine.append(&ks, batch(first, 2, vec![put(3, "k", "2")])).await;
    assert_eq!(late.expect("an answer"), Outcome::Deposed);
    let lost = engine.raise(&ks, first, ReplicaId::default()).await.expect("an answer");
    assert_eq!(lost, Raised::Lost(second));

    let loaded = engine.load(&ks).await.expect("it loads");
    assert_eq!((loaded.epoch, loaded.seq), (second, Seq(1)));
    assert_eq!(loaded.log, [put(2, "k", "1")]);
    assert_eq!(engine.keyspaces().await.expect("an answer"), [ks]);
}

async fn a_batch_is_taken_once_and_in_its_turn(engine: &dyn Engine) {
    let ks = name("b");
    let epoch = claim(engine, &ks).await;
    commit(engine, &ks, batch(epoch, 1, vec![put(2, "k", "1")])).await;
    for seq in [0, 1, 3] {
        let outcome = engine.append(&ks, batch(epoch, seq, vec![put(3, "k", "2")])).await;
        assert_eq!(outcome.expect("an answer"), Outcome::Deposed, "seq {seq}");
    }
    commit(engine, &ks, batch(epoch, 2, vec![put(3, "k", "2")])).await;
}

async fn folded_log_is_found_in_the_base(engine: &dyn Engine) {
    let ks = name("c");
    let epoch = claim(engine, &ks).await;
    let granted =
        |id| Record::LeaseGranted { id: LeaseId(id), ttl: std::time::Duration::from_secs(9) };
    let gone = keyspace::Change::Delete { key: "gone".into() };
    let delete = Record::Txn { revision: Revision(4), changes: vec![gone] };
    let batches = [
        vec![granted(1), put(2, "gone", "x")],
        vec![put(3, "kept", "y"), delete],
        vec![granted(2), Record::LeaseRevoked { id: LeaseId(1) }],
        vec![put(5, "later", "z")],
        vec![Record::Compact { revision: Revision(5) }],
    ];
    for (seq, records) in (1..).zip(batches) {
        commit(engine, &ks, batch(epoch, seq, records)).await;
    }
    let before = engine.load(&ks).await.expect("it loads");
    assert_eq!((before.base.rows.len(), before.log.len()), (0, 8));

    let compacted = engine.compact(&ks, epoch, Revision(5)).await.expect("an answer");
    assert_eq!(compacted, Outcome::Committed);
    let loaded = engine.load(&ks).await.expect("it loads");
    assert_eq!((loaded.base.revision, loaded.base.compacted), (Revision(4), Revision(5)));
    let rows: Vec<_> = loaded.base.rows.iter().map(|row| &row.key[..]).collect();
    assert_eq!(rows, [b"kept"]);
    assert_eq!(loaded.base.leases.iter().map(|lease| lease.id).collect::<Vec<_>>(), [LeaseId(2)]);
    assert_eq!(loaded.log, [put(5, "later", "z"), Record::Compact { revision: Revision(5) }]);

    let at = |key: &'static str, written| Place { key: key.into(), written: Revision(written) };
    let places = [at("kept", 3), at("later", 5)];
    let mut expected = keyspace::Values::default();
    expected.insert(places[0].clone(), "y".into());
    expected.insert(places[1].clone(), "z".into());
    let fetched = engine.fetch(&ks, &places).await.expect("they are there");
    assert_eq!(fetched, expected);
    for missing in [at("gone", 2), at("kept", 2), at("later", 4), at("nobody", 5)] {
        let answer = engine.fetch(&ks, std::slice::from_ref(&missing)).await;
        assert!(matches!(answer, Err(Error::Gone(place)) if place == missing));
    }
    let zombie = engine.compact(&ks, Epoch(77), Revision(5)).await.expect("an answer");
    assert_eq!(zombie, Outcome::Deposed);
}

async fn a_scan_finds_what_a_load_finds(engine: &dyn Engine) {
    let ks = name("scanned");
    assert_eq!(scanned(engine, &ks).await, Loaded::default());
    let epoch = claim(engine, &ks).await;
    let note = Record::Note { name: "n".into(), value: Some("v".into()) };
    let lease = Record::LeaseGranted { id: LeaseId(7), ttl: std::time::Duration::from_secs(9) };
    commit(engine, &ks, batch(epoch, 1, vec![note, lease])).await;
    for seq in 2..400 {
        // Several pieces of log, and later of rows.
        let value = "v".repeat(16 * 1024);
        commit(engine, &ks, batch(epoch, seq, vec![put(seq, &format!("k{seq}"), &value)])).await;
    }
    for floor in [None, Some(200), Some(399)] {
        if let Some(floor) = floor {
            let folded = engine.compact(&ks, epoch, Revision(floor)).await.expect("an answer");
            assert_eq!(folded, Outcome::Committed);
        }
        let mut loaded = engine.load(&ks).await.expect("it loads");
        loaded.base.rows.sort_by(|a, b| a.key.cmp(&b.key));
        assert!(scanned(engine, &ks).await == loaded, "folded to {floor:?}");
    }
}

async fn scanned(engine: &dyn Engine, ks: &KeyspaceName) -> Loaded {
    let mut scan = engine.scan(ks).await.expect("it can be scanned");
    let ScanHead { epoch, seq, base: revision, compacted } = scan.head;
    let mut base = Base { revision, compacted, ..Base::default() };
    let mut log = Vec::new();
    while let Some(piece) = scan.next().await.expect("it can be read") {
        match piece {
            Piece::Leases(leases) => base.leases.extend(leases),
            Piece::Notes(notes) => base.notes.extend(notes),
            Piece::Log(records) => log.extend(records),
            Piece::Rows(rows) => base.rows.extend(rows),
        }
    }
    Loaded { epoch, seq, base, log }
}

async fn state_comes_in_before_the_log_begins(engine: &dyn Engine) {
    let ks = name("installed");
    let epoch = claim(engine, &ks).await;
    let mut folds = Vec::new();
    for (revision, key) in [(5, "a"), (9, "b")] {
        let mut fold = Fold { compacted: Revision(9), ..Fold::default() };
        fold.add(put(revision, key, "1"));
        folds.push(fold);
    }
    let late = folds[1].clone();
    for fold in folds {
        let installed = engine.install(&ks, epoch, fold).await.expect("an answer");
        assert_eq!(installed, Outcome::Committed);
    }
    commit(engine, &ks, batch(epoch, 1, vec![put(10, "c", "1")])).await;
    let refused = engine.install(&ks, epoch, late).await.expect("an answer");
    assert_eq!(refused, Outcome::Deposed, "the log has begun");

    let loaded = engine.load(&ks).await.expect("it loads");
    assert_eq!((loaded.base.revision, loaded.base.compacted), (Revision(9), Revision(9)));
    assert_eq!(loaded.base.rows.len(), 2);
    let Loaded { base, log, .. } = loaded;
    let keyspace = Keyspace::load(keyspace::Config::default(), base, log, Millis(0));
    assert_eq!(keyspace.expect("they fit").revision(), Revision(10));
}

async fn every_rule(engine: &dyn Engine) {
    a_claim_shuts_out_the_writer_before(engine).await;
    a_batch_is_taken_once_and_in_its_turn(engine).await;
    folded_log_is_found_in_the_base(engine).await;
    a_scan_finds_what_a_load_finds(engine).await;
    state_comes_in_before_the_log_begins(engine).await;
}

#[tokio::test]
async fn the_embedded_engine_keeps_the_contract() {
    let folder = Folder::new();
    every_rule(&folder.open()).await;
}

#[tokio::test]
async fn the_memory_engine_keeps_the_contract() {
    every_rule(&Memory::new()).await;
}

#[tokio::test]
async fn the_memory_engine_fails_as_it_is_told() {
    let engine = Memory::new();
    let ks = name("a");
    let epoch = claim(&engine, &ks).await;
    let next = async |seq| {
        let batch = Batch { epoch, seq: Seq(seq), records: vec![put(seq + 1, "k", "v")] };
        engine.append(&ks, batch).await.expect("an answer")
    };
    engine.inject(&ks, Fault::UnknownLost);
    engine.inject(&ks, Fault::UnknownApplied);
    assert_eq!(next(1).await, Outcome::Unknown);
    assert_eq!(engine.load(&ks).await.expect("it loads").seq, Seq(0));
    assert_eq!(next(1).await, Outcome::Unknown);
    assert_eq!(engine.load(&ks).await.expect("it loads").seq, Seq(1));
    engine.inject(&ks, Fault::Deposed);
    assert_eq!(next(2).await, Outcome::Deposed);
    assert!(engine.load(&ks).await.expect("it loads").epoch > epoch);
}

#[tokio::test]
async fn a_held_memory_engine_answers_once_it_is_let_go() {
    let engine = Memory::new();
    let ks = name("a");
    let epoch = claim(&engine, &ks).await;
    let held = engine.hold();
    let appending = tokio::spawn({
        let (engine, ks) = (engine.clone(), ks.clone());
        async move { engine.append(&ks, batch(epoch, 1, vec![])).await }
    });
    tokio::task::yield_now().await;
    assert_eq!(engine.load(&ks).await.expect("it loads").seq, Seq(0));
    drop(held);
    let outcome = appending.await.expect("no panic").expect("an answer");
    assert_eq!(outcome, Outcome::Committed);
}
