//! What a token opens, and for how long.

use engine::Memory;
use pb_etcd::etcdserverpb::{self as pb, kv_client::KvClient};
use tonic::Code;

use crate::{
    client::{Guarded, NOBODY, denied, quick, refused, serve, serve_on, void},
    common::{PATIENCE, within},
};

#[tokio::test]
async fn a_token_is_good_in_its_own_keyspace_only() {
    let served = serve(quick()).await;
    let Guarded { root, app, nobody } = served.guarded().await;
    app.put("app/1").await.expect("its own");
    // A keyspace with the same users and passwords is another one still.
    nobody.in_keyspace("other").guard().await;
    for user in [&root, &app] {
        void(user.in_keyspace("other").put("app/1").await);
        void(user.in_keyspace("other").get(b"app/1", b"").await);
    }
    let other = nobody.in_keyspace("other").log_in("app", "app").await.expect("app");
    other.put("app/1").await.expect("its own");
    void(other.in_keyspace("default").put("app/1").await);
    // Where nobody asks for one, any will do.
    app.in_keyspace("open").put("anything").await.expect("auth is off there");
    nobody.in_keyspace("open").with_token("garbage").put("anything").await.expect("likewise");
}

#[tokio::test]
async fn what_is_no_token_of_ours_lets_nobody_in() {
    let served = serve(quick()).await;
    let Guarded { nobody, app, .. } = served.guarded().await;
    let good = app.token.clone().expect("a token");
    refused(nobody.get(b"app/1", b"").await, Code::InvalidArgument, NOBODY);
    let changed = [&good[..good.len() - 1], if good.ends_with('0') { "1" } else { "0" }].concat();
    for token in ["", "x", "Bearer", &"0".repeat(4096), &good[1..], &changed] {
        void(nobody.with_token(token).get(b"app/1", b"").await);
        void(nobody.with_token(token).put("app/1").await);
    }
    app.with_token(&format!("Bearer {good}")).get(b"app/1", b"").await.expect("as etcd");
    // A bad token is no better for a good certificate or a second header.
    let mut both =
        nobody.with_token("x").ask(pb::RangeRequest { key: "app/1".into(), ..Default::default() });
    both.metadata_mut().insert("authorization", good.parse().expect("metadata"));
    void(within(KvClient::new(nobody.channel.clone()).range(both)).await);
}

#[tokio::test]
async fn a_token_ends_unless_it_is_used_and_a_stream_goes_on() {
    let served = serve(quick()).await;
    let Guarded { app, root, .. } = served.guarded().await;
    let mut watch = app.watch(b"app/", b"app0").await;
    assert!(watch.next().await.created);
    let half = 151_000;
    for _ in 0..4 {
        served.hand.advance(half);
        app.get(b"app/1", b"").await.expect("it is used");
        root.get(b"app/1", b"").await.expect("it is used");
    }
    served.hand.advance(2 * half);
    void(app.get(b"app/1", b"").await);
    void(root.put("app/1").await);
    let again = app.log_in("app", "app").await.expect("app");
    again.put("app/1").await.expect("a new one");
    assert_eq!(watch.next().await.events.len(), 1);
}

#[tokio::test]
async fn users_and_tokens_outlive_the_store() {
    let engine = Memory::new();
    let served = serve_on(engine.clone(), quick()).await;
    let Guarded { app, .. } = served.guarded().await;
    served.trigger.drain(PATIENCE).await;
    served.running.await.expect("it ends");
    let again = serve_on(engine, quick()).await;
    let nobody = again.client();
    // The first question comes before the keyspace is loaded.
    let app = nobody.with_token(app.token.as_deref().expect("a token"));
    denied(app.get(b"secret", b"").await);
    app.put("app/1").await.expect("its own");
    refused(nobody.put("app/1").await, Code::InvalidArgument, NOBODY);
}
