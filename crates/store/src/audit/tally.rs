//! How audits ended so far, for the figures.

use std::{
    fmt::{self, Write as _},
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

use super::Verdict;

#[derive(Debug, Default)]
pub(crate) struct Tally {
    sound: AtomicU64,
    open: AtomicU64,
    wrong: AtomicU64,
}

// === impl Tally ===

impl Tally {
    pub(super) fn count(&self, verdict: &Verdict) {
        let figure = match verdict {
            Verdict::Sound { .. } => &self.sound,
            Verdict::Open(_) => &self.open,
            Verdict::Wrong(_) => &self.wrong,
        };
        figure.fetch_add(1, Relaxed);
    }

    pub fn write(&self, page: &mut String) -> fmt::Result {
        writeln!(page, "# TYPE polis_store_audits_total counter")?;
        for (outcome, figure) in
            [("sound", &self.sound), ("open", &self.open), ("wrong", &self.wrong)]
        {
            let count = figure.load(Relaxed);
            writeln!(page, "polis_store_audits_total{{outcome=\"{outcome}\"}} {count}")?;
        }
        Ok(())
    }
}
