//! Seeded randomness: the same seed gives the same run.

/// A small, fast, non-cryptographic generator (splitmix64, Steele et al. 2014).
/// Never use it for secrets.
#[derive(Clone, Debug)]
pub struct Random(u64);

// === impl Random ===

impl Random {
    #[must_use]
    pub fn seeded(seed: u64) -> Random {
        Random(seed)
    }

    /// A seed that differs between processes and starts.
    #[must_use]
    pub fn from_entropy() -> Random {
        use std::hash::{BuildHasher, Hasher};
        let hasher = std::collections::hash_map::RandomState::new().build_hasher();
        Random(hasher.finish())
    }

    pub fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Uniform enough in `0..bound` for jitter and sampling; `bound` 0 gives 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.next_u64()) * u128::from(bound)) >> 64) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_run() {
        let run = |seed| {
            let mut random = Random::seeded(seed);
            (0..8).map(|_| random.below(1000)).collect::<Vec<_>>()
        };
        assert_eq!(run(7), run(7));
        assert_ne!(run(7), run(8));
        assert!(run(7).iter().all(|n| *n < 1000));
    }
}
