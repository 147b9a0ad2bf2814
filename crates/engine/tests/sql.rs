//! The SQL engine where answers are lost, writers race, and people err.

mod common;

use std::{sync::Arc, time::Duration};

use common::{
    batch, claim, commit,
    lossy::{Loss, Lossy},
    name, put,
    sql::{Server, open, patient, servers},
};
use engine::{
    Engine, Epoch, Error, Outcome, Piece, Raised, Replica, ReplicaId, Seq, Shared as _, Sql,
    SqlConfig,
    sql::{Mysql, Seen},
};
use keyspace::Keyspace;
use kv::Revision;
use testkit::{Fault, FaultProxy, Flow, When};
use tokio::time::Instant;

async fn lossy(server: &Server) -> (Lossy, Sql) {
    let config = patient(SqlConfig::parse(&server.database()).expect("a good URL"));
    let lossy = Lossy::new(Mysql::new(config).expect("there are servers"));
    let engine = Sql::open(Arc::new(lossy.handle())).await.expect("it opens").eager();
    (lossy, engine)
}

#[tokio::test]
async fn a_lost_answer_to_a_batch_is_settled_by_the_next_claim() {
    for server in servers() {
        let (database, engine) = lossy(&server).await;
        for (ks, loss, applied) in [
            ("applied", Loss::Applied, true),
            ("never", Loss::Never, false),
            ("late", Loss::Late, false),
        ] {
            let ks = name(ks);
            let epoch = claim(&engine, &ks).await;
            database.lose(loss);
            let outcome = engine.append(&ks, batch(epoch, 1, vec![put(2, "k", "lost")])).await;
            assert_eq!(outcome.expect("an answer"), Outcome::Unknown, "{loss:?}");

            let epoch = claim(&engine, &ks).await;
            let late = database.deliver().await;
            assert!(late.iter().all(|applied| !applied), "a late batch is dead after a claim");
            let loaded = engine.load(&ks).await.expect("it loads");
            let expected = if applied { Seq(1) } else { Seq(0) };
            assert_eq!(loaded.seq, expected, "{loss:?}");
            assert_eq!(loaded.log.len(), usize::from(applied));
            let (seq, revision) = (loaded.seq.next(), 2 + loaded.seq.0);
            commit(&engine, &ks, batch(epoch, seq.0, vec![put(revision, "k", "next")])).await;
        }
    }
}

/// What arrives before the claim counts, and the claim sees it.
#[tokio::test]
async fn a_late_batch_that_comes_before_the_claim_is_in_the_log() {
    for server in servers() {
        let (database, engine) = lossy(&server).await;
        let ks = name("a");
        let epoch = claim(&engine, &ks).await;
        database.lose(Loss::Late);
        let outcome = engine.append(&ks, batch(epoch, 1, vec![put(2, "k", "v")])).await;
        assert_eq!(outcome.expect("an answer"), Outcome::Unknown);
        assert_eq!(database.deliver().await, [true]);
        claim(&engine, &ks).await;
        assert_eq!(engine.load(&ks).await.expect("it loads").seq, Seq(1));
    }
}

#[tokio::test]
async fn a_lost_answer_to_a_claim_is_found_out() {
    for server in servers() {
        let (database, engine) = lossy(&server).await;
        for (ks, loss) in [("applied", Loss::Applied), ("never", Loss::Never), ("late", Loss::Late)]
        {
            let ks = name(ks);
            database.lose(loss);
            let raised = engine.raise(&ks, Epoch(0), ReplicaId(7)).await.expect("an answer");
            assert_eq!(raised, Raised::Won(Epoch(1)), "{loss:?}");
            assert!(database.deliver().await.iter().all(|applied| !applied));
            commit(&engine, &ks, batch(Epoch(1), 1, vec![put(2, "k", "v")])).await;
        }
        // Somebody else's claim is not taken for ours, nor one that cannot be
        // told from somebody else's.
        let ks = name("other");
        let other = engine.raise(&ks, Epoch(0), ReplicaId(8)).await.expect("an answer");
        assert_eq!(other, Raised::Won(Epoch(1)));
        database.lose(Loss::Never);
        let lost = engine.raise(&ks, Epoch(0), ReplicaId(7)).await.expect("an answer");
        assert_eq!(lost, Raised::Lost(Epoch(1)));
        database.lose(Loss::Applied);
        let nobody = engine.raise(&ks, Epoch(1), ReplicaId::default()).await.expect("an answer");
        assert_eq!(nobody, Raised::Lost(Epoch(2)));
    }
}

#[tokio::test]
async fn what_lost_against_another_is_tried_again() {
    for server in servers() {
        let (database, engine) = lossy(&server).await;
        let ks = name("a");
        for _ in 0..3 {
            database.lose(Loss::Conflict);
        }
        let raised = engine.raise(&ks, Epoch(0), ReplicaId(7)).await.expect("an answer");
        assert_eq!(raised, Raised::Won(Epoch(1)));
        for _ in 0..3 {
            database.lose(Loss::Conflict);
        }
        commit(&engine, &ks, batch(Epoch(1), 1, vec![put(2, "k", "v")])).await;
        // And not for ever; then it was certainly not applied.
        for _ in 0..100 {
            database.lose(Loss::Conflict);
        }
        let refused = engine.append(&ks, batch(Epoch(1), 2, vec![put(3, "k", "v")])).await;
        assert!(matches!(refused, Err(Error::Unavailable(_))), "{refused:?}");
    }
}

#[tokio::test]
async fn a_fold_whose_answers_are_lost_is_folded_once() {
    for server in servers() {
        let (database, engine) = lossy(&server).await;
        let ks = name("a");
        let epoch = claim(&engine, &ks).await;
        for seq in 1..=9 {
            commit(&engine, &ks, batch(epoch, seq, vec![put(seq + 1, "k", "v")])).await;
        }
        for (floor, loss) in [(4, Loss::Applied), (7, Loss::Never)] {
            database.lose(loss);
            common::fold(&engine, &ks, epoch, Revision(floor)).await;
            let loaded = engine.load(&ks).await.expect("it loads");
            assert_eq!(loaded.base.revision, Revision(floor - 1));
            assert_eq!(loaded.base.rows.len(), 1);
            assert_eq!(loaded.log.len() as u64, 11 - floor);
        }
    }
}

/// Under load a compaction comes every second.
#[tokio::test]
async fn folds_that_follow_closely_are_put_off_until_space_is_wanted() {
    for server in servers() {
        let config = patient(SqlConfig::parse(&server.database()).expect("a good URL"));
        let engine = Sql::connect(config).await.expect("it opens");
        let ks = name("a");
        let epoch = claim(&engine, &ks).await;
        for seq in 1..=9 {
            commit(&engine, &ks, batch(epoch, seq, vec![put(seq + 1, "k", "v")])).await;
        }
        let floors = async |compacted, reclaim: bool| {
            common::fold(&engine, &ks, epoch, Revision(compacted)).await;
            if reclaim {
                // What it folds first is folded wherever tables are not rewritten too.
                let reclaimed = engine.reclaim().await;
                assert!(
                    matches!(reclaimed, Ok(()) | Err(Error::ReclaimsByItself)),
                    "{reclaimed:?}"
                );
            }
            engine.load(&ks).await.expect("it loads").base.revision
        };
        assert_eq!(floors(4, false).await, Revision(3));
        assert_eq!(floors(5, false).await, Revision(3));
        assert_eq!(floors(6, true).await, Revision(5));
        let zombie = engine.compact(&ks, Epoch(77), Revision(8)).await.expect("an answer");
        assert_eq!(zombie, Outcome::Deposed);
    }
}

#[tokio::test]
async fn of_replicas_that_race_for_a_keyspace_one_wins_each_epoch() {
    const RACERS: u64 = 8;
    for server in servers() {
        let url = server.database();
        let mut engines = Vec::new();
        for _ in 0..RACERS {
            engines.push(Arc::new(open(&url).await));
        }
        let ids: Vec<_> = engines.iter().map(|engine| engine.cluster_id()).collect();
        assert!(ids.iter().all(|id| *id == ids[0] && *id != 0), "{ids:?}");
        let ks = name("a");
        for epoch in 0..5 {
            let races = engines.iter().zip(1..).map(|(engine, id)| {
                let (engine, ks) = (engine.clone(), ks.clone());
                tokio::spawn(async move { engine.raise(&ks, Epoch(epoch), ReplicaId(id)).await })
            });
            let races: Vec<_> = races.collect();
            let mut won = 0;
            for race in races {
                match race.await.expect("no panic").expect("an answer") {
                    Raised::Won(raised) => {
                        assert_eq!(raised, Epoch(epoch + 1));
                        won += 1;
                    }
                    Raised::Lost(stands) => assert_eq!(stands, Epoch(epoch + 1)),
                    Raised::Unknown => panic!("no answer is lost here"),
                }
            }
            assert_eq!(won, 1, "epoch {epoch}");
        }
    }
}

/// Each of two processes takes turns to depose the other; whatever either was
/// told is committed is there, once and in order.
#[tokio::test]
async fn writers_that_depose_each_other_lose_nothing_acknowledged() {
    for server in servers() {
        let url = server.database();
        let ks = name("a");
        let mut writers = Vec::new();
        for id in 1..=2 {
            let (url, ks) = (url.clone(), ks.clone());
            writers.push(tokio::spawn(async move {
                let engine = open(&url).await;
                let mut acknowledged = Vec::new();
                for turn in 0..12 {
                    let loaded = engine.load(&ks).await.expect("it loads");
                    let raised = engine.raise(&ks, loaded.epoch, ReplicaId(id)).await;
                    let Raised::Won(epoch) = raised.expect("an answer") else { continue };
                    let loaded = engine.load(&ks).await.expect("it loads");
                    if loaded.epoch != epoch {
                        continue;
                    }
                    let mut seq = loaded.seq;
                    for _ in 0..8 {
                        seq = seq.next();
                        let value = format!("{id}/{turn}/{seq}");
                        let record = put(seq.0 + 1, "k", &value);
                        match engine.append(&ks, batch(epoch, seq.0, vec![record])).await {
                            Ok(Outcome::Committed) => acknowledged.push((seq, value)),
                            Ok(Outcome::Deposed) => break,
                            other => panic!("{other:?}"),
                        }
                    }
                }
                acknowledged
            }));
        }
        let mut acknowledged = Vec::new();
        for writer in writers {
            acknowledged.extend(writer.await.expect("no panic"));
        }
        acknowledged.sort_unstable();
        let loaded = open(&url).await.load(&ks).await.expect("it loads");
        let expected: Vec<_> =
            acknowledged.iter().map(|(seq, value)| put(seq.0 + 1, "k", value)).collect();
        assert_eq!(loaded.log, expected);
    }
}

#[tokio::test]
async fn a_head_that_another_holds_is_waited_for() {
    for server in servers() {
        let url = server.database();
        let engine = open(&url).await;
        let ks = name("a");
        let epoch = claim(&engine, &ks).await;
        let database = url.rsplit('/').next().expect("a name").to_owned();
        let holding =
            server.hold(&format!("SELECT * FROM {database}.polis_keyspace FOR UPDATE")).await;
        let began = Instant::now();
        let appending = tokio::spawn({
            let ks = ks.clone();
            async move { engine.append(&ks, batch(epoch, 1, vec![put(2, "k", "v")])).await }
        });
        tokio::time::sleep(Duration::from_millis(1300)).await;
        // It is not tried for longer than this.
        let is_over = || began.elapsed() >= Duration::from_secs(4);
        assert!(!appending.is_finished() || is_over());
        drop(holding);
        let outcome = appending.await.expect("no panic");
        match outcome {
            // A server may have waited on past our own patience.
            Ok(Outcome::Committed | Outcome::Unknown) => {}
            Err(Error::Unavailable(_)) if is_over() => {}
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn a_batch_beyond_a_packet_goes_in_steps_and_a_value_beyond_it_is_refused() {
    for server in servers() {
        let (database, engine) = lossy(&server).await;
        let ks = name("a");
        let epoch = claim(&engine, &ks).await;
        let value: String = (0..1_500_000u32).map(|n| char::from(b' ' + (n % 90) as u8)).collect();
        let records: Vec<_> = (2..22).map(|n| put(n, &format!("k{n}"), &value)).collect();
        commit(&engine, &ks, batch(epoch, 1, records.clone())).await;
        assert!(engine.load(&ks).await.expect("it loads").log == records);
        let stale = batch(epoch, 1, records.clone());
        assert_eq!(engine.append(&ks, stale).await.expect("an answer"), Outcome::Deposed);
        commit(&engine, &ks, batch(epoch, 2, vec![put(22, "last", "")])).await;
        common::fold(&engine, &ks, epoch, Revision(22)).await;
        assert_eq!(engine.load(&ks).await.expect("it loads").base.rows.len(), 20);

        let giant = batch(epoch, 3, vec![put(23, "k", &value.repeat(20))]);
        let refused = engine.append(&ks, giant).await;
        assert!(matches!(refused, Err(Error::TooLarge { .. })), "{refused:?}");
        drop(database);
    }
}

#[tokio::test]
async fn damage_is_named_and_nothing_of_the_keyspace_is_served() {
    for server in servers() {
        let url = server.database();
        let database = url.rsplit('/').next().expect("a name");
        let engine = open(&url).await;
        let ks = name("a");
        let epoch = claim(&engine, &ks).await;
        for seq in 1..=5 {
            commit(&engine, &ks, batch(epoch, seq, vec![put(seq + 1, "k", "value")])).await;
        }
        common::fold(&engine, &ks, epoch, Revision(3)).await;
        let problem = async || {
            let error = engine.load(&ks).await.expect_err("it is hurt");
            assert_eq!(error.code(), Some(errors::STORE_DATA_CORRUPT));
            error.to_string()
        };
        let change = |sql: &str| {
            server.query(&sql.replace("polis_", &format!("{database}.polis_")));
        };
        let flip = "SET data = INSERT(data, 9, 1, CHAR(ASCII(SUBSTRING(data, 9, 1)) ^ 1))";
        change(&format!("UPDATE polis_log {flip} WHERE seq = 4"));
        assert!(problem().await.contains("keyspace a, batch 4, to revision 5: its checksum"));
        change(&format!("UPDATE polis_log {flip} WHERE seq = 4"));
        engine.load(&ks).await.expect("it is whole again");
        change("DELETE FROM polis_log WHERE seq = 4");
        assert!(problem().await.contains("keyspace a, batch 4: it is missing"));
        change("DELETE FROM polis_log WHERE seq > 2");
        assert!(problem().await.contains("keyspace a, batch 3: it is missing"));
        change("UPDATE polis_keyspace SET seq = 2");
        assert!(problem().await.contains("keyspace a, its head: it says revision 6"));
        change("UPDATE polis_keyspace SET revision = 3");
        engine.load(&ks).await.expect("nothing shows that there was more");
        let flip = "SET value = INSERT(value, 9, 1, CHAR(ASCII(SUBSTRING(value, 9, 1)) ^ 1))";
        change(&format!("UPDATE polis_cell {flip}"));
        let problem = problem().await;
        assert!(problem.contains("keyspace a, row \"k\", which says revision "), "{problem}");
    }
}

#[tokio::test]
async fn a_database_that_came_back_older_is_gone_on_with_beyond_all_that_was_seen() {
    for server in servers() {
        let engine = server.engine().await;
        let (ks, gone) = (name("a"), name("gone"));
        let epoch = claim(&engine, &ks).await;
        for seq in 1..=5 {
            commit(&engine, &ks, batch(epoch, seq, vec![put(seq + 1, &format!("k{seq}"), "v")]))
                .await;
        }
        let seen = |keyspace: &kv::KeyspaceName, seq| Seen {
            keyspace: keyspace.clone(),
            epoch: Epoch(40),
            seq: Seq(seq),
            revision: Revision(seq + 1),
        };
        let recovered =
            engine.recover(&[seen(&ks, 900), seen(&gone, 70)]).await.expect("it can be recovered");
        assert_eq!(recovered.cluster_id_before, engine.cluster_id());
        assert_ne!(recovered.cluster_id, engine.cluster_id());
        assert_eq!(engine.look().await.expect("an answer").cluster_id, recovered.cluster_id);
        for (before, after) in &recovered.heads {
            assert!(
                after.epoch > Epoch(40) && after.seq > Seq(900) && after.revision > Revision(901)
            );
            assert!(before.seq <= Seq(5) && after.leader.is_none());
            let loaded = engine.load(&after.keyspace).await.expect("it loads");
            assert_eq!((loaded.epoch, loaded.seq), (after.epoch, after.seq));
            assert_eq!(loaded.base.rows.len() as u64, before.seq.0);
            let (config, now) = (keyspace::Config::default(), rt::Millis(0));
            let keyspace =
                Keyspace::load(config, loaded.base, loaded.log, now).expect("it is whole");
            assert_eq!(keyspace.revision(), after.revision);
            assert_eq!(keyspace.compacted(), after.revision);
            // And it goes on from there.
            let epoch = claim(&engine, &after.keyspace).await;
            let record = put(after.revision.0 + 1, "next", "v");
            commit(&engine, &after.keyspace, batch(epoch, after.seq.0 + 1, vec![record])).await;
        }
        assert_eq!(recovered.heads.len(), 2);
    }
}

#[tokio::test]
async fn what_a_person_must_mend_has_a_code() {
    let code = async |url: &str| {
        let config = patient(SqlConfig::parse(url).expect("a good URL"));
        Sql::connect(config).await.expect_err(url).code()
    };
    let nobody = "mysql://root@127.0.0.1:9/polis";
    assert_eq!(code(nobody).await, Some(errors::DATABASE_UNREACHABLE));
    for server in servers() {
        let url = server.database();
        let database = url.rsplit('/').next().expect("a name");
        assert_eq!(code(&format!("{url}_missing")).await, Some(errors::DATABASE_ACCESS));
        let stranger = url.replace("root@", "stranger@");
        assert_eq!(code(&stranger).await, Some(errors::DATABASE_ACCESS));
        drop(open(&url).await);
        server.query(&format!("UPDATE {database}.polis_meta SET schema_version = 99"));
        assert_eq!(code(&url).await, Some(errors::DATABASE_NEWER));
        server.query(&format!("UPDATE {database}.polis_meta SET schema_version = 1"));
        // A server that is gone is passed over.
        let engine = open(&url.replace("root@", "root@127.0.0.1:9,")).await;
        claim(&engine, &name("a")).await;
    }
}

/// As [`a_lost_answer_to_a_batch_is_settled_by_the_next_claim`], on the wire.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_cut_at_a_commit_loses_nothing_acknowledged() {
    let late = Duration::from_millis(200);
    let faults = [
        (Fault::CutBefore, Some(0)),
        (Fault::CutAfter, Some(1)),
        (Fault::CutAndLate(late), None),
        (Fault::SwallowBefore, Some(0)),
        (Fault::SwallowAfter, Some(1)),
    ];
    for server in servers() {
        let url = server.database();
        let database = url.rsplit('/').next().expect("a name");
        let proxy = FaultProxy::start(server.port());
        let engine = open(&format!("{}?statement-timeout-ms=2500", proxy.url(database))).await;
        let ks = name("a");
        let mut seq = Seq(0);
        for (fault, applied) in faults {
            let epoch = claim(&engine, &ks).await;
            let armed = proxy.strike(When::Commit, fault);
            let record = put(seq.0 + 2, "k", "lost");
            let outcome = engine.append(&ks, batch(epoch, seq.0 + 1, vec![record])).await;
            assert_eq!(outcome.expect("an answer"), Outcome::Unknown, "{fault:?}");
            assert!(armed.has_struck());

            let epoch = claim(&engine, &ks).await;
            let loaded = engine.load(&ks).await.expect("it loads").seq;
            assert!(applied.is_none_or(|applied| loaded.0 == seq.0 + applied), "{fault:?}");
            tokio::time::sleep(2 * late).await;
            assert_eq!(engine.load(&ks).await.expect("it loads").seq, loaded, "{fault:?}");
            seq = loaded.next();
            commit(&engine, &ks, batch(epoch, seq.0, vec![put(seq.0 + 1, "k", "v")])).await;
        }
        // A claim's own commit, cut on either side.
        for fault in [Fault::CutBefore, Fault::CutAfter, Fault::CutAndLate(late)] {
            let seen = engine.load(&ks).await.expect("it loads").epoch;
            proxy.strike(When::Commit, fault);
            let raised = engine.raise(&ks, seen, ReplicaId(7)).await.expect("an answer");
            assert_eq!(raised, Raised::Won(seen.next()), "{fault:?}");
            tokio::time::sleep(2 * late).await;
            assert_eq!(engine.load(&ks).await.expect("it loads").epoch, seen.next());
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_stalls_or_is_gone_is_left_for_the_next_one() {
    for server in servers() {
        let url = server.database();
        let database = url.rsplit('/').next().expect("a name");
        let (first, second) = (FaultProxy::start(server.port()), FaultProxy::start(server.port()));
        let (one, two) = (first.port(), second.port());
        let url = format!(
            "mysql://root@127.0.0.1:{one},127.0.0.1:{two}/{database}?statement-timeout-ms=1500"
        );
        let engine = open(&url).await;
        let ks = name("a");
        for (stopped, other) in [(&first, &second), (&second, &first)] {
            let epoch = claim(&engine, &ks).await;
            let seq = engine.load(&ks).await.expect("it loads").seq.next();
            other.set_flow(Flow::Open);
            stopped.set_flow(if std::ptr::eq(stopped, &first) {
                Flow::Stalled
            } else {
                Flow::Refused
            });
            let outcome =
                engine.append(&ks, batch(epoch, seq.0, vec![put(seq.0 + 1, "k", "v")])).await;
            assert_eq!(outcome.expect("an answer"), Outcome::Unknown);
            let began = Instant::now();
            let epoch = claim(&engine, &ks).await;
            commit(&engine, &ks, batch(epoch, seq.0, vec![put(seq.0 + 1, "k", "v")])).await;
            println!("went over to the other server in {:?}", began.elapsed());
        }
    }
}

/// OceanBase counts what it has written out, which takes it a while.
#[tokio::test]
async fn the_size_of_the_tables_is_told() {
    let [_, mariadb] = servers();
    let engine = mariadb.engine().await;
    let me = Replica { id: ReplicaId(1), name: String::new(), urls: Vec::new(), beat: 1 };
    // It is asked beside a beat, and beside a later one if nothing came of it.
    let told = async {
        while engine.metrics().disk_bytes == 0 {
            engine.beat(&me).await.expect("an answer");
        }
    };
    let told = tokio::time::timeout(Duration::from_secs(120), told).await;
    assert!(told.is_ok(), "no size in time");
}

/// What docs/operate/databases.md grants, and nothing more.
#[tokio::test]
async fn the_least_privileges_are_enough_and_a_password_is_used() {
    for server in servers() {
        let url = server.database();
        let database = url.rsplit('/').next().expect("a name");
        server.query("CREATE USER 'least'@'%' IDENTIFIED BY 'sesame'");
        let verbs = "SELECT, INSERT, UPDATE, DELETE, CREATE";
        server.query(&format!("GRANT {verbs} ON {database}.* TO 'least'@'%'"));
        let config = SqlConfig::parse(&url.replace("root@", "least@")).expect("a good URL");
        let config = patient(config);
        assert!(!format!("{config:?}").contains("sesame"));
        let wrong = Sql::connect(config.clone().with_password(Some("guess".to_owned()))).await;
        assert_eq!(wrong.expect_err("it is wrong").code(), Some(errors::DATABASE_ACCESS));

        let right = config.with_password(Some("sesame".to_owned()));
        let engine = Sql::connect(right.clone()).await.expect("it opens");
        let ks = name("a");
        let epoch = claim(&engine, &ks).await;
        for seq in 1..=3 {
            commit(&engine, &ks, batch(epoch, seq, vec![put(seq + 1, "k", "v")])).await;
        }
        common::fold(&engine, &ks, epoch, Revision(3)).await;
        engine.look().await.expect("an answer");
        engine.recover(&[]).await.expect("it can be recovered");
        // The tables are there: nothing need be made any more.
        server.query(&format!("REVOKE CREATE ON {database}.* FROM 'least'@'%'"));
        Sql::connect(right.clone()).await.expect("it opens again");
        server.query(&format!("REVOKE DELETE ON {database}.* FROM 'least'@'%'"));
        let engine = Sql::connect(right).await.expect("it opens");
        let epoch = claim(&engine, &ks).await;
        let loaded = engine.load(&ks).await.expect("it loads");
        let record = put(loaded.base.revision.0 + 1, "k", "v");
        commit(&engine, &ks, batch(epoch, loaded.seq.0 + 1, vec![record])).await;
        let refused = engine.compact(&ks, epoch, loaded.base.revision.next().next()).await;
        let error = refused.expect_err("it may not delete");
        assert_eq!(error.code(), Some(errors::DATABASE_ACCESS), "{error}");
        server.query("DROP USER 'least'@'%'");
    }
}

#[tokio::test]
async fn removed_rows_are_given_back_or_it_is_said_that_they_cannot_be() {
    for server in servers() {
        let url = server.database();
        let database = url.rsplit('/').next().expect("a name").to_owned();
        let engine = open(&url).await;
        let ks = name("a");
        let epoch = claim(&engine, &ks).await;
        let value = "v".repeat(256 * 1024);
        for seq in 1..=40 {
            commit(&engine, &ks, batch(epoch, seq, vec![put(seq + 1, "k", &value)])).await;
        }
        common::fold(&engine, &ks, epoch, Revision(42)).await;
        let is_mariadb = server.answer("SELECT VERSION()").contains("MariaDB");
        match engine.reclaim().await {
            Ok(()) => {
                assert!(is_mariadb);
                let length = format!(
                    "SELECT data_length FROM information_schema.tables WHERE table_schema = \
                     '{database}' AND table_name = 'polis_log'"
                );
                let left: u64 = server.answer(&length).parse().expect("a number");
                assert!(left < 1024 * 1024, "{left}");
            }
            Err(Error::ReclaimsByItself) => assert!(!is_mariadb),
            Err(error) => panic!("{error}"),
        }
        commit(&engine, &ks, batch(epoch, 41, vec![put(42, "k", "it goes on")])).await;
    }
}

#[tokio::test]
async fn a_slow_reader_sees_one_moment_and_memory_is_bounded_by_pages() {
    for server in servers() {
        let engine = server.engine().await;
        let ks = name("a");
        let epoch = claim(&engine, &ks).await;
        let value = "v".repeat(64 * 1024);
        for seq in 1..=200 {
            let record = put(seq + 1, &format!("k{seq:03}"), &value);
            commit(&engine, &ks, batch(epoch, seq, vec![record])).await;
        }
        common::fold(&engine, &ks, epoch, Revision(101)).await;
        let mut scan = engine.scan(&ks).await.expect("it begins");
        assert_eq!((scan.head.seq, scan.head.base), (Seq(200), Revision(100)));
        // All of it changes before the second piece is asked for.
        for seq in 201..=300 {
            let record = put(seq + 1, &format!("k{:03}", seq - 200), "changed");
            commit(&engine, &ks, batch(epoch, seq, vec![record])).await;
        }
        common::fold(&engine, &ks, epoch, Revision(301)).await;
        let (mut records, mut rows, mut pieces) = (0, 0, 0);
        while let Some(piece) = scan.next().await.expect("it goes on") {
            pieces += 1;
            match piece {
                Piece::Log(log) => records += log.len(),
                Piece::Rows(some) => {
                    let all = some.iter().all(|row| row.mod_revision <= Revision(100));
                    assert!(all && some.len() <= 20, "{} at once", some.len());
                    rows += some.len();
                }
                Piece::Leases(_) | Piece::Notes(_) => {}
            }
        }
        assert_eq!((records, rows), (101, 99));
        assert!(pieces > 12, "{pieces}");
    }
}
