//! What a follower passes on is bounded by what the store is told to take.

mod estate;

use engine::Memory;
use estate::{Node, leader_of, start_with, within};
use pb_etcd::etcdserverpb::{self as pb, kv_client::KvClient};
use store::{Config, Limits};
use tonic::Status;

const MIB: usize = 1024 * 1024;

async fn put(node: &Node, bytes: usize) -> Result<(), Status> {
    let channel = kv_etcd::connect::channel(&node.url, None).expect("a channel");
    let request =
        pb::PutRequest { key: "k".into(), value: vec![7; bytes].into(), ..Default::default() };
    within(KvClient::new(channel).put(request)).await.map(drop)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_passes_on_requests_as_large_as_the_store_takes() {
    let engine = Memory::new();
    let limits = Limits { request_bytes: 6 * MIB, ..Limits::default() };
    let mut nodes = Vec::new();
    for name in ["store-a", "store-b"] {
        nodes.push(start_with(&engine, Config { limits, ..estate::config(name) }).await);
    }
    within(async { while put(&nodes[0], 1).await.is_err() {} }).await;
    let leading = leader_of(&nodes, &engine).await;
    for node in [&nodes[leading], &nodes[1 - leading]] {
        put(node, 5 * MIB).await.expect("a put");
        let refused = put(node, 6 * MIB).await.expect_err("with its key it is too large");
        assert_eq!(refused.message(), "etcdserver: request is too large");
        put(node, 8 * MIB).await.expect_err("far too large");
    }
}
