//! Copies the keys of one live store into another, through etcd's interface.
//!
//! First a [`copy`]: the source is read in pages at one revision, each page is
//! compared with what the target has between the page's keys, and what differs
//! is written. On an empty target that is a plain copy; on one that holds part
//! of it, it goes on where it was cut off; and when the source compacts the
//! revision away midway, the next pass brings in what changed meanwhile. Then,
//! if asked, the [`follow`]: the source's changes from that revision on, until
//! the caller says that it is enough. At the end both sides are read once more
//! and compared.
//!
//! Revisions and versions are the target's own; a snapshot keeps them.

mod compare;
mod copy;
mod follow;
mod leases;
mod write;

use kv::{Error, KeyRange, Kv, RangeRequest, Revision};

pub use compare::Compared;

use self::leases::Leases;

/// Passes over a source that compacts faster than it can be read.
const PASSES_MAX: usize = 10;

/// What to copy, and how far to go.
#[derive(Clone, Debug)]
pub struct ImportConfig {
    pub range: KeyRange,
    /// Go on in a target that holds keys already: what the source does not have
    /// is deleted there.
    pub resume: bool,
    pub follow: Follow,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Follow {
    /// Not at all: what changes meanwhile is left behind.
    No,
    /// Until the target has all that the source had when it was last asked.
    UntilCaughtUp,
    /// Until the caller ends it.
    UntilStopped,
}

/// How far it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Keys looked at, of so many.
    pub keys: u64,
    pub keys_total: u64,
    /// Of keys and values.
    pub bytes: u64,
    /// Written, since they differed.
    pub written: u64,
    /// Changes taken over since the copy.
    pub followed: u64,
    /// Everything up to this revision of the source is in the target.
    pub revision: Revision,
    pub following: bool,
}

#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    #[error("source: {0}")]
    Source(#[source] Error),
    #[error("target: {0}")]
    Target(#[source] Error),
    #[error(
        "the target holds {0} keys in that range already. To go on with an import that was cut \
         off, say --resume: what the source does not have is then deleted in the target"
    )]
    NotEmpty(usize),
    #[error("the source compacts its history faster than it can be read")]
    CompactsTooFast,
    #[error("the source ended the watch at revision {0}")]
    WatchEnded(Revision),
    #[error("the sides differ: {0}")]
    Differs(String),
}

/// Copies, follows and compares. Whoever resolves `stop` ends the following,
/// not the rest.
pub async fn import(
    from: &dyn Kv,
    to: &dyn Kv,
    config: &ImportConfig,
    stop: impl Future<Output = ()>,
    mut told: impl FnMut(&Progress),
) -> Result<Compared, ImportError> {
    let there = RangeRequest { count_only: true, ..RangeRequest::new(config.range.clone()) };
    let there = to.range(there).await.map_err(ImportError::Target)?.count;
    if there > 0 && !config.resume {
        return Err(ImportError::NotEmpty(there));
    }
    let mut progress = Progress::default();
    let mut leases = Leases::default();
    let mut target_empty = there == 0;
    tokio::pin!(stop);
    for _ in 0..PASSES_MAX {
        let pass = copy::Pass { from, to, range: &config.range, target_empty };
        target_empty = false;
        match pass.run(&mut leases, &mut progress, &mut told).await {
            Err(ImportError::Source(Error::Compacted { .. })) => continue,
            copied => copied?,
        }
        let followed = match config.follow {
            Follow::No => Ok(()),
            Follow::UntilCaughtUp | Follow::UntilStopped => {
                let following =
                    follow::Following { from, to, range: &config.range, until: config.follow };
                following.run(stop.as_mut(), &mut leases, &mut progress, &mut told).await
            }
        };
        match followed {
            // Compacted between the copy and the watch: once more.
            Err(ImportError::Source(Error::Compacted { .. })) => continue,
            followed => followed?,
        }
        let compared = compare::compare(from, to, &config.range, progress.revision).await?;
        leases.leave(from, to).await?;
        return Ok(compared);
    }
    Err(ImportError::CompactsTooFast)
}
