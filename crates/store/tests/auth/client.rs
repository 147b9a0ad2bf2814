//! A store, and those who ask it: nobody, root, and a user with some rights.

use std::{net::SocketAddr, sync::Arc};

use engine::Memory;
use kv_etcd::KEYSPACE_METADATA;
use pb_etcd::{
    authpb::Permission,
    etcdserverpb::{
        self as pb, auth_client::AuthClient, kv_client::KvClient, watch_client::WatchClient,
        watch_request::RequestUnion,
    },
};
use rt::{Clock, clock::Hand, drain::Trigger};
use store::{Config, Store};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Request, Status, transport::Channel};

use crate::common::{config, within};

pub struct Served {
    pub address: SocketAddr,
    pub hand: Hand,
    pub trigger: Trigger,
    pub running: tokio::task::JoinHandle<()>,
}

pub async fn serve(config: Config) -> Served {
    serve_on(Memory::new(), config).await
}

pub async fn serve_on(engine: Memory, config: Config) -> Served {
    let (clock, hand) = Clock::manual();
    let config = Config { bcrypt_cost: config.bcrypt_cost.min(8), ..config };
    let store = Store::build_on(Arc::new(engine), config, clock).await.expect("built");
    let address = store.local_addr();
    let (trigger, drain) = rt::drain::channel();
    Served { address, hand, trigger, running: tokio::spawn(store.run(drain)) }
}

pub fn quick() -> Config {
    Config { bcrypt_cost: 4, ..config() }
}

/// Someone with a connection, and perhaps a token, in one keyspace.
#[derive(Clone)]
pub struct Client {
    pub channel: Channel,
    pub keyspace: &'static str,
    pub token: Option<String>,
}

impl Served {
    pub fn client(&self) -> Client {
        client_of(&format!("http://{}", self.address))
    }

    /// `app` may read and write `app/`.
    pub async fn guarded(&self) -> Guarded {
        let nobody = self.client();
        nobody.guard().await;
        let root = nobody.log_in("root", "root").await.expect("root");
        let app = nobody.log_in("app", "app").await.expect("app");
        Guarded { nobody, root, app }
    }
}

pub fn client_of(url: &str) -> Client {
    let endpoint = tonic::transport::Endpoint::from_shared(url.to_owned());
    let channel = endpoint.expect("an endpoint").connect_lazy();
    Client { channel, keyspace: "default", token: None }
}

pub struct Guarded {
    pub nobody: Client,
    pub root: Client,
    pub app: Client,
}

impl Client {
    pub fn in_keyspace(&self, keyspace: &'static str) -> Client {
        Client { keyspace, ..self.clone() }
    }

    pub fn with_token(&self, token: &str) -> Client {
        Client { token: Some(token.into()), ..self.clone() }
    }

    pub fn ask<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        let metadata = request.metadata_mut();
        metadata.insert(KEYSPACE_METADATA, self.keyspace.parse().expect("metadata"));
        if let Some(token) = &self.token {
            metadata.insert("token", token.parse().expect("metadata"));
        }
        request
    }

    pub fn auth(&self) -> AuthClient<Channel> {
        AuthClient::new(self.channel.clone())
    }

    pub async fn guard(&self) {
        for name in ["root", "app"] {
            self.add_user(name).await.expect("a user");
            let add = pb::AuthRoleAddRequest { name: name.into() };
            within(self.auth().role_add(self.ask(add))).await.expect("a role");
            self.grant(name, name).await.expect("granted");
        }
        self.permit("app/", "app0").await.expect("permitted");
        within(self.auth().auth_enable(self.ask(pb::AuthEnableRequest {}))).await.expect("enabled");
    }

    pub async fn add_user(&self, name: &str) -> Result<(), Status> {
        let (name, password) = (name.to_owned(), name.to_owned());
        let add = pb::AuthUserAddRequest { name, password, ..Default::default() };
        within(self.auth().user_add(self.ask(add))).await.map(drop)
    }

    pub async fn grant(&self, user: &str, role: &str) -> Result<(), Status> {
        let grant = pb::AuthUserGrantRoleRequest { user: user.into(), role: role.into() };
        within(self.auth().user_grant_role(self.ask(grant))).await.map(drop)
    }

    pub async fn permit(&self, from: &str, to: &str) -> Result<(), Status> {
        let (key, range_end) = (from.to_owned().into(), to.to_owned().into());
        let perm = Some(Permission { perm_type: 2, key, range_end });
        let grant = pb::AuthRoleGrantPermissionRequest { name: "app".into(), perm };
        within(self.auth().role_grant_permission(self.ask(grant))).await.map(drop)
    }

    pub async fn forbid(&self) {
        let revoke = pb::AuthUserRevokeRoleRequest { name: "app".into(), role: "app".into() };
        within(self.auth().user_revoke_role(self.ask(revoke))).await.expect("revoked");
    }

    pub async fn log_in(&self, name: &str, password: &str) -> Result<Client, Status> {
        let request = pb::AuthenticateRequest { name: name.into(), password: password.into() };
        let answer = within(self.auth().authenticate(self.ask(request))).await?;
        Ok(self.with_token(&answer.into_inner().token))
    }

    pub async fn put(&self, key: &str) -> Result<(), Status> {
        let (key, value) = (key.to_owned().into(), "v".into());
        let put = pb::PutRequest { key, value, ..Default::default() };
        within(KvClient::new(self.channel.clone()).put(self.ask(put))).await.map(drop)
    }

    pub async fn get(&self, key: &[u8], end: &[u8]) -> Result<usize, Status> {
        self.read(key, end, false).await
    }

    pub async fn read(&self, key: &[u8], end: &[u8], serializable: bool) -> Result<usize, Status> {
        let (key, range_end) = (key.to_vec().into(), end.to_vec().into());
        let range = pb::RangeRequest { key, range_end, serializable, ..Default::default() };
        let answer = within(KvClient::new(self.channel.clone()).range(self.ask(range))).await?;
        Ok(answer.into_inner().kvs.len())
    }

    pub async fn watch(&self, key: &[u8], end: &[u8]) -> Watching {
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

pub struct Watching {
    answers: tonic::Streaming<pb::WatchResponse>,
    _requests: mpsc::Sender<pb::WatchRequest>,
}

impl Watching {
    pub async fn next(&mut self) -> pb::WatchResponse {
        within(self.answers.message()).await.expect("the stream goes on").expect("an answer")
    }

    pub async fn refused(&mut self, expected: &str) {
        let answer = self.next().await;
        assert!(answer.canceled && answer.events.is_empty(), "{answer:?}");
        assert_eq!(answer.cancel_reason, expected);
    }
}

pub const DENIED: &str = "etcdserver: permission denied";
pub const NOBODY: &str = "etcdserver: user name is empty";
pub const VOID: &str = "etcdserver: invalid auth token";

#[track_caller]
pub fn refused<T: std::fmt::Debug>(answer: Result<T, Status>, code: Code, text: &str) {
    let status = answer.expect_err("it is refused");
    assert_eq!((status.code(), status.message()), (code, text));
}

#[track_caller]
pub fn denied<T: std::fmt::Debug>(answer: Result<T, Status>) {
    refused(answer, Code::PermissionDenied, DENIED);
}

#[track_caller]
pub fn void<T: std::fmt::Debug>(answer: Result<T, Status>) {
    refused(answer, Code::Unauthenticated, VOID);
}
