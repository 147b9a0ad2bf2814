//! Users of a keyspace that several stores serve.

use engine::Memory;
use store::Config;
use tonic::Code;

use crate::{
    client::{Client, NOBODY, client_of, denied, refused, void},
    common::within,
    estate,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_replica_knows_the_users_and_takes_the_tokens() {
    let engine = Memory::new();
    let mut nodes = estate::start_three(&engine).await;
    let ask = |node: &estate::Node, of: &Client| Client {
        token: of.token.clone(),
        ..client_of(&node.url)
    };
    // All through one that may follow.
    let nobody = client_of(&nodes[1].url);
    led(&nobody).await;
    nobody.guard().await;
    let root = nobody.log_in("root", "root").await.expect("root");
    let app = nobody.log_in("app", "app").await.expect("app");
    root.put("secret").await.expect("root may");
    let mut watches = Vec::new();
    for node in &nodes {
        let (app, nobody) = (ask(node, &app), client_of(&node.url));
        app.put("app/1").await.expect("its own");
        // A follower's own copy learns of it in a moment.
        within(async { while nobody.read(b"app/1", b"", true).await.is_ok() {} }).await;
        for serializable in [false, true] {
            app.read(b"app/1", b"", serializable).await.expect("its own");
            denied(app.read(b"secret", b"", serializable).await);
            let read = nobody.read(b"app/1", b"", serializable).await;
            refused(read, Code::InvalidArgument, NOBODY);
        }
        refused(nobody.put("app/1").await, Code::InvalidArgument, NOBODY);
        void(nobody.with_token("garbage").put("app/1").await);
        let mut watch = app.watch(b"app/", b"app0").await;
        assert!(watch.next().await.created);
        watches.push(watch);
    }
    let dead = estate::leader_of(&nodes, &engine).await;
    nodes.remove(dead).kill();
    watches.remove(dead);
    // Whoever leads now judges as the one before.
    led(&ask(&nodes[0], &root)).await;
    for node in &nodes {
        denied(ask(node, &app).get(b"secret", b"").await);
        ask(node, &app).put("app/2").await.expect("its own");
    }
    ask(&nodes[0], &root).forbid().await;
    ask(&nodes[0], &root).put("app/after").await.expect("root may");
    for watch in &mut watches {
        let mut last = watch.next().await;
        while !last.canceled {
            assert!(
                last.events.iter().all(|event| {
                    event.kv.as_ref().is_some_and(|kv| kv.key != b"app/after"[..])
                })
            );
            last = watch.next().await;
        }
    }
    denied(ask(&nodes[1], &app).put("app/1").await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_raises_its_alarm_also_where_users_are_on() {
    let engine = Memory::new();
    let nodes = estate::start_three(&engine).await;
    let nobody = client_of(&nodes[1].url);
    led(&nobody).await;
    nobody.guard().await;
    let root = nobody.log_in("root", "root").await.expect("root");
    root.put("k").await.expect("root may");
    let full = estate::Line::to(&engine).holding(2);
    let config = Config { quota_bytes: 1, ..estate::config("store-d") };
    let _full = estate::start_on(full, config).await;
    let told = within(async {
        loop {
            match root.put("k").await {
                Err(told) if told.code() == Code::ResourceExhausted => return told,
                _ => {}
            }
        }
    })
    .await;
    assert_eq!(told.message(), "etcdserver: mvcc: database space exceeded");
}

/// Waits until somebody leads, however long it takes: requests wait for a leader
/// no longer than etcd's clients do.
async fn led(asked: &Client) {
    within(async { while asked.put("led").await.is_err() {} }).await;
}
