//! etcd's gRPC services. Each method parses, asks the keyspace that the
//! metadata names, and answers in etcd's words; no decision is made here.

mod auth;
mod cluster;
mod election;
mod health;
mod kv;
mod lease;
mod lock;
mod maintenance;
mod snapshot;
pub(crate) mod watch;
mod wire;

use std::sync::Arc;

use ::keyspace::auth::UserName;
use ::kv::{Error, KeyspaceName, Revision};
use kv_etcd::{KEYSPACE_METADATA, status, to_i64};
use pb_etcd::etcdserverpb as pb;
use rt::Drain;
use tonic::{Request, Status};

use crate::{
    Handle, Limits, access::Grant, credential::Credential, forward, keyspaces::Keyspaces,
    passwords::Passwords,
};

/// The release of etcd whose behaviour we offer: clients choose their ways by
/// it. From 3.5.13 on kube-apiserver serves consistent lists from its cache,
/// for which it asks for progress: an answer must never overtake an event, and
/// here none does. Nothing known turns on at 3.6 or 3.7: RangeStream, which is
/// served, is found out by asking for it. And a snapshot that says 3.5 is taken
/// by every etcd since.
pub(crate) const ETCD_VERSION: &str = "3.5.21";
/// Ours, and in etcd's words the release that we answer as.
pub const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), "\netcd Version: 3.5.21");
pub(crate) const ETCD_CLUSTER_VERSION: &str = "3.5.0";

/// Where a client shows its token: etcd's own, and what came through a gateway.
const TOKEN_METADATA: [&str; 2] = ["token", "authorization"];

/// Set by a gateway, on all that it passes on.
pub(crate) const GATEWAY_METADATA: &str = "grpcgateway-accept";

/// Every service; cheap to clone.
#[derive(Clone)]
pub(crate) struct Face {
    pub keyspaces: Arc<Keyspaces>,
    pub member: Arc<Member>,
    pub passwords: Arc<Passwords>,
    pub limits: Limits,
    /// Ends the streams that would not end by themselves.
    pub drain: Drain,
}

/// Who answers, as clients see it.
pub(crate) struct Member {
    pub cluster_id: u64,
    pub member_id: u64,
    pub name: String,
    pub client_urls: Vec<String>,
}

// === impl Face ===

impl Face {
    /// The keyspace that a request is about, if its caller may use it.
    fn handle<T>(&self, request: &Request<T>) -> Result<Handle, Status> {
        let name = named(request)?.unwrap_or_default();
        self.open(request, &name)
    }

    /// For requests about the store as a whole, where the keyspace only lends
    /// its revision: open to all, unless they name a keyspace.
    fn any_handle<T>(&self, request: &Request<T>) -> Result<Handle, Status> {
        match named(request)? {
            Some(name) => self.open(request, &name),
            None => self.get(request, &KeyspaceName::default()),
        }
    }

    /// Every replica that lives, with us.
    fn members(&self) -> Vec<pb::Member> {
        let member = |name: &str, urls: &[String]| pb::Member {
            id: self.member.id_of(name),
            name: name.to_owned(),
            // Members of ours do not speak etcd's peer protocol.
            peer_ur_ls: Vec::new(),
            client_ur_ls: urls.to_vec(),
            is_learner: false,
        };
        match self.keyspaces.replicas() {
            None => vec![member(&self.member.name, &self.member.client_urls)],
            Some(replicas) => {
                let alive = replicas.alive();
                alive.iter().map(|peer| member(&peer.name, &peer.urls)).collect()
            }
        }
    }

    /// Refuses before it looks, since looking makes a keyspace.
    fn open<T>(&self, request: &Request<T>, name: &KeyspaceName) -> Result<Handle, Status> {
        let grant = request.extensions().get::<Arc<Grant>>();
        match grant.is_some_and(|grant| grant.covers(name)) {
            true => self.get(request, name),
            false => Err(refusal(Error::PermissionDenied)),
        }
    }

    fn get<T>(&self, request: &Request<T>, name: &KeyspaceName) -> Result<Handle, Status> {
        let handle = self.keyspaces.get(name).map_err(refusal)?;
        Ok(handle.on_behalf_of(credential(request)))
    }

    /// The bound on one request; what is far beyond it never gets past the
    /// decoder.
    fn bounded(&self, message: &impl prost::Message) -> Result<(), Status> {
        match message.encoded_len() > self.limits.request_bytes {
            true => Err(refusal(Error::RequestTooLarge)),
            false => Ok(()),
        }
    }

    /// Where the keyspace stood at `revision`; now, if that is not given.
    fn header(&self, handle: &Handle, revision: Option<Revision>) -> Option<pb::ResponseHeader> {
        let standing = handle.standing();
        Some(pb::ResponseHeader {
            cluster_id: self.member.cluster_id,
            member_id: self.member.member_id,
            revision: to_i64(revision.unwrap_or_else(|| standing.revision()).0),
            raft_term: standing.epoch(),
        })
    }
}

/// As etcd: a token says more than a certificate, and a certificate nothing of
/// whom a gateway speaks for.
fn credential<T>(request: &Request<T>) -> Credential {
    let metadata = request.metadata();
    let shown = TOKEN_METADATA.iter().find_map(|name| metadata.get(*name));
    if let Some(token) = shown {
        let text = token.to_str().unwrap_or_default();
        return Credential::token(text.strip_prefix("Bearer ").unwrap_or(text));
    }
    let grant = request.extensions().get::<Arc<Grant>>();
    let hop = metadata.get(forward::HOP).map(|hop| hop.to_str().unwrap_or_default());
    let name = match hop {
        None => grant.and_then(|grant| grant.common_name.clone()),
        // The certificate shown here is the replica's.
        Some(hop) if grant.is_some_and(|grant| grant.is_replica) => forward::common_name(hop),
        Some(_) => None,
    };
    match name {
        Some(name) if !metadata.contains_key(GATEWAY_METADATA) => {
            Credential::Certificate(UserName::new(&name))
        }
        _ => Credential::Nobody,
    }
}

fn named<T>(request: &Request<T>) -> Result<Option<KeyspaceName>, Status> {
    let name = request.metadata().get(KEYSPACE_METADATA);
    name.map(|name| KeyspaceName::new(&String::from_utf8_lossy(name.as_bytes())).map_err(refusal))
        .transpose()
}

#[expect(clippy::needless_pass_by_value, reason = "reads as a function in map_err")]
fn refusal(error: Error) -> Status {
    status::to_status(&error)
}
