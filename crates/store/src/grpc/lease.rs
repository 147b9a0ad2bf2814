//! Lease: Grant, Revoke, KeepAlive, TimeToLive, Leases.

use std::{pin::Pin, time::Duration};

use futures::{Stream, StreamExt as _};
use kv::{Error, Kv as _, LeaseGranted, LeaseId};
use kv_etcd::{LEASE_REMAINING_METADATA, range::lease_from_wire, to_i64};
use pb_etcd::etcdserverpb::{self as pb, lease_server::Lease};
use tonic::{Request, Response, Status, Streaming};

use super::{Face, refusal};
use crate::Handle;

type KeepAlives = Pin<Box<dyn Stream<Item = Result<pb::LeaseKeepAliveResponse, Status>> + Send>>;

#[tonic::async_trait]
impl Lease for Face {
    async fn lease_grant(
        &self,
        request: Request<pb::LeaseGrantRequest>,
    ) -> Result<Response<pb::LeaseGrantResponse>, Status> {
        let handle = self.handle(&request)?;
        let remaining = remaining(&request)?;
        let pb::LeaseGrantRequest { ttl, id } = request.into_inner();
        // As etcd: a time to live below the least one becomes the least one.
        let ttl = Duration::from_secs(u64::try_from(ttl).unwrap_or(0));
        let granted = match (lease_from_wire(id), remaining) {
            (Some(id), Some(remaining)) => {
                handle.lease_carry(id, ttl, remaining).await.map(|()| LeaseGranted { id, ttl })
            }
            (id, _) => handle.lease_grant(id, ttl).await,
        };
        let granted = granted.map_err(refusal)?;
        Ok(Response::new(pb::LeaseGrantResponse {
            header: self.header(&handle, None),
            id: granted.id.0,
            ttl: whole_seconds(granted.ttl),
            error: String::new(),
        }))
    }

    async fn lease_revoke(
        &self,
        request: Request<pb::LeaseRevokeRequest>,
    ) -> Result<Response<pb::LeaseRevokeResponse>, Status> {
        let handle = self.handle(&request)?;
        handle.lease_revoke(LeaseId(request.get_ref().id)).await.map_err(refusal)?;
        Ok(Response::new(pb::LeaseRevokeResponse { header: self.header(&handle, None) }))
    }

    type LeaseKeepAliveStream = KeepAlives;

    async fn lease_keep_alive(
        &self,
        request: Request<Streaming<pb::LeaseKeepAliveRequest>>,
    ) -> Result<Response<KeepAlives>, Status> {
        let handle = self.handle(&request)?;
        let face = self.clone();
        let drain = self.drain.clone();
        let answers = request.into_inner().take_until(async move { drain.started().await }).then(
            move |request| {
                let (face, handle) = (face.clone(), handle.clone());
                async move { face.renew(&handle, request?).await }
            },
        );
        Ok(Response::new(Box::pin(answers)))
    }

    async fn lease_time_to_live(
        &self,
        request: Request<pb::LeaseTimeToLiveRequest>,
    ) -> Result<Response<pb::LeaseTimeToLiveResponse>, Status> {
        let handle = self.handle(&request)?;
        let pb::LeaseTimeToLiveRequest { id, keys } = *request.get_ref();
        let response = match handle.lease_info(LeaseId(id), keys).await {
            Ok(info) => pb::LeaseTimeToLiveResponse {
                header: self.header(&handle, None),
                id,
                ttl: whole_seconds(info.remaining),
                granted_ttl: whole_seconds(info.granted),
                keys: info.keys,
            },
            // As etcd: not an error, but a time that is up.
            Err(Error::LeaseNotFound) => pb::LeaseTimeToLiveResponse {
                header: self.header(&handle, None),
                id,
                ttl: -1,
                granted_ttl: 0,
                keys: Vec::new(),
            },
            Err(error) => return Err(refusal(error)),
        };
        Ok(Response::new(response))
    }

    async fn lease_leases(
        &self,
        request: Request<pb::LeaseLeasesRequest>,
    ) -> Result<Response<pb::LeaseLeasesResponse>, Status> {
        let handle = self.handle(&request)?;
        let leases = handle.leases().await.map_err(refusal)?;
        Ok(Response::new(pb::LeaseLeasesResponse {
            header: self.header(&handle, None),
            leases: leases.into_iter().map(|LeaseId(id)| pb::LeaseStatus { id }).collect(),
        }))
    }
}

impl Face {
    async fn renew(
        &self,
        handle: &Handle,
        pb::LeaseKeepAliveRequest { id }: pb::LeaseKeepAliveRequest,
    ) -> Result<pb::LeaseKeepAliveResponse, Status> {
        let ttl = match handle.lease_keep_alive(LeaseId(id)).await {
            Ok(ttl) => whole_seconds(ttl),
            // As etcd: the stream goes on, since it serves other leases too.
            Err(Error::LeaseNotFound) => 0,
            Err(error) => return Err(refusal(error)),
        };
        Ok(pb::LeaseKeepAliveResponse { header: self.header(handle, None), id, ttl })
    }
}

/// Of a lease that lives elsewhere, if it is one.
fn remaining<T>(request: &Request<T>) -> Result<Option<Duration>, Status> {
    let Some(left) = request.metadata().get(LEASE_REMAINING_METADATA) else { return Ok(None) };
    let ms = left.to_str().ok().and_then(|text| text.parse().ok());
    let wrong = || Status::invalid_argument("polis: what is left of a lease is in milliseconds");
    ms.map(Duration::from_millis).ok_or_else(wrong).map(Some)
}

/// As etcd: what is left of a second does not count.
fn whole_seconds(duration: Duration) -> i64 {
    to_i64(duration.as_secs())
}
