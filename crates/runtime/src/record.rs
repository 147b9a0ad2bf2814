//! The record of a container on disk: enough to find its process again.
//!
//! Written before the process starts (without a pid) and again once it runs. A
//! caller that dies between the two leaves a process that still carries its
//! mark in the environment; `Runtime::open` finds it by that.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use rustix::process::Pid;
use serde::{Deserialize, Serialize};

use crate::{ContainerId, Exit, proc};

/// Format of the record. A higher one was written by a later release.
const FORMAT: u32 = 1;

const FILE: &str = "record.json";

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    format: u32,
    pub id: ContainerId,
    /// Starts at 0 and rises with every restart.
    pub attempt: u32,
    pub digest: u64,
    /// `None` while it is being started.
    pub running: Option<Running>,
    /// How this attempt ended, once it has.
    pub finished: Option<Finished>,
    /// How the attempt before ended.
    pub previous: Option<Finished>,
}

/// What names a process for good.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Running {
    pub pid: i32,
    pub start_ticks: u64,
    pub boot_id: String,
    /// Since the Unix epoch; for people.
    pub started_at: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finished {
    pub exit: Exit,
    /// Both since the Unix epoch; for people.
    pub started_at: Duration,
    pub finished_at: Duration,
}

// === impl Record ===

impl Record {
    pub(crate) fn starting(id: ContainerId, attempt: u32, digest: u64) -> Record {
        let (running, finished, previous) = (None, None, None);
        Record { format: FORMAT, id, attempt, digest, running, finished, previous }
    }

    /// Environment entry by which a process without a recorded pid is known.
    pub(crate) fn mark(&self, folder: &Path) -> (&'static str, String) {
        (proc::CONTAINER_MARK, format!("{}/{}", folder.display(), self.attempt))
    }

    /// A reader sees the record before or after, never half of it.
    pub(crate) fn save(&self, folder: &Path) -> io::Result<()> {
        let text = serde_json::to_vec(self)?;
        let fresh = folder.join("record.json.new");
        fs::write(&fresh, text)?;
        fs::rename(fresh, folder.join(FILE))
    }

    /// `Ok(None)` if there is none.
    pub(crate) fn load(folder: &Path) -> io::Result<Option<Record>> {
        let text = match fs::read(folder.join(FILE)) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let record: Record = serde_json::from_slice(&text)?;
        if record.format > FORMAT {
            let text = format!("record has format {}, this release reads {FORMAT}", record.format);
            return Err(io::Error::new(io::ErrorKind::InvalidData, text));
        }
        Ok(Some(record))
    }
}

// === impl Running ===

impl Running {
    /// `None` if the process ended in the meantime.
    pub(crate) fn of(pid: Pid, boot_id: &str, started_at: Duration) -> Option<Running> {
        let start_ticks = proc::start_ticks(pid)?;
        let pid = pid.as_raw_nonzero().get();
        Some(Running { pid, start_ticks, boot_id: boot_id.to_owned(), started_at })
    }
}

/// `ROOT/UID/CONTAINER`.
pub(crate) fn folder(root: &Path, id: &ContainerId) -> PathBuf {
    root.join(&id.uid).join(&id.container)
}
