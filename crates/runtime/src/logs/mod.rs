//! What containers print: kept as lines with a time and a stream, bounded on
//! disk, complete across a restart of the agent.
//!
//! A pipe would die with its reader and take the writer along (SIGPIPE), and a
//! full one would stop a container whose agent is away. So a container writes
//! straight to two spool files (`O_APPEND`), which need nobody at the other
//! end. A thread follows them by inotify, stamps each line, appends it to the
//! log in the CRI format that `kubectl logs` understands, remembers how far it
//! came, and punches the consumed part out of the spool. After a restart it goes
//! on from there; lines printed in between carry the time they were read at. A
//! crash between a log line and the remembered offset repeats lines and loses
//! none. The price: while no agent is there, nobody bounds a spool. Rejected: truncating the spool (loses what is written in between), a
//! shim process per container (costs memory for each).
//!
//! Layout in a container's folder: `N.out`, `N.err`, `N.offsets` while attempt
//! N runs; `N.log` and, once rotated, `N.log.1`. The previous attempt's log is
//! kept, older ones are removed.

mod capture;
mod format;
pub(crate) mod pump;
mod read;

pub(crate) use capture::{Capture, Progress};
pub use format::Stream;
pub(crate) use pump::Pump;
pub use read::{Chunks, ReadOptions};

use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// Two files of this size for the running attempt and two for the one before:
/// 20 MiB of disk per container at most, and any file reads in a blink.
pub const LOG_FILE_MAX: u64 = 5 << 20;

pub(crate) fn log(folder: &Path, attempt: u32) -> PathBuf {
    folder.join(format!("{attempt}.log"))
}

pub(crate) fn rotated(folder: &Path, attempt: u32) -> PathBuf {
    folder.join(format!("{attempt}.log.1"))
}

/// Removes the files of attempts before the previous one.
pub(crate) fn remove_old(folder: &Path, attempt: u32) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        let of = name.to_str().and_then(|name| name.split_once('.')?.0.parse::<u32>().ok());
        if of.is_some_and(|of| of.saturating_add(1) < attempt) {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}
