//! Why a load could not be run.

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{what} {value} is out of bounds: use {min} to {max}")]
    OutOfBounds { what: &'static str, value: u32, min: u32, max: u32 },
    #[error("no edge to send to")]
    NoEdge,
    #[error("edge {0:?} is not of the form http://HOST:PORT")]
    Edge(String),
    #[error("run id {0:?} is not 1 to 24 of a-z and 0-9")]
    RunId(String),
    #[error("{code}: account {uid} could not be opened: {reason}. {remedy}", code = errors::LOAD_ACCOUNT, remedy = errors::LOAD_ACCOUNT.remedy())]
    Account { uid: String, reason: String },
    #[error("history {path}")]
    History { path: String, source: std::io::Error },
    #[error("history {path}, line {line}: {reason}")]
    HistoryLine { path: String, line: usize, reason: String },
    #[error("shard {shard}: audit: {reason}")]
    Audit { shard: String, reason: String },
}
