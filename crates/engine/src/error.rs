//! Why an engine cannot do what it was asked.

use std::path::{Path, PathBuf};

use errors::{
    Code, STORE_DATA_CORRUPT, STORE_DATA_LOCKED, STORE_DATA_NEWER, STORE_DATA_UNREADABLE,
};
use keyspace::{DecodeError, Place};

/// The storage library's error, told by its text.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Storage(pub String);

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{code}: {path} is in use by another process. {remedy}",
        code = STORE_DATA_LOCKED, path = .path.display(), remedy = STORE_DATA_LOCKED.remedy())]
    Locked { path: PathBuf },
    #[error("{code}: cannot open the data in {path}: {source}. {remedy}",
        code = STORE_DATA_UNREADABLE, path = .path.display(), remedy = STORE_DATA_UNREADABLE.remedy())]
    Open { path: PathBuf, source: Storage },
    /// Nothing of the keyspace is served.
    #[error("{code}: keyspace {keyspace}, {what}: {problem}. {remedy}",
        code = STORE_DATA_CORRUPT, remedy = STORE_DATA_CORRUPT.remedy())]
    Corrupt {
        keyspace: String,
        /// Which stored thing: `batch 17`, `row "key"`.
        what: String,
        problem: String,
    },
    /// Nothing at all is served: the journal holds all keyspaces.
    #[error("{code}: journal {path}, byte {at}: damaged before its last write. {remedy}",
        code = STORE_DATA_CORRUPT, path = .path.display(), remedy = STORE_DATA_CORRUPT.remedy())]
    CorruptJournal { path: PathBuf, at: usize },
    #[error("{code}: keyspace {keyspace}, {what}: {source}. {remedy}",
        code = STORE_DATA_NEWER, remedy = STORE_DATA_NEWER.remedy())]
    Newer { keyspace: String, what: String, source: DecodeError },
    #[error("read the store's data: {0}")]
    Read(#[source] Storage),
    /// The value was compacted away.
    #[error("no value at {0:?}")]
    Gone(Place),
    /// The batch is larger than any leader may write.
    #[error("a batch of {bytes} bytes is more than {max}")]
    TooLarge { bytes: usize, max: usize },
    #[error("this kind of log does not take in state from elsewhere")]
    CannotInstall,
    /// Not a failure: there is nothing that could be done.
    #[error("this database gives space back by itself, and cannot be told to")]
    ReclaimsByItself,
    /// A person must do something about the database.
    #[error("{code}: {problem}. {remedy}", remedy = .code.remedy())]
    Database { code: Code, problem: String },
    /// Nothing was changed, and the same may work again in a moment.
    #[error("the database cannot be used now: {0}")]
    Unavailable(String),
    #[error("the engine has stopped")]
    Stopped,
}

// === impl Error ===

impl Error {
    /// The code of the page that says what to do, if a person must do something.
    #[must_use]
    pub fn code(&self) -> Option<Code> {
        match self {
            Error::Locked { .. } => Some(STORE_DATA_LOCKED),
            Error::Open { .. } => Some(STORE_DATA_UNREADABLE),
            Error::Corrupt { .. } | Error::CorruptJournal { .. } => Some(STORE_DATA_CORRUPT),
            Error::Newer { .. } => Some(STORE_DATA_NEWER),
            Error::Database { code, .. } => Some(*code),
            Error::Read(_)
            | Error::Gone(_)
            | Error::TooLarge { .. }
            | Error::CannotInstall
            | Error::ReclaimsByItself
            | Error::Unavailable(_)
            | Error::Stopped => None,
        }
    }

    pub(crate) fn open(path: &Path, source: impl Into<Storage>) -> Error {
        Error::Open { path: path.into(), source: source.into() }
    }
}

impl From<fjall::Error> for Storage {
    fn from(error: fjall::Error) -> Storage {
        Storage(match error {
            fjall::Error::Io(io) => io.to_string(),
            other => other.to_string(),
        })
    }
}

impl From<std::io::Error> for Storage {
    fn from(error: std::io::Error) -> Storage {
        Storage(error.to_string())
    }
}
