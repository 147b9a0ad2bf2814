//! From at least to at most.

/// Of a cost, or of a size. Counts that do not fit stay at the largest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    pub min: u64,
    pub max: u64,
}

// === impl Range ===

impl Range {
    pub const NONE: Range = Range { min: 0, max: 0 };
    pub(super) const UNKNOWN: Range = Range { min: 0, max: u64::MAX };

    #[must_use]
    pub const fn exactly(count: u64) -> Range {
        Range { min: count, max: count }
    }

    pub(super) fn plus(self, other: Range) -> Range {
        Range { min: self.min.saturating_add(other.min), max: self.max.saturating_add(other.max) }
    }

    pub(super) fn times(self, other: Range) -> Range {
        Range { min: self.min.saturating_mul(other.min), max: self.max.saturating_mul(other.max) }
    }

    /// For this much each, rounded up.
    pub(super) fn scaled(self, each: f64) -> Range {
        Range { min: scaled(self.min, each), max: scaled(self.max, each) }
    }

    /// What holds both.
    pub(super) fn or(self, other: Range) -> Range {
        Range { min: self.min.min(other.min), max: self.max.max(other.max) }
    }
}

fn scaled(count: u64, each: f64) -> u64 {
    // What is too large for the type becomes its largest.
    (count as f64 * each).ceil() as u64
}

/// By how much an estimate is beyond its limit, in the words of an error.
#[must_use]
pub fn excess(estimate: u64, limit: u64) -> String {
    let factor = estimate as f64 / limit as f64;
    if factor > 100.0 { "more than 100x".into() } else { format!("{factor:.1}x") }
}
