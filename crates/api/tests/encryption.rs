//! A store that holds a value nobody can open: only that object is lost.

mod support;

use std::sync::Arc;

use api::encryption::{Encryption, Sealed};
use serde_json::json;
use support::{CONFIG_MAPS, Server, config_map, memory};

const SECRETS: &str = "/api/v1/namespaces/default/secrets";

#[tokio::test]
async fn what_cannot_be_opened_is_lost_alone() {
    let path = std::env::temp_dir().join(format!("polis-encryption-{}.yaml", std::process::id()));
    let file = json!({
        "apiVersion": "apiserver.config.k8s.io/v1",
        "kind": "EncryptionConfiguration",
        "resources": [{"resources": ["secrets"], "providers": [
            {"aesgcm": {"keys": [{"name": "one", "secret": "MTExMTExMTExMTExMTExMQ=="}]}},
        ]}],
    });
    std::fs::write(&path, file.to_string()).expect("written");
    let bare = memory::keyspaces();
    let sealed = {
        let (bare, path) = (bare.clone(), path.clone());
        move |name: &str| Sealed::over(bare(name), Encryption::read(&path).expect("it is sound"))
    };
    let server = Server::over(Arc::new(sealed));
    let secret = |name: &str| json!({"metadata": {"name": name}, "data": {"a": "Yg=="}});
    server.post(SECRETS, secret("good")).await.expect_code(201);
    let mut watch = server.watch(&format!("{CONFIG_MAPS}?watch=1")).await;

    // By a replica that has a newer key.
    let value = "k8s:enc:aesgcm:v1:two:x";
    let lost = kv::Op::put("/registry/core/secrets/default/lost", value);
    let store = bare(&api::Door::Federation.keyspace());
    store.txn(kv::Txn::when(Vec::new()).then(vec![lost])).await.expect("kept");

    let refusal = server.get(&format!("{SECRETS}/lost")).await.refusal();
    assert!(refusal.starts_with("500 InternalError: "), "{refusal}");
    assert!(refusal.contains("/registry/core/secrets/default/lost cannot be read"), "{refusal}");
    server.get(&format!("{SECRETS}/good")).await.expect_code(200);
    // What was written after it comes through the mirror's watch, and a replica
    // that starts now loads all of it.
    server.post(CONFIG_MAPS, config_map("a", json!({}))).await.expect_code(201);
    assert_eq!(watch.event().await, "ADDED a");
    let replica = server.replica();
    let mut watch = replica.watch(&format!("{CONFIG_MAPS}?watch=1")).await;
    assert_eq!(watch.event().await, "ADDED a");
    let _ = std::fs::remove_file(&path);
}
