//! The keys that permissions cover, as intervals that are merged and sorted.
//!
//! Every key is at least one byte long, so the lowest is a single zero byte and
//! a range from the empty key on is one from there.

use bytes::Bytes;
use kv::KeyRange;

const LOWEST: &[u8] = b"\0";

/// Sorted; no two overlap or touch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Cover(Vec<Interval>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Interval {
    from: Bytes,
    end: End,
}

/// Where an interval ends: before this key, or not at all.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum End {
    Before(Bytes),
    Never,
}

// === impl Cover ===

impl Cover {
    pub(crate) fn of<'a>(ranges: impl Iterator<Item = &'a KeyRange>) -> Cover {
        let mut all: Vec<Interval> = ranges.filter_map(Interval::of).collect();
        all.sort_by(|a, b| a.from.cmp(&b.from));
        let mut merged: Vec<Interval> = Vec::with_capacity(all.len());
        for interval in all {
            match merged.last_mut() {
                Some(last) if last.end.is_at_or_after(&interval.from) => {
                    if interval.end > last.end {
                        last.end = interval.end;
                    }
                }
                _ => merged.push(interval),
            }
        }
        merged.shrink_to_fit();
        Cover(merged)
    }

    /// How far the keys from `key` on are covered without a gap.
    fn reach(&self, key: &[u8]) -> Option<&End> {
        let after = self.0.partition_point(|interval| &interval.from[..] <= key);
        let interval = &self.0[after.checked_sub(1)?];
        interval.end.is_after(key).then_some(&interval.end)
    }
}

/// Whether every key of `range` is in one cover or another. A range that holds
/// no key is taken for its first one, so that it needs a right as well.
pub(crate) fn is_covered<'a>(
    covers: impl Iterator<Item = &'a Cover> + Clone,
    range: &KeyRange,
) -> bool {
    let start = match range.start().is_empty() {
        true => LOWEST,
        false => range.start(),
    };
    let reach = |key: &[u8]| covers.clone().filter_map(|cover| cover.reach(key)).max();
    let wanted = match range {
        KeyRange::Span { to, .. } if &to[..] > start => End::Before(to.clone()),
        KeyRange::Key(_) | KeyRange::Span { .. } => return reach(start).is_some(),
        KeyRange::From(_) => End::Never,
    };
    // Each step gets to the end of an interval, and so there are no more of
    // them than intervals.
    let mut at = start;
    loop {
        match reach(at) {
            None => return false,
            Some(end) if *end >= wanted => return true,
            Some(End::Before(key)) => at = key,
            Some(End::Never) => return true,
        }
    }
}

// === impl Interval ===

impl Interval {
    /// None, if it holds no key.
    fn of(range: &KeyRange) -> Option<Interval> {
        let interval = match range {
            KeyRange::Key(key) => {
                let next = [&key[..], LOWEST].concat();
                Interval { from: key.clone(), end: End::Before(next.into()) }
            }
            KeyRange::Span { from, to } => {
                Interval { from: from.clone(), end: End::Before(to.clone()) }
            }
            KeyRange::From(from) => Interval { from: from.clone(), end: End::Never },
        };
        interval.end.is_after(&interval.from).then_some(interval)
    }
}

// === impl End ===

impl End {
    fn is_after(&self, key: &[u8]) -> bool {
        match self {
            End::Before(end) => &end[..] > key,
            End::Never => true,
        }
    }

    fn is_at_or_after(&self, key: &[u8]) -> bool {
        match self {
            End::Before(end) => &end[..] >= key,
            End::Never => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Every key up to three bytes of a small alphabet, with both ends of it.
    fn universe() -> Vec<Vec<u8>> {
        // And what ends their prefixes.
        let alphabet = [0x00, 0x01, 0x02, b'a', b'b', 0xff];
        let mut keys: Vec<Vec<u8>> = vec![Vec::new()];
        for length in 0..3 {
            let longest: Vec<_> = keys.iter().filter(|key| key.len() == length).cloned().collect();
            for key in longest {
                keys.extend(alphabet.map(|byte| [&key[..], &[byte]].concat()));
            }
        }
        keys.retain(|key| !key.is_empty());
        keys
    }

    fn key() -> impl Strategy<Value = Bytes> {
        let byte = prop::sample::select(vec![0x00u8, 0x01, b'a', 0xff]);
        prop::collection::vec(byte, 1..=2).prop_map(Bytes::from)
    }

    fn range() -> impl Strategy<Value = KeyRange> {
        prop_oneof![
            key().prop_map(KeyRange::Key),
            (key(), key()).prop_map(|(from, to)| KeyRange::Span { from, to }),
            key().prop_map(KeyRange::From),
            key().prop_map(KeyRange::prefix),
            Just(KeyRange::prefix("")),
        ]
    }

    proptest! {
        /// The naive twin is a set of keys: of two-byte permissions and ranges,
        /// every border lies within the three-byte universe.
        #[test]
        fn a_range_is_covered_when_each_of_its_keys_is(
            roles in prop::collection::vec(prop::collection::vec(range(), 0..5), 0..4),
            asked in range(),
        ) {
            let covers: Vec<Cover> = roles.iter().map(|role| Cover::of(role.iter())).collect();
            let found = is_covered(covers.iter(), &asked);
            let granted = |key: &[u8]| roles.iter().flatten().any(|range| range.contains(key));
            let held: Vec<_> =
                universe().into_iter().filter(|key| asked.contains(key)).collect();
            let expected = match held.is_empty() {
                true => granted(asked.start()),
                false => held.iter().all(|key| granted(key)),
            };
            prop_assert_eq!(found, expected);
        }

        #[test]
        fn merged_intervals_hold_the_same_keys(ranges in prop::collection::vec(range(), 0..8)) {
            let cover = Cover::of(ranges.iter());
            for pair in cover.0.windows(2) {
                prop_assert!(!pair[0].end.is_at_or_after(&pair[1].from), "{:?}", cover);
            }
            for key in universe() {
                let expected = ranges.iter().any(|range| range.contains(&key));
                prop_assert_eq!(cover.reach(&key).is_some(), expected, "{:?}", key);
            }
        }
    }

    #[test]
    fn only_an_open_end_covers_an_open_end() {
        let all = KeyRange::From(Bytes::from_static(b"\0"));
        let most = KeyRange::Span { from: Bytes::from_static(b"\0"), to: vec![0xff; 64].into() };
        let covered = |by: &KeyRange, asked: &KeyRange| {
            let cover = Cover::of([by].into_iter());
            is_covered([&cover].into_iter(), asked)
        };
        assert!(covered(&all, &KeyRange::prefix("")));
        assert!(covered(&all, &most));
        assert!(!covered(&most, &all));
        assert!(!covered(&most, &KeyRange::From("z".into())));
        assert!(!covered(&KeyRange::key("a"), &KeyRange::From("a".into())));
    }
}
