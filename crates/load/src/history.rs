//! The history: one JSON object a line, one line a payment, in the order in
//! which they ended. `docs/reference/history.md` is its contract.

use std::{
    fs::File,
    io::{BufRead, BufReader, BufWriter, Write},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use topology::Shard;

use crate::Error;

/// How a payment ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// A definite yes: it must be there.
    Acked,
    /// A definite no: it must not be there.
    Refused,
    /// No definite answer within 10 s; a later line of the same key says what
    /// it was resolved to.
    Unknown,
    /// An unknown one that is there.
    ResolvedCommitted,
    /// An unknown one that is not there, and never will be.
    ResolvedCancelled,
    /// Too many were under way: it was due and not sent.
    NotSent,
}

/// Why a try gave no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TryFailure {
    /// Nothing listened: certainly not sent.
    NotConnected,
    /// The connection ended before the answer did.
    Broken,
    TimedOut,
    /// An answer that settles nothing.
    Status(u16),
}

/// A try that settled nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Try {
    /// Index of the edge, as listed in the configuration.
    pub edge: usize,
    pub failure: TryFailure,
    /// When it failed, in microseconds since the run began.
    pub at_us: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// The payment's id, `UID.KEY`.
    pub id: String,
    pub shard: Shard,
    pub amount: u64,
    /// When it was due and when it ended, in microseconds since the run began.
    pub due_us: u64,
    pub end_us: u64,
    pub outcome: Outcome,
    /// Of the answer that settled it; absent if none did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// The error code of a refusal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// The edge that gave the settling answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub edge: Option<usize>,
    /// Who executed it, as the answer says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epoch: Option<u64>,
    /// Tries before that, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failed: Vec<Try>,
}

pub(crate) struct Writer {
    file: BufWriter<File>,
    path: PathBuf,
}

// === impl Record ===

impl Record {
    #[must_use]
    pub fn latency_us(&self) -> u64 {
        self.end_us.saturating_sub(self.due_us)
    }
}

// === impl Writer ===

impl Writer {
    pub(crate) fn create(path: &Path) -> Result<Writer, Error> {
        let failed = |source| Error::History { path: path.display().to_string(), source };
        if let Some(dir) = path.parent() {
            std::fs::create_dir_all(dir).map_err(failed)?;
        }
        let file = BufWriter::new(File::create(path).map_err(failed)?);
        Ok(Writer { file, path: path.to_owned() })
    }

    pub(crate) fn write(&mut self, record: &Record) -> Result<(), Error> {
        serde_json::to_writer(&mut self.file, record)
            .map_err(std::io::Error::from)
            .and_then(|()| self.file.write_all(b"\n"))
            .map_err(|source| self.failed(source))
    }

    /// Everything is on disk afterwards.
    pub(crate) fn finish(mut self) -> Result<(), Error> {
        let flushed = self.file.flush().and_then(|()| self.file.get_ref().sync_all());
        flushed.map_err(|source| self.failed(source))
    }

    fn failed(&self, source: std::io::Error) -> Error {
        Error::History { path: self.path.display().to_string(), source }
    }
}

/// Reads a history back.
///
/// # Errors
/// Names the line that is not a record.
pub fn read(path: &Path) -> Result<Vec<Record>, Error> {
    let shown = || path.display().to_string();
    let failed = |source| Error::History { path: shown(), source };
    let file = File::open(path).map_err(failed)?;
    let mut records = Vec::new();
    for (index, line) in BufReader::new(file).lines().enumerate() {
        let record = serde_json::from_str(&line.map_err(failed)?).map_err(|error| {
            Error::HistoryLine { path: shown(), line: index + 1, reason: error.to_string() }
        })?;
        records.push(record);
    }
    Ok(records)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_history_reads_back_as_it_was_written() {
        let record = Record {
            id: "2088000000421.run-1".into(),
            shard: Shard::new(42).expect("a shard"),
            amount: 5,
            due_us: 10,
            end_us: 30,
            outcome: Outcome::Acked,
            status: Some(201),
            code: None,
            edge: Some(1),
            unit: Some("rz03".into()),
            epoch: Some(2),
            failed: vec![Try { edge: 0, failure: TryFailure::Status(503), at_us: 20 }],
        };
        let path = std::env::temp_dir().join(format!("polis-history-{}", std::process::id()));
        let mut writer = Writer::create(&path).expect("create");
        writer.write(&record).expect("write");
        writer.finish().expect("finish");
        assert_eq!(read(&path).expect("read"), [record]);
        std::fs::write(&path, "{\"id\":1}\n").expect("write");
        assert!(read(&path).expect_err("no record").to_string().contains("line 1"));
        std::fs::remove_file(&path).expect("clean up");
    }
}
