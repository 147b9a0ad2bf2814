//! What was asked, and what was answered; as values and as JSON lines.
//!
//! The format is documented in `docs/reference/store-history.md`. Times are
//! nanoseconds of one clock that all recorders share; an operation comes
//! before another when it ended at an earlier time than the other began.

use std::io::{self, BufRead, Write};

use serde::{Deserialize, Serialize};

/// Lines of a history, by kind.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct History {
    pub setup: Setup,
    pub operations: Vec<Operation>,
    pub watches: Vec<Watch>,
    /// The log as it was committed, in order, if whoever recorded could read
    /// it. Without it, it is put together from what watchers saw.
    pub log: Vec<Revision>,
    /// None of a store that began empty.
    pub base: Option<Base>,
}

/// What the checks need to know of the run.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Setup {
    /// How much faster than the recorder's a clock of the store may run, in
    /// parts per million.
    #[serde(default)]
    pub drift_ppm: u64,
    /// `log`, or what watchers saw, is every revision from the first to the
    /// last that anyone was told of.
    #[serde(default)]
    pub complete: bool,
}

/// What there was when the recording began. Of how it came to be nothing is
/// known, nor may anyone be told.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Base {
    pub revision: u64,
    pub kvs: Vec<KeyValue>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Operation {
    pub client: u32,
    pub call: u64,
    /// Absent when nobody was there any more to hear the answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<u64>,
    pub request: Request,
    pub outcome: Outcome,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Request {
    Range(Range),
    Txn(Txn),
    Compact { revision: u64 },
    Grant { lease: i64, ttl_ms: u64 },
    Revoke { lease: i64 },
    KeepAlive { lease: i64 },
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    Ok(Response),
    /// Certainly not applied.
    Failed(String),
    /// May take effect at any later time, or never.
    Unknown(String),
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Response {
    Range(Ranged),
    Txn(Answer),
    Compacted {
        revision: u64,
    },
    /// What was granted or is left, from now on.
    Lease {
        ttl_ms: u64,
    },
    Revoked,
}

/// Keys as etcd says them: no `end` is one key, an `end` of a NUL is every key
/// from `key` on, anything else is where the range ends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Keys {
    pub key: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Range {
    #[serde(flatten)]
    pub keys: Keys,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<usize>,
    #[serde(default)]
    pub serializable: bool,
}

/// Keys in ascending order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Ranged {
    /// Where the keyspace stood, whatever revision was asked for.
    pub revision: u64,
    pub kvs: Vec<KeyValue>,
    pub count: usize,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyValue {
    pub key: String,
    pub value: String,
    pub created: u64,
    pub modified: u64,
    pub version: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease: Option<i64>,
}

/// A put or a delete alone is a transaction without compares.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Txn {
    #[serde(default, rename = "if", skip_serializing_if = "Vec::is_empty")]
    pub compares: Vec<Compare>,
    #[serde(default, rename = "then", skip_serializing_if = "Vec::is_empty")]
    pub success: Vec<Op>,
    #[serde(default, rename = "else", skip_serializing_if = "Vec::is_empty")]
    pub failure: Vec<Op>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Compare {
    pub key: String,
    pub is: Is,
}

/// What is compared for being equal.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Is {
    Modified(u64),
    Created(u64),
    Version(u64),
    Value(String),
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Op {
    Put {
        key: String,
        value: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        lease: Option<i64>,
    },
    Delete(Keys),
    Get(Keys),
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Answer {
    pub revision: u64,
    pub succeeded: bool,
    pub results: Vec<OpResult>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OpResult {
    Put,
    Deleted(usize),
    Got(Vec<KeyValue>),
}

/// One revision of the log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Revision {
    pub revision: u64,
    /// When it was committed, if that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<u64>,
    pub changes: Vec<Change>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    Put(KeyValue),
    Delete { key: String },
}

/// One watch, from its creation to its end.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Watch {
    pub client: u32,
    #[serde(flatten)]
    pub keys: Keys,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start: Option<u64>,
    #[serde(default)]
    pub prev_kv: bool,
    #[serde(default)]
    pub no_put: bool,
    #[serde(default)]
    pub no_delete: bool,
    pub items: Vec<Item>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Item {
    pub at: u64,
    pub said: Said,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Said {
    Created { revision: u64 },
    Events(Vec<Event>),
    Progress { revision: u64 },
    Ended(String),
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// Of the change.
    pub revision: u64,
    pub change: Change,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<KeyValue>,
}

/// A line of the file.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Line {
    Setup(Setup),
    Base(Base),
    Operation(Operation),
    Watch(Watch),
    Revision(Revision),
}

#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    #[error("read the history: {0}")]
    Io(#[from] io::Error),
    #[error("line {number}: {source}")]
    Line { number: usize, source: serde_json::Error },
}

// === impl History ===

impl History {
    pub fn read(input: impl BufRead) -> Result<History, ReadError> {
        let mut history = History::default();
        for (index, line) in input.lines().enumerate() {
            let line = line?;
            if line.trim().is_empty() {
                continue;
            }
            let parsed = serde_json::from_str(&line);
            match parsed.map_err(|source| ReadError::Line { number: index + 1, source })? {
                Line::Setup(setup) => history.setup = setup,
                Line::Base(base) => history.base = Some(base),
                Line::Operation(operation) => history.operations.push(operation),
                Line::Watch(watch) => history.watches.push(watch),
                Line::Revision(revision) => history.log.push(revision),
            }
        }
        Ok(history)
    }

    pub fn write(&self, mut output: impl Write) -> io::Result<()> {
        let mut line = |line: &Line| {
            serde_json::to_writer(&mut output, line)?;
            output.write_all(b"\n")
        };
        line(&Line::Setup(self.setup))?;
        if let Some(base) = &self.base {
            line(&Line::Base(base.clone()))?;
        }
        for operation in &self.operations {
            line(&Line::Operation(operation.clone()))?;
        }
        for watch in &self.watches {
            line(&Line::Watch(watch.clone()))?;
        }
        for revision in &self.log {
            line(&Line::Revision(revision.clone()))?;
        }
        output.flush()
    }
}

// === impl Setup ===

impl Default for Setup {
    fn default() -> Setup {
        Setup { drift_ppm: 0, complete: true }
    }
}

// === impl Operation ===

impl Operation {
    /// When it was certainly over; never, for one of unknown outcome.
    #[must_use]
    pub fn ended(&self) -> Option<u64> {
        self.end.filter(|_| !self.is_open())
    }

    /// It may still take effect.
    #[must_use]
    pub fn is_open(&self) -> bool {
        matches!(self.outcome, Outcome::Unknown(_)) || self.end.is_none()
    }

    /// The revision that the answer was given at.
    #[must_use]
    pub fn revision(&self) -> Option<u64> {
        match &self.outcome {
            Outcome::Ok(Response::Range(ranged)) => Some(ranged.revision),
            Outcome::Ok(Response::Txn(answer)) => Some(answer.revision),
            Outcome::Ok(Response::Compacted { revision }) => Some(*revision),
            _ => None,
        }
    }

    pub(crate) fn is_serializable(&self) -> bool {
        matches!(&self.request, Request::Range(Range { serializable: true, .. }))
    }
}

// === impl Keys ===

impl Keys {
    #[must_use]
    pub fn one(key: impl Into<String>) -> Keys {
        Keys { key: key.into(), end: None }
    }

    #[must_use]
    pub fn all() -> Keys {
        Keys { key: "\0".into(), end: Some("\0".into()) }
    }

    #[must_use]
    pub fn contain(&self, key: &str) -> bool {
        match self.end.as_deref() {
            None => key == self.key,
            Some("\0") => key >= self.key.as_str(),
            Some(end) => key >= self.key.as_str() && key < end,
        }
    }

    pub(crate) fn are_all(&self) -> bool {
        self.end.as_deref() == Some("\0") && (self.key.is_empty() || self.key == "\0")
    }
}

// === impl Change ===

impl Change {
    #[must_use]
    pub fn key(&self) -> &str {
        match self {
            Change::Put(kv) => &kv.key,
            Change::Delete { key } => key,
        }
    }
}
