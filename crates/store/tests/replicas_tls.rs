//! Replicas that pass requests on over TLS, for callers that they know.

mod estate;

use std::{sync::Arc, time::Duration};

use engine::Memory;
use estate::{Node, leader, start_with, within};
use identity::{Authority, ClientAuth, Credentials, Expected, Files, Leaf, ServerCheck, SpiffeId};
use kv::{Error, Kv as _, PutRequest};
use store::{Access, Config};

const TRUST: &str = "polis.local";
const ALPN: [&[u8]; 1] = [b"h2"];

struct Pki {
    folder: std::path::PathBuf,
    root: Authority,
}

impl Pki {
    fn new() -> Pki {
        let folder =
            std::env::temp_dir().join(format!("polis-replicas-tls-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder");
        Pki { folder, root: Authority::root("root").expect("a root") }
    }

    fn credentials(&self, namespace: &str, account: &str) -> Credentials {
        let spiffe = SpiffeId {
            trust_domain: TRUST.into(),
            unit: "global".into(),
            namespace: namespace.into(),
            service_account: account.into(),
        };
        let lifetime = Duration::from_secs(3_600);
        let leaf = Leaf { spiffe: Some(spiffe), lifetime, ..Leaf::default() };
        let files = Files::in_dir(&self.folder, account);
        self.root.issue(&leaf).expect("a leaf").save(&files).expect("saved");
        Credentials::load(&files).expect("loaded")
    }

    /// Of whoever expects to meet a store.
    fn client(&self, credentials: &Credentials) -> Arc<rustls::ClientConfig> {
        let store = Expected::service(TRUST, "polis-system", "store");
        identity::client_config(credentials, ServerCheck::Spiffe(store), &ALPN).expect("a client")
    }

    async fn start(&self, engine: &Memory, name: &str) -> Node {
        let ours = self.credentials("polis-system", "store");
        let tls = identity::server_config(&ours, ClientAuth::Required, &ALPN).expect("a server");
        let config = Config {
            tls: Some(tls),
            replica_tls: Some(self.client(&ours)),
            access: Access::mesh(TRUST),
            insecure: false,
            ..estate::config(name)
        };
        start_with(engine, config).await
    }
}

impl Drop for Pki {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

#[tokio::test]
async fn a_follower_passes_on_only_what_its_caller_may_ask() {
    let pki = Pki::new();
    let engine = Memory::new();
    let nodes = [pki.start(&engine, "store-a").await, pki.start(&engine, "store-b").await];
    let ledger = pki.client(&pki.credentials("payments", "ledger"));
    let through = |node: &Node, keyspace: &str| {
        let config = kv_etcd::Config::new(&node.url, Some(ledger.clone()));
        let client = kv_etcd::Client::connect(config).expect("a client");
        client.keyspace(keyspace).expect("a keyspace")
    };
    // A request waits for a leader, but not for a store that starts slowly.
    within(async {
        while through(&nodes[0], "ledger-03").put(PutRequest::new("k", "v")).await.is_err() {}
    })
    .await;
    // Through each of them, so through one that does not lead as well.
    for round in 0..2 {
        for node in &nodes {
            let put = within(through(node, "ledger-03").put(PutRequest::new("k", "v"))).await;
            assert!(put.is_ok(), "{round}, {}: {put:?}", node.name);
            for closed in ["federation", "default"] {
                let put = within(through(node, closed).put(PutRequest::new("k", "v"))).await;
                assert_eq!(put.map(drop), Err(Error::PermissionDenied), "{}", node.name);
            }
        }
    }
    let leading = leader(&engine, "ledger-03").await;
    assert!(nodes.iter().any(|node| node.name == leading));
}
