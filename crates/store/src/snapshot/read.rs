//! A file of etcd's, opened and checked.

use std::{
    fs::File,
    io::{self, Read as _},
    path::{Path, PathBuf},
    time::Duration,
};

use aws_lc_rs::digest;
use bbolt::{Bolt, Bucket};
use bytes::Bytes;
use keyspace::{
    LeaseRow,
    auth::{AuthRevision, Carried, Role, RoleName, User, UserName},
};
use kv::{LeaseId, Revision};
use pb_etcd::{authpb, mvccpb};
use prost::Message as _;

use super::{
    layout::{
        AUTH, AUTH_ENABLED, AUTH_REVISION, AUTH_ROLES, AUTH_USERS, At, Entry, FINISHED_COMPACT,
        KEY, LEASE, Lease, META, SCHEDULED_COMPACT, STORAGE_VERSION,
    },
    users::{role_from_wire, user_from_wire},
};

const SHA256_BYTES: u64 = 32;
/// Pages are a multiple of it, so what is left over is the hash; as etcd.
const SECTOR_BYTES: u64 = 512;

/// How files of these releases are laid out we know.
const STORAGE_VERSIONS: [&str; 3] = ["3.5", "3.6", "3.7"];

/// An etcd snapshot, or an etcd's own file.
#[derive(Debug)]
pub struct Snapshot {
    path: PathBuf,
    bolt: Bolt<File>,
}

#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    #[error("open {}", path.display())]
    Open { path: PathBuf, source: io::Error },
    #[error(
        "{}: no hash at its end: it is not a finished snapshot. \
         A file copied from a stopped etcd has none: --skip-hash-check takes it as it is",
        path.display()
    )]
    NoHash { path: PathBuf },
    #[error("{}: its hash does not match: it is damaged or was cut off", path.display())]
    Hash { path: PathBuf },
    #[error("read {}", path.display())]
    Bolt { path: PathBuf, source: bbolt::Error },
    #[error("{}: no bucket `key`: it is not a file of etcd's", path.display())]
    NotEtcd { path: PathBuf },
    #[error(
        "{}: its storage version is {version}, and this release reads {}",
        path.display(),
        STORAGE_VERSIONS.join(", ")
    )]
    Version { path: PathBuf, version: String },
    #[error("{}: {what}: {problem}", path.display())]
    Damaged { path: PathBuf, what: String, problem: &'static str },
}

// === impl Snapshot ===

impl Snapshot {
    /// Checks the hash, unless told otherwise, and that it is etcd's.
    pub fn open(path: &Path, skip_hash_check: bool) -> Result<Snapshot, SnapshotError> {
        let failed = |source| SnapshotError::Open { path: path.into(), source };
        let file = File::open(path).map_err(failed)?;
        if !skip_hash_check {
            let length = file.metadata().map_err(failed)?.len();
            if length % SECTOR_BYTES != SHA256_BYTES {
                return Err(SnapshotError::NoHash { path: path.into() });
            }
            if !is_hash_right(&file, length - SHA256_BYTES).map_err(failed)? {
                return Err(SnapshotError::Hash { path: path.into() });
            }
        }
        let bolt =
            Bolt::open(file).map_err(|source| SnapshotError::Bolt { path: path.into(), source })?;
        let snapshot = Snapshot { path: path.into(), bolt };
        if snapshot.bucket(KEY)?.is_none() {
            return Err(SnapshotError::NotEtcd { path: path.into() });
        }
        if let Some(version) = snapshot.value(META, STORAGE_VERSION)? {
            let version = String::from_utf8_lossy(&version).into_owned();
            let is_of = |release: &str| {
                version.strip_prefix(release).is_some_and(|rest| rest.starts_with('.'))
            };
            if !STORAGE_VERSIONS.into_iter().any(is_of) {
                return Err(SnapshotError::Version { path: path.into(), version });
            }
        }
        Ok(snapshot)
    }

    /// Where its history begins; a compaction that was only scheduled counts,
    /// since whoever opens the file finishes it.
    pub fn compacted(&self) -> Result<Revision, SnapshotError> {
        let mut compacted = Revision::ZERO;
        for name in [FINISHED_COMPACT, SCHEDULED_COMPACT] {
            if let Some(value) = self.value(META, name)? {
                let (at, _) = At::of_key(&value)
                    .ok_or_else(|| self.damaged("the compact revision", "it is not a revision"))?;
                compacted = compacted.max(Revision(at.main));
            }
        }
        Ok(compacted)
    }

    pub(super) fn leases(&self) -> Result<Vec<LeaseRow>, SnapshotError> {
        let mut leases = Vec::new();
        for (id, value) in self.all(LEASE)? {
            let lease = Lease::decode(value)
                .map_err(|_| self.damaged(format!("lease {id:02x?}"), "it cannot be decoded"))?;
            let ttl = Duration::from_secs(u64::try_from(lease.ttl).unwrap_or(0));
            leases.push(LeaseRow { id: LeaseId(lease.id), ttl });
        }
        Ok(leases)
    }

    /// Users and roles, without a secret; `None` when there never were any.
    pub(super) fn users(&self) -> Result<Option<Carried>, SnapshotError> {
        let enabled = self.value(AUTH, AUTH_ENABLED)?.is_some_and(|value| value[..] == [1]);
        let revision = self.value(AUTH, AUTH_REVISION)?;
        let revision = revision.and_then(|value| value.first_chunk().copied());
        let revision = AuthRevision(revision.map_or(0, u64::from_be_bytes).max(1));
        let mut users: Vec<(UserName, User)> = Vec::new();
        for (name, value) in self.all(AUTH_USERS)? {
            let user = authpb::User::decode(value).ok();
            let user = user.and_then(|user| user_from_wire(&user, revision));
            users.push(user.ok_or_else(|| {
                let what = format!("user {}", String::from_utf8_lossy(&name));
                self.damaged(what, "it cannot be decoded")
            })?);
        }
        let mut roles: Vec<(RoleName, Role)> = Vec::new();
        for (name, value) in self.all(AUTH_ROLES)? {
            let role = authpb::Role::decode(value).ok();
            roles.push(role.and_then(|role| role_from_wire(&role)).ok_or_else(|| {
                let what = format!("role {}", String::from_utf8_lossy(&name));
                self.damaged(what, "it cannot be decoded")
            })?);
        }
        let any = enabled || !users.is_empty() || !roles.is_empty();
        Ok(any.then_some(Carried { enabled, revision, secret: None, users, roles }))
    }

    /// Every version of every key, in order.
    pub(super) fn entries(
        &self,
    ) -> Result<impl Iterator<Item = Result<Entry, SnapshotError>>, SnapshotError> {
        let bucket = self.bucket(KEY)?;
        let items = bucket.into_iter().flat_map(|bucket| bucket.iter());
        Ok(items.map(|item| {
            let item = item.map_err(|source| self.bolt_error(source))?;
            let (at, deleted) = At::of_key(&item.key).ok_or_else(|| {
                self.damaged(format!("entry {:02x?}", &item.key[..]), "it is not a revision")
            })?;
            Ok(Entry { at, deleted, key: Bytes::new(), value: item.value })
        }))
    }

    /// Every part of it, as whoever restores it reads it.
    pub(crate) fn read_through(&self) -> Result<(), SnapshotError> {
        let _read = (self.compacted()?, self.leases()?, self.users()?);
        for entry in self.entries()? {
            let _whole = mvccpb::KeyValue::decode(entry?.value);
        }
        Ok(())
    }

    pub(super) fn damaged(&self, what: impl Into<String>, problem: &'static str) -> SnapshotError {
        SnapshotError::Damaged { path: self.path.clone(), what: what.into(), problem }
    }

    fn bucket(&self, name: &[u8]) -> Result<Option<Bucket<'_, File>>, SnapshotError> {
        self.bolt.bucket(name).map_err(|source| self.bolt_error(source))
    }

    fn value(&self, bucket: &[u8], key: &[u8]) -> Result<Option<Bytes>, SnapshotError> {
        match self.bucket(bucket)? {
            Some(bucket) => bucket.get(key).map_err(|source| self.bolt_error(source)),
            None => Ok(None),
        }
    }

    /// A small bucket, whole.
    fn all(&self, bucket: &[u8]) -> Result<Vec<(Bytes, Bytes)>, SnapshotError> {
        let bucket = self.bucket(bucket)?;
        bucket
            .into_iter()
            .flat_map(|bucket| bucket.iter())
            .map(|item| match item {
                Ok(item) => Ok((item.key, item.value)),
                Err(source) => Err(self.bolt_error(source)),
            })
            .collect()
    }

    fn bolt_error(&self, source: bbolt::Error) -> SnapshotError {
        SnapshotError::Bolt { path: self.path.clone(), source }
    }
}

/// Whether SHA-256 of the first `length` bytes stands behind them.
fn is_hash_right(mut file: &File, length: u64) -> io::Result<bool> {
    let mut hash = digest::Context::new(&digest::SHA256);
    let mut piece = vec![0; 256 * 1024];
    let mut body = file.take(length);
    loop {
        match body.read(&mut piece)? {
            0 => break,
            count => hash.update(&piece[..count]),
        }
    }
    let mut stored = [0; SHA256_BYTES as usize];
    file.read_exact(&mut stored)?;
    Ok(hash.finish().as_ref() == stored)
}
