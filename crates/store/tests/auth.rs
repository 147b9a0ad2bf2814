//! Users over real connections, and those who would like to be one.

mod common;
mod estate;

use std::{net::SocketAddr, sync::Arc};

use common::{PATIENCE, config, within};
use engine::Memory;
use kv_etcd::KEYSPACE_METADATA;
use pb_etcd::{
    authpb::{Permission, UserAddOptions},
    etcdserverpb::{
        self as pb, auth_client::AuthClient, cluster_client::ClusterClient, kv_client::KvClient,
        lease_client::LeaseClient, maintenance_client::MaintenanceClient,
        watch_client::WatchClient, watch_request::RequestUnion,
    },
};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rt::{Clock, clock::Hand, drain::Trigger};
use rustls::{
    RootCertStore,
    pki_types::{CertificateDer, PrivateKeyDer},
    server::WebPkiClientVerifier,
};
use store::{Config, Store};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    sync::mpsc,
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Request, Status, transport::Channel};

struct Served {
    address: SocketAddr,
    hand: Hand,
    trigger: Trigger,
    running: tokio::task::JoinHandle<()>,
}

async fn serve(config: Config) -> Served {
    serve_on(Memory::new(), config).await
}

async fn serve_on(engine: Memory, config: Config) -> Served {
    let (clock, hand) = Clock::manual();
    let config = Config { bcrypt_cost: config.bcrypt_cost.min(8), ..config };
    let store = Store::build_on(Arc::new(engine), config, clock).await.expect("built");
    let address = store.local_addr();
    let (trigger, drain) = rt::drain::channel();
    Served { address, hand, trigger, running: tokio::spawn(store.run(drain)) }
}

fn quick() -> Config {
    Config { bcrypt_cost: 4, ..config() }
}

/// Someone with a connection, and perhaps a token, in one keyspace.
#[derive(Clone)]
struct Client {
    channel: Channel,
    keyspace: &'static str,
    token: Option<String>,
}

impl Served {
    fn client(&self) -> Client {
        client_of(&format!("http://{}", self.address))
    }

    /// `app` may read and write `app/`.
    async fn guarded(&self) -> Guarded {
        let nobody = self.client();
        nobody.guard().await;
        let root = nobody.log_in("root", "root").await.expect("root");
        let app = nobody.log_in("app", "app").await.expect("app");
        Guarded { nobody, root, app }
    }
}

fn client_of(url: &str) -> Client {
    let endpoint = tonic::transport::Endpoint::from_shared(url.to_owned());
    let channel = endpoint.expect("an endpoint").connect_lazy();
    Client { channel, keyspace: "default", token: None }
}

struct Guarded {
    nobody: Client,
    root: Client,
    app: Client,
}

impl Client {
    fn in_keyspace(&self, keyspace: &'static str) -> Client {
        Client { keyspace, ..self.clone() }
    }

    fn with_token(&self, token: &str) -> Client {
        Client { token: Some(token.into()), ..self.clone() }
    }

    fn ask<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        let metadata = request.metadata_mut();
        metadata.insert(KEYSPACE_METADATA, self.keyspace.parse().expect("metadata"));
        if let Some(token) = &self.token {
            metadata.insert("token", token.parse().expect("metadata"));
        }
        request
    }

    fn auth(&self) -> AuthClient<Channel> {
        AuthClient::new(self.channel.clone())
    }

    async fn guard(&self) {
        for name in ["root", "app"] {
            self.add_user(name).await.expect("a user");
            let add = pb::AuthRoleAddRequest { name: name.into() };
            within(self.auth().role_add(self.ask(add))).await.expect("a role");
            self.grant(name, name).await.expect("granted");
        }
        self.permit("app/", "app0").await.expect("permitted");
        within(self.auth().auth_enable(self.ask(pb::AuthEnableRequest {}))).await.expect("enabled");
    }

    async fn add_user(&self, name: &str) -> Result<(), Status> {
        let (name, password) = (name.to_owned(), name.to_owned());
        let add = pb::AuthUserAddRequest { name, password, ..Default::default() };
        within(self.auth().user_add(self.ask(add))).await.map(drop)
    }

    async fn grant(&self, user: &str, role: &str) -> Result<(), Status> {
        let grant = pb::AuthUserGrantRoleRequest { user: user.into(), role: role.into() };
        within(self.auth().user_grant_role(self.ask(grant))).await.map(drop)
    }

    async fn permit(&self, from: &str, to: &str) -> Result<(), Status> {
        let (key, range_end) = (from.to_owned().into(), to.to_owned().into());
        let perm = Some(Permission { perm_type: 2, key, range_end });
        let grant = pb::AuthRoleGrantPermissionRequest { name: "app".into(), perm };
        within(self.auth().role_grant_permission(self.ask(grant))).await.map(drop)
    }

    async fn forbid(&self) {
        let revoke = pb::AuthUserRevokeRoleRequest { name: "app".into(), role: "app".into() };
        within(self.auth().user_revoke_role(self.ask(revoke))).await.expect("revoked");
    }

    async fn log_in(&self, name: &str, password: &str) -> Result<Client, Status> {
        let request = pb::AuthenticateRequest { name: name.into(), password: password.into() };
        let answer = within(self.auth().authenticate(self.ask(request))).await?;
        Ok(self.with_token(&answer.into_inner().token))
    }

    async fn put(&self, key: &str) -> Result<(), Status> {
        let (key, value) = (key.to_owned().into(), "v".into());
        let put = pb::PutRequest { key, value, ..Default::default() };
        within(KvClient::new(self.channel.clone()).put(self.ask(put))).await.map(drop)
    }

    async fn get(&self, key: &[u8], end: &[u8]) -> Result<usize, Status> {
        self.read(key, end, false).await
    }

    async fn read(&self, key: &[u8], end: &[u8], serializable: bool) -> Result<usize, Status> {
        let (key, range_end) = (key.to_vec().into(), end.to_vec().into());
        let range = pb::RangeRequest { key, range_end, serializable, ..Default::default() };
        let answer = within(KvClient::new(self.channel.clone()).range(self.ask(range))).await?;
        Ok(answer.into_inner().kvs.len())
    }

    async fn watch(&self, key: &[u8], end: &[u8]) -> Watching {
        let (requests, outgoing) = mpsc::channel(4);
        let (key, range_end) = (key.to_vec().into(), end.to_vec().into());
        let create = pb::WatchCreateRequest { key, range_end, ..Default::default() };
        let union = Some(RequestUnion::CreateRequest(create));
        requests.send(pb::WatchRequest { request_union: union }).await.expect("open");
        let stream = self.ask(ReceiverStream::new(outgoing));
        let answers = within(WatchClient::new(self.channel.clone()).watch(stream)).await;
        Watching { answers: answers.expect("a stream").into_inner(), _requests: requests }
    }
}

struct Watching {
    answers: tonic::Streaming<pb::WatchResponse>,
    _requests: mpsc::Sender<pb::WatchRequest>,
}

impl Watching {
    async fn next(&mut self) -> pb::WatchResponse {
        within(self.answers.message()).await.expect("the stream goes on").expect("an answer")
    }

    async fn refused(&mut self, expected: &str) {
        let answer = self.next().await;
        assert!(answer.canceled && answer.events.is_empty(), "{answer:?}");
        assert_eq!(answer.cancel_reason, expected);
    }
}

const DENIED: &str = "etcdserver: permission denied";
const NOBODY: &str = "etcdserver: user name is empty";
const VOID: &str = "etcdserver: invalid auth token";

#[track_caller]
fn refused<T: std::fmt::Debug>(answer: Result<T, Status>, code: Code, text: &str) {
    let status = answer.expect_err("it is refused");
    assert_eq!((status.code(), status.message()), (code, text));
}

#[track_caller]
fn denied<T: std::fmt::Debug>(answer: Result<T, Status>) {
    refused(answer, Code::PermissionDenied, DENIED);
}

#[track_caller]
fn void<T: std::fmt::Debug>(answer: Result<T, Status>) {
    refused(answer, Code::Unauthenticated, VOID);
}

// === tokens ===

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

// === what users may not do ===

#[tokio::test]
async fn only_root_manages_users_and_the_store() {
    let served = serve(quick()).await;
    let Guarded { nobody, app, root } = served.guarded().await;
    let name = || "app".to_owned();
    for (who, code, text) in
        [(&nobody, Code::InvalidArgument, NOBODY), (&app, Code::PermissionDenied, DENIED)]
    {
        let mut auth = who.auth();
        macro_rules! check {
            ($client:expr, $($method:ident($message:expr)),+ $(,)?) => {
                $(refused(within($client.$method(who.ask($message))).await, code, text);)+
            };
        }
        check!(
            auth,
            auth_enable(pb::AuthEnableRequest {}),
            auth_disable(pb::AuthDisableRequest {}),
            user_add(pb::AuthUserAddRequest {
                name: "new".into(),
                options: Some(UserAddOptions { no_password: true }),
                ..Default::default()
            }),
            user_list(pb::AuthUserListRequest {}),
            user_get(pb::AuthUserGetRequest { name: "root".into() }),
            user_delete(pb::AuthUserDeleteRequest { name: name() }),
            user_change_password(pb::AuthUserChangePasswordRequest {
                name: name(),
                password: "mine".into(),
                ..Default::default()
            }),
            user_grant_role(pb::AuthUserGrantRoleRequest { user: name(), role: "root".into() }),
            user_revoke_role(pb::AuthUserRevokeRoleRequest { name: name(), role: name() }),
            role_add(pb::AuthRoleAddRequest { name: "new".into() }),
            role_get(pb::AuthRoleGetRequest { role: "root".into() }),
            role_list(pb::AuthRoleListRequest {}),
            role_delete(pb::AuthRoleDeleteRequest { role: name() }),
            role_grant_permission(pb::AuthRoleGrantPermissionRequest {
                name: name(),
                perm: Some(Permission { perm_type: 2, key: "\0".into(), range_end: "\0".into() }),
            }),
            role_revoke_permission(pb::AuthRoleRevokePermissionRequest {
                role: name(),
                ..Default::default()
            }),
        );
        let mut maintenance = MaintenanceClient::new(who.channel.clone());
        check!(
            maintenance,
            hash(pb::HashRequest {}),
            hash_kv(pb::HashKvRequest::default()),
            defragment(pb::DefragmentRequest {}),
        );
    }
    let mut cluster = ClusterClient::new(served.client().channel);
    let members = || pb::MemberListRequest::default();
    refused(
        within(cluster.member_list(nobody.ask(members()))).await,
        Code::InvalidArgument,
        NOBODY,
    );
    within(cluster.member_list(app.ask(members()))).await.expect("a user may know");
    let status = within(app.auth().auth_status(nobody.ask(pb::AuthStatusRequest {}))).await;
    assert!(status.expect("no secret").into_inner().enabled);
    let me = pb::AuthUserGetRequest { name: name() };
    let roles = within(app.auth().user_get(app.ask(me))).await.expect("oneself").into_inner().roles;
    assert_eq!(roles, ["app"]);
    root.add_user("new").await.expect("root may");
}

#[tokio::test]
async fn tricks_with_ranges_show_nothing() {
    let served = serve(quick()).await;
    let Guarded { app, root, .. } = served.guarded().await;
    for key in ["app/1", "secret"] {
        root.put(key).await.expect("root may");
    }
    assert_eq!(app.get(b"app/", b"app0").await.expect("its own"), 1);
    for (key, end) in [
        (&b"\0"[..], &b"\0"[..]),
        (b"app/", b"\0"),
        (b"app/", b"app0\0"),
        (b"app/", b"zzz"),
        (b"app", b"app0"),
        (b"secret", b""),
        (b"secret", b"secret\0"),
        (b"z", b"a"),
        (b"\0", b"app/"),
    ] {
        denied(app.get(key, end).await);
        let reason = "rpc error: code = PermissionDenied desc = etcdserver: permission denied";
        if key < end || end == b"\0" || end.is_empty() {
            app.watch(key, end).await.refused(reason).await;
        }
    }
    let empty = "etcdserver: key is not provided";
    for end in [&b""[..], b"\0", b"z"] {
        refused(app.get(b"", end).await, Code::InvalidArgument, empty);
    }
    // For a watch the empty key is the lowest one.
    let reason = "rpc error: code = PermissionDenied desc = etcdserver: permission denied";
    app.watch(b"", b"\0").await.refused(reason).await;
    app.watch(b"", b"").await.refused(reason).await;
    // In pages too.
    let range = pb::RangeRequest { key: "\0".into(), range_end: "\0".into(), ..Default::default() };
    let mut kv = KvClient::new(app.channel.clone());
    let stream = within(kv.range_stream(app.ask(range))).await;
    let first = match stream {
        Ok(stream) => within(stream.into_inner().message()).await.map(drop),
        Err(status) => Err(status),
    };
    denied(first);
}

#[tokio::test]
async fn a_watch_ends_with_its_right_and_tells_nothing_of_what_comes_after() {
    let served = serve(quick()).await;
    let Guarded { app, root, .. } = served.guarded().await;
    let mut watch = app.watch(b"app/", b"app0").await;
    assert!(watch.next().await.created);
    root.put("app/before").await.expect("root may");
    assert_eq!(watch.next().await.events.len(), 1);
    root.forbid().await;
    root.put("app/after").await.expect("root may");
    let reason = "rpc error: code = PermissionDenied desc = etcdserver: permission denied";
    watch.refused(reason).await;
    // It can be given back, and a password that changes takes it again.
    root.grant("app", "app").await.expect("granted");
    let mut watch = app.watch(b"app/", b"app0").await;
    assert!(watch.next().await.created);
    let (name, password) = ("app".into(), "new".into());
    let change = pb::AuthUserChangePasswordRequest { name, password, ..Default::default() };
    within(root.auth().user_change_password(root.ask(change))).await.expect("changed");
    root.put("app/after").await.expect("root may");
    let reason = "rpc error: code = Unauthenticated desc = etcdserver: invalid auth token";
    watch.refused(reason).await;
    void(app.put("app/1").await);
    let failed = "etcdserver: authentication failed, invalid user ID or password";
    refused(app.log_in("app", "app").await.map(drop), Code::InvalidArgument, failed);
    app.log_in("app", "new").await.expect("app").put("app/1").await.expect("its own");
}

#[tokio::test]
async fn a_lease_is_kept_alive_by_who_may_write_its_keys() {
    let served = serve(quick()).await;
    let Guarded { app, root, nobody } = served.guarded().await;
    let mut leases = LeaseClient::new(app.channel.clone());
    let grant = pb::LeaseGrantRequest { ttl: 100, id: 7 };
    refused(within(leases.lease_grant(nobody.ask(grant))).await, Code::InvalidArgument, NOBODY);
    within(leases.lease_grant(app.ask(grant))).await.expect("a lease");
    let put = |who: &Client, key: &str| {
        let (key, value) = (key.to_owned().into(), "v".into());
        who.ask(pb::PutRequest { key, value, lease: 7, ..Default::default() })
    };
    let mut kv = KvClient::new(app.channel.clone());
    within(kv.put(put(&app, "app/1"))).await.expect("its own");

    let (renewals, outgoing) = mpsc::channel(4);
    renewals.send(pb::LeaseKeepAliveRequest { id: 7 }).await.expect("open");
    let stream = within(leases.lease_keep_alive(app.ask(ReceiverStream::new(outgoing)))).await;
    let mut stream = stream.expect("a stream").into_inner();
    assert_eq!(within(stream.message()).await.expect("alive").expect("an answer").ttl, 100);
    // Root puts what the user may not write on it.
    within(kv.put(put(&root, "secret"))).await.expect("root may");
    renewals.send(pb::LeaseKeepAliveRequest { id: 7 }).await.expect("open");
    denied(within(stream.message()).await);
    denied(within(kv.put(put(&app, "app/2"))).await);
    let revoke = pb::LeaseRevokeRequest { id: 7 };
    denied(within(leases.lease_revoke(app.ask(revoke))).await);
    let info = pb::LeaseTimeToLiveRequest { id: 7, keys: true };
    denied(within(leases.lease_time_to_live(app.ask(info))).await);
    denied(within(leases.lease_leases(app.ask(pb::LeaseLeasesRequest {}))).await);
    within(leases.lease_revoke(root.ask(revoke))).await.expect("root may");
    assert_eq!(root.get(b"\0", b"\0").await.expect("root may"), 0);
}

#[tokio::test]
async fn names_and_passwords_are_bounded_and_who_is_unknown_costs_as_much() {
    let served = serve(quick()).await;
    let Guarded { nobody, root, .. } = served.guarded().await;
    let failed = "etcdserver: authentication failed, invalid user ID or password";
    let log_in = |name: &str, password: &str| {
        let (nobody, name, password) = (nobody.clone(), name.to_owned(), password.to_owned());
        async move { nobody.log_in(&name, &password).await.map(drop) }
    };
    for (name, password) in [
        ("", ""),
        ("root", ""),
        ("root", "wrong"),
        ("nobody", "nobody"),
        ("root\0", "root"),
        ("root", &"r".repeat(100_000)),
    ] {
        refused(log_in(name, password).await, Code::InvalidArgument, failed);
    }
    let long = pb::AuthUserAddRequest {
        name: "long".into(),
        password: "p".repeat(73),
        ..Default::default()
    };
    let text = "bcrypt: password length exceeds 72 bytes";
    refused(within(root.auth().user_add(root.ask(long))).await, Code::Unknown, text);
    let large = "etcdserver: request is too large";
    let long = pb::AuthUserAddRequest { name: "n".repeat(257), ..Default::default() };
    refused(within(root.auth().user_add(root.ask(long))).await, Code::InvalidArgument, large);
    let empty = "etcdserver: user name is empty";
    refused(root.add_user("").await, Code::InvalidArgument, empty);
    let key = "k".repeat(40_000);
    refused(root.permit(&key, "").await, Code::InvalidArgument, large);
    let never = pb::AuthRoleGrantPermissionRequest { name: "app".into(), perm: None };
    let none = "etcdserver: permission not given";
    refused(
        within(root.auth().role_grant_permission(root.ask(never))).await,
        Code::InvalidArgument,
        none,
    );
    refused(
        root.permit("", "\0").await,
        Code::InvalidArgument,
        "etcdserver: invalid auth management",
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_logins_is_cut_short_and_stops_nobody_else() {
    let served = serve(Config { bcrypt_cost: 8, ..config() }).await;
    let Guarded { nobody, app, .. } = served.guarded().await;
    let flood: Vec<_> = (0..300)
        .map(|n| {
            let nobody = nobody.clone();
            tokio::spawn(async move { nobody.log_in("app", &format!("{n}")).await.map(drop) })
        })
        .collect();
    let mut puts = 0;
    while !flood.iter().all(tokio::task::JoinHandle::is_finished) {
        app.put("app/1").await.expect("its own");
        puts += 1;
    }
    let mut refusals = 0;
    for login in flood {
        let status = login.await.expect("no panic").expect_err("it is wrong");
        refusals += usize::from(status.message() == "etcdserver: too many requests");
    }
    assert!(refusals > 0 && puts > 10, "{refusals} refused, {puts} puts meanwhile");
    nobody.log_in("app", "app").await.expect("it is over");
}

// === certificates ===

type Authority = CertifiedIssuer<'static, KeyPair>;
type Pair = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

fn authority() -> Authority {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("an authority")
}

fn issue(issuer: &Authority, common_name: &str) -> Pair {
    let mut params = CertificateParams::new(vec!["127.0.0.1".into()]).expect("a name");
    params.distinguished_name.push(DnType::CommonName, common_name);
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
    let verifier = WebPkiClientVerifier::builder_with_provider(roots(issuer), provider());
    let (chain, key) = issue(issuer, "store");
    let config = rustls::ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_client_cert_verifier(verifier.build().expect("a verifier"))
        .with_single_cert(chain, key)
        .expect("a certificate");
    Arc::new(config)
}

fn client_tls(issuer: &Authority, common_name: &str) -> Arc<rustls::ClientConfig> {
    let (chain, key) = issue(issuer, common_name);
    let config = rustls::ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots(issuer))
        .with_client_auth_cert(chain, key)
        .expect("a certificate");
    Arc::new(config)
}

#[tokio::test]
async fn a_certificate_is_the_user_it_names_but_not_through_the_gateway() {
    use kv::{Error, Kv as _, PutRequest};
    let ours = authority();
    let tls = Some(server_tls(&ours));
    let served = serve(Config { tls, insecure: false, ..quick() }).await;
    let https = format!("https://{}", served.address);
    let client = |name: &str| {
        let tls = Some(client_tls(&ours, name));
        kv_etcd::Client::connect(kv_etcd::Config::new(https.clone(), tls)).expect("a client")
    };
    let body = |name: &str| format!("{{\"name\":\"{name}\",\"password\":\"{name}\"}}");
    let root = client_tls(&ours, "root");
    let page = |tls: Arc<rustls::ClientConfig>, path: &'static str, body: String| {
        post(served.address, tls, path, "", body)
    };
    for (path, body) in [
        ("/v3/auth/user/add", body("root")),
        ("/v3/auth/user/add", body("app")),
        ("/v3/auth/role/add", "{\"name\":\"app\"}".into()),
        ("/v3/auth/user/grant", "{\"user\":\"root\",\"role\":\"root\"}".into()),
        ("/v3/auth/user/grant", "{\"user\":\"app\",\"role\":\"app\"}".into()),
        // app/ to app0
        (
            "/v3/auth/role/grant",
            "{\"name\":\"app\",\"perm\":{\"permType\":\"READWRITE\",\"key\":\"YXBwLw==\",\
             \"range_end\":\"YXBwMA==\"}}"
                .into(),
        ),
        ("/v3/auth/enable", "{}".into()),
    ] {
        let answer = page(root.clone(), path, body).await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{path}: {answer}");
    }
    for (name, key, expected) in [
        ("app", "app/1", Ok(())),
        ("app", "secret", Err(Error::PermissionDenied)),
        ("root", "secret", Ok(())),
        ("stranger", "app/1", Err(Error::PermissionDenied)),
        ("", "app/1", Err(kv::AuthError::UserEmpty.into())),
    ] {
        let kv = client(name).keyspace("default").expect("a keyspace");
        let put = within(kv.put(PutRequest::new(key, "v"))).await.map(drop);
        assert_eq!(put, expected, "{name}");
    }
    // secret
    let range = || "{\"key\":\"c2VjcmV0\"}".to_owned();
    let answer = page(root.clone(), "/v3/kv/range", range()).await;
    assert!(answer.contains("user name is empty"), "{answer}");
    let answer = page(root.clone(), "/v3/auth/authenticate", body("root")).await;
    let token = answer.split("\"token\":\"").nth(1).and_then(|rest| rest.split('"').next());
    let token = format!("Authorization: {}\r\n", token.expect("a token"));
    let answer = post(served.address, root, "/v3/kv/range", &token, range()).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

async fn post(
    address: SocketAddr,
    tls: Arc<rustls::ClientConfig>,
    path: &str,
    headers: &str,
    body: String,
) -> String {
    let tcp = TcpStream::connect(address).await.expect("connected");
    let name = "127.0.0.1".try_into().expect("a name");
    let mut tls = tokio_rustls::TlsConnector::from(tls).connect(name, tcp).await.expect("agreed");
    let request = format!(
        "POST {path} HTTP/1.1\r\nHost: store\r\nConnection: close\r\n{headers}\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    tls.write_all(request.as_bytes()).await.expect("sent");
    let mut answer = Vec::new();
    // A server that is done may close without a word.
    let _ = within(tls.read_to_end(&mut answer)).await;
    String::from_utf8_lossy(&answer).into_owned()
}
