//! Election: Campaign, Proclaim, Leader, Observe, Resign.

use std::sync::Arc;

use kv::{Error, Revision};
use kv_etcd::{
    range::{key_value_to_wire, revision_from_wire},
    to_i64,
};
use pb_etcd::v3electionpb::{
    CampaignRequest, CampaignResponse, LeaderKey, LeaderRequest, LeaderResponse, ProclaimRequest,
    ProclaimResponse, ResignRequest, ResignResponse, election_server::Election,
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use super::{Face, lock::lost, refusal};
use crate::{Handle, contest, election};

/// Leaders between the one who watches them and the connection's task.
const LEADERS_MAX: usize = 4;

#[tonic::async_trait]
impl Election for Face {
    async fn campaign(
        &self,
        request: Request<CampaignRequest>,
    ) -> Result<Response<CampaignResponse>, Status> {
        let handle = self.handle(&request)?;
        let CampaignRequest { name, lease, value } = request.into_inner();
        let office = tokio::select! {
            office = election::campaign(Arc::new(handle.clone()), &name, lease, value) => {
                office.map_err(lost)?
            }
            () = self.drain.started() => return Err(refusal(Error::NotLeader)),
        };
        let leader = LeaderKey {
            name,
            key: office.key,
            rev: to_i64(office.created.0),
            lease: office.lease.0,
        };
        let header = self.header(&handle, Some(office.revision));
        Ok(Response::new(CampaignResponse { header, leader: Some(leader) }))
    }

    async fn proclaim(
        &self,
        request: Request<ProclaimRequest>,
    ) -> Result<Response<ProclaimResponse>, Status> {
        let handle = self.handle(&request)?;
        let ProclaimRequest { leader, value } = request.into_inner();
        let leader = leader.ok_or_else(no_leader_given)?;
        let lease = contest::lease(&handle, leader.lease).await.map_err(lost)?;
        let created = revision_from_wire(leader.rev);
        let revision = election::proclaim(&handle, leader.key, created, lease, value).await;
        let header = self.header(&handle, Some(revision.map_err(lost)?));
        Ok(Response::new(ProclaimResponse { header }))
    }

    async fn leader(
        &self,
        request: Request<LeaderRequest>,
    ) -> Result<Response<LeaderResponse>, Status> {
        let handle = self.handle(&request)?;
        let name = &request.get_ref().name;
        let leader = election::leader(Arc::new(handle.clone()), name).await.map_err(lost)?;
        Ok(Response::new(self.elected(&handle, leader)))
    }

    type ObserveStream = ReceiverStream<Result<LeaderResponse, Status>>;

    async fn observe(
        &self,
        request: Request<LeaderRequest>,
    ) -> Result<Response<Self::ObserveStream>, Status> {
        let handle = self.handle(&request)?;
        let (answers, outgoing) = mpsc::channel(LEADERS_MAX);
        let task = self.clone().tell_leaders(handle, request.into_inner(), answers);
        rt::spawn(rt::TaskKind::Connection, "observed election", task);
        Ok(Response::new(ReceiverStream::new(outgoing)))
    }

    async fn resign(
        &self,
        request: Request<ResignRequest>,
    ) -> Result<Response<ResignResponse>, Status> {
        let handle = self.handle(&request)?;
        let leader = request.into_inner().leader.ok_or_else(no_leader_given)?;
        let created = revision_from_wire(leader.rev);
        let revision = election::resign(&handle, leader.key, created).await.map_err(lost)?;
        Ok(Response::new(ResignResponse { header: self.header(&handle, Some(revision)) }))
    }
}

impl Face {
    async fn tell_leaders(
        self,
        handle: Handle,
        request: LeaderRequest,
        answers: mpsc::Sender<Result<LeaderResponse, Status>>,
    ) {
        let (leaders, mut elected) = mpsc::channel(LEADERS_MAX);
        let watching = election::observe(Arc::new(handle.clone()), &request.name, &leaders);
        tokio::pin!(watching);
        loop {
            let answer = tokio::select! {
                Some(leader) = elected.recv() => {
                    leader.map(|leader| self.elected(&handle, leader)).map_err(lost)
                }
                Err(error) = &mut watching => Err(lost(error)),
                () = self.drain.started() => Err(refusal(Error::NotLeader)),
                () = answers.closed() => return,
            };
            let is_over = answer.is_err();
            if answers.send(answer).await.is_err() || is_over {
                return;
            }
        }
    }

    fn elected(&self, handle: &Handle, (revision, kv): election::Leader) -> LeaderResponse {
        let header = self.header(handle, Some(revision.max(Revision::FIRST)));
        LeaderResponse { header, kv: Some(key_value_to_wire(kv)) }
    }
}

fn no_leader_given() -> Status {
    Status::unknown("\"leader\" field must be provided")
}
