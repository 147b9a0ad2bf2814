//! What earlier drills of the same faults showed.

use std::{fs, path::Path};

use super::report::{EARLIER_MAX, Earlier, Report};

/// From the reports in a folder, the latest first. What cannot be read is no
/// report of this format.
pub fn of(dir: &Path, faults: &[&str]) -> Vec<Earlier> {
    let mut names: Vec<_> = fs::read_dir(dir)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter(|name| name.starts_with("drill-report-") && name.ends_with(".json"))
        .collect();
    // Names carry the time at which they were made.
    names.sort_unstable_by(|a, b| b.cmp(a));
    let read = |name: String| {
        let text = fs::read_to_string(dir.join(&name)).ok()?;
        let report: Report = serde_json::from_str(&text).ok()?;
        (report.faults() == faults).then(|| Earlier {
            report: name,
            drills: report.drills.len(),
            passed: report.passed(),
            median_rto_ms: report.median_rto_ms,
            p95_rto_ms: report.p95_rto_ms,
            worst_rto_ms: report.worst_rto_ms,
        })
    };
    names.into_iter().filter_map(read).take(EARLIER_MAX).collect()
}
