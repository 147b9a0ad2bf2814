//! Probes: what to ask a container, and what the answers add up to. Pure, but
//! for `check`, which asks.

mod check;

pub(crate) use check::Checker;

use std::{net::IpAddr, time::Duration};

use k8s_openapi::{api::core::v1 as core, apimachinery::pkg::util::intstr::IntOrString};

/// A readiness probe asks this often until its first success, so that a service
/// is used as soon as it can serve...
const EAGER_PERIOD: Duration = Duration::from_millis(150);
/// ...but not for ever: a TLS handshake each costs something.
const EAGER_FOR: Duration = Duration::from_secs(30);

const TIMEOUT_MAX: i32 = 60;
const PERIOD_MAX: i32 = 3600;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Probe {
    pub ask: Ask,
    pub initial_delay: Duration,
    pub period: Duration,
    pub timeout: Duration,
    pub successes_needed: u32,
    pub failures_needed: u32,
    /// Of liveness: for what failed it to end by itself, if it is not the Pod's.
    pub grace: Option<Duration>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ask {
    Tcp { host: String, port: u16 },
    Http { tls: bool, host: String, port: u16, path: String, headers: Vec<(String, String)> },
}

/// Who waits for the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Haste {
    /// Readiness: users.
    Eager,
    /// Liveness: nobody. Haste would kill whoever starts slowly.
    Steady,
}

/// What a row of answers says so far.
#[derive(Debug)]
pub(crate) struct Tally {
    verdict: Option<bool>,
    row: u32,
    last: bool,
    successes_needed: u32,
    failures_needed: u32,
}

// === impl Probe ===

impl Probe {
    pub(crate) fn parse(
        probe: &core::Probe,
        container: &core::Container,
        address: IpAddr,
    ) -> Result<Probe, String> {
        let host = |host: &Option<String>| {
            let given = host.clone().filter(|host| !host.is_empty());
            given.unwrap_or_else(|| address.to_string())
        };
        let ask = match (&probe.http_get, &probe.tcp_socket) {
            (Some(get), None) => {
                let tls = match get.scheme.as_deref() {
                    None | Some("" | "HTTP") => false,
                    Some("HTTPS") => true,
                    Some(other) => return Err(format!("scheme {other:?} is not HTTP or HTTPS")),
                };
                let path = get.path.clone().filter(|path| !path.is_empty());
                let path = path.unwrap_or_else(|| "/".into());
                let path = if path.starts_with('/') { path } else { format!("/{path}") };
                let headers = get.http_headers.iter().flatten();
                let headers = headers.map(|header| (header.name.clone(), header.value.clone()));
                let port = port(&get.port, container)?;
                Ask::Http { tls, host: host(&get.host), port, path, headers: headers.collect() }
            }
            (None, Some(tcp)) => {
                Ask::Tcp { host: host(&tcp.host), port: port(&tcp.port, container)? }
            }
            _ => return Err("needs one of httpGet and tcpSocket; others are not served".into()),
        };
        let seconds = |value: Option<i32>, default: i32, least: i32, most: i32| {
            let value = value.filter(|value| *value != 0).unwrap_or(default).clamp(least, most);
            Duration::from_secs(value.unsigned_abs().into())
        };
        let count = |value: Option<i32>, default| {
            value.and_then(|value| u32::try_from(value).ok()).filter(|n| *n > 0).unwrap_or(default)
        };
        Ok(Probe {
            ask,
            initial_delay: seconds(probe.initial_delay_seconds, 0, 0, PERIOD_MAX),
            period: seconds(probe.period_seconds, 10, 1, PERIOD_MAX),
            timeout: seconds(probe.timeout_seconds, 1, 1, TIMEOUT_MAX),
            successes_needed: count(probe.success_threshold, 1),
            failures_needed: count(probe.failure_threshold, 3),
            grace: probe
                .termination_grace_period_seconds
                .and_then(|seconds| u64::try_from(seconds).ok())
                .map(Duration::from_secs),
        })
    }

    pub(crate) fn tally(&self) -> Tally {
        let (successes_needed, failures_needed) = (self.successes_needed, self.failures_needed);
        Tally { verdict: None, row: 0, last: false, successes_needed, failures_needed }
    }

    /// How long to wait before asking again, `asked_for` after the first time.
    pub(crate) fn wait(&self, haste: Haste, tally: &Tally, asked_for: Duration) -> Duration {
        match haste {
            Haste::Eager if tally.verdict != Some(true) && asked_for < EAGER_FOR => {
                EAGER_PERIOD.min(self.period)
            }
            Haste::Eager | Haste::Steady => self.period,
        }
    }
}

fn port(port: &IntOrString, container: &core::Container) -> Result<u16, String> {
    let number = match port {
        IntOrString::Int(number) => *number,
        IntOrString::String(name) => {
            let ports = container.ports.iter().flatten();
            let named = ports.filter(|port| port.name.as_ref() == Some(name));
            let named = named.map(|port| port.container_port).next();
            named
                .or_else(|| name.parse().ok())
                .ok_or_else(|| format!("no port of the container is named {name:?}"))?
        }
    };
    u16::try_from(number).ok().filter(|port| *port > 0).ok_or_else(|| format!("port {number}"))
}

// === impl Tally ===

impl Tally {
    /// Counts one answer; says so when the verdict changes.
    pub(crate) fn count(&mut self, success: bool) -> Option<bool> {
        self.row = if self.last == success { self.row.saturating_add(1) } else { 1 };
        self.last = success;
        let needed = if success { self.successes_needed } else { self.failures_needed };
        if self.row < needed || self.verdict == Some(success) {
            return None;
        }
        self.verdict = Some(success);
        self.verdict
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn probe() -> Probe {
        Probe {
            ask: Ask::Tcp { host: "127.0.0.1".into(), port: 1 },
            initial_delay: Duration::ZERO,
            period: Duration::from_secs(10),
            timeout: Duration::from_secs(1),
            successes_needed: 1,
            failures_needed: 3,
            grace: None,
        }
    }

    #[test]
    fn a_verdict_needs_its_row_of_equal_answers() {
        let mut tally = probe().tally();
        let answers = [false, false, true, false, false, true, false, false, false, false, true];
        let verdicts: Vec<_> = answers.into_iter().map(|answer| tally.count(answer)).collect();
        let mut expected = vec![None; 11];
        (expected[2], expected[8], expected[10]) = (Some(true), Some(false), Some(true));
        assert_eq!(verdicts, expected);
    }

    #[test]
    fn readiness_is_eager_until_its_first_success_and_not_for_ever() {
        let probe = probe();
        let mut tally = probe.tally();
        let wait = |tally: &Tally, asked_for| probe.wait(Haste::Eager, tally, asked_for);
        assert_eq!(wait(&tally, Duration::ZERO), EAGER_PERIOD);
        assert_eq!(wait(&tally, EAGER_FOR), probe.period);
        tally.count(true);
        assert_eq!(wait(&tally, Duration::ZERO), probe.period);
    }

    #[test]
    fn liveness_gives_a_slow_start_its_periods() {
        let probe = probe();
        assert_eq!(probe.wait(Haste::Steady, &probe.tally(), Duration::ZERO), probe.period);
    }
}
