//! A database being filled: whole or refused, whoever dies meanwhile.

mod common;

use std::sync::Arc;

use common::{
    batch, name, put,
    sql::{Server, open, patient, servers},
};
use engine::{
    Engine, Epoch, Error, Outcome, Raised, Replica, ReplicaId, Seq, Shared as _, Sql, SqlConfig,
    sql::{Mysql, Restoring},
};
use errors::{DATABASE_TAKEN, DATABASE_UNFINISHED};
use keyspace::Fold;
use kv::Revision;

fn mysql(url: &str) -> Arc<Mysql> {
    let config = patient(SqlConfig::parse(url).expect("a good URL"));
    Arc::new(Mysql::new(config).expect("there are servers"))
}

async fn begin(url: &str, start_over: bool) -> Result<Restoring, Error> {
    Restoring::begin(mysql(url), start_over).await
}

async fn raise(engine: &Sql, keyspace: &str) -> Epoch {
    let seen = engine.scan(&name(keyspace)).await.expect("it can be read").head.epoch;
    let raised = engine.raise(&name(keyspace), seen, ReplicaId(1)).await.expect("an answer");
    let Raised::Won(epoch) = raised else { panic!("nobody else is here: {raised:?}") };
    epoch
}

/// A base of some rows, and a batch after it.
async fn fill(engine: &Sql, keyspace: &str, epoch: Epoch) -> Outcome {
    let mut piece = Fold { compacted: Revision(9), ..Fold::default() };
    (2..9).for_each(|n| piece.add(put(n, &format!("k{n}"), "v")));
    piece.revision = Revision(9);
    let installed = engine.install(&name(keyspace), epoch, piece).await.expect("an answer");
    if installed != Outcome::Committed {
        return installed;
    }
    let batch = batch(epoch, 1, vec![put(10, "k2", "again")]);
    engine.append(&name(keyspace), batch).await.expect("an answer")
}

fn refused<T: std::fmt::Debug>(answer: Result<T, Error>, code: errors::Code) {
    let error = answer.expect_err("it is refused");
    assert_eq!(error.code(), Some(code), "{error}");
}

async fn look_into(server: &Server) -> String {
    let url = server.database();
    let config = patient(SqlConfig::parse(&url).expect("a good URL"));
    assert!(Sql::look_into(config).await.expect("it can be looked into").is_none());
    url
}

#[tokio::test]
async fn nobody_serves_what_is_not_whole_and_the_dead_one_is_shut_out() {
    for server in servers() {
        let url = look_into(&server).await;
        let first = begin(&url, false).await.expect("it is empty");
        let epoch = raise(first.engine(), "a").await;
        assert_eq!(fill(first.engine(), "a", epoch).await, Outcome::Committed);

        let config = || patient(SqlConfig::parse(&url).expect("a good URL"));
        refused(Sql::connect(config()).await, DATABASE_UNFINISHED);
        refused(Sql::look_into(config()).await, DATABASE_UNFINISHED);
        refused(begin(&url, false).await, DATABASE_UNFINISHED);

        let second = begin(&url, true).await.expect("it starts over");
        let loaded = second.engine().load(&name("a")).await.expect("it loads");
        assert_eq!((loaded.seq, loaded.base.rows.len(), loaded.log.len()), (Seq(0), 0, 0));
        assert!(loaded.epoch > epoch);
        assert_eq!(fill(first.engine(), "a", epoch).await, Outcome::Deposed);
        let epoch = raise(second.engine(), "a").await;
        assert_eq!(fill(second.engine(), "a", epoch).await, Outcome::Committed);
        refused(first.finish().await, DATABASE_TAKEN);
        refused(Sql::connect(config()).await, DATABASE_UNFINISHED);
        second.finish().await.expect("it is whole");

        let engine = open(&url).await;
        let loaded = engine.load(&name("a")).await.expect("it loads");
        assert_eq!((loaded.base.rows.len(), loaded.log.len()), (7, 1));
        refused(begin(&url, false).await, DATABASE_TAKEN);
        refused(begin(&url, true).await, DATABASE_TAKEN);
    }
}

#[tokio::test]
async fn a_database_on_which_a_store_runs_is_refused_and_one_of_the_dead_is_not() {
    for server in servers() {
        let url = server.database();
        let engine = open(&url).await;
        let me = |beat| Replica { id: ReplicaId(7), name: "store-a".into(), urls: vec![], beat };
        engine.beat(&me(1)).await.expect("an answer");
        let beating = tokio::spawn(async move {
            for beat in 2.. {
                engine.beat(&me(beat)).await.expect("an answer");
                tokio::task::yield_now().await;
            }
        });
        let error = begin(&url, false).await.expect_err("it runs");
        assert!(error.to_string().contains("store store-a is running on it"), "{error}");
        beating.abort();
        let _ = beating.await;
        begin(&url, false).await.expect("nobody is alive").finish().await.expect("it is whole");
    }
}
