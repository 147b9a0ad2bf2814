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
    field_bytes(&format!("/proc/{pid}/status"), "VmRSS:")
}

/// Its share of what it has in memory together with others.
#[must_use]
pub(crate) fn share_bytes(pid: u32) -> Option<u64> {
    field_bytes(&format!("/proc/{pid}/smaps_rollup"), "Pss:")
}

fn field_bytes(path: &str, name: &str) -> Option<u64> {
    let text = fs::read_to_string(path).ok()?;
    let line = text.lines().find(|line| line.starts_with(name))?;
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
        assert!(share_bytes(own) <= resident_bytes(own));
        assert!(share_bytes(own).is_some_and(|bytes| bytes > 100_000));
        assert!(cpu(own).is_some());
        assert_eq!(cpu(u32::MAX), None);
    }
}
