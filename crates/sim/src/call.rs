//! What clients ask of a replica: of its keyspace, as who lives in the same
//! process, or of its gRPC face, which passes on what only the leader answers.

use std::time::Duration;

use bytes::{BufMut as _, Bytes, BytesMut};
use checker::history::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use kv::{Error, Kv, LeaseId, Revision};
use kv_etcd::{range, status, txn};
use pb_etcd::etcdserverpb as pb;
use prost::Message;
use store::Entrance;
use tonic::{Code, Status, body::Body};

use crate::{convert, replica::Reached};

/// gRPC's prefix of a message: a flag and a length.
const PREFIX_BYTES: usize = 5;

/// Asks the keyspace itself.
pub async fn inside(kv: &dyn Kv, request: &Request) -> Result<Response, Error> {
    Ok(match request {
        Request::Range(range) => {
            let ranged = kv.range(convert::range(range)).await?;
            Response::Range(convert::ranged(&ranged))
        }
        Request::Txn(txn) => Response::Txn(convert::answer(&kv.txn(convert::txn(txn)).await?)),
        Request::Compact { revision } => {
            let Revision(revision) = kv.compact(Revision(*revision)).await?;
            Response::Compacted { revision }
        }
        Request::Grant { lease, ttl_ms } => {
            let ttl = Duration::from_millis(*ttl_ms);
            let granted = kv.lease_grant(Some(LeaseId(*lease)), ttl).await?;
            Response::Lease { ttl_ms: granted.ttl.as_millis() as u64 }
        }
        Request::Revoke { lease } => {
            kv.lease_revoke(LeaseId(*lease)).await?;
            Response::Revoked
        }
        Request::KeepAlive { lease } => {
            let ttl = kv.lease_keep_alive(LeaseId(*lease)).await?;
            Response::Lease { ttl_ms: ttl.as_millis() as u64 }
        }
    })
}

/// Asks by gRPC, on the replica's machine. Renewals are a stream, and are asked
/// for inside.
pub async fn by_face(reached: Reached, request: Request) -> Result<Response, Error> {
    let Some(entrance) = reached.entrance else { return Err(Error::NotLeader) };
    let kv = reached.kv;
    let asked = reached.machine.spawn(async move {
        match &request {
            Request::KeepAlive { .. } => inside(&*kv, &request).await,
            _ => ask(&entrance, &request).await,
        }
    });
    asked.await.unwrap_or_else(|_| Err(Error::Unknown("the replica is gone".into())))
}

async fn ask(face: &Entrance, request: &Request) -> Result<Response, Error> {
    Ok(match request {
        Request::Range(asked) => {
            let wire = range::request_to_wire(&convert::range(asked));
            let answer: pb::RangeResponse = call(face, "/etcdserverpb.KV/Range", &wire).await?;
            Response::Range(convert::ranged(&range::response_from_wire(&answer)))
        }
        Request::Txn(asked) => {
            let wire = txn::request_to_wire(&convert::txn(asked));
            let answer: pb::TxnResponse = call(face, "/etcdserverpb.KV/Txn", &wire).await?;
            Response::Txn(convert::answer(&txn::response_from_wire(&answer)?))
        }
        Request::Compact { revision } => {
            let wire = pb::CompactionRequest { revision: *revision as i64, physical: false };
            let path = "/etcdserverpb.KV/Compact";
            let answer: pb::CompactionResponse = call(face, path, &wire).await?;
            let Revision(revision) = range::header_revision(answer.header.as_ref());
            Response::Compacted { revision }
        }
        Request::Grant { lease, ttl_ms } => {
            let wire = pb::LeaseGrantRequest { id: *lease, ttl: (ttl_ms / 1_000) as i64 };
            let path = "/etcdserverpb.Lease/LeaseGrant";
            let answer: pb::LeaseGrantResponse = call(face, path, &wire).await?;
            Response::Lease { ttl_ms: answer.ttl as u64 * 1_000 }
        }
        Request::Revoke { lease } => {
            let wire = pb::LeaseRevokeRequest { id: *lease };
            let path = "/etcdserverpb.Lease/LeaseRevoke";
            let _revoked: pb::LeaseRevokeResponse = call(face, path, &wire).await?;
            Response::Revoked
        }
        Request::KeepAlive { .. } => unreachable!("it is asked for inside"),
    })
}

async fn call<A: Message + Default>(
    face: &Entrance,
    path: &'static str,
    question: &impl Message,
) -> Result<A, Error> {
    let mut body = BytesMut::new();
    body.put_u8(0);
    body.put_u32(u32::try_from(question.encoded_len()).expect("questions are short"));
    question.encode(&mut body).expect("there is room");
    let request = http::Request::post(path)
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(Body::new(Full::new(body.freeze())))
        .expect("a path and two headers make a request");
    let (head, body) = face.call(request).await.into_parts();
    let refused = |headers: &http::HeaderMap| {
        let status = Status::from_header_map(headers)?;
        (status.code() != Code::Ok).then(|| status::from_status(&status))
    };
    if let Some(error) = refused(&head.headers) {
        return Err(error);
    }
    let body = body.collect().await.map_err(|status| status::from_status(&status))?;
    if let Some(error) = body.trailers().and_then(refused) {
        return Err(error);
    }
    let bytes: Bytes = body.to_bytes();
    let message = bytes.slice(PREFIX_BYTES.min(bytes.len())..);
    A::decode(message).map_err(|error| Error::Unknown(error.to_string()))
}
