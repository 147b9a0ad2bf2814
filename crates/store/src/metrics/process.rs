//! The process itself, under the names that every Prometheus client library
//! uses. What the kernel does not tell is left out.

use std::{
    fmt::{self, Write as _},
    fs,
};

/// `/proc` counts processor time and the time of start in these; fixed at 100
/// a second in Linux' interface to programs.
const TICKS_PER_SECOND: f64 = 100.0;

#[derive(Debug, Default)]
pub(super) struct Process {
    pub resident_bytes: Option<u64>,
    virtual_bytes: Option<u64>,
    cpu_seconds: Option<f64>,
    start_seconds: Option<f64>,
    open_fds: Option<u64>,
    pub max_fds: Option<u64>,
}

// === impl Process ===

impl Process {
    pub fn now() -> Process {
        let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
        // The second field is the name, in brackets, and may hold anything.
        let fields: Vec<&str> =
            stat.rsplit_once(')').map_or_else(Vec::new, |(_, rest)| rest.split(' ').collect());
        // Counted as in proc(5); the first of `fields` is the blank before the third.
        let field = |number: usize| fields.get(number - 2)?.parse::<f64>().ok();
        let seconds = |number| field(number).map(|ticks| ticks / TICKS_PER_SECOND);
        let cpu_seconds = seconds(14).zip(seconds(15)).map(|(user, system)| user + system);
        Process {
            resident_bytes: kilobytes("VmRSS:"),
            virtual_bytes: kilobytes("VmSize:"),
            cpu_seconds,
            start_seconds: boot_seconds().zip(seconds(22)).map(|(boot, start)| boot + start),
            open_fds: fs::read_dir("/proc/self/fd").ok().map(|entries| entries.count() as u64),
            max_fds: line("/proc/self/limits", "Max open files")
                .and_then(|line| line.split_whitespace().next()?.parse().ok()),
        }
    }

    pub fn write(&self, page: &mut String) -> fmt::Result {
        let whole = |number: Option<u64>| number.map(|number| number.to_string());
        let part = |number: Option<f64>| number.map(|number| number.to_string());
        for (name, kind, figure) in [
            ("process_resident_memory_bytes", "gauge", whole(self.resident_bytes)),
            ("process_virtual_memory_bytes", "gauge", whole(self.virtual_bytes)),
            ("process_cpu_seconds_total", "counter", part(self.cpu_seconds)),
            ("process_start_time_seconds", "gauge", part(self.start_seconds)),
            ("process_open_fds", "gauge", whole(self.open_fds)),
            ("process_max_fds", "gauge", whole(self.max_fds)),
        ] {
            if let Some(figure) = figure {
                writeln!(page, "# TYPE {name} {kind}\n{name} {figure}")?;
            }
        }
        Ok(())
    }
}

fn kilobytes(name: &str) -> Option<u64> {
    let kilobytes: u64 =
        line("/proc/self/status", name)?.split_whitespace().next()?.parse().ok()?;
    Some(kilobytes * 1024)
}

fn boot_seconds() -> Option<f64> {
    line("/proc/stat", "btime")?.trim().parse().ok()
}

/// What follows `name` in its line.
fn line(path: &str, name: &str) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    text.lines().find_map(|line| Some(line.strip_prefix(name)?.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_tells_about_this_process() {
        let Process { resident_bytes, virtual_bytes, cpu_seconds, start_seconds, .. } =
            Process::now();
        assert!(resident_bytes.expect("memory") > 1 << 20);
        assert!(virtual_bytes >= resident_bytes);
        assert!(cpu_seconds.expect("time") < 3600.0);
        assert!(start_seconds.expect("a start") > 1.6e9);
    }
}
