//! Why a configuration is not taken: file, line, column, reason.

use std::io;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("read {file}: {source}")]
    Read { file: String, source: io::Error },
    #[error("{file} has {bytes} bytes; {max} are allowed")]
    TooLarge { file: String, bytes: u64, max: u64 },
    #[error("{file}:{line}:{column}: {message}")]
    At { file: String, line: usize, column: usize, message: String },
}

// === impl Error ===

impl Error {
    pub(super) fn at(file: &str, text: &str, at: usize, message: &str) -> Error {
        let before = text.get(..at).unwrap_or(text);
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().map_or(0, |tail| tail.chars().count()) + 1;
        Error::At { file: file.into(), line, column, message: message.trim_end().into() }
    }
}
