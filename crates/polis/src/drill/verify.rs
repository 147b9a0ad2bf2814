//! `polis drill verify`: whether a report is what was written when its drills
//! ended, and whether its figures follow from the raw history.

use std::{fs, io::Write, path::Path};

use anyhow::{Context, bail};
use load::{Check, Present, Record};

use super::{
    chain, html,
    measure::{self, Injected},
    report::{Drill, Report},
    series,
};

/// Says what was checked; an error names the first thing that differs.
pub fn run(path: &Path) -> anyhow::Result<()> {
    let path = std::path::absolute(path).context("find the report")?;
    let dir = path.parent().context("find the folder of the report")?;
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let text = fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
    let mut out = std::io::stdout().lock();
    let mut wrong = Vec::new();
    let links = chain::read(dir).with_context(failed)?;
    let link = links.iter().find(|link| link.files.iter().any(|file| file.name == name));
    let link = link.with_context(|| format!("{}: {name} is not in {}", failed(), chain::CHAIN))?;
    writeln!(
        out,
        "chain: {} links follow from one another; this is number {}",
        links.len(),
        link.number
    )?;
    for file in &link.files {
        match chain::differs(dir, file) {
            None => writeln!(out, "sealed: {} ({} bytes)", file.name, file.bytes)?,
            Some(what) => wrong.push(what),
        }
    }
    match serde_json::from_str::<Report>(&text) {
        Ok(report) => {
            for (number, drill) in report.drills.iter().enumerate() {
                match replay(dir, drill) {
                    Ok(differ) => {
                        wrong.extend(
                            differ.into_iter().map(|what| format!("drill {}: {what}", number + 1)),
                        );
                        writeln!(out, "replayed: {} from {}", drill.fault, drill.files.history)?;
                    }
                    Err(error) => wrong.push(format!("drill {}: {error:#}", number + 1)),
                }
            }
            let page = Path::new(&name).with_extension("html");
            if fs::read_to_string(dir.join(&page)).ok().as_deref() != Some(&html::page(&report)) {
                wrong.push(format!("{}: is not the page of this report", page.display()));
            }
        }
        Err(error) => wrong.push(format!("{name}: {error}")),
    }
    if wrong.is_empty() {
        writeln!(out, "{name} checks out")?;
        return Ok(());
    }
    bail!("{}:\n  {}\n{}", failed(), wrong.join("\n  "), errors::DRILL_REPORT.remedy())
}

fn failed() -> String {
    format!("{}: the report does not check out", errors::DRILL_REPORT)
}

/// Figures of the report that its own history does not give.
fn replay(dir: &Path, drill: &Drill) -> anyhow::Result<Vec<String>> {
    let records = load::read_history(&dir.join(&drill.files.history))?;
    let listed = fs::read_to_string(dir.join(&drill.files.present)).context("read the list")?;
    let listed: Vec<Present> = listed
        .lines()
        .map(serde_json::from_str)
        .collect::<Result<_, _>>()
        .context("parse the list")?;
    let check = load::compare(&records, listed);
    let lost =
        drill.injected.lost.parse().map_err(|error| anyhow::anyhow!("lost shards: {error}"))?;
    let injected = Injected {
        at_us: drill.injected.at_us,
        lost: &lost,
        dead_edges: &drill.injected.dead_edges,
        healed_us: drill.injected.healed_us,
    };
    Ok(compare(drill, &records, &check, &injected))
}

fn compare(
    drill: &Drill,
    records: &[Record],
    check: &Check,
    injected: &Injected<'_>,
) -> Vec<String> {
    let recovery = measure::recovery(records, injected);
    let figures = [
        ("acked", Some(drill.acked), Some(check.acked)),
        ("present", Some(drill.present), Some(check.present)),
        ("unknown_resolved", Some(drill.unknown_resolved), Some(check.unknown_resolved)),
        ("unresolved", Some(drill.unresolved), Some(check.unresolved)),
        ("rate_before", Some(drill.rate_before), Some(recovery.rate_before)),
        ("rto_ms.total", drill.rto_ms.total, recovery.total_us.map(|us| us / 1000)),
        ("edge_lost", Some(drill.edge_lost), Some(measure::edge_lost(records, injected))),
        (
            "unaffected_errors",
            Some(drill.unaffected_errors),
            Some(measure::unaffected_errors(records, injected)),
        ),
    ];
    let shown =
        |value: Option<u64>| value.map_or_else(|| "none".to_owned(), |value| value.to_string());
    let mut wrong: Vec<_> = figures
        .iter()
        .filter(|(_, said, found)| said != found)
        .map(|(name, said, found)| {
            format!("{name} is {} by the history, not {}", shown(*found), shown(*said))
        })
        .collect();
    // The audits found more than the list can show: doubled and lost are at least this.
    for (name, said, found) in
        [("lost", drill.lost, check.lost), ("doubled", drill.doubled, check.doubled)]
    {
        if said < found {
            wrong.push(format!("{name} is at least {found} by the history, not {said}"));
        }
    }
    if drill.two_writers != series::two_writers(records) {
        wrong.push("two_writers is not what the history gives".into());
    }
    wrong
}
