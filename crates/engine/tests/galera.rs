//! Five nodes that certify each other's transactions: writers on different
//! nodes, and nodes that are lost.

mod common;

use std::{sync::Arc, time::Duration};

use common::{batch, claim, commit, name, put, sql::open};
use engine::{Engine, Epoch, Error, Outcome, Raised, ReplicaId, Seq};
use testkit::Galera;

/// Far beyond the cluster's own timeouts for a node that says nothing (5 s to
/// suspect it, 15 s to go on without it), which are those of its defaults.
const GONE_ON_WITHIN: Duration = Duration::from_secs(120);

/// URLs of one database through each node alone.
fn through_each(galera: &Galera, database: &str) -> Vec<String> {
    let _ = galera.empty_database(database);
    galera.nodes().iter().map(|node| format!("{}/{database}", node.url())).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn claims_through_different_nodes_have_one_winner_each() {
    let urls = through_each(Galera::shared(), "claims");
    let mut engines = Vec::new();
    for url in &urls {
        engines.push(Arc::new(open(url).await));
    }
    let ids: Vec<_> = engines.iter().map(|engine| engine.cluster_id()).collect();
    assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
    let ks = name("a");
    for epoch in 0..6 {
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writers_on_different_nodes_lose_nothing_acknowledged() {
    let urls = through_each(Galera::shared(), "writers");
    let ks = name("a");
    let writers: Vec<_> = (1..)
        .zip(urls.iter().take(3).cloned())
        .map(|(id, url)| tokio::spawn(write_in_turns(url, ks.clone(), ReplicaId(id))))
        .collect();
    let mut acknowledged = Vec::new();
    let mut unknown = Vec::new();
    for writer in writers {
        let (known, open) = writer.await.expect("no panic");
        acknowledged.extend(known);
        unknown.extend(open);
    }
    assert!(!acknowledged.is_empty());
    let loaded = open(&urls[4]).await.load(&ks).await.expect("it loads");
    for (seq, value) in &acknowledged {
        let at = usize::try_from(seq.0).expect("few batches") - 1;
        assert_eq!(loaded.log[at], put(seq.0 + 1, "k", value), "it was acknowledged");
    }
    // What else is there was answered with nobody knows.
    let others = loaded.log.len() - acknowledged.len();
    assert!(others <= unknown.len(), "{others} of {unknown:?}");
}

/// Deposes whoever writes, and writes until it is deposed.
async fn write_in_turns(
    url: String,
    ks: kv::KeyspaceName,
    id: ReplicaId,
) -> (Vec<(Seq, String)>, Vec<Seq>) {
    let engine = open(&url).await;
    let (mut acknowledged, mut unknown) = (Vec::new(), Vec::new());
    for turn in 0..10 {
        let seen = engine.load(&ks).await.expect("it loads").epoch;
        let raised = engine.raise(&ks, seen, id).await.expect("an answer");
        let Raised::Won(epoch) = raised else { continue };
        let loaded = engine.load(&ks).await.expect("it loads");
        assert!(loaded.epoch >= epoch, "a load sees the claim before it");
        let mut seq = loaded.seq;
        for _ in 0..8 {
            seq = seq.next();
            let value = format!("{}/{turn}/{seq}", id.0);
            let record = put(seq.0 + 1, "k", &value);
            match engine.append(&ks, batch(epoch, seq.0, vec![record])).await {
                Ok(Outcome::Committed) => acknowledged.push((seq, value)),
                Ok(Outcome::Unknown) => {
                    unknown.push(seq);
                    break;
                }
                Ok(Outcome::Deposed) | Err(Error::Unavailable(_)) => break,
                Err(error) => panic!("{error}"),
            }
        }
    }
    (acknowledged, unknown)
}

/// A node's files are its own here; what a power failure of a whole machine
/// would do to them is not shown by this.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_writer_goes_over_to_another_node_when_its_own_is_killed() {
    let galera = Galera::start(3);
    let engine = open(&galera.empty_database("killed")).await;
    let ks = name("a");
    let mut epoch = claim(&engine, &ks).await;
    let mut acknowledged = Seq(0);
    for _ in 0..50 {
        let next = acknowledged.next();
        commit(&engine, &ks, batch(epoch, next.0, vec![put(next.0 + 1, "k", "v")])).await;
        acknowledged = next;
    }
    galera.node(0).kill9();
    let began = tokio::time::Instant::now();
    while acknowledged < Seq(60) {
        assert!(began.elapsed() < GONE_ON_WITHIN, "still at {acknowledged}");
        // As a leader does: after any doubt, claim and load.
        let Ok(loaded) = engine.load(&ks).await else { continue };
        assert!(loaded.seq >= acknowledged, "{} of {acknowledged} are left", loaded.seq);
        let Ok(Raised::Won(won)) = engine.raise(&ks, loaded.epoch, ReplicaId(7)).await else {
            continue;
        };
        epoch = won;
        let Ok(loaded) = engine.load(&ks).await else { continue };
        acknowledged = loaded.seq;
        while acknowledged < Seq(60) {
            let next = acknowledged.next();
            let record = put(next.0 + 1, "k", "v");
            match engine.append(&ks, batch(epoch, next.0, vec![record])).await {
                Ok(Outcome::Committed) => {
                    if acknowledged == Seq(50) {
                        println!("wrote again after {:?}", began.elapsed());
                    }
                    acknowledged = next;
                }
                _ => break,
            }
        }
    }
}
