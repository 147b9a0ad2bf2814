//! Files of a report: written, sealed, and printed.

use std::{
    io::Write,
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

use anyhow::Context;

use super::{chain, html, report::Report};
use crate::{load::new_run_id, output::Format};

/// Writes the report, its page and the link that seals both with the
/// histories, and prints it.
pub fn report(
    dir: &Path,
    report: &Report,
    copy: Option<&PathBuf>,
    output: Format,
) -> anyhow::Result<()> {
    let name = format!("drill-report-{}", new_run_id());
    let json = format!("{:#}\n", serde_json::to_value(report)?);
    // Read back, so that the page is that of the file.
    let page = html::page(&serde_json::from_str(&json).context("read the report back")?);
    let (kept, page_file) = (format!("{name}.json"), format!("{name}.html"));
    for (file, text) in [(&kept, &json), (&page_file, &page)] {
        std::fs::write(dir.join(file), text).with_context(|| format!("write {file}"))?;
    }
    let mut files = vec![kept.clone(), page_file.clone()];
    for drill in &report.drills {
        files.extend([drill.files.history.clone(), drill.files.present.clone()]);
    }
    chain::append(dir, &files, unix_ms())?;
    if let Some(path) = copy {
        std::fs::write(path, &json).with_context(|| format!("write {}", path.display()))?;
    }
    let mut out = std::io::stdout().lock();
    match output {
        Format::Json => out.write_all(json.as_bytes())?,
        Format::Table => {
            report.table(&mut out)?;
            writeln!(out, "report: {}", dir.join(kept).display())?;
            writeln!(out, "page:   {}", dir.join(page_file).display())?;
        }
    }
    Ok(())
}

/// One JSON object a line, on disk afterwards.
pub fn lines<T: serde::Serialize>(path: &Path, lines: &[T]) -> anyhow::Result<()> {
    let file = std::fs::File::create(path).with_context(|| format!("create {}", path.display()))?;
    let mut file = std::io::BufWriter::new(file);
    for line in lines {
        serde_json::to_writer(&mut file, line)?;
        file.write_all(b"\n")?;
    }
    file.flush().and_then(|()| file.get_ref().sync_all()).context("write the list of payments")
}

/// When, for people and auditors; nothing is measured with it.
pub fn unix_ms() -> u64 {
    #[expect(clippy::disallowed_methods, reason = "a date for people, not a measure of time")]
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
