//! HTTP/1.1 as RFC 9110 and 9112 have it, byte by byte: what `polis proxy run`
//! makes of each case, and what nginx and HAProxy make of the same bytes.
//!
//! Whatever both of them refuse we refuse, and what both take as the same
//! requests we take as these, but for what is declared with its reason.

mod proxy_parts;
mod proxy_reference {
    pub mod cases;
    pub mod sides;
}

use proxy_reference::{
    cases::{CASES, Case},
    sides::{Kind, Outcome, Side},
};

/// Ends each case: a request that is one for everybody who still listens.
const END: &str = "GET /end HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";

/// What stands wrong in the table, or in a proxy.
fn complaints(case: &Case, [ours, nginx, haproxy]: [&Outcome; 3]) -> Vec<String> {
    let mut complaints = Vec::new();
    if *ours != case.expected() {
        complaints.push(format!("polis: expected {}, not {ours}", case.expected()));
    }
    let both_refuse = [nginx, haproxy].iter().all(|seen| seen.kind == Kind::Refused);
    if both_refuse && ours.kind != Kind::Refused {
        complaints.push(format!("both refuse it, and polis does not: {ours}"));
    }
    let same = nginx == haproxy && nginx.kind != Kind::Refused;
    let differs = same && ours != nginx;
    if differs != case.differs.is_some() {
        let reason = case.differs.unwrap_or("no reason is given");
        complaints.push(format!("both: {nginx}, polis: {ours} ({reason})"));
    }
    complaints
}

#[test]
fn bytes_mean_to_us_what_they_mean_to_others() {
    let sides = [Side::polis(), Side::nginx(), Side::haproxy()];
    let (mut table, mut wrong) = (String::new(), Vec::new());
    for case in CASES {
        let bytes = format!("{}{END}", case.bytes);
        let outcomes = sides.each_ref().map(|side| side.send(bytes.as_bytes()));
        let seen = outcomes.each_ref();
        let told = seen.map(ToString::to_string).join(" | ");
        table += &format!("{} | {told}\n", case.name);
        let complaints = complaints(case, seen).into_iter();
        wrong.extend(complaints.map(|complaint| format!("{}: {complaint}", case.name)));
    }
    assert!(wrong.is_empty(), "{}\n\n{table}", wrong.join("\n"));
}
