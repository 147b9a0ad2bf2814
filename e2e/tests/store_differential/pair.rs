//! A real etcd and a store of ours, asked the same and compared field by field.
//!
//! Left out of the comparison is what names the server (its ids, its term) and
//! what depends on the moment (seconds left of a lease).

use std::{fmt::Debug, net::SocketAddr, time::Duration};

use e2e::{Etcd, Running, Scratch, free_base_port};
use pb_etcd::etcdserverpb::{
    self as pb, kv_client::KvClient, lease_client::LeaseClient,
    maintenance_client::MaintenanceClient, response_op::Response as OpResponse,
    watch_client::WatchClient,
};
use pb_etcd::mvccpb::KeyValue;
use tonic::{
    Code, Status,
    transport::{Channel, Endpoint},
};

const LIMIT: Duration = Duration::from_secs(120);

/// One server.
#[derive(Clone)]
pub struct Side {
    kv: KvClient<Channel>,
    lease: LeaseClient<Channel>,
    maintenance: MaintenanceClient<Channel>,
    pub watch: WatchClient<Channel>,
}

/// Both of them, for as long as they run.
pub struct Pair {
    pub ours: Side,
    pub theirs: Side,
    /// Of several faults in one transaction etcd 3.5 names another one first.
    names_faults_as_we_do: bool,
    _etcd: Etcd,
    _store: Running,
    _data: Scratch,
}

#[derive(Clone, Debug)]
pub enum Call {
    Range(pb::RangeRequest),
    Stream(pb::RangeRequest),
    Put(pb::PutRequest),
    Delete(pb::DeleteRangeRequest),
    Txn(pb::TxnRequest),
    Compact(pb::CompactionRequest),
    Grant(pb::LeaseGrantRequest),
    Revoke(pb::LeaseRevokeRequest),
    TimeToLive(pb::LeaseTimeToLiveRequest),
    KeepAlive(pb::LeaseKeepAliveRequest),
    Leases,
}

/// What can be compared of an answer, and the revision that it tells.
pub type Answer = (Result<String, (Code, String)>, i64);

// === impl Pair ===

impl Pair {
    pub async fn start(name: &str) -> Pair {
        let etcd = Etcd::start(&format!("{name}-etcd"));
        let data = Scratch::new(name);
        let address = SocketAddr::from(([127, 0, 0, 1], free_base_port()));
        let mut store = Running::start(&[
            "store",
            "--data-dir",
            &data.join("data").display().to_string(),
            "--listen-client-urls",
            &format!("http://{address}"),
            "--insecure",
        ]);
        store.wait_for_line("store serves", LIMIT);
        let (ours, theirs) = (Side::connect(address).await, Side::connect(etcd.address).await);
        let status = theirs.maintenance.clone().status(pb::StatusRequest {}).await;
        let version = status.expect("its version").into_inner().version;
        let names_faults_as_we_do = !version.starts_with("3.5.");
        Pair { ours, theirs, names_faults_as_we_do, _etcd: etcd, _store: store, _data: data }
    }

    /// Asks both and returns the revision, if they agree.
    pub async fn agree(&self, call: &Call, history: &[Call]) -> i64 {
        let (ours, mut theirs) = tokio::join!(self.ours.ask(call), self.theirs.ask(call));
        if let (Call::Stream(request), true) = (call, is_unserved(&theirs)) {
            // Then it must be what their Range is.
            theirs = match &ours.0 {
                Err((Code::Unimplemented, _)) => ours.clone(),
                _ => self.theirs.ask(&Call::Range(request.clone())).await,
            };
        }
        if !self.names_faults_as_we_do
            && matches!((call, &ours.0, &theirs.0), (Call::Txn(_), Err(_), Err(_)))
        {
            return 0;
        }
        if ours != theirs {
            let tail = history.len().saturating_sub(12);
            let before: Vec<_> = history[tail..].iter().map(|call| format!("{call:?}")).collect();
            panic!(
                "request {}\nours   {:?} at {}\ntheirs {:?} at {}\nto {call:?}\nafter\n  {}",
                history.len() + 1,
                ours.0,
                ours.1,
                theirs.0,
                theirs.1,
                before.join("\n  "),
            );
        }
        ours.1
    }
}

// === impl Side ===

impl Side {
    async fn connect(address: SocketAddr) -> Side {
        let endpoint = Endpoint::from_shared(format!("http://{address}")).expect("a URL");
        let channel = endpoint.connect().await.expect("connected");
        const LARGE: usize = 64 * 1024 * 1024;
        Side {
            kv: KvClient::new(channel.clone()).max_decoding_message_size(LARGE),
            lease: LeaseClient::new(channel.clone()),
            maintenance: MaintenanceClient::new(channel.clone()),
            watch: WatchClient::new(channel).max_decoding_message_size(LARGE),
        }
    }

    async fn ask(&self, call: &Call) -> Answer {
        let (mut kv, mut lease) = (self.kv.clone(), self.lease.clone());
        match call.clone() {
            Call::Range(request) => {
                let by_key = request.sort_order == 0 || request.sort_target == 0;
                answer(kv.range(request).await, |m| {
                    m.kvs.iter_mut().for_each(leaseless);
                    if !by_key {
                        without_ties(m);
                    }
                    &mut m.header
                })
            }
            Call::Stream(request) => {
                let merged = merged(&mut kv, request).await.map(tonic::Response::new);
                answer(merged, |m| {
                    m.kvs.iter_mut().for_each(leaseless);
                    &mut m.header
                })
            }
            Call::Put(request) => answer(kv.put(request).await, |m| &mut m.header),
            Call::Delete(request) => answer(kv.delete_range(request).await, |m| &mut m.header),
            Call::Txn(request) => answer(kv.txn(request).await, |m| {
                m.responses.iter_mut().for_each(anonymous);
                &mut m.header
            }),
            Call::Compact(request) => answer(kv.compact(request).await, |m| &mut m.header),
            Call::Grant(request) => answer(lease.lease_grant(request).await, |m| &mut m.header),
            Call::Revoke(request) => answer(lease.lease_revoke(request).await, |m| &mut m.header),
            Call::TimeToLive(request) => answer(lease.lease_time_to_live(request).await, |m| {
                m.keys.sort();
                // However slow the machine is.
                if (1..=m.granted_ttl).contains(&m.ttl) {
                    m.ttl = m.granted_ttl;
                }
                &mut m.header
            }),
            Call::KeepAlive(request) => {
                let requests = tokio_stream::iter([request]);
                let first = match lease.lease_keep_alive(requests).await {
                    Ok(answers) => answers.into_inner().message().await,
                    Err(status) => Err(status),
                };
                let first = first.map(|first| tonic::Response::new(first.expect("an answer")));
                answer(first, |m| &mut m.header)
            }
            Call::Leases => answer(lease.lease_leases(pb::LeaseLeasesRequest {}).await, |m| {
                m.leases.sort_by_key(|lease| lease.id);
                &mut m.header
            }),
        }
    }
}

/// The chunks of a stream put together as protobuf merges messages.
async fn merged(
    kv: &mut KvClient<Channel>,
    request: pb::RangeRequest,
) -> Result<pb::RangeResponse, Status> {
    let mut chunks = kv.range_stream(request).await?.into_inner();
    let mut whole = pb::RangeResponse::default();
    while let Some(chunk) = chunks.message().await? {
        let chunk = chunk.range_response.expect("a chunk has a response");
        assert!(whole.header.is_none(), "only the last chunk has a header");
        whole.kvs.extend(chunk.kvs);
        whole.header = chunk.header;
        whole.more |= chunk.more;
        whole.count += chunk.count;
    }
    Ok(whole)
}

/// A release of etcd that has no such method.
fn is_unserved(answer: &Answer) -> bool {
    matches!(&answer.0, Err((Code::Unimplemented, text)) if text.contains("unknown method"))
}

fn answer<M: Debug>(
    answered: Result<tonic::Response<M>, Status>,
    header: impl FnOnce(&mut M) -> &mut Option<pb::ResponseHeader>,
) -> Answer {
    match answered {
        Ok(response) => {
            let mut message = response.into_inner();
            let header = header(&mut message);
            let revision = header.as_ref().map_or(0, |header| header.revision);
            *header = header.map(faceless);
            (Ok(format!("{message:?}")), revision)
        }
        Err(status) => (Err((status.code(), status.message().to_owned())), 0),
    }
}

pub fn faceless(header: pb::ResponseHeader) -> pb::ResponseHeader {
    pb::ResponseHeader { revision: header.revision, ..Default::default() }
}

/// etcd 3.8 tells no leases when only keys were asked for, 3.5 does.
fn leaseless(kv: &mut KeyValue) {
    if kv.value.is_empty() {
        kv.lease = 0;
    }
}

fn anonymous(response: &mut pb::ResponseOp) {
    if let Some(OpResponse::ResponseRange(range)) = &mut response.response {
        range.kvs.iter_mut().for_each(leaseless);
        without_ties(range);
    }
    if let Some(OpResponse::ResponseTxn(nested)) = &mut response.response {
        nested.header = nested.header.map(faceless);
        nested.responses.iter_mut().for_each(anonymous);
    }
}

/// What is equal in what it is sorted by comes in any order from an etcd 3.5
/// that has more than six to sort: built with a Go of that time, whose sort
/// moves them about. Then which keys there are is compared; where a limit has
/// cut some away, how many.
fn without_ties(range: &mut pb::RangeResponse) {
    const STABLE_MAX: i64 = 6;
    if range.count <= STABLE_MAX {
        return;
    }
    match range.more {
        true => range.kvs.iter_mut().for_each(|kv| *kv = KeyValue::default()),
        false => range.kvs.sort_by(|a, b| a.key.cmp(&b.key)),
    }
}
