//! The real binary with real peers: what the end-to-end tests share.
//!
//! `cargo xtask test` builds the binary and fetches the peers; a peer that is
//! missing fails the test that needs it. Everything started is stopped by its
//! process id, and only loopback is used.

mod api_server;
pub mod city;
mod estate;
mod etcd;
mod go;
mod http;
mod java;
mod networks;
mod peer;
mod process;
mod scratch;
mod store;
mod wait;

pub use api_server::ApiServer;
pub use estate::{Estate, free_base_port, path_with_nft};
pub use etcd::Etcd;
pub use go::go_client;
pub use http::{Answer, request};
pub use java::Java;
pub use networks::Networks;
pub use peer::{clock_library, etcdctl, etcdctl_until, etcdctl_with_input, peer, peer_at};
pub use process::{Running, polis, run};
pub use scratch::Scratch;
pub use store::{Store, ctl, done};
pub use wait::wait_for;
