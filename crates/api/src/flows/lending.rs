//! How many seats each level has: its part by its shares, and what others lend.
//! Pure, and computed anew every [`PERIOD`] from what each level wanted.
//!
//! As in kube-apiserver a level keeps what it may not lend, gets back at once
//! what it uses of its own part, and of the rest levels get the same fraction
//! of what they want, as far as each may borrow. Unlike there the fraction is
//! found by halving, not by sorting bounds: the sum never falls when it rises.

use std::time::Duration;

use super::shape::Spec;

/// kube-apiserver's.
pub const PERIOD: Duration = Duration::from_secs(10);

/// Enough for a number of seats to be exact.
const HALVINGS: usize = 64;

/// Who wants nothing gets its part of what is left all the same.
const WANTED_MIN: f64 = 0.001;

/// Seats of one level.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// By its shares.
    pub nominal: usize,
    /// When it has lent what it may.
    pub least: usize,
    /// When it has borrowed what it may.
    pub most: usize,
}

/// What a level says of itself when seats are given out.
#[derive(Clone, Copy, Debug)]
pub struct Claim {
    pub limits: Limits,
    /// The most it would have used in the last period.
    pub highest: usize,
    /// What it tends to use.
    pub smoothed: f64,
}

// === impl Limits ===

impl Limits {
    /// Of a level, when all have `shares` of `total` seats. Rounded up, so that
    /// who has a share has a seat; the sum may be a few more than the total.
    pub fn of(spec: &Spec, total: usize, shares: u64) -> Limits {
        let total = total as u64;
        let nominal = (total * spec.shares).div_ceil(shares.max(1));
        let percent = |of: u64, percent: u64| (of * percent + 50) / 100;
        let lent = percent(nominal, spec.lendable_percent);
        let borrowed = match spec.borrowing_percent {
            Some(limit) => percent(nominal, limit).min(total),
            None => total,
        };
        let seats = |n: u64| usize::try_from(n).unwrap_or(usize::MAX);
        let (least, most) = (seats(nominal - lent), seats(nominal + borrowed));
        Limits { nominal: seats(nominal), least, most }
    }

    /// Before anything is known of what it wants.
    pub fn at_first(&self) -> usize {
        self.nominal - (self.nominal - self.least) / 2
    }
}

// === impl Claim ===

impl Claim {
    /// What it used of its own part is never somebody else's.
    fn least(&self) -> usize {
        self.limits.least.max(self.highest.min(self.limits.nominal))
    }

    fn wanted(&self) -> f64 {
        self.smoothed.max(real(self.least())).max(WANTED_MIN)
    }

    fn given(&self, fraction: f64) -> f64 {
        let most = real(self.limits.most.max(self.least()));
        (fraction * self.wanted()).clamp(real(self.least()), most)
    }
}

/// Seats for each, of `total`.
pub fn give(total: usize, claims: &[Claim]) -> Vec<usize> {
    let least: usize = claims.iter().map(Claim::least).sum();
    if total <= least {
        return claims.iter().map(Claim::least).collect();
    }
    let sum = |fraction: f64| claims.iter().map(|claim| claim.given(fraction)).sum::<f64>();
    let (mut low, mut high) = (0.0, real(total) / WANTED_MIN);
    for _ in 0..HALVINGS {
        let middle = f64::midpoint(low, high);
        match sum(middle) < real(total) {
            true => low = middle,
            false => high = middle,
        }
    }
    claims.iter().map(|claim| whole(claim.given(high))).collect()
}

fn real(seats: usize) -> f64 {
    f64::from(u32::try_from(seats).unwrap_or(u32::MAX))
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
fn whole(seats: f64) -> usize {
    seats.round() as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flows::shape::Shape;

    fn spec(shares: u64, lendable_percent: u64, borrowing_percent: Option<u64>) -> Spec {
        let shape = Shape::NONE;
        Spec { exempt: false, shares, lendable_percent, borrowing_percent, shape }
    }

    fn claim(spec: &Spec, highest: usize) -> Claim {
        let limits = Limits::of(spec, 600, 245);
        #[allow(clippy::cast_precision_loss)]
        let smoothed = highest as f64;
        Claim { limits, highest, smoothed }
    }

    #[test]
    fn a_level_has_its_part_and_bounds_around_it() {
        let limits = Limits::of(&spec(100, 90, None), 600, 245);
        assert_eq!(limits, Limits { nominal: 245, least: 24, most: 845 });
        assert_eq!(limits.at_first(), 135);
        let bounded = Limits::of(&spec(20, 50, Some(10)), 600, 245);
        assert_eq!(bounded, Limits { nominal: 49, least: 24, most: 54 });
        assert_eq!(Limits::of(&spec(0, 0, None), 600, 0).nominal, 0);
    }

    #[test]
    fn who_is_idle_lends_and_who_is_busy_borrows() {
        let levels = [spec(100, 90, None), spec(40, 50, None), spec(5, 0, None)];
        let given =
            give(355, &[claim(&levels[0], 0), claim(&levels[1], 900), claim(&levels[2], 0)]);
        assert_eq!((given[0], given[2]), (24, 13));
        assert_eq!(given[1], 355 - 24 - 13);
        // It has its own back as soon as it uses it.
        let given =
            give(355, &[claim(&levels[0], 245), claim(&levels[1], 900), claim(&levels[2], 0)]);
        assert_eq!(given, [245, 98, 13]);
    }

    #[test]
    fn who_may_borrow_only_so_much_gets_no_more() {
        let (idle, busy) = (spec(200, 100, None), spec(45, 0, Some(10)));
        let given = give(600, &[claim(&idle, 0), claim(&busy, 900)]);
        assert_eq!(given[1], 122);
        assert!(given[0] >= 478, "{given:?}");
    }
}
