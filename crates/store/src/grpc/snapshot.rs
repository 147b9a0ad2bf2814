//! Snapshot and HashKV: the keyspace's durable history, as a file and as a
//! checksum. Made on a thread that may block, from a scan that holds up nobody.

use std::{fs::File, os::unix::fs::FileExt as _, pin::Pin};

use aws_lc_rs::digest;
use futures::Stream;
use kv::{Error, Revision};
use pb_etcd::etcdserverpb as pb;
use tokio::{sync::mpsc, task::spawn_blocking};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use super::{ETCD_CLUSTER_VERSION, Face, refusal};
use crate::{
    Handle,
    snapshot::{Gathering, HistoryError, SnapshotHead, WriteError, hash_kv, write},
};

pub(super) type Pieces = Pin<Box<dyn Stream<Item = Result<pb::SnapshotResponse, Status>> + Send>>;

/// etcd's piece.
const PIECE_BYTES: usize = 32 * 1024;
/// Pieces that may wait for a slow client.
const PIECES_AHEAD: usize = 8;

/// A checksum of the history, and what it covers.
pub(super) struct HistoryHash {
    pub hash: u32,
    pub revision: Revision,
    pub compacted: Revision,
}

// === impl Face ===

impl Face {
    /// The file, then its SHA-256, as etcd sends them.
    pub(super) fn snapshot_of(&self, handle: &Handle, alarms: &[pb::AlarmMember]) -> Pieces {
        let head = SnapshotHead {
            member_id: self.member.member_id,
            cluster_version: ETCD_CLUSTER_VERSION,
            alarms: alarms.iter().map(prost::Message::encode_to_vec).collect(),
        };
        let (sender, pieces) = mpsc::channel(PIECES_AHEAD);
        let gathering = Gathering {
            engine: self.keyspaces.engine().clone(),
            scratch: self.keyspaces.scratch().clone(),
            keyspace: handle.name().clone(),
        };
        let header = self.header(handle, None);
        rt::spawn(rt::TaskKind::Connection, "snapshot", async move {
            let failed = sender.clone();
            // The turn is kept until the file is made, not until it is sent.
            let made = gathering.then(move |history, scratch| write(history, &head, scratch));
            let outcome = match made.await.map_err(|error: WriteError| error.to_string()) {
                Ok(file) => spawn_blocking(move || send(&file, header.as_ref(), &sender))
                    .await
                    .unwrap_or_else(|_| Err("the thread that sends it ended".into())),
                Err(error) => Err(error),
            };
            if let Err(error) = outcome {
                tracing::warn!(%error, "no snapshot");
                // The client may have gone.
                let _ = failed
                    .send(Err(Status::internal(format!("polis: no snapshot: {error}"))))
                    .await;
            }
        });
        Box::pin(ReceiverStream::new(pieces))
    }

    /// Of the newest durable revision, unless another is asked for.
    pub(super) async fn history_hash(
        &self,
        handle: &Handle,
        revision: Option<Revision>,
    ) -> Result<HistoryHash, Status> {
        let gathering = Gathering {
            engine: self.keyspaces.engine().clone(),
            scratch: self.keyspaces.scratch().clone(),
            keyspace: handle.name().clone(),
        };
        let hashed = gathering.then(move |history, _| {
            let compacted = history.compacted;
            if revision.is_some_and(|revision| revision < compacted) {
                return Ok(Err(Error::Compacted { compacted }));
            }
            if revision.is_some_and(|revision| revision > history.revision) {
                return Ok(Err(Error::FutureRevision));
            }
            let revision = revision.unwrap_or(history.revision);
            let hash = hash_kv(history, revision)?;
            Ok::<_, HistoryError>(Ok(HistoryHash { hash, revision, compacted }))
        });
        match hashed.await {
            Ok(hashed) => hashed.map_err(refusal),
            Err(error) => {
                tracing::warn!(%error, "no hash");
                Err(Status::internal(format!("polis: no hash: {error}")))
            }
        }
    }
}

/// Sends the file and its hash. A client that has gone ends it.
fn send(
    file: &File,
    header: Option<&pb::ResponseHeader>,
    to: &mpsc::Sender<Result<pb::SnapshotResponse, Status>>,
) -> Result<(), String> {
    let length = file.metadata().map_err(|error| error.to_string())?.len();
    let mut hash = digest::Context::new(&digest::SHA256);
    let mut at = 0;
    let piece = |remaining_bytes, blob| pb::SnapshotResponse {
        header: header.cloned(),
        remaining_bytes,
        blob,
        version: ETCD_CLUSTER_VERSION.into(),
    };
    while at < length {
        let count = usize::try_from(length - at).unwrap_or(usize::MAX).min(PIECE_BYTES);
        let mut bytes = vec![0; count];
        file.read_exact_at(&mut bytes, at).map_err(|error| error.to_string())?;
        hash.update(&bytes);
        at += count as u64;
        if to.blocking_send(Ok(piece(length - at, bytes.into()))).is_err() {
            return Ok(());
        }
    }
    let hash = hash.finish().as_ref().to_vec();
    // Nobody may be there to hear it.
    let _ = to.blocking_send(Ok(piece(0, hash.into())));
    Ok(())
}
