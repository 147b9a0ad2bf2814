//! The page of a report: one file, no script, nothing from elsewhere. Pure: the
//! same report gives the same bytes, so that `verify` can make it again.

use std::fmt::Write as _;

use load::Invariant;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use super::{
    machine,
    report::{Drill, Report},
};

const WIDTH: u64 = 960;
/// Of a unit's lane, and of its bars in it.
const LANE: u64 = 44;
const BAR: u64 = 36;
const LEFT: u64 = 60;

const STYLE: &str = "body{font:14px/1.5 system-ui,sans-serif;max-width:1060px;margin:2em auto;padding:0 1em;\
color:#1c2430;background:#fff}h1{font-size:1.5em}h2{font-size:1.2em;margin-top:2em;border-top:1px solid #ccd;\
padding-top:1em}table{border-collapse:collapse;margin:.5em 0}td,th{padding:.2em .8em;text-align:right;\
border-bottom:1px solid #e3e6ec}td:first-child,th:first-child{text-align:left}.ok{color:#14713a}\
.bad{color:#b3261e;font-weight:600}svg{display:block;max-width:100%}.note{color:#5a6475}\
@media(prefers-color-scheme:dark){body{color:#e4e8ef;background:#14181f}td,th{border-color:#2b3340}\
h2{border-color:#2b3340}.ok{color:#5fce8b}.bad{color:#ff8a80}.note{color:#9aa5b8}}";

/// The whole page.
pub fn page(report: &Report) -> String {
    let mut out = String::new();
    let (passed, count) = (report.passed(), report.drills.len());
    let verdict = if passed == count { "ok" } else { "bad" };
    let _ = write!(
        out,
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><meta name=\"viewport\" \
         content=\"width=device-width\"><title>Drill: {title}</title><style>{STYLE}</style>\n\
         <h1>Drill: {title}</h1>\n<p class=\"{verdict}\">{passed} of {count} passed</p>\n",
        title = escape(&report.faults().join("; ")),
    );
    let total: [u64; 4] = report.drills.iter().fold([0; 4], |sum, drill| {
        let more = [drill.acked, drill.present, drill.lost, drill.doubled];
        [0, 1, 2, 3].map(|at| sum[at] + more[at])
    });
    let _ = writeln!(
        out,
        "<p>Recovery: p50 {} ms, p95 {} ms, worst {} ms. Of {} payments that were acknowledged, {} are there, \
         {} are lost, {} were made twice. {} payments a second; network: {}; Polis {}.</p>",
        ms(report.median_rto_ms),
        ms(report.p95_rto_ms),
        ms(report.worst_rto_ms),
        total[0],
        total[1],
        total[2],
        total[3],
        report.rate,
        escape(&report.network),
        escape(&report.polis),
    );
    by_fault(&mut out, report);
    topology(&mut out, report);
    earlier(&mut out, report);
    for (index, drill) in report.drills.iter().enumerate() {
        section(&mut out, index + 1, drill);
    }
    out.push_str(
        "<p class=\"note\">Check this page, its figures and the raw history with \
         <code>polis drill verify</code> on the JSON file of the same name.</p></html>\n",
    );
    out
}

fn by_fault(out: &mut String, report: &Report) {
    let header = "<th>fault<th>passed<th>lost<th>twice<th>p50 ms<th>p95 ms<th>worst ms";
    let goals = if report.goals.is_some() { "<th>goals, ms" } else { "" };
    let _ = writeln!(out, "<table><tr>{header}{goals}</tr>");
    for of in &report.by_fault {
        let mut cells = vec![escape(&of.fault), format!("{} of {}", of.passed, of.drills)];
        cells.extend([of.lost, of.doubled].map(|count| count.to_string()));
        cells.extend([of.median_rto_ms, of.p95_rto_ms, of.worst_rto_ms].map(ms));
        cells.extend(report.goals.map(|goals| goals.beside(of)));
        row(out, &cells);
    }
    out.push_str("</table>\n");
}

fn topology(out: &mut String, report: &Report) {
    out.push_str("<table><tr><th>city<th>center<th>unit<th>home of shards</tr>\n");
    for place in &report.topology {
        let cells = [&place.city, &place.center, &place.unit, &place.shards];
        row(out, &cells.map(|cell| escape(cell)));
    }
    out.push_str("</table>\n");
}

fn earlier(out: &mut String, report: &Report) {
    if report.earlier.is_empty() {
        out.push_str("<p class=\"note\">No earlier drill of this kind is kept here.</p>\n");
        return;
    }
    out.push_str("<table><tr><th>earlier<th>passed<th>p50 ms<th>p95 ms<th>worst ms</tr>\n");
    for earlier in &report.earlier {
        row(
            out,
            &[
                escape(&earlier.report),
                format!("{} of {}", earlier.passed, earlier.drills),
                ms(earlier.median_rto_ms),
                ms(earlier.p95_rto_ms),
                ms(earlier.worst_rto_ms),
            ],
        );
    }
    out.push_str("</table>\n");
}

fn section(out: &mut String, number: usize, drill: &Drill) {
    let (class, verdict) = if drill.passed() { ("ok", "passed") } else { ("bad", "FAILED") };
    let _ = writeln!(
        out,
        "<h2>{number}. {} <span class=\"{class}\">{verdict}</span></h2>\n<p>Injected {}. Expected: {}.{}</p>",
        escape(&drill.fault),
        date(drill.injected.at_unix_ms),
        escape(&drill.hypothesis),
        drill.abort.as_ref().map_or_else(String::new, |why| {
            format!(" <span class=\"bad\">Aborted: {}.</span>", escape(why))
        }),
    );
    chart(out, drill);
    let rto = &drill.rto_ms;
    out.push_str("<table><tr><th>recovery, ms<th>total<th>detect<th>decide<th>fence<th>reroute<th>hold<th>return</tr>\n");
    let phases =
        [rto.total, rto.detect, rto.decide, rto.fence, rto.reroute, rto.hold, drill.return_ms];
    let mut cells = vec![String::new()];
    cells.extend(phases.map(ms));
    row(out, &cells);
    out.push_str("</table>\n<table><tr><th>payments<th>acknowledged<th>present<th>lost<th>twice<th>unknown, resolved<th>open<th>errors elsewhere</tr>\n");
    let counts = [
        drill.acked,
        drill.present,
        drill.lost,
        drill.doubled,
        drill.unknown_resolved,
        drill.unresolved,
        drill.unaffected_errors,
    ];
    let mut cells = vec![String::new()];
    cells.extend(counts.map(|count| count.to_string()));
    row(out, &cells);
    out.push_str("</table>\n<p>Invariants: ");
    for (number, verdict) in &drill.invariants {
        let (class, word) = match verdict {
            Invariant::Ok => ("ok", "ok"),
            Invariant::Violated => ("bad", "violated"),
            Invariant::NotApplicable => ("note", "n/a"),
        };
        let _ = write!(out, "<span class=\"{class}\">{number} {word}</span> ");
    }
    let writers = match drill.two_writers.len() {
        0 => "<span class=\"ok\">one writer a shard and epoch</span>".to_owned(),
        some => format!(
            "<span class=\"bad\">{some} contradictions of one writer a shard and epoch</span>"
        ),
    };
    let _ = writeln!(out, "{writers}</p>");
    if let Some(stall) = machine::worst(&drill.machine) {
        let _ = writeln!(
            out,
            "<p class=\"note\">The machine itself stood still {} times for a tenth of a second or more; at worst {stall}.</p>",
            drill.machine.len(),
        );
    }
    if !drill.map.is_empty() {
        out.push_str(
            "<table><tr><th>shards<th>after the fault, ms<th>state<th>unit<th>epochs</tr>\n",
        );
        for change in &drill.map {
            let [low, high] = change.epochs;
            let after = i128::from(change.at_us) - i128::from(drill.injected.at_us);
            row(
                out,
                &[
                    escape(&change.shards),
                    (after / 1000).to_string(),
                    escape(&change.state),
                    escape(&change.unit),
                    if low == high { low.to_string() } else { format!("{low} to {high}") },
                ],
            );
        }
        out.push_str("</table>\n");
    }
    for finding in drill.findings.iter().chain(&drill.two_writers) {
        let _ = writeln!(out, "<p class=\"bad\">{}</p>", escape(finding));
    }
    let _ = writeln!(
        out,
        "<p class=\"note\">Raw: {}, {}.</p>",
        escape(&drill.files.history),
        escape(&drill.files.present)
    );
}

/// A lane for each unit, a bar for each second: what fell due, by how it ended.
fn chart(out: &mut String, drill: &Drill) {
    let seconds = drill.seconds.iter().map(|second| second.second + 1).max().unwrap_or(1);
    let most = drill.seconds.iter().map(|second| second.due).max().unwrap_or(1).max(1);
    let mut units: Vec<_> = drill.seconds.iter().map(|second| second.unit.as_str()).collect();
    units.sort_unstable();
    units.dedup();
    let height = LANE * units.len() as u64 + 34;
    let x =
        |us: u64| LEFT as f64 + us as f64 * (WIDTH - LEFT) as f64 / (seconds * 1_000_000) as f64;
    let _ = writeln!(
        out,
        "<svg viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" aria-label=\"payments by second and unit\" \
         font-size=\"11\" fill=\"currentColor\">"
    );
    for (lane, unit) in units.iter().enumerate() {
        let base = LANE * (lane as u64 + 1);
        let _ = writeln!(out, "<text x=\"0\" y=\"{}\">{}</text>", base - 12, escape(unit));
        for second in drill.seconds.iter().filter(|second| second.unit == *unit) {
            let (left, right) = (x(second.second * 1_000_000), x((second.second + 1) * 1_000_000));
            let mut top = base as f64;
            for (count, colour) in [
                (second.in_time, "#3fa66b"),
                (second.late, "#e0a030"),
                (second.unanswered, "#d1453b"),
            ] {
                let tall = count as f64 * BAR as f64 / most as f64;
                top -= tall;
                if count > 0 {
                    let _ = write!(
                        out,
                        "<rect x=\"{left:.1}\" y=\"{top:.1}\" width=\"{:.1}\" height=\"{tall:.1}\" fill=\"{colour}\">\
                         <title>{} s, {}: {} due, {} in time, {} late, {} without, p99 {} ms</title></rect>",
                        (right - left - 1.0).max(0.5),
                        second.second,
                        escape(unit),
                        second.due,
                        second.in_time,
                        second.late,
                        second.unanswered,
                        second.p99_us / 1000,
                    );
                }
            }
        }
        out.push('\n');
    }
    let at = drill.injected.at_us;
    let mut marks = vec![(at, "fault".to_owned())];
    marks.extend(drill.rto_ms.total.map(|total| (at + total * 1000, "whole".to_owned())));
    marks.push((drill.injected.ordered_us, "healed".to_owned()));
    for (us, what) in marks {
        let (at, low) = (x(us), height - 30);
        let _ = writeln!(
            out,
            "<line x1=\"{at:.1}\" x2=\"{at:.1}\" y1=\"0\" y2=\"{low}\" stroke=\"currentColor\" stroke-dasharray=\"3 3\"/>\
             <text x=\"{at:.1}\" y=\"{}\" text-anchor=\"{}\">{what}</text>",
            height - 18,
            if what == "fault" { "end" } else { "start" },
        );
    }
    let _ = writeln!(
        out,
        "<text x=\"{LEFT}\" y=\"{}\">seconds 0 to {seconds}; green: within a second, amber: later, red: no answer</text></svg>",
        height - 3
    );
}

fn row(out: &mut String, cells: &[String]) {
    out.push_str("<tr>");
    for cell in cells {
        let _ = write!(out, "<td>{cell}");
    }
    out.push_str("</tr>\n");
}

fn ms(value: Option<u64>) -> String {
    value.map_or_else(|| "not seen".into(), |ms| ms.to_string())
}

fn date(unix_ms: u64) -> String {
    let seconds = i64::try_from(unix_ms / 1000).unwrap_or(0);
    let at = OffsetDateTime::from_unix_timestamp(seconds).ok();
    at.and_then(|at| at.format(&Rfc3339).ok()).unwrap_or_else(|| "at an unknown time".into())
}

/// Names come from files that anyone may have written.
fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
