//! Why a store could not start or go on.

use std::{io, net::SocketAddr, path::PathBuf};

use errors::Code;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(
        "{}: refusing to serve without TLS. {}",
        errors::STORE_NOT_SECURED,
        errors::STORE_NOT_SECURED.remedy()
    )]
    NotSecured,
    #[error(
        "{}: cannot listen on {address}: {source}. {}",
        errors::STORE_ADDRESS,
        errors::STORE_ADDRESS.remedy()
    )]
    Listen { address: SocketAddr, source: io::Error },
    #[error(
        "{}: cannot use the data folder {}: {source}. {}",
        errors::STORE_DATA_FOLDER,
        path.display(),
        errors::STORE_DATA_FOLDER.remedy()
    )]
    DataFolder { path: PathBuf, source: io::Error },
    #[error(
        "the database has no tables of a store's: correct --database, or start a store on it with \
         an empty data folder"
    )]
    NoTables,
    #[error(transparent)]
    Engine(#[from] engine::Error),
}

// === impl Error ===

impl Error {
    /// The code that `polis explain` knows.
    #[must_use]
    pub fn code(&self) -> Option<Code> {
        match self {
            Error::NotSecured => Some(errors::STORE_NOT_SECURED),
            Error::Listen { .. } => Some(errors::STORE_ADDRESS),
            Error::DataFolder { .. } => Some(errors::STORE_DATA_FOLDER),
            Error::NoTables => None,
            Error::Engine(error) => error.code(),
        }
    }
}
