//! Why a file cannot be read or written.

use std::io;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Neither copy of the meta is whole.
    #[error("not a bbolt file, or cut off or damaged at its start: no valid meta page")]
    NoMeta,
    #[error("page {page}: {problem}")]
    Corrupt { page: u64, problem: &'static str },
    #[error("page {page}: {source}")]
    Read { page: u64, source: io::Error },
    #[error("write: {0}")]
    Write(#[from] io::Error),
    /// What bbolt itself would refuse: the caller's mistake.
    #[error("cannot be stored: {0}")]
    Refused(&'static str),
}
