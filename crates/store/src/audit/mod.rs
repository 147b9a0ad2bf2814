//! Whether what this store would say is what the log says, and what the leader
//! says: etcd's corruption check.
//!
//! An audit reads a keyspace's log as of one moment, which tests every checksum
//! in it, and compares two things. What is alive at the last revision there
//! must be what the index in memory has at that revision ([`census`]): a copy
//! that was fed wrongly, a flipped bit, a value that is not what was written.
//! And where another replica leads, its HashKV at that revision must be ours:
//! both read the log, but a database can tell two of its clients two things.
//!
//! A difference raises the alarm CORRUPT for this member, and with that all use
//! of keys ends everywhere, as in etcd. So it is looked for twice before it
//! counts. What cannot be told now (a compaction came between, a leader does
//! not answer) is left open until the next time.

mod census;
mod tally;

use std::{sync::Arc, time::Duration};

use kv::{Error, KeyRange, RangeRequest, Revision};
use rt::Drain;

use crate::{
    Handle,
    alarms::AlarmKind,
    config::AuditConfig,
    errand::Errands,
    metrics::Metrics,
    snapshot::{Gathering, HistoryError, hash_kv},
};
use census::Census;

pub(crate) use tally::Tally;

/// A compaction during an audit is nothing unusual; one in each of these is.
const TRIES: usize = 3;

/// A copy that does not come up to the log for this long is no matter of what
/// is in it.
const COPY_WAIT: Duration = Duration::from_secs(10);
const COPY_LOOK_EVERY: Duration = Duration::from_millis(20);

/// Of an index, read at once: the keyspace's actor serves others in between.
const PAGE_BYTES: usize = 256 * 1024;

pub(crate) struct Auditor {
    pub config: AuditConfig,
    pub errands: Errands,
    pub metrics: Arc<Metrics>,
}

enum Verdict {
    Sound {
        keys: u64,
        revision: Revision,
    },
    /// It could not be told, and why.
    Open(String),
    /// What differs from what.
    Wrong(String),
}

/// What the log says of a keyspace.
struct Told {
    /// Zero where nobody has ever led it.
    epoch: u64,
    revision: Revision,
    compacted: Revision,
    hash: u32,
    census: Census,
}

// === impl Auditor ===

impl Auditor {
    /// Until the drain.
    pub async fn run(self, drain: Drain) {
        let auditing = async {
            if self.config.at_start {
                self.start_all().await;
                self.round().await;
            }
            let Some(every) = self.config.every else { return };
            loop {
                tokio::time::sleep(every).await;
                self.round().await;
            }
        };
        tokio::select! {
            () = auditing => {}
            () = drain.started() => {}
        }
    }

    /// Everything that is in the log, asked for or not.
    async fn start_all(&self) {
        match self.errands.keyspaces.engine().keyspaces().await {
            Ok(names) => {
                for name in names {
                    if let Err(error) = self.errands.keyspaces.get(&name) {
                        tracing::warn!(keyspace = %name, %error, "not audited");
                    }
                }
            }
            Err(error) => tracing::warn!(%error, "keyspaces not known to be audited"),
        }
    }

    async fn round(&self) {
        for handle in self.errands.keyspaces.started() {
            let handle = handle.trusted();
            let mut verdict = self.audit(&handle).await;
            if let Verdict::Wrong(finding) = &verdict {
                tracing::warn!(keyspace = %handle.name(), %finding, "audited once more");
                verdict = self.audit(&handle).await;
            }
            self.report(&handle, &verdict);
        }
    }

    fn report(&self, handle: &Handle, verdict: &Verdict) {
        self.metrics.audits.count(verdict);
        let keyspace = handle.name();
        match verdict {
            Verdict::Sound { keys, revision } => {
                tracing::debug!(%keyspace, keys, %revision, "audited");
            }
            Verdict::Open(reason) => tracing::info!(%keyspace, reason, "audit left open"),
            Verdict::Wrong(finding) => {
                let new = self.errands.keyspaces.alarms().raise(AlarmKind::Corrupt);
                let (code, remedy) =
                    (errors::STORE_COPY_DIFFERS, errors::STORE_COPY_DIFFERS.remedy());
                match new {
                    true => tracing::error!(%keyspace, "{code}: {finding}. {remedy}"),
                    false => tracing::warn!(%keyspace, "{code}: {finding}"),
                }
            }
        }
    }

    /// Until it can be told, within reason.
    async fn audit(&self, handle: &Handle) -> Verdict {
        let mut verdict = Verdict::Open(String::new());
        for _ in 0..TRIES {
            verdict = match self.try_audit(handle).await {
                Ok(verdict) => verdict,
                Err(wrong) => wrong,
            };
            if !matches!(verdict, Verdict::Open(_)) {
                break;
            }
        }
        verdict
    }

    async fn try_audit(&self, handle: &Handle) -> Result<Verdict, Verdict> {
        let told = self.log(handle).await?;
        let revision = told.revision;
        if told.epoch == 0 {
            return Ok(Verdict::Sound { keys: 0, revision });
        }
        let index = index(handle, revision).await?;
        if index != told.census {
            return Err(Verdict::Wrong(format!(
                "at revision {revision} the log has {} keys and the index {}, not the same ones",
                told.census.keys, index.keys
            )));
        }
        self.compare(handle, &told).await?;
        Ok(Verdict::Sound { keys: index.keys, revision })
    }

    async fn log(&self, handle: &Handle) -> Result<Told, Verdict> {
        let gathering = Gathering {
            engine: self.errands.keyspaces.engine().clone(),
            scratch: self.errands.keyspaces.scratch().clone(),
            keyspace: handle.name().clone(),
        };
        let told = gathering.then(|history, _| {
            Ok::<_, HistoryError>(Told {
                epoch: history.epoch.0,
                revision: history.revision,
                compacted: history.compacted,
                hash: hash_kv(history, history.revision)?,
                census: Census::of_history(history)?,
            })
        });
        told.await.map_err(|error| match error {
            HistoryError::Engine(engine::Error::Corrupt { .. }) => {
                Verdict::Wrong(error.to_string())
            }
            other => Verdict::Open(other.to_string()),
        })
    }

    /// With whoever leads it, if that is another.
    async fn compare(&self, handle: &Handle, told: &Told) -> Result<(), Verdict> {
        let (peer, theirs) = match self.errands.leaders_hash(handle, told.revision).await {
            Ok(Some(answer)) => answer,
            Ok(None) => return Ok(()),
            Err(error) => return Err(Verdict::Open(format!("the leader's hash: {error}"))),
        };
        let compacted = kv_etcd::range::revision_from_wire(theirs.compact_revision);
        if compacted != told.compacted {
            return Err(Verdict::Open(format!(
                "{} has compacted at {compacted}, we at {}",
                peer.name, told.compacted
            )));
        }
        match theirs.hash == told.hash {
            true => Ok(()),
            false => Err(Verdict::Wrong(format!(
                "at revision {} the hash is {:08x} here and {:08x} at the leader {}",
                told.revision, told.hash, theirs.hash, peer.name
            ))),
        }
    }
}

/// What the index has alive at `revision`.
async fn index(handle: &Handle, revision: Revision) -> Result<Census, Verdict> {
    // A copy follows the log, and may be a moment behind it.
    let caught_up = async {
        while handle.standing().revision() < revision {
            tokio::time::sleep(COPY_LOOK_EVERY).await;
        }
    };
    if tokio::time::timeout(COPY_WAIT, caught_up).await.is_err() {
        return Err(Verdict::Open(format!("the copy has not come to revision {revision}")));
    }
    let mut census = Census::default();
    let mut rest = KeyRange::prefix("");
    loop {
        let request = RangeRequest {
            revision: Some(revision),
            serializable: true,
            ..RangeRequest::new(rest)
        };
        let page = handle.page(request, PAGE_BYTES).await.map_err(|error| match error {
            Error::Corrupt => Verdict::Wrong("the keyspace cannot be served".into()),
            other => Verdict::Open(other.to_string()),
        })?;
        let last = page.kvs.last().map(|kv| [&kv.key[..], b"\0"].concat());
        page.kvs.into_iter().for_each(|kv| census.add(kv));
        match last {
            Some(next) if page.more => rest = KeyRange::From(next.into()),
            _ => return Ok(census),
        }
    }
}
