//! What `/proc` tells: when a process started, and who carries our mark.
//!
//! A pid alone names nobody: it is used again. Pid, start time and boot
//! together do.

use std::{fs, io, path::Path};

use rustix::process::Pid;

use crate::record::Running;

/// Fields of `/proc/PID/stat`, counted from 1 as in proc(5).
const SESSION: usize = 6;
const START_TIME: usize = 22;

/// In the environment of a process that was started beside a container: that
/// container's folder.
pub(crate) const EXEC_MARK: &str = "POLIS_EXEC";

/// Of a container's own process: see [`crate::record`].
pub(crate) const CONTAINER_MARK: &str = "POLIS_CONTAINER";

/// Whether the number still names the recorded process.
pub(crate) fn is_same(running: &Running) -> bool {
    let pid = Pid::from_raw(running.pid);
    pid.and_then(start_ticks) == Some(running.start_ticks)
}

/// Which session a process is in.
pub(crate) fn session(pid: Pid) -> Option<i32> {
    i32::try_from(field(&stat(pid)?, SESSION)?).ok()
}

/// Ticks since boot. `None` if there is no such process.
pub(crate) fn start_ticks(pid: Pid) -> Option<u64> {
    field(&stat(pid)?, START_TIME)
}

fn stat(pid: Pid) -> Option<String> {
    fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).ok()
}

/// The command's name (field 2) stands in parentheses and may itself hold blanks
/// and parentheses: later fields are counted after the last one.
fn field(stat: &str, number: usize) -> Option<u64> {
    let (_, fields) = stat.rsplit_once(')')?;
    fields.split_ascii_whitespace().nth(number - 3)?.parse().ok()
}

/// Differs after every boot; ticks are comparable only within one.
pub(crate) fn boot_id() -> io::Result<String> {
    Ok(fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim().to_owned())
}

/// The process that has `mark` (`NAME=value`) in its initial environment and
/// leads its session, if any. Walks all of `/proc`: for rare repairs only.
pub(crate) fn find_marked(mark: &str) -> Option<Pid> {
    let marked = |dir: &Path| {
        let environ = fs::read(dir.join("environ")).unwrap_or_default();
        environ.split(|byte| *byte == 0).any(|entry| entry == mark.as_bytes())
    };
    for entry in fs::read_dir("/proc").ok()?.flatten() {
        let Some(raw) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        let Some(pid) = Pid::from_raw(raw) else { continue };
        let session = stat(pid).and_then(|stat| field(&stat, SESSION));
        if session == u64::try_from(raw).ok() && marked(&entry.path()) {
            return Some(pid);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_start_time_is_found_behind_a_name_with_parentheses() {
        let stat = "7 (a) b ) S 1 7 7 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 4242 0 0";
        assert_eq!(field(stat, START_TIME), Some(4242));
        assert_eq!(field("7 (a", START_TIME), None);
        assert!(start_ticks(rustix::process::getpid()).is_some_and(|ticks| ticks > 0));
    }
}
