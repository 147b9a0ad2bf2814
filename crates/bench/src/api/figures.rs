//! The figures of a run, for programs.

use serde::Serialize;

use super::ApiOp;
use crate::Figures;

#[derive(Clone, Debug, Default, Serialize)]
pub struct ApiReport {
    pub cores: usize,
    /// What the figures under `reference` were measured on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reference_of: Option<&'static str>,
    pub runs: Vec<ApiRun>,
}

/// One operation with so many connections, or with so many objects.
#[derive(Clone, Debug, Serialize)]
pub struct ApiRun {
    pub op: ApiOp,
    pub clients: usize,
    /// `higher` or `lower`: which `ratio` is the better one.
    pub better: &'static str,
    pub polis: Figures,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peer: Option<Figures>,
    /// Of a kube-apiserver on another machine, where none was measured here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reference: Option<Figures>,
    /// Ours by the peer's, and only by a peer's that ran here: of rates, of
    /// bytes, or of seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ratio: Option<f64>,
}

pub(crate) const REFERENCE: &str =
    "kube-apiserver 1.20 and etcd on another machine of 2 cores, loaded by wrk there; not this run";

const MIB: u64 = 1024 * 1024;

/// What a stock kube-apiserver did elsewhere, for orientation when there is none
/// to measure.
pub(crate) fn reference(op: ApiOp) -> Option<Figures> {
    let rate = |per_s| Figures { per_s, ..Figures::default() };
    match op {
        ApiOp::Ready => Some(Figures { ready_s: Some(6.0), ..Figures::default() }),
        ApiOp::Create => Some(Figures { p99_us: 129_000.0, ..rate(1440.0) }),
        ApiOp::Get => Some(rate(3360.0)),
        ApiOp::List100 => Some(rate(175.0)),
        // One of 14,400 objects took 0.59 s: so many of 10,000 would be a second's.
        ApiOp::List10000 => Some(rate(14_400.0 / 10_000.0 / 0.59)),
        ApiOp::WatchFanout | ApiOp::Churn => None,
        // The smaller of what was seen of each, with fewer objects than here.
        ApiOp::Memory => {
            Some(Figures { resident_bytes: Some((573 + 90) * MIB), ..Figures::default() })
        }
    }
}

// === impl ApiRun ===

impl ApiRun {
    pub(crate) fn new(op: ApiOp, clients: usize, polis: Figures, peer: Option<Figures>) -> ApiRun {
        let figure = |figures: &Figures| match op {
            ApiOp::Ready => figures.ready_s,
            ApiOp::Memory | ApiOp::Churn => figures.resident_bytes.map(|bytes| bytes as f64),
            _ => Some(figures.per_s),
        };
        let better = match op {
            ApiOp::Ready | ApiOp::Memory | ApiOp::Churn => "lower",
            _ => "higher",
        };
        let ratio = peer.as_ref().and_then(|peer| Some(figure(&polis)? / figure(peer)?));
        let reference = if peer.is_none() { reference(op) } else { None };
        ApiRun { op, clients, better, polis, peer, reference, ratio }
    }
}
