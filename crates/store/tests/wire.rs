//! The store and its client over real connections on loopback.

mod common;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use common::{PATIENCE, config, created, next, next_events, within};
use engine::Memory;
use kv::{
    Compare, Error, KeyRange, Kv as _, Op, PutRequest, RangeRequest, Revision, Txn, WatchRequest,
};
use kv_etcd::Client;
use pb_etcd::etcdserverpb::{
    self as pb, cluster_client::ClusterClient, lease_client::LeaseClient,
    maintenance_client::MaintenanceClient, watch_client::WatchClient, watch_request::RequestUnion,
};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, SanType};
use rt::{Clock, drain::Trigger};
use rustls::{
    RootCertStore,
    pki_types::{CertificateDer, PrivateKeyDer},
    server::WebPkiClientVerifier,
};
use store::{Access, Config, Store};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

struct Served {
    address: SocketAddr,
    trigger: Trigger,
    running: tokio::task::JoinHandle<()>,
}

async fn serve(config: Config) -> Served {
    let engine = Arc::new(Memory::new());
    let store = Store::build_on(engine, config, Clock::real()).await.expect("built");
    let address = store.local_addr();
    let (trigger, drain) = rt::drain::channel();
    Served { address, trigger, running: tokio::spawn(store.run(drain)) }
}

fn client(address: SocketAddr) -> Client {
    Client::connect(kv_etcd::Config::new(format!("http://{address}"), None)).expect("a client")
}

async fn get(address: SocketAddr, path: &str) -> String {
    let mut tcp = TcpStream::connect(address).await.expect("connected");
    let request = format!("GET {path} HTTP/1.1\r\nHost: store\r\nConnection: close\r\n\r\n");
    tcp.write_all(request.as_bytes()).await.expect("sent");
    let mut answer = String::new();
    within(tcp.read_to_string(&mut answer)).await.expect("answered");
    answer
}

#[tokio::test]
async fn a_client_does_everything_over_the_wire_and_keyspaces_do_not_mix() {
    let served = serve(config()).await;
    let client = client(served.address);
    let kv = client.keyspace("unit-rz01").expect("a keyspace");
    let other = client.keyspace("ledger-00").expect("a keyspace");

    let mut watch = within(kv.watch(WatchRequest::new(KeyRange::prefix("")))).await.expect("watch");
    created(&mut watch).await;
    let create = || Txn::when(vec![Compare::absent("k")]).then(vec![Op::put("k", "v")]);
    let won = within(kv.txn(create().otherwise(vec![Op::get("k")]))).await.expect("a txn");
    assert_eq!((won.succeeded, won.revision), (true, Revision(2)));
    let lost = within(kv.txn(create().otherwise(vec![Op::get("k")]))).await.expect("a txn");
    assert!(!lost.succeeded);
    assert_eq!(next_events(&mut watch).await.revision, Revision(2));

    let all = RangeRequest::new(KeyRange::prefix(""));
    assert_eq!(within(kv.range(all.clone())).await.expect("a range").kvs.len(), 1);
    assert_eq!(within(other.range(all.clone())).await.expect("a range").count, 0);

    let lease = within(kv.lease_grant(None, Duration::from_millis(59_001))).await.expect("a lease");
    assert_eq!(lease.ttl, Duration::from_secs(60));
    let put = PutRequest { lease: Some(lease.id), ..PutRequest::new("leased", "v") };
    within(kv.put(put)).await.expect("a put");
    assert_eq!(within(kv.lease_keep_alive(lease.id)).await, Ok(Duration::from_secs(60)));
    let info = within(kv.lease_info(lease.id, true)).await.expect("the lease");
    assert_eq!(info.keys, ["leased"]);
    within(kv.lease_revoke(lease.id)).await.expect("revoked");
    assert_eq!(within(kv.lease_keep_alive(lease.id)).await, Err(Error::LeaseNotFound));
    assert_eq!(within(kv.lease_info(lease.id, false)).await, Err(Error::LeaseNotFound));

    within(kv.compact(Revision(3))).await.expect("compacted");
    let past = within(kv.range(all.at(Revision(2)))).await;
    assert_eq!(past, Err(Error::Compacted { compacted: Revision(3) }));
    let mut late = within(kv.watch(WatchRequest::new(KeyRange::prefix("")).from(Revision(2))))
        .await
        .expect("a watch");
    created(&mut late).await;
    assert_eq!(next(&mut late).await, Err(Error::Compacted { compacted: Revision(3) }));

    let big = PutRequest::new("big", vec![b'x'; Txn::REQUEST_BYTES_MAX]);
    assert_eq!(within(kv.put(big)).await.map(|_| ()), Err(Error::RequestTooLarge));
    assert!(client.keyspace("Not-A-Name").is_err());
}

#[tokio::test]
async fn one_stream_carries_many_watches_and_progress_never_overtakes_events() {
    let served = serve(config()).await;
    let kv = client(served.address).keyspace("default").expect("a keyspace");
    let channel = tonic::transport::Endpoint::from_shared(format!("http://{}", served.address))
        .expect("an endpoint")
        .connect_lazy();
    let (requests, outgoing) = tokio::sync::mpsc::channel(8);
    let send = |union| requests.try_send(pb::WatchRequest { request_union: Some(union) });
    let create = |key: &'static str, watch_id| {
        RequestUnion::CreateRequest(pb::WatchCreateRequest {
            key: key.into(),
            watch_id,
            ..Default::default()
        })
    };
    for (key, id) in [("a", 0), ("b", 7), ("c", 7)] {
        send(create(key, id)).expect("queued");
    }
    let outgoing = tokio_stream::wrappers::ReceiverStream::new(outgoing);
    let mut responses =
        within(WatchClient::new(channel).watch(outgoing)).await.expect("a stream").into_inner();
    let mut next = async || within(responses.message()).await.expect("well").expect("a response");

    let mut created = std::collections::BTreeSet::new();
    for _ in 0..3 {
        let response = next().await;
        assert!(response.created);
        created.insert((response.watch_id, response.cancel_reason));
    }
    let duplicate = "mvcc: duplicate watch ID provided on the WatchStream".to_owned();
    let expected = [(-1, duplicate), (0, String::new()), (7, String::new())];
    assert_eq!(created, expected.into());

    // More than the connection takes while nobody reads, so that events are
    // still queued at the store when it gets to the progress request.
    let value = vec![b'x'; 100 * 1024];
    let mut last = Revision::FIRST;
    for n in 0..60 {
        let key = if n % 2 == 0 { "a" } else { "b" };
        last = within(kv.put(PutRequest::new(key, value.clone()))).await.expect("a put").0;
    }
    send(RequestUnion::ProgressRequest(pb::WatchProgressRequest {})).expect("queued");
    let mut events = 0;
    let progress = loop {
        let response = next().await;
        if response.watch_id == -1 {
            break response.header.expect("a header").revision;
        }
        events += response.events.len();
    };
    assert_eq!((progress, events), (kv_etcd::to_i64(last.0), 60));
    send(RequestUnion::CancelRequest(pb::WatchCancelRequest { watch_id: 7 })).expect("queued");
    let canceled = next().await;
    assert!(canceled.canceled && canceled.watch_id == 7 && canceled.cancel_reason.is_empty());
}

#[tokio::test]
async fn a_store_that_is_gone_is_unreachable_and_one_that_goes_ends_its_watches() {
    let served = serve(config()).await;
    let kv = client(served.address).keyspace("default").expect("a keyspace");
    let mut watch = within(kv.watch(WatchRequest::new(KeyRange::prefix("")))).await.expect("watch");
    created(&mut watch).await;

    let drained = tokio::spawn(served.trigger.drain(PATIENCE));
    assert!(next(&mut watch).await.is_err());
    drop(watch);
    within(served.running).await.expect("no panic");
    within(drained).await.expect("drained");

    let refused = within(kv.put(PutRequest::new("k", "v"))).await.map(|_| ());
    assert!(matches!(&refused, Err(Error::Unreachable(_))), "{refused:?}");
    assert!(refused.is_err_and(|error| error.is_definite()));
}

#[tokio::test]
async fn a_client_that_will_not_go_is_cut_off_when_the_store_ends() {
    let served = serve(config()).await;
    // Connected, and never says a word.
    let mut silent = TcpStream::connect(served.address).await.expect("connected");
    assert!(get(served.address, "/livez").await.contains("ok"));
    let drained = tokio::spawn(served.trigger.drain(PATIENCE));
    within(served.running).await.expect("no panic");
    assert_eq!(within(drained).await.expect("no panic"), rt::drain::Drained::Clean);
    assert_eq!(within(silent.read(&mut [0])).await.expect("the end"), 0);
}

#[tokio::test]
async fn an_answer_that_never_comes_leaves_the_outcome_unknown() {
    // Accepts, and says nothing.
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("bound");
    let address = silent.local_addr().expect("an address");
    let config = kv_etcd::Config {
        request_timeout: Duration::from_millis(200),
        ..kv_etcd::Config::new(format!("http://{address}"), None)
    };
    let kv = Client::connect(config).expect("a client").keyspace("default").expect("a keyspace");
    let put = within(kv.put(PutRequest::new("k", "v"))).await.map(|_| ());
    assert!(matches!(put, Err(Error::Unknown(_))), "{put:?}");
}

#[tokio::test]
async fn health_version_and_metrics_are_pages_on_the_same_port() {
    let served = serve(config()).await;
    let kv = client(served.address).keyspace("default").expect("a keyspace");
    within(kv.put(PutRequest::new("k", "v"))).await.expect("a put");
    assert!(get(served.address, "/health").await.contains(r#"{"health":"true","reason":""}"#));
    assert!(get(served.address, "/readyz").await.starts_with("HTTP/1.1 200"));
    assert!(get(served.address, "/version").await.contains(r#""etcdserver":"3.5."#));
    assert!(get(served.address, "/nowhere").await.starts_with("HTTP/1.1 404"));
    let metrics = get(served.address, "/metrics").await;
    for line in [
        "etcd_server_has_leader 1\n",
        "polis_store_keyspace_revision{keyspace=\"default\"} 2\n",
        "etcd_disk_wal_fsync_duration_seconds_count 1\n",
        "grpc_server_handled_total{grpc_code=\"Ok\",grpc_method=\"Txn\"",
    ] {
        assert!(metrics.contains(line), "no {line:?} in\n{metrics}");
    }
}

#[tokio::test]
async fn without_tls_a_store_serves_only_when_told_so() {
    let engine = Arc::new(Memory::new());
    let refused = Store::build_on(engine, Config { insecure: false, ..config() }, Clock::real());
    let error = refused.await.err().expect("refused");
    assert_eq!(error.code(), Some(errors::STORE_NOT_SECURED));
    assert!(error.to_string().contains("--insecure"), "{error}");
}

#[tokio::test]
async fn with_tls_only_a_client_with_our_certificate_gets_in() {
    let ours = authority();
    let served = serve(Config { tls: Some(server_tls(&ours)), insecure: false, ..config() }).await;
    let endpoint = format!("https://{}", served.address);
    let connect = |tls| {
        let config = kv_etcd::Config::new(endpoint.clone(), Some(tls));
        Client::connect(config).expect("a client").keyspace("default").expect("a keyspace")
    };
    let put = |key: &'static str| PutRequest::new(key, "v");

    within(connect(client_tls(&ours, &ours)).put(put("k"))).await.expect("a put");
    let stranger = within(connect(client_tls(&ours, &authority())).put(put("k"))).await;
    assert!(stranger.is_err(), "{stranger:?}");
    let plain = client(served.address).keyspace("default").expect("a keyspace");
    assert!(within(plain.put(put("k"))).await.is_err());
    let all = RangeRequest::new(KeyRange::prefix(""));
    let range = within(connect(client_tls(&ours, &ours)).range(all)).await.expect("a range");
    assert_eq!(range.revision, Revision(2));
}

#[tokio::test]
async fn with_rules_a_certificate_opens_its_own_keyspaces_and_no_other() {
    let ours = authority();
    let access = Access::mesh("polis.local");
    let tls = Some(server_tls(&ours));
    let served = serve(Config { tls, access, insecure: false, ..config() }).await;
    let channel = |params: CertificateParams| {
        let tls = client_tls_of(&ours, sign(&ours, params));
        let address = format!("https://{}", served.address);
        Client::connect(kv_etcd::Config::new(address, Some(tls))).expect("a client")
    };
    let process = |namespace: &str, account: &str| {
        let id = format!("spiffe://polis.local/unit/rz01/ns/{namespace}/sa/{account}");
        let mut params = CertificateParams::default();
        params.subject_alt_names = vec![SanType::URI(id.try_into().expect("a URI"))];
        // Whoever may issue for a workload must not make it a master.
        params.distinguished_name.push(DnType::OrganizationName, "system:masters");
        channel(params)
    };
    let mut person = CertificateParams::default();
    person.distinguished_name.push(DnType::OrganizationName, "system:masters");
    let admin = channel(person);

    for (client, keyspace, open) in [
        (&process("polis-system", "apiserver"), "federation", true),
        (&process("polis-system", "apiserver"), "unit-rz02", true),
        (&process("polis-system", "apiserver"), "ledger-03", false),
        (&process("payments", "ledger"), "ledger-03", true),
        (&process("payments", "ledger"), "federation", false),
        (&process("polis-system", "edge"), "federation", false),
        (&process("polis-system", "edge"), "default", false),
        (&admin, "ledger-03", true),
        (&admin, "default", true),
    ] {
        let kv = client.keyspace(keyspace).expect("a keyspace");
        let put = within(kv.put(PutRequest::new("k", "v"))).await.map(drop);
        assert_eq!(put, if open { Ok(()) } else { Err(Error::PermissionDenied) }, "{keyspace}");
    }
    // A refused name makes no keyspace.
    let intruder = process("polis-system", "edge");
    for n in 0..Config::KEYSPACES_MAX {
        let kv = intruder.keyspace(&format!("mine-{n}")).expect("a keyspace");
        let refused = within(kv.put(PutRequest::new("k", "v"))).await;
        assert_eq!(refused.map(drop), Err(Error::PermissionDenied));
    }
    let kv = admin.keyspace("new").expect("a keyspace");
    within(kv.put(PutRequest::new("k", "v"))).await.expect("a put");
}

#[tokio::test]
async fn every_method_asks_who_calls() {
    // Without TLS nobody is anyone, so with rules no keyspace opens.
    let served = serve(Config { access: Access::mesh("polis.local"), ..config() }).await;
    let kv = client(served.address).keyspace("federation").expect("a keyspace");
    let (lease, all) = (kv::LeaseId(7), KeyRange::prefix(""));
    let denied = Some(Error::PermissionDenied);
    let ttl = Duration::from_secs(60);
    assert_eq!(within(kv.range(RangeRequest::new(all.clone()))).await.err(), denied);
    assert_eq!(within(kv.txn(Txn::default())).await.err(), denied);
    assert_eq!(
        within(kv.delete(kv::DeleteRequest { range: all.clone(), prev_kv: false })).await.err(),
        denied
    );
    assert_eq!(within(kv.compact(Revision(1))).await.err(), denied);
    assert_eq!(within(kv.lease_grant(None, ttl)).await.err(), denied);
    assert_eq!(within(kv.lease_revoke(lease)).await.err(), denied);
    assert_eq!(within(kv.lease_keep_alive(lease)).await.err(), denied);
    assert_eq!(within(kv.lease_info(lease, true)).await.err(), denied);
    let watched = match within(kv.watch(WatchRequest::new(all))).await {
        Ok(mut watch) => next(&mut watch).await.err(),
        Err(error) => Some(error),
    };
    assert_eq!(watched, denied);

    let endpoint = tonic::transport::Endpoint::from_shared(format!("http://{}", served.address));
    let channel = endpoint.expect("an endpoint").connect_lazy();
    let mut maintenance = MaintenanceClient::new(channel.clone());
    let mut leases = LeaseClient::new(channel.clone());
    within(leases.lease_leases(pb::LeaseLeasesRequest {})).await.expect_err("a keyspace's leases");
    let refused = within(maintenance.hash_kv(pb::HashKvRequest::default())).await;
    let refused = refused.expect_err("the keyspace's contents");
    assert_eq!(refused.code(), tonic::Code::PermissionDenied);
    assert_eq!(refused.message(), "etcdserver: permission denied");
    within(maintenance.hash(pb::HashRequest {})).await.expect_err("the keyspace's contents");
    // About the store as a whole, unless a keyspace is named.
    within(maintenance.status(pb::StatusRequest::default())).await.expect("the store's status");
    within(ClusterClient::new(channel).member_list(pb::MemberListRequest::default()))
        .await
        .expect("the members");
    let mut named = tonic::Request::new(pb::StatusRequest::default());
    let federation = "federation".parse().expect("metadata");
    named.metadata_mut().insert(kv_etcd::KEYSPACE_METADATA, federation);
    within(maintenance.status(named)).await.expect_err("a keyspace's revision");
}

// === certificates ===

type Authority = CertifiedIssuer<'static, KeyPair>;

fn authority() -> Authority {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("an authority")
}

type Pair = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

fn issue(issuer: &Authority) -> Pair {
    sign(issuer, CertificateParams::new(vec!["127.0.0.1".into()]).expect("a name"))
}

fn sign(issuer: &Authority, params: CertificateParams) -> Pair {
    let key = KeyPair::generate().expect("a key");
    let certificate = params.signed_by(&key, issuer).expect("a certificate");
    (vec![certificate.der().clone()], PrivateKeyDer::try_from(key.serialize_der()).expect("a key"))
}

fn roots(issuer: &Authority) -> Arc<RootCertStore> {
    let mut roots = RootCertStore::empty();
    roots.add(issuer.der().clone()).expect("a root");
    Arc::new(roots)
}

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

fn server_tls(issuer: &Authority) -> Arc<rustls::ServerConfig> {
    let verifier = WebPkiClientVerifier::builder_with_provider(roots(issuer), provider())
        .build()
        .expect("a verifier");
    let (chain, key) = issue(issuer);
    let config = rustls::ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain, key)
        .expect("a certificate");
    Arc::new(config)
}

fn client_tls(trusted: &Authority, issuer: &Authority) -> Arc<rustls::ClientConfig> {
    client_tls_of(trusted, issue(issuer))
}

fn client_tls_of(trusted: &Authority, (chain, key): Pair) -> Arc<rustls::ClientConfig> {
    let config = rustls::ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots(trusted))
        .with_client_auth_cert(chain, key)
        .expect("a certificate");
    Arc::new(config)
}
