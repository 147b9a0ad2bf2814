//! The file, from a history.

use std::{
    fs::File,
    io::{self, BufWriter},
};

use bbolt::{BucketWriter, Writer};
use keyspace::auth::{Auth, DamagedNote};
use prost::Message as _;

use super::{
    History, Scratch,
    history::HistoryError,
    layout::{
        ALARM, AUTH, AUTH_ENABLED, AUTH_REVISION, AUTH_ROLES, AUTH_USERS, At, CLUSTER,
        CLUSTER_VERSION, CONF_STATE, CONSISTENT_INDEX, FINISHED_COMPACT, KEY, LEASE, Lease,
        MEMBERS, MEMBERS_REMOVED, META, TERM,
    },
    users::{role_to_wire, user_to_wire},
};

const WRITE_BYTES: usize = 256 * 1024;

/// What the file says of where it comes from.
#[derive(Clone, Debug)]
pub(crate) struct SnapshotHead {
    pub member_id: u64,
    /// `3.5.0`: how the file is laid out, and so the oldest etcd that takes it.
    pub cluster_version: &'static str,
    /// Each an encoded `AlarmMember`.
    pub alarms: Vec<Vec<u8>>,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum WriteError {
    #[error(transparent)]
    History(#[from] HistoryError),
    #[error(transparent)]
    Users(#[from] DamagedNote),
    #[error("snapshot file: {0}")]
    Bolt(#[from] bbolt::Error),
    #[error("scratch file: {0}")]
    Scratch(#[from] io::Error),
}

type Bucket<'a> = BucketWriter<'a, BufWriter<File>>;

/// Writes the file and hands it over. Blocks.
pub(crate) fn write(
    history: &History,
    head: &SnapshotHead,
    scratch: &Scratch,
) -> Result<File, WriteError> {
    let auth = Auth::of_notes(&history.notes)?;
    let mut writer = Writer::new(BufWriter::with_capacity(WRITE_BYTES, scratch.file()?))?;
    // In the order of their names.
    bucket(&mut writer, ALARM, |alarms| {
        let mut sorted = head.alarms.clone();
        sorted.sort_unstable();
        Ok(sorted.iter().try_for_each(|alarm| alarms.put(alarm, b""))?)
    })?;
    bucket(&mut writer, AUTH, |bucket| {
        bucket.put(AUTH_ENABLED, &[u8::from(auth.is_enabled())])?;
        Ok(bucket.put(AUTH_REVISION, &auth.revision().0.to_be_bytes())?)
    })?;
    bucket(&mut writer, AUTH_ROLES, |roles| {
        for (name, role) in auth.roles() {
            roles.put(name.as_str().as_bytes(), &role_to_wire(name, role).encode_to_vec())?;
        }
        Ok(())
    })?;
    bucket(&mut writer, AUTH_USERS, |users| {
        for (name, user) in auth.users() {
            users.put(name.as_str().as_bytes(), &user_to_wire(name, user).encode_to_vec())?;
        }
        Ok(())
    })?;
    bucket(&mut writer, CLUSTER, |cluster| {
        Ok(cluster.put(CLUSTER_VERSION, head.cluster_version.as_bytes())?)
    })?;
    bucket(&mut writer, KEY, |keys| {
        for entry in history.entries()? {
            let entry = entry?;
            keys.put(&entry.at.key(entry.deleted), &entry.value)?;
        }
        Ok(())
    })?;
    bucket(&mut writer, LEASE, |leases| write_leases(history, leases))?;
    bucket(&mut writer, MEMBERS, |_| Ok(()))?;
    bucket(&mut writer, MEMBERS_REMOVED, |_| Ok(()))?;
    bucket(&mut writer, META, |meta| write_meta(history, head, meta))?;
    let out = writer.finish()?;
    Ok(out.into_inner().map_err(io::IntoInnerError::into_error)?)
}

fn bucket(
    writer: &mut Writer<BufWriter<File>>,
    name: &[u8],
    fill: impl FnOnce(&mut Bucket<'_>) -> Result<(), WriteError>,
) -> Result<(), WriteError> {
    let mut bucket = writer.bucket(name)?;
    fill(&mut bucket)?;
    Ok(bucket.finish()?)
}

fn write_leases(history: &History, leases: &mut Bucket<'_>) -> Result<(), WriteError> {
    let mut encoded: Vec<_> = history
        .leases
        .values()
        .map(|lease| {
            let ttl = kv_etcd::to_i64(lease.ttl.as_secs());
            let lease = Lease { id: lease.id.0, ttl, remaining_ttl: 0 };
            (lease.id.to_be_bytes(), lease.encode_to_vec())
        })
        .collect();
    // Negative ids come last as bytes.
    encoded.sort_unstable();
    Ok(encoded.iter().try_for_each(|(id, lease)| leases.put(id, lease))?)
}

/// A restore makes index, term and members anew; until then they must be there.
fn write_meta(
    history: &History,
    head: &SnapshotHead,
    meta: &mut Bucket<'_>,
) -> Result<(), WriteError> {
    let voters = serde_json::json!({ "voters": [head.member_id], "auto_leave": false });
    meta.put(CONF_STATE, voters.to_string().as_bytes())?;
    meta.put(CONSISTENT_INDEX, &history.seq.0.max(1).to_be_bytes())?;
    if history.compacted.0 > 0 {
        let compacted = At { main: history.compacted.0, sub: 0 };
        meta.put(FINISHED_COMPACT, &compacted.key(false))?;
    }
    Ok(meta.put(TERM, &history.epoch.0.max(1).to_be_bytes())?)
}
