//! `/livez`, `/readyz`, `/healthz`: whole, with every check told (`?verbose`),
//! without some (`?exclude=`), or one check by its name.
//!
//! `livez` is about being, the others are about serving: they ask the store,
//! under the name by which Kubernetes' probes know it.

use std::{fmt::Write as _, time::Duration};

use http::{Response, StatusCode};

use crate::{
    failure::Failure,
    handler::Handler,
    request::query::Query,
    response::{self, Body},
};

/// A store that takes longer than this to answer a read is not ready.
pub(crate) const READY_TIMEOUT: Duration = Duration::from_secs(2);

const PING: &str = "ping";
const STORE: &str = "etcd";
const SHUTDOWN: &str = "shutdown";

/// What was looked at, and what was found.
#[derive(Debug, Default)]
struct Report {
    checks: Vec<(&'static str, Found)>,
    /// Names that no check has.
    unknown: Vec<String>,
}

#[derive(Debug, PartialEq, Eq)]
enum Found {
    Well,
    Excluded,
    Failed(String),
}

/// The checks that stand behind a path.
fn checks(which: &str) -> &'static [&'static str] {
    match which {
        "livez" => &[PING],
        "readyz" => &[PING, STORE, SHUTDOWN],
        _ => &[PING, STORE],
    }
}

// === impl Handler ===

impl Handler {
    /// All checks of `which`, or the one that is named.
    pub(crate) async fn health(
        &self,
        which: &'static str,
        only: Option<&str>,
        query: &Query,
    ) -> Result<Response<Body>, Failure> {
        let all = checks(which);
        if let Some(only) = only {
            let known = all.iter().find(|name| **name == only);
            let name = known.ok_or_else(Failure::no_such_path)?;
            return Ok(match self.look(name).await {
                Found::Failed(why) => {
                    let body = format!("internal server error: {why}\n");
                    response::text(StatusCode::SERVICE_UNAVAILABLE, body)
                }
                Found::Well | Found::Excluded => response::text(StatusCode::OK, "ok"),
            });
        }
        let excluded: Vec<&str> = query
            .all("exclude")
            .flat_map(|list| list.split(','))
            .filter(|n| !n.is_empty())
            .collect();
        let mut report = Report::default();
        for name in all {
            let found = match excluded.contains(name) {
                true => Found::Excluded,
                false => self.look(name).await,
            };
            report.checks.push((name, found));
        }
        let unknown = excluded.iter().filter(|name| !all.contains(name));
        report.unknown = unknown.map(|name| name.chars().take(NAME_CHARS_MAX).collect()).collect();
        Ok(report.answer(which, query.flag("verbose")))
    }

    async fn look(&self, name: &str) -> Found {
        match name {
            SHUTDOWN if self.shared.departure.is_announced() => Found::Failed("leaving".into()),
            STORE => match self.shared.clusters.probe(READY_TIMEOUT).await {
                Ok(()) => Found::Well,
                Err(why) => {
                    let code = errors::API_STORE_UNAVAILABLE;
                    Found::Failed(format!("{code}: {why}"))
                }
            },
            _ => Found::Well,
        }
    }
}

/// Of what a caller wants excluded, in an answer.
const NAME_CHARS_MAX: usize = 64;

// === impl Report ===

impl Report {
    fn answer(&self, which: &str, verbose: bool) -> Response<Body> {
        let failed = self.checks.iter().any(|(_, found)| matches!(found, Found::Failed(_)));
        match (failed, verbose) {
            (false, false) => response::text(StatusCode::OK, "ok"),
            (false, true) => {
                response::text(StatusCode::OK, self.text() + &format!("{which} check passed\n"))
            }
            (true, _) => {
                let text = self.text() + &format!("{which} check failed\n");
                response::text(StatusCode::SERVICE_UNAVAILABLE, text)
            }
        }
    }

    fn text(&self) -> String {
        let mut text = String::new();
        for (name, found) in &self.checks {
            let _ = match found {
                Found::Well => writeln!(text, "[+]{name} ok"),
                Found::Excluded => writeln!(text, "[+]{name} excluded: ok"),
                Found::Failed(why) => writeln!(text, "[-]{name} failed: {why}"),
            };
        }
        if !self.unknown.is_empty() {
            let quoted: Vec<String> = self.unknown.iter().map(|name| format!("{name:?}")).collect();
            let _ = writeln!(
                text,
                "warn: some health checks cannot be excluded: no matches for {}",
                quoted.join(",")
            );
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;

    use super::*;

    async fn check(found: [(&'static str, Found); 2], verbose: bool, expected: (u16, &str)) {
        let report = Report { checks: found.into(), unknown: vec!["x".into()] };
        let answer = report.answer("readyz", verbose);
        let code = answer.status().as_u16();
        let Ok(body) = answer.into_body().collect().await;
        let text = String::from_utf8_lossy(&body.to_bytes()).into_owned();
        assert_eq!((code, text.as_str()), expected);
    }

    #[tokio::test]
    async fn failures_are_told_in_any_case_and_the_rest_if_asked() {
        let well = || [(PING, Found::Well), (STORE, Found::Excluded)];
        check(well(), false, (200, "ok")).await;
        let text = "[+]ping ok\n[+]etcd excluded: ok\nwarn: some health checks cannot be excluded: \
                    no matches for \"x\"\nreadyz check passed\n";
        check(well(), true, (200, text)).await;
        let failed = [(PING, Found::Well), (STORE, Found::Failed("slow".into()))];
        let text = "[+]ping ok\n[-]etcd failed: slow\nwarn: some health checks cannot be excluded: \
                    no matches for \"x\"\nreadyz check failed\n";
        check(failed, false, (503, text)).await;
    }
}
