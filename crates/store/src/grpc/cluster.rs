//! Cluster: one member.

use pb_etcd::etcdserverpb::{self as pb, cluster_server::Cluster};
use tonic::{Request, Response, Status};

use super::{Face, refusal};

#[tonic::async_trait]
impl Cluster for Face {
    async fn member_list(
        &self,
        request: Request<pb::MemberListRequest>,
    ) -> Result<Response<pb::MemberListResponse>, Status> {
        let handle = self.any_handle(&request)?;
        handle.check_known().await.map_err(refusal)?;
        let member = pb::Member {
            id: self.member.member_id,
            name: self.member.name.clone(),
            // Members of ours do not speak etcd's peer protocol.
            peer_ur_ls: Vec::new(),
            client_ur_ls: self.member.client_urls.clone(),
            is_learner: false,
        };
        let header = self.header(&handle, None);
        Ok(Response::new(pb::MemberListResponse { header, members: vec![member] }))
    }

    async fn member_add(
        &self,
        _: Request<pb::MemberAddRequest>,
    ) -> Result<Response<pb::MemberAddResponse>, Status> {
        Err(unchangeable())
    }

    async fn member_remove(
        &self,
        _: Request<pb::MemberRemoveRequest>,
    ) -> Result<Response<pb::MemberRemoveResponse>, Status> {
        Err(unchangeable())
    }

    async fn member_update(
        &self,
        _: Request<pb::MemberUpdateRequest>,
    ) -> Result<Response<pb::MemberUpdateResponse>, Status> {
        Err(unchangeable())
    }

    async fn member_promote(
        &self,
        _: Request<pb::MemberPromoteRequest>,
    ) -> Result<Response<pb::MemberPromoteResponse>, Status> {
        Err(unchangeable())
    }
}

fn unchangeable() -> Status {
    Status::unimplemented("polis: members are the stores that run, and change by starting them")
}
