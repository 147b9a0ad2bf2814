//! What this store itself asks of whoever leads a keyspace.
//!
//! Over the same wire as its clients' requests, one hop and no further, and
//! under the same rights: where users are on, with a token for root that is
//! signed here. Every replica holds the key for that, since it holds the log.

use std::{sync::Arc, time::Duration};

use keyspace::auth::UserName;
use kv::{Error, KeyspaceName, Revision};
use kv_etcd::{KEYSPACE_METADATA, status, to_i64};
use pb_etcd::etcdserverpb::{
    self as pb, alarm_request::AlarmAction, maintenance_client::MaintenanceClient,
};
use tonic::Request;

use crate::{
    Handle,
    alarms::{Alarm, Alarms},
    forward::{self, Forward, Place},
    keyspaces::Keyspaces,
    replica::Peer,
    transport::Road,
};

/// A leader that does not answer a small question for this long is none.
const ANSWER_MAX: Duration = Duration::from_secs(5);

/// A checksum takes as long as reading everything once: a few minutes for the
/// largest store there should be.
const HASH_MAX: Duration = Duration::from_secs(600);

#[derive(Clone)]
pub(crate) struct Errands {
    pub keyspaces: Arc<Keyspaces>,
    /// `None` where only one process can open the log.
    pub forward: Option<Arc<Forward>>,
}

// === impl Errands ===

impl Errands {
    /// Has an alarm kept, here or by whoever can.
    pub async fn raise(&self, alarms: &Alarms, alarm: Alarm) -> Result<(), Error> {
        let default = self.keyspaces.get(&KeyspaceName::default())?.trusted();
        match self.place(&default) {
            Place::Here => alarms.keep(&default, alarm).await,
            Place::Nobody => Err(Error::NotLeader),
            Place::There(peer) => {
                let message = pb::AlarmRequest {
                    action: AlarmAction::Activate.into(),
                    member_id: alarm.member_id,
                    alarm: alarm.kind.to_wire().into(),
                };
                let request = self.request(&default, message).await?;
                let mut client = self.client(&peer)?;
                within(ANSWER_MAX, client.alarm(request)).await.map(drop)
            }
        }
    }

    /// The leader's checksum of its history at `revision`, and who that is;
    /// none if it is this store, or nobody.
    pub async fn leaders_hash(
        &self,
        keyspace: &Handle,
        revision: Revision,
    ) -> Result<Option<(Arc<Peer>, pb::HashKvResponse)>, Error> {
        let Place::There(peer) = self.place(keyspace) else { return Ok(None) };
        let message = pb::HashKvRequest { revision: to_i64(revision.0) };
        let request = self.request(keyspace, message).await?;
        let mut client = self.client(&peer)?;
        let answer = within(HASH_MAX, client.hash_kv(request)).await?;
        Ok(Some((peer, answer.into_inner())))
    }

    fn place(&self, keyspace: &Handle) -> Place {
        match &self.forward {
            None => Place::Here,
            Some(forward) => forward.way(keyspace.clone()).place(),
        }
    }

    fn client(&self, peer: &Peer) -> Result<MaintenanceClient<Road>, Error> {
        let forward = self.forward.as_ref().expect("only a forward knows of peers");
        forward.road(peer).map(MaintenanceClient::new)
    }

    async fn request<T>(&self, keyspace: &Handle, message: T) -> Result<Request<T>, Error> {
        let mut request = Request::new(message);
        let metadata = request.metadata_mut();
        metadata.insert(forward::HOP, forward::NOBODY.parse().expect("it is ASCII"));
        let name = keyspace.name().as_str();
        metadata.insert(KEYSPACE_METADATA, name.parse().expect("keyspaces have ASCII names"));
        let auth = keyspace.guard().loaded().await?;
        if auth.is_enabled() {
            let token = keyspace.guard().tokens.issue(&auth, &UserName::root())?;
            request.metadata_mut().insert("token", token.parse().expect("it is hexadecimal"));
        }
        Ok(request)
    }
}

async fn within<T>(
    limit: Duration,
    call: impl Future<Output = Result<T, tonic::Status>>,
) -> Result<T, Error> {
    match tokio::time::timeout(limit, call).await {
        Ok(answer) => answer.map_err(|refusal| status::from_status(&refusal)),
        Err(_) => Err(Error::Unknown("the leader did not answer".into())),
    }
}
