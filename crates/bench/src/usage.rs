//! What a process has used, as the kernel tells.

use std::{fs, time::Duration};

/// Of the kernel's clock ticks, which are hundredths on every Linux.
const TICK: Duration = Duration::from_millis(10);

/// None once the process is gone.
#[must_use]
pub(crate) fn cpu(pid: u32) -> Option<Duration> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name, in parentheses, may contain anything.
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_whitespace().skip(11);
    let mut ticks = || fields.next()?.parse::<u32>().ok();
    Some(TICK * (ticks()? + ticks()?))
}

#[must_use]
pub(crate) fn resident_bytes(pid: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
    let kib: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_process_uses_memory_and_one_that_is_not_there_nothing() {
        let own = std::process::id();
        assert!(resident_bytes(own).is_some_and(|bytes| bytes > 100_000));
        assert!(cpu(own).is_some());
        assert_eq!(cpu(u32::MAX), None);
    }
}
