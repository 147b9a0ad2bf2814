//! The edge and a ledger over mutual TLS, and only the right ledger.

mod common;

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use common::*;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use identity::{Authority, ClientAuth, Credentials, Files, Leaf, Peer, SpiffeId};
use proxy::{Limits, Upstream};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

const TRUST: &str = "polis.test";

struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        Folder(std::env::temp_dir().join(format!("polis-proxy-{name}-{}", std::process::id())))
    }

    fn issue(
        &self,
        authority: &Authority,
        unit: &str,
        namespace: &str,
        account: &str,
    ) -> Credentials {
        let spiffe = SpiffeId {
            trust_domain: TRUST.into(),
            unit: unit.into(),
            namespace: namespace.into(),
            service_account: account.into(),
        };
        let lifetime = Duration::from_secs(3600);
        let leaf =
            Leaf { spiffe: Some(spiffe), common_name: account.into(), lifetime, ..Leaf::default() };
        let files = Files::in_dir(&self.0, &format!("{unit}-{namespace}-{account}"));
        authority.issue(&leaf).expect("issue").save(&files).expect("save");
        Credentials::load(&files).expect("load")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A ledger that answers with the unit of whoever asks.
async fn ledger(credentials: &Credentials) -> SocketAddr {
    let config = identity::server_config(credentials, ClientAuth::Required, &[b"http/1.1"])
        .expect("server config");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.expect("accept");
            let acceptor = TlsAcceptor::from(config.clone());
            tokio::spawn(async move {
                let Ok(stream) = acceptor.accept(stream).await else { return };
                let peer = Peer::of_server_connection(stream.get_ref().1);
                let peer = peer.expect("readable").expect("required").spiffe.expect("a SPIFFE id");
                let service = service_fn(move |_| {
                    let body = format!("asked by {peer}");
                    async { Ok::<_, std::convert::Infallible>(http::Response::new(body)) }
                });
                let _ = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service)
                    .await;
            });
        }
    });
    address
}

#[tokio::test]
async fn requests_go_to_the_ledger_of_the_unit_they_are_routed_to_and_to_no_other() {
    let folder = Folder::new("mesh");
    let root = Authority::root("root").expect("root");
    let stranger = Authority::root("stranger").expect("root");
    let edge = folder.issue(&root, "rz01", "polis-system", "edge");
    let right = ledger(&folder.issue(&root, "rz02", "payments", "ledger")).await;
    let wrong_unit = ledger(&folder.issue(&root, "rz03", "payments", "ledger")).await;
    let wrong_account = ledger(&folder.issue(&root, "rz02", "payments", "agent")).await;
    let wrong_root = ledger(&folder.issue(&stranger, "rz02", "payments", "ledger")).await;

    let world = World::new(serving("rz02", 1), &[("rz02", right)]);
    let mut config =
        config(&world, Limits { handshake_timeout: Duration::from_secs(30), ..limits() });
    config.upstream = Upstream::Mesh { credentials: edge, trust_domain: TRUST.into() };
    let edge = run(config);
    let answer = send(edge.address, PAY, "{}").await;
    let asked_by = format!("asked by spiffe://{TRUST}/unit/rz01/ns/polis-system/sa/edge");
    assert_eq!((answer.status, answer.body), (200, asked_by));

    for (version, wrong) in (2..).zip([wrong_unit, wrong_account, wrong_root]) {
        world.change(|view| {
            view.endpoints.insert(unit("rz02"), vec![wrong]);
        });
        edge.metric_is("polis_edge_table_version", version).await;
        let text = format!("{PAY} polis-deadline-ms=300");
        let answer = send(edge.address, &text, "{}").await;
        assert_eq!(answer.code(), errors::SHARD_UNAVAILABLE.to_string());
    }
    edge.stop().await;
}

#[tokio::test]
async fn a_ledger_that_refuses_our_certificate_is_neither_hammered_nor_believed() {
    let folder = Folder::new("mesh-refused");
    let root = Authority::root("root").expect("root");
    let stranger = Authority::root("stranger").expect("root");
    let mut edge = folder.issue(&stranger, "rz01", "polis-system", "edge");
    let right = folder.issue(&root, "rz02", "payments", "ledger");
    // It trusts the ledger; the ledger does not trust it, and says so only
    // after the edge's side of the handshake is complete.
    edge.roots = right.roots.clone();
    let address = ledger(&right).await;
    let world = World::new(serving("rz02", 1), &[("rz02", address)]);
    // As patient as it is in earnest, and with time for slow handshakes.
    let handshake_timeout = Duration::from_secs(30);
    let mut config = config(&world, Limits { handshake_timeout, ..Limits::default() });
    config.upstream = Upstream::Mesh { credentials: edge, trust_domain: TRUST.into() };
    let edge = run(config);
    // Whether anyone read the request cannot be known, and nobody hammers.
    let answer = send(edge.address, &format!("{PAY} polis-deadline-ms=3000"), "{}").await;
    assert_eq!((answer.status, answer.code()), (504, errors::OUTCOME_UNKNOWN.to_string()));
    let tries = edge.metric("polis_edge_replays_total").await;
    assert!((1..=100).contains(&tries), "{tries}");
    edge.stop().await;
}
