//! What every engine must do, shown on each of them.

mod common;

use common::{Folder, batch, claim, commit, fold, name, put};
use engine::{
    Batch, Engine, Epoch, Error, Fault, Head, Loaded, Memory, Outcome, Piece, Raised, Replica,
    ReplicaId, ScanHead, Seq, Tail,
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

async fn what_the_compacted_revision_deletes_leaves_the_base(engine: &dyn Engine) {
    let ks = name("emptied");
    let epoch = claim(engine, &ks).await;
    let delete = |key: &'static str| keyspace::Change::Delete { key: key.into() };
    let put_again = put(6, "again", "3");
    let keyspace::Record::Txn { changes, .. } = put_again.clone() else { panic!("it is one") };
    let mixed = [vec![delete("a"), delete("again")], changes].concat();
    let batches = [
        vec![put(2, "a", "1"), put(3, "b", "1")],
        vec![put(4, "c", "1"), put(5, "again", "2")],
        // One batch up to the compaction and beyond it.
        vec![
            Record::Txn { revision: Revision(6), changes: mixed },
            Record::Txn { revision: Revision(7), changes: vec![delete("b")] },
        ],
    ];
    for (seq, records) in (1..).zip(batches.clone()) {
        commit(engine, &ks, batch(epoch, seq, records)).await;
    }
    for (floor, left) in [(6, &["again", "b", "c"][..]), (7, &["again", "c"])] {
        let folded = engine.compact(&ks, epoch, Revision(floor)).await.expect("an answer");
        assert_eq!(folded, Outcome::Committed);
        let loaded = engine.load(&ks).await.expect("it loads");
        assert_eq!((loaded.base.revision, loaded.base.compacted), (Revision(5), Revision(floor)));
        assert_eq!(loaded.log, batches[2], "the batch itself stays, for who watches from there");
        let mut rows: Vec<_> = loaded.base.rows.iter().map(|row| row.key.clone()).collect();
        rows.sort_unstable();
        assert_eq!(rows, left);
    }
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

async fn notes_and_odd_keys_survive_a_fold(engine: &dyn Engine) {
    let ks = name("d");
    let epoch = claim(engine, &ks).await;
    let note = |name: &'static str, value: Option<&'static str>| Record::Note {
        name: name.into(),
        value: value.map(Into::into),
    };
    let odd = ["a", "a\0", "a\0\0", "A", "a ", "'", "\\", "%", "ü"].map(str::to_owned);
    let long = ["x".repeat(599), "x".repeat(600), "x".repeat(5000), "x".repeat(5001)];
    let keys: Vec<String> = odd.into_iter().chain(long).collect();
    let mut log = vec![note("kept", Some("1")), note("gone", Some("2")), note("gone", None)];
    for (revision, key) in (2..).zip(&keys) {
        log.push(put(revision, key, &format!("value of \0'\\{key}")));
    }
    let end = Revision(keys.len() as u64 + 1);
    commit(engine, &ks, batch(epoch, 1, log)).await;
    commit(engine, &ks, batch(epoch, 2, vec![put(end.0 + 1, "last", "")])).await;
    fold(engine, &ks, epoch, end.next()).await;

    let base = engine.load(&ks).await.expect("it loads").base;
    assert_eq!(base.notes.len(), 1);
    assert_eq!((&base.notes[0].name[..], &base.notes[0].value[..]), (&b"kept"[..], &b"1"[..]));
    let mut found: Vec<_> = base.rows.iter().map(|row| row.key.clone()).collect();
    let mut expected: Vec<_> = keys.iter().map(|key| bytes::Bytes::from(key.clone())).collect();
    found.sort_unstable();
    expected.sort_unstable();
    assert_eq!(found, expected);
    let places: Vec<_> = (2..)
        .zip(&keys)
        .map(|(written, key)| Place { key: key.clone().into(), written: Revision(written) })
        .collect();
    let fetched = engine.fetch(&ks, &places).await.expect("they are there");
    let mut expected = keyspace::Values::default();
    for (place, key) in places.iter().zip(&keys) {
        expected.insert(place.clone(), format!("value of \0'\\{key}").into());
    }
    assert_eq!(fetched, expected);
}

async fn values_are_fetched_in_whatever_order_their_places_come(engine: &dyn Engine) {
    let ks = name("fetched");
    let epoch = claim(engine, &ks).await;
    // Neither keys nor batches are in the order of the other.
    let written = [("c", 2), ("e", 3), ("a", 4), ("d", 5), ("b", 6)];
    let records: Vec<_> = written.iter().map(|(key, at)| put(*at, key, &at.to_string())).collect();
    let batches = [&records[..2], &records[2..3], &records[3..]];
    for (seq, records) in (1..).zip(batches) {
        commit(engine, &ks, batch(epoch, seq, records.to_vec())).await;
    }
    let places = written.map(|(key, at)| Place { key: key.into(), written: Revision(at) });
    let mut expected = keyspace::Values::default();
    for place in &places {
        expected.insert(place.clone(), place.written.to_string().into());
    }
    let (mut by_key, mut backwards) = (places.clone(), places.clone());
    by_key.sort_unstable();
    backwards.reverse();
    for places in [&places, &by_key, &backwards] {
        assert_eq!(engine.fetch(&ks, places).await.expect("all of them"), expected);
    }
    fold(engine, &ks, epoch, Revision(4)).await;
    let fetched = engine.fetch(&ks, &by_key).await.expect("from the base, and from the log");
    assert_eq!(fetched, expected);
}

async fn every_rule(engine: &dyn Engine) {
    a_claim_shuts_out_the_writer_before(engine).await;
    values_are_fetched_in_whatever_order_their_places_come(engine).await;
    a_batch_is_taken_once_and_in_its_turn(engine).await;
    folded_log_is_found_in_the_base(engine).await;
    what_the_compacted_revision_deletes_leaves_the_base(engine).await;
    a_scan_finds_what_a_load_finds(engine).await;
    state_comes_in_before_the_log_begins(engine).await;
    notes_and_odd_keys_survive_a_fold(engine).await;
}

fn replica(id: u64, beat: u64) -> Replica {
    let urls = vec![format!("https://10.0.0.{id}:2379"), format!("https://host-{id}:2379")];
    Replica { id: ReplicaId(id), name: format!("r{id}"), urls, beat }
}

async fn replicas_see_each_other_and_who_leads(engine: &dyn Engine) {
    let shared = engine.shared().expect("it is shared");
    let ks = name("e");
    shared.beat(&replica(1, 1)).await.expect("an answer");
    shared.beat(&replica(2, 1)).await.expect("an answer");
    let board = shared.beat(&replica(1, 2)).await.expect("an answer");
    assert_eq!(board.replicas, [replica(1, 2), replica(2, 1)]);
    assert_eq!(board.cluster_id, engine.cluster_id());

    let raised = engine.raise(&ks, Epoch(0), ReplicaId(2)).await.expect("an answer");
    assert_eq!(raised, Raised::Won(Epoch(1)));
    commit(engine, &ks, batch(Epoch(1), 1, vec![put(2, "k", "v"), put(3, "k", "w")])).await;
    commit(engine, &ks, batch(Epoch(1), 2, vec![Record::Compact { revision: Revision(2) }])).await;
    let head = async || {
        let board = shared.look().await.expect("an answer");
        board.heads.into_iter().find(|head| head.keyspace == ks).expect("it was claimed")
    };
    let led = Head {
        keyspace: ks.clone(),
        epoch: Epoch(1),
        leader: Some(ReplicaId(2)),
        seq: Seq(2),
        revision: Revision(3),
    };
    assert_eq!(head().await, led);

    for _ in 0..2 {
        let released = shared.release(&ks, Epoch(1)).await.expect("an answer");
        assert_eq!(released, Outcome::Committed);
    }
    assert_eq!(head().await, Head { leader: None, ..led });
    assert_eq!(shared.release(&ks, Epoch(2)).await.expect("an answer"), Outcome::Deposed);
    shared.retire(ReplicaId(1)).await.expect("an answer");
    shared.retire(ReplicaId(1)).await.expect("it may be said twice");
    let board = shared.look().await.expect("an answer");
    assert_eq!(board.replicas, [replica(2, 1)]);
}

async fn a_follower_reads_on_until_the_log_is_folded(engine: &dyn Engine) {
    let shared = engine.shared().expect("it is shared");
    let ks = name("f");
    assert_eq!(shared.tail(&ks, Seq(0), 1).await.expect("an answer"), Tail::Batches(vec![]));
    let epoch = claim(engine, &ks).await;
    let value = "v".repeat(1000);
    for seq in 1..=9 {
        commit(engine, &ks, batch(epoch, seq, vec![put(seq + 1, "k", &value)])).await;
    }
    let tail = async |after, bytes_max| match shared
        .tail(&ks, Seq(after), bytes_max)
        .await
        .expect("an answer")
    {
        Tail::Batches(batches) => {
            let seqs = batches.iter().map(|batch| batch.seq.0);
            assert!(
                batches
                    .iter()
                    .all(|batch| { batch.records == [put(batch.seq.0 + 1, "k", &value)] })
            );
            Some(seqs.collect::<Vec<_>>())
        }
        Tail::Folded => None,
    };
    assert_eq!(tail(0, 1_000_000).await, Some((1..=9).collect()));
    assert_eq!(tail(0, 1).await, Some(vec![1]), "at least one");
    assert_eq!(tail(3, 2500).await, Some(vec![4, 5, 6]));
    assert_eq!(tail(9, 1).await, Some(vec![]));
    fold(engine, &ks, epoch, Revision(6)).await;
    assert_eq!(tail(3, 1_000_000).await, None);
    assert_eq!(tail(4, 1_000_000).await, Some((5..=9).collect()));
}

async fn every_shared_rule(engine: &dyn Engine) {
    replicas_see_each_other_and_who_leads(engine).await;
    a_follower_reads_on_until_the_log_is_folded(engine).await;
}

#[tokio::test]
async fn the_embedded_engine_keeps_the_contract() {
    let folder = Folder::new();
    every_rule(&folder.open()).await;
}

#[tokio::test]
async fn the_memory_engine_keeps_the_contract() {
    let engine = Memory::new();
    every_rule(&engine).await;
    every_shared_rule(&engine).await;
}

#[tokio::test]
async fn the_sql_engine_keeps_the_contract() {
    for server in common::sql::servers() {
        let engine = server.engine().await;
        every_rule(&engine).await;
        every_shared_rule(&engine).await;
    }
}

#[tokio::test]
async fn the_sql_engine_keeps_the_contract_on_a_cluster() {
    let url = testkit::Galera::shared().empty_database("contract");
    let engine = common::sql::open(&url).await;
    every_rule(&engine).await;
    every_shared_rule(&engine).await;
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
