//! Maintenance: Status, Alarm, Defragment, Hash, HashKV, Snapshot.

use std::time::Duration;

use kv::{KeyspaceName, Revision};
use kv_etcd::to_i64;
use pb_etcd::etcdserverpb::{
    self as pb, AlarmType, alarm_request::AlarmAction, maintenance_server::Maintenance,
};
use tonic::{Request, Response, Status};

use super::{ETCD_CLUSTER_VERSION, ETCD_VERSION, Face, refusal, snapshot};
use crate::alarms::{Alarm, AlarmKind};

/// A lead that was given away is taken within a look or two.
const MOVE_TIMEOUT: Duration = Duration::from_secs(5);
const MOVE_LOOK_EVERY: Duration = Duration::from_millis(10);

#[tonic::async_trait]
impl Maintenance for Face {
    async fn alarm(
        &self,
        request: Request<pb::AlarmRequest>,
    ) -> Result<Response<pb::AlarmResponse>, Status> {
        let handle = self.any_handle(&request)?;
        let asks = request.get_ref().action == i32::from(AlarmAction::Get);
        let checked = if asks { handle.check_known().await } else { handle.check_admin().await };
        checked.map_err(refusal)?;
        let pb::AlarmRequest { action, member_id, alarm } = *request.get_ref();
        let kind = AlarmKind::from_wire(alarm);
        let named = kind.map(|kind| Alarm { kind, member_id });
        let alarms = self.keyspaces.alarms();
        let default = self.keyspaces.get(&KeyspaceName::default()).map_err(refusal)?.trusted();
        let answer: Vec<Alarm> = match (AlarmAction::try_from(action), named) {
            (Ok(AlarmAction::Activate | AlarmAction::Deactivate), None) => Vec::new(),
            (Ok(AlarmAction::Activate), Some(alarm)) => {
                alarms.keep(&default, alarm).await.map_err(refusal)?;
                vec![alarm]
            }
            (Ok(AlarmAction::Deactivate), Some(alarm)) => {
                let was = alarms.disarm(&default, alarm).await.map_err(refusal)?;
                was.then_some(alarm).into_iter().collect()
            }
            // As etcd: of all members unless one is named.
            _ => alarms
                .all()
                .into_iter()
                .filter(|found| kind.is_none_or(|kind| found.kind == kind))
                .filter(|found| member_id == 0 || found.member_id == member_id)
                .collect(),
        };
        let header = self.header(&handle, None);
        let alarms = answer.into_iter().map(to_wire).collect();
        Ok(Response::new(pb::AlarmResponse { header, alarms }))
    }

    async fn status(
        &self,
        request: Request<pb::StatusRequest>,
    ) -> Result<Response<pb::StatusResponse>, Status> {
        let handle = self.any_handle(&request)?;
        handle.check_known().await.map_err(refusal)?;
        // A question to the actor, so that a store that only seems alive does
        // not pass for healthy.
        handle.trusted().ping().await.map_err(refusal)?;
        let leader = self.keyspaces.leader(&handle);
        let standing = handle.standing();
        let size = to_i64(self.keyspaces.engine().metrics().disk_bytes);
        // A store that fills up is noticed also while nobody writes.
        self.keyspaces.quota().look();
        // As etcd's own text of an alarm.
        let named = |alarm: &pb::AlarmMember| {
            format!("memberID:{} alarm:{} ", alarm.member_id, alarm.alarm().as_str_name())
        };
        let errors = self.alarms().iter().map(named).collect();
        Ok(Response::new(pb::StatusResponse {
            header: self.header(&handle, None),
            version: ETCD_VERSION.into(),
            db_size: size,
            db_size_in_use: size,
            db_size_quota: to_i64(self.keyspaces.quota().limit_bytes()),
            leader: leader.map_or(0, |name| self.member.id_of(&name)),
            raft_index: standing.revision().0,
            raft_applied_index: standing.revision().0,
            raft_term: standing.epoch(),
            errors,
            is_learner: false,
            storage_version: ETCD_CLUSTER_VERSION.into(),
            downgrade_info: Some(pb::DowngradeInfo::default()),
        }))
    }

    /// Files are rewritten all along, but only as fast as others are written;
    /// this does all of it, for every keyspace. On a database that cannot be
    /// told to, that is said, since an answer would be taken for space.
    async fn defragment(
        &self,
        request: Request<pb::DefragmentRequest>,
    ) -> Result<Response<pb::DefragmentResponse>, Status> {
        let handle = self.any_handle(&request)?;
        handle.check_admin().await.map_err(refusal)?;
        self.keyspaces.quota().reclaim().await.map_err(|error| match error {
            engine::Error::ReclaimsByItself => Status::unimplemented(format!("polis: {error}")),
            error => {
                tracing::warn!(%error, "space not given back");
                Status::internal(format!("polis: space not given back: {error}"))
            }
        })?;
        Ok(Response::new(pb::DefragmentResponse { header: self.header(&handle, None) }))
    }

    /// Of every live key at the newest revision, as this process has them in
    /// memory. etcd's is of its whole file, and equal in no two clusters.
    async fn hash(
        &self,
        request: Request<pb::HashRequest>,
    ) -> Result<Response<pb::HashResponse>, Status> {
        let handle = self.handle(&request)?;
        handle.check_admin().await.map_err(refusal)?;
        let hash = handle.hash(None).await.map_err(refusal)?;
        let header = self.header(&handle, Some(hash.revision));
        Ok(Response::new(pb::HashResponse { header, hash: hash.hash }))
    }

    /// Of the durable history, as etcd computes it.
    async fn hash_kv(
        &self,
        request: Request<pb::HashKvRequest>,
    ) -> Result<Response<pb::HashKvResponse>, Status> {
        let handle = self.handle(&request)?;
        handle.check_admin().await.map_err(refusal)?;
        let revision = u64::try_from(request.get_ref().revision).unwrap_or(0);
        let asked = (revision > 0).then_some(Revision(revision));
        let hash = self.history_hash(&handle, asked).await?;
        Ok(Response::new(pb::HashKvResponse {
            header: self.header(&handle, None),
            hash: hash.hash,
            compact_revision: to_i64(hash.compacted.0),
            hash_revision: to_i64(hash.revision.0),
        }))
    }

    type SnapshotStream = snapshot::Pieces;

    async fn snapshot(
        &self,
        request: Request<pb::SnapshotRequest>,
    ) -> Result<Response<snapshot::Pieces>, Status> {
        let handle = self.handle(&request)?;
        handle.check_admin().await.map_err(refusal)?;
        Ok(Response::new(self.snapshot_of(&handle, &self.alarms())))
    }

    async fn move_leader(
        &self,
        request: Request<pb::MoveLeaderRequest>,
    ) -> Result<Response<pb::MoveLeaderResponse>, Status> {
        let handle = self.any_handle(&request)?;
        handle.check_admin().await.map_err(refusal)?;
        let target = request.get_ref().target_id;
        let members = self.members();
        let target = members
            .iter()
            .find(|member| member.id == target)
            .ok_or_else(|| Status::failed_precondition("etcdserver: bad leader transferee"))?;
        handle.trusted().prefer(target.name.clone()).await.map_err(refusal)?;
        let moved = async {
            while self.keyspaces.leader(&handle).as_ref() != Some(&target.name) {
                tokio::time::sleep(MOVE_LOOK_EVERY).await;
            }
        };
        tokio::time::timeout(MOVE_TIMEOUT, moved).await.map_err(|_| {
            Status::unavailable("etcdserver: request timed out, leader transfer took too long")
        })?;
        Ok(Response::new(pb::MoveLeaderResponse { header: self.header(&handle, None) }))
    }

    async fn downgrade(
        &self,
        request: Request<pb::DowngradeRequest>,
    ) -> Result<Response<pb::DowngradeResponse>, Status> {
        self.any_handle(&request)?.check_admin().await.map_err(refusal)?;
        Err(Status::unimplemented("polis: releases of Polis do not follow etcd's versions"))
    }
}

impl Face {
    fn alarms(&self) -> Vec<pb::AlarmMember> {
        self.keyspaces.alarms().all().into_iter().map(to_wire).collect()
    }
}

fn to_wire(alarm: Alarm) -> pb::AlarmMember {
    pb::AlarmMember { member_id: alarm.member_id, alarm: alarm.kind.to_wire().into() }
}

// === impl AlarmKind ===

impl AlarmKind {
    pub(crate) fn to_wire(self) -> AlarmType {
        match self {
            AlarmKind::NoSpace => AlarmType::Nospace,
            AlarmKind::Corrupt => AlarmType::Corrupt,
        }
    }

    fn from_wire(alarm: i32) -> Option<AlarmKind> {
        match AlarmType::try_from(alarm) {
            Ok(AlarmType::Nospace) => Some(AlarmKind::NoSpace),
            Ok(AlarmType::Corrupt) => Some(AlarmKind::Corrupt),
            Ok(AlarmType::None) | Err(_) => None,
        }
    }
}
