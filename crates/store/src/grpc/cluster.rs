//! Cluster and Auth: one member, and certificates instead of passwords.

use pb_etcd::etcdserverpb::{self as pb, auth_server::Auth, cluster_server::Cluster};
use tonic::{Request, Response, Status};

use super::Face;

#[tonic::async_trait]
impl Cluster for Face {
    async fn member_list(
        &self,
        request: Request<pb::MemberListRequest>,
    ) -> Result<Response<pb::MemberListResponse>, Status> {
        let handle = self.any_handle(&request)?;
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
}

#[tonic::async_trait]
impl Auth for Face {
    async fn auth_status(
        &self,
        request: Request<pb::AuthStatusRequest>,
    ) -> Result<Response<pb::AuthStatusResponse>, Status> {
        let handle = self.any_handle(&request)?;
        let header = self.header(&handle, None);
        Ok(Response::new(pb::AuthStatusResponse { header, enabled: false, auth_revision: 1 }))
    }
}
