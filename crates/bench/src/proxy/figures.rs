//! The figures of a run, for programs.

use std::{collections::BTreeMap, time::Duration};

use serde::Serialize;

use super::{Protocol, Security};
use crate::drive::Tally;

#[derive(Clone, Debug, Default, Serialize)]
pub struct ProxyReport {
    /// As each names itself.
    pub versions: BTreeMap<&'static str, String>,
    pub cores: usize,
    /// Programs that wanted a core, over the minute before the run.
    pub load_before: f64,
    /// Threads of each proxy.
    pub workers: usize,
    pub bytes: usize,
    pub runs: Vec<ProxyRun>,
    /// Why it ended before its end; what was measured until then counts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failed: Option<String>,
}

/// One protocol with so many clients.
#[derive(Clone, Debug, Serialize)]
pub struct ProxyRun {
    pub protocol: Protocol,
    pub tls: Security,
    pub clients: usize,
    /// Which of two ratios is the better one.
    pub better: &'static str,
    pub polis: ProxyFigures,
    pub peers: BTreeMap<&'static str, ProxyFigures>,
    /// Relays that look at nothing.
    pub ceilings: BTreeMap<&'static str, ProxyFigures>,
    /// Nothing between client and origin, and nothing secured.
    pub direct: ProxyFigures,
    /// Our CPU time for each request by each peer's.
    pub ratios: BTreeMap<&'static str, f64>,
}

#[derive(Clone, Debug, Default, Serialize)]
pub struct ProxyFigures {
    /// Of the proxy, user and system, for each request, in microseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_us: Option<f64>,
    /// With every client asking again at once.
    pub per_s: f64,
    pub p50_us: f64,
    pub p99_us: f64,
    /// Answers found right, those before and after the stretch included.
    pub judged: u64,
    /// With all clients connected, at the end of that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resident_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub half: Option<Half>,
}

/// At half the rate that the proxy has reached.
#[derive(Clone, Debug, Serialize)]
pub struct Half {
    pub per_s: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_us: Option<f64>,
    pub p50_us: f64,
    pub p99_us: f64,
    /// Beyond what the same rate takes without a proxy, measured right after.
    pub added_p50_us: f64,
    pub added_p99_us: f64,
}

/// What one stretch has shown.
pub(crate) struct Stretch {
    pub tally: Tally,
    pub judged: u64,
    pub cpu: Option<Duration>,
    pub resident_bytes: Option<u64>,
}

// === impl ProxyRun ===

impl ProxyRun {
    /// All sides by their names, ours first.
    pub fn sides(&self) -> impl Iterator<Item = (&'static str, &ProxyFigures)> {
        let named = |(name, figures): (&&'static str, _)| (*name, figures);
        let others = self.peers.iter().map(named).chain(self.ceilings.iter().map(named));
        [("polis", &self.polis)].into_iter().chain(others).chain([("direct", &self.direct)])
    }
}

// === impl ProxyFigures ===

impl ProxyFigures {
    pub(crate) fn of(rounds: &[Stretch]) -> ProxyFigures {
        let Some((first, others)) = rounds.split_first() else { return ProxyFigures::default() };
        let mut all = Tally::new(first.tally.window());
        rounds.iter().for_each(|round| all.add(&round.tally));
        let per_s = rounds.iter().map(|round| round.tally.per_second()).sum::<f64>();
        let cpu: Option<Duration> = rounds.iter().map(|round| round.cpu).sum();
        ProxyFigures {
            cpu_us: cpu.map(|cpu| each_us(cpu, &all)),
            per_s: per_s / (1 + others.len()) as f64,
            p50_us: all.quantile_us(0.5),
            p99_us: all.quantile_us(0.99),
            judged: rounds.iter().map(|round| round.judged).sum(),
            resident_bytes: rounds.iter().filter_map(|round| round.resident_bytes).max(),
            half: None,
        }
    }
}

// === impl Half ===

impl Half {
    pub(crate) fn of(through: &Stretch, direct: &Stretch) -> Half {
        let at =
            |quantile| (through.tally.quantile_us(quantile), direct.tally.quantile_us(quantile));
        let ((p50_us, direct_p50_us), (p99_us, direct_p99_us)) = (at(0.5), at(0.99));
        Half {
            per_s: through.tally.per_second(),
            cpu_us: through.cpu.map(|cpu| each_us(cpu, &through.tally)),
            p50_us,
            p99_us,
            added_p50_us: p50_us - direct_p50_us,
            added_p99_us: p99_us - direct_p99_us,
        }
    }
}

fn each_us(cpu: Duration, tally: &Tally) -> f64 {
    cpu.as_secs_f64() * 1e6 / tally.count().max(1) as f64
}
