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
mod unary;
pub(crate) mod watch;
mod wire;

use std::sync::Arc;

use ::keyspace::auth::UserName;
use ::kv::{Error, KeyspaceName, Revision};
use kv_etcd::{KEYSPACE_METADATA, status, to_i64};
use pb_etcd::etcdserverpb as pb;
use rt::Drain;
use tonic::{Request, Status};

pub(crate) use unary::{Call, Caller};

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
        let name = named(metadata(request)).map_err(refusal)?.unwrap_or_default();
        self.open(request, &name)
    }

    /// For requests about the store as a whole, where the keyspace only lends
    /// its revision: open to all, unless they name a keyspace.
    fn any_handle<T>(&self, request: &Request<T>) -> Result<Handle, Status> {
        match named(metadata(request)).map_err(refusal)? {
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
        let grant = request.extensions().get::<Arc<Grant>>();
        Ok(handle.on_behalf_of(credential(metadata(request), grant.map(|grant| &**grant))))
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
fn credential<'a>(shown: impl Fn(&str) -> Option<&'a [u8]>, grant: Option<&Grant>) -> Credential {
    if let Some(token) = TOKEN_METADATA.iter().find_map(|name| shown(name)) {
        let text = visible(token);
        return Credential::token(text.strip_prefix("Bearer ").unwrap_or(text));
    }
    let name = match shown(forward::HOP).map(visible) {
        None => grant.and_then(|grant| grant.common_name.clone()),
        // The certificate shown here is the replica's.
        Some(hop) if grant.is_some_and(|grant| grant.is_replica) => forward::common_name(hop),
        Some(_) => None,
    };
    match name {
        Some(name) if shown(GATEWAY_METADATA).is_none() => {
            Credential::Certificate(UserName::new(&name))
        }
        _ => Credential::Nobody,
    }
}

fn named<'a>(shown: impl Fn(&str) -> Option<&'a [u8]>) -> Result<Option<KeyspaceName>, Error> {
    let name = shown(KEYSPACE_METADATA);
    name.map(|name| KeyspaceName::new(&String::from_utf8_lossy(name))).transpose()
}

/// As `http` reads a header's value: nothing, if it is no visible text.
fn visible(value: &[u8]) -> &str {
    let is_visible = value.iter().all(|byte| matches!(byte, b'\t' | b' '..=b'~'));
    if is_visible { std::str::from_utf8(value).unwrap_or_default() } else { "" }
}

fn metadata<'a, T>(request: &'a Request<T>) -> impl Fn(&str) -> Option<&'a [u8]> {
    |name| request.metadata().get(name).map(|value| value.as_encoded_bytes())
}

#[expect(clippy::needless_pass_by_value, reason = "reads as a function in map_err")]
fn refusal(error: Error) -> Status {
    status::to_status(&error)
}
