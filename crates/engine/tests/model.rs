//! A keyspace that is loaded from an engine is the keyspace that was written
//! to it, whatever was folded and however often it was opened.

mod common;

use std::time::Duration;

use common::{Folder, claim, commit, fold, name};
use engine::{Batch, Engine, Epoch, Memory, Seq};
use keyspace::{Config, Keyspace, Record, Values, Watch};
use kv::{KeyRange, LeaseId, Op, PutRequest, RangeRequest, Revision, Txn, WatchRequest};
use proptest::{collection::vec, prelude::*};
use rt::Millis;

#[derive(Clone, Debug)]
enum Step {
    Put(u8, Option<i64>),
    Delete(u8),
    Grant(i64),
    Revoke(i64),
    Commit,
    Compact(u64),
    Reopen,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (0u8..6, prop::option::weighted(0.2, 1i64..4)).prop_map(|(k, l)| Step::Put(k, l)),
        3 => (0u8..6).prop_map(Step::Delete),
        1 => (1i64..4).prop_map(Step::Grant),
        1 => (1i64..4).prop_map(Step::Revoke),
        4 => Just(Step::Commit),
        2 => (0u64..6).prop_map(Step::Compact),
        1 => Just(Step::Reopen),
    ]
}

/// A writer that does what a leader does.
struct Writer {
    keyspace: Keyspace,
    epoch: Epoch,
    seq: Seq,
    tail: Vec<Record>,
    visible: Revision,
}

impl Writer {
    async fn commit(&mut self, engine: &dyn Engine) {
        self.seq = self.seq.next();
        let records = std::mem::take(&mut self.tail);
        let batch = Batch { epoch: self.epoch, seq: self.seq, records };
        commit(engine, &name("a"), batch).await;
        self.visible = self.keyspace.revision();
    }

    async fn step(&mut self, engine: &dyn Engine, step: &Step) {
        let key = |key: &u8| vec![b'a' + key];
        match step {
            Step::Put(k, lease) => {
                let lease = lease.map(LeaseId);
                let put = Op::Put(PutRequest { lease, ..PutRequest::new(key(k), vec![*k; 9]) });
                self.apply(put);
            }
            Step::Delete(k) => self.apply(Op::delete(key(k))),
            Step::Grant(id) => {
                let ttl = Duration::from_secs(5);
                if let Ok(applied) = self.keyspace.lease_grant(LeaseId(*id), ttl, Millis(0)) {
                    self.tail.extend(applied.records);
                }
            }
            Step::Revoke(id) => {
                if let Ok(applied) = self.keyspace.lease_revoke(LeaseId(*id)) {
                    self.tail.extend(applied.records);
                }
            }
            Step::Commit | Step::Reopen => self.commit(engine).await,
            Step::Compact(back) => {
                let floor = Revision(self.visible.0.saturating_sub(*back));
                if let Ok(applied) = self.keyspace.compact(floor, self.visible) {
                    self.tail.extend(applied.records);
                    self.commit(engine).await;
                    fold(engine, &name("a"), self.epoch, floor).await;
                }
            }
        }
    }

    fn apply(&mut self, op: Op) {
        let txn = Txn::default().then(vec![op]);
        if let Ok(applied) = self.keyspace.apply(&txn, &Values::default()) {
            self.tail.extend(applied.records);
        }
    }
}

/// All that can be seen of a keyspace from outside.
fn picture(keyspace: &Keyspace) -> String {
    let mut out = format!("{:?} {:?}\n", keyspace.revision(), keyspace.compacted());
    let none = Values::default();
    for revision in keyspace.compacted().0..=keyspace.revision().0 {
        let all = RangeRequest::new(KeyRange::prefix("")).at(Revision(revision));
        out += &format!("{:?}\n", keyspace.range(&all, keyspace.revision(), &none));
    }
    let request = WatchRequest::new(KeyRange::prefix("")).from(keyspace.compacted());
    let mut watch = Watch::new(&WatchRequest { prev_kv: true, ..request }, Revision(1));
    out += &format!("{:?}\n", keyspace.poll(&mut watch, keyspace.revision(), 1000, &none));
    for id in keyspace.leases() {
        out += &format!("{:?}\n", keyspace.lease_info(id, true, Millis(0)));
    }
    out
}

async fn load(engine: &dyn Engine) -> Keyspace {
    let loaded = engine.load(&name("a")).await.expect("it loads");
    Keyspace::load(Config::default(), loaded.base, loaded.log, Millis(0)).expect("it is whole")
}

async fn open(engine: &dyn Engine) -> Writer {
    let epoch = claim(engine, &name("a")).await;
    let keyspace = load(engine).await;
    let seq = engine.load(&name("a")).await.expect("it loads").seq;
    let visible = keyspace.revision();
    Writer { keyspace, epoch, seq, tail: Vec::new(), visible }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime")
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn an_embedded_engine_gives_back_what_it_was_given(steps in vec(step(), 1..40)) {
        runtime().block_on(async {
            let folder = Folder::new();
            let mut engine = folder.open();
            let mut writer = open(&engine).await;
            for step in &steps {
                writer.step(&engine, step).await;
                if matches!(step, Step::Reopen) {
                    drop(engine);
                    engine = folder.open();
                    assert_eq!(picture(&load(&engine).await), picture(&writer.keyspace));
                }
            }
            writer.commit(&engine).await;
            assert_eq!(picture(&load(&engine).await), picture(&writer.keyspace));
        });
    }

    #[test]
    fn a_memory_engine_gives_back_what_it_was_given(steps in vec(step(), 1..60)) {
        runtime().block_on(async {
            let engine = Memory::new();
            let mut writer = open(&engine).await;
            for step in &steps {
                writer.step(&engine, step).await;
            }
            writer.commit(&engine).await;
            assert_eq!(picture(&load(&engine).await), picture(&writer.keyspace));
        });
    }

    #[test]
    fn an_sql_engine_gives_back_what_it_was_given(steps in vec(step(), 1..40)) {
        runtime().block_on(async {
            for server in common::sql::servers() {
                let url = server.database();
                let mut engine = common::sql::open(&url).await;
                let mut writer = open(&engine).await;
                for step in &steps {
                    writer.step(&engine, step).await;
                    if matches!(step, Step::Reopen) {
                        engine = common::sql::open(&url).await;
                        assert_eq!(picture(&load(&engine).await), picture(&writer.keyspace));
                    }
                }
                writer.commit(&engine).await;
                assert_eq!(picture(&load(&engine).await), picture(&writer.keyspace));
            }
        });
    }
}
