//! Requests that only a keyspace's leader can answer, sent to where it is.
//!
//! Passed on as they came, headers and messages, once the caller's own grant
//! has been checked here: replicas trust each other with every keyspace. A
//! request travels one hop; whoever is asked that way and does not lead says
//! so, which is as good as saying that nothing was done. Then, and when a
//! request certainly did not leave this process, the next leader is asked
//! instead; a change of leader costs its callers time and no failures. What
//! was sent and not answered stays unknown, except that reads may be asked for
//! twice.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderValue, Request, Response, request::Parts};
use http_body_util::Full;
use kv::{Error, KeyspaceName};
use kv_etcd::{KEYSPACE_METADATA, status};
use pb_etcd::etcdserverpb as pb;
use prost::Message as _;
use tokio::{sync::watch, time::Instant};
use tonic::{Status, body::Body};

use crate::{
    Handle,
    access::Grant,
    metrics::Method,
    replica::{Lead, Peer, Replicas, Situation},
    transport::{Road, Transport},
};

/// Marks a request that was passed on, and says for whom: the name in the
/// certificate that the follower was shown, in hexadecimal, or [`NOBODY`].
pub(crate) const HOP: &str = "polis-forwarded";
pub(crate) const NOBODY: &str = "-";

/// How long a request waits for a leader: through an ordinary takeover, and
/// within what clients of etcd wait for an answer.
const LEADER_WAIT: Duration = Duration::from_secs(4);

/// Looks at where the leader is, while there is none.
const RETRY_EVERY: Duration = Duration::from_millis(25);

/// What a leader that was replaced has still sent arrives within this.
const LATE_ANSWER: Duration = Duration::from_millis(200);

/// etcd's allowance for what surrounds a largest request.
pub(crate) const SURROUNDING_BYTES: usize = 512 * 1024;

/// What gRPC puts before a message: a flag and four bytes of length.
const PREFIX_BYTES: usize = 5;

pub(crate) struct Forward {
    replicas: Replicas,
    transport: Arc<dyn Transport>,
    /// Of a request with one message, with what gRPC puts before it.
    body_bytes_max: usize,
}

/// The way of one request to whoever leads its keyspace.
pub(crate) struct Way<'a> {
    forward: &'a Forward,
    handle: Handle,
    situation: watch::Receiver<Situation>,
    deadline: Instant,
}

pub(crate) enum Place {
    Here,
    There(Arc<Peer>),
    Nobody,
}

/// What became of a request that was passed on.
pub(crate) enum Sent {
    Answered(Response<Body>),
    /// It certainly did not arrive.
    Never(Error),
    Unknown,
}

/// Whether a request goes to the leader, from what is known without reading it.
pub(crate) fn needs_leader(method: Method) -> bool {
    match (method.service(), method.name()) {
        ("etcdserverpb.Watch" | "etcdserverpb.Cluster" | "grpc.health.v1.Health", _) => false,
        ("etcdserverpb.Maintenance", name) => matches!(name, "Alarm" | "MoveLeader"),
        _ => true,
    }
}

/// A read that any replica may answer.
pub(crate) fn is_serializable(method: Method, body: &Bytes) -> bool {
    matches!((method.service(), method.name()), ("etcdserverpb.KV", "Range" | "RangeStream"))
        && body.first() == Some(&0)
        && pb::RangeRequest::decode(body.slice(PREFIX_BYTES.min(body.len())..))
            .is_ok_and(|request| request.serializable)
}

/// Asking twice does no harm.
pub(crate) fn is_idempotent(method: Method) -> bool {
    matches!(
        (method.service(), method.name()),
        ("etcdserverpb.KV", "Range" | "RangeStream")
            | ("etcdserverpb.Lease", "LeaseTimeToLive" | "LeaseLeases")
            | ("etcdserverpb.Maintenance", "MoveLeader")
    )
}

pub(crate) fn was_forwarded(head: &Parts) -> bool {
    head.headers.contains_key(HOP)
}

fn hop(common_name: Option<&str>) -> HeaderValue {
    let Some(name) = common_name else { return HeaderValue::from_static(NOBODY) };
    let digits: String = name.bytes().map(|byte| format!("{byte:02x}")).collect();
    HeaderValue::try_from(digits).expect("digits are ASCII")
}

/// For whom a replica passed a request on.
pub(crate) fn common_name(hop: &str) -> Option<String> {
    let digit = |digit: &u8| char::from(*digit).to_digit(16).and_then(|d| u8::try_from(d).ok());
    let pairs = hop.as_bytes().chunks(2);
    let bytes = pairs.map(|pair| Some(digit(pair.first()?)? << 4 | digit(pair.get(1)?)?));
    String::from_utf8(bytes.collect::<Option<_>>()?).ok().filter(|name| !name.is_empty())
}

/// Whose leader answers a request that names `keyspace`: alarms are the whole
/// store's, and kept in one place.
pub(crate) fn decider(method: Method, keyspace: KeyspaceName) -> KeyspaceName {
    match (method.service(), method.name()) {
        ("etcdserverpb.Maintenance", "Alarm") => KeyspaceName::default(),
        _ => keyspace,
    }
}

/// The keyspace that a request names, if it is one.
pub(crate) fn keyspace(head: &Parts) -> Option<KeyspaceName> {
    match head.headers.get(KEYSPACE_METADATA) {
        Some(name) => KeyspaceName::new(name.to_str().ok()?).ok(),
        None => Some(KeyspaceName::default()),
    }
}

/// A refusal that says that nothing was done.
pub(crate) fn is_refused(response: &Response<Body>) -> bool {
    Status::from_header_map(response.headers())
        .is_some_and(|refusal| status::from_status(&refusal) == Error::NotLeader)
}

fn address(peer: &Peer) -> Result<&str, Error> {
    let unreachable = || Error::Unreachable(format!("{}: no address on the board", peer.name));
    peer.urls.first().map(String::as_str).ok_or_else(unreachable)
}

// === impl Forward ===

impl Forward {
    /// `request_bytes` is the largest request that is served.
    pub fn new(replicas: Replicas, transport: Arc<dyn Transport>, request_bytes: usize) -> Forward {
        let body_bytes_max = request_bytes.saturating_add(SURROUNDING_BYTES + PREFIX_BYTES);
        Forward { replicas, transport, body_bytes_max }
    }

    /// What carries requests here, too.
    pub fn transport(&self) -> &dyn Transport {
        &*self.transport
    }

    pub fn way(&self, handle: Handle) -> Way<'_> {
        let situation = self.replicas.situation(handle.name());
        Way { forward: self, handle, situation, deadline: Instant::now() + LEADER_WAIT }
    }

    /// For who speaks gRPC to one of the others.
    pub fn road(&self, peer: &Peer) -> Result<Road, Error> {
        Ok(Road::new(self.transport.clone(), address(peer)?))
    }
}

// === impl Way ===

impl Way<'_> {
    pub fn body_bytes_max(&self) -> usize {
        self.forward.body_bytes_max
    }

    pub fn place(&self) -> Place {
        if self.handle.standing().is_leading() {
            return Place::Here;
        }
        let situation = self.situation.borrow();
        match &situation.lead {
            // To be refused for what it is.
            _ if situation.refusal.is_some() => Place::Here,
            Lead::Other(peer) => Place::There(peer.clone()),
            Lead::Nobody | Lead::Me | Lead::Silent { .. } => Place::Nobody,
        }
    }

    pub fn is_over(&self) -> bool {
        Instant::now() >= self.deadline
    }

    /// Until there may be another leader.
    pub async fn turn(&mut self) {
        let _interest = self.forward.replicas.interest();
        // An error is the end of the process's own view, and of the wait.
        let _ = tokio::time::timeout(RETRY_EVERY, self.situation.changed()).await;
    }

    /// A place, if there is one in time.
    pub async fn settled(&mut self) -> Place {
        loop {
            match self.place() {
                Place::Nobody if !self.is_over() => self.turn().await,
                place => return place,
            }
        }
    }

    pub async fn send(&mut self, peer: &Peer, mut head: Parts, body: Body) -> Sent {
        let url = match address(peer) {
            Ok(url) => url,
            Err(error) => return Sent::Never(error),
        };
        let grant = head.extensions.get::<Arc<Grant>>();
        let name = grant.and_then(|grant| grant.common_name.as_deref());
        head.headers.insert(HOP, hop(name));
        head.extensions.clear();
        let call = self.forward.transport.carry(url, Request::from_parts(head, body));
        let replaced = async {
            let leads = |situation: &Situation| match &situation.lead {
                Lead::Other(leader) => leader.id == peer.id,
                Lead::Nobody | Lead::Me | Lead::Silent { .. } => false,
            };
            let _ = self.situation.wait_for(|situation| !leads(situation)).await;
            tokio::time::sleep(LATE_ANSWER).await;
        };
        let answer = tokio::select! {
            answer = call => answer,
            () = replaced => return Sent::Unknown,
        };
        match answer {
            Ok(response) => Sent::Answered(response),
            Err(never @ Error::Unreachable(_)) => Sent::Never(never),
            Err(_) => Sent::Unknown,
        }
    }
}

/// A whole request, to be sent as often as it takes.
pub(crate) fn again(head: &Parts, body: &Bytes) -> (Parts, Body) {
    (head.clone(), Body::new(Full::new(body.clone())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_in_a_certificate_survives_the_hop() {
        for name in ["root", "Änne Müller", "a\nb"] {
            let hop = hop(Some(name));
            assert_eq!(common_name(hop.to_str().expect("digits")).as_deref(), Some(name));
        }
        let nobody = hop(None);
        for hop in [nobody.to_str().expect("ASCII"), "", "7", "zz", "ff"] {
            assert_eq!(common_name(hop), None, "{hop}");
        }
    }
}
