//! Buckets and shards, and the ranges of buckets that shards are.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::ShardSetError;

/// Every user maps to one of these; data and fences carry the bucket, so
/// splitting a shard moves no data.
pub const BUCKETS: u16 = 10_000;

/// Shards of the default layout, each of [`BUCKETS_PER_SHARD`] buckets, so
/// that shard 42 is LDC's 42.
pub const DEFAULT_SHARDS: u16 = 100;

/// Numbers of shards stay below this: those from [`DEFAULT_SHARDS`] on are given
/// by splitting. Every edge keeps a line for each, and a map of so many ranges is
/// still a small object.
pub const SHARDS_MAX: u16 = 1_024;

const BUCKETS_PER_SHARD: u16 = BUCKETS / DEFAULT_SHARDS;

/// A bucket, below [`BUCKETS`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Bucket(u16);

/// A shard's number, below [`SHARDS_MAX`]. Which buckets it has says a
/// [`crate::Layout`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u16", into = "u16")]
pub struct Shard(u16);

/// Consecutive buckets of one hundred, written as `4250-4299`. A hundred is a
/// shard of the default layout; what is split never reaches beyond one, so that a
/// shard's rows always lie together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct BucketRange {
    first: Bucket,
    last: Bucket,
}

/// A shard and the buckets it has: what a request or an order is about, said so
/// that it means the same to whoever knows another layout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    pub shard: Shard,
    pub buckets: BucketRange,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a range of buckets of one hundred, such as 4250-4299")]
pub struct BucketRangeError(String);

// === impl Bucket ===

impl Bucket {
    #[must_use]
    pub fn new(number: u16) -> Option<Bucket> {
        (number < BUCKETS).then_some(Bucket(number))
    }

    #[must_use]
    pub fn number(self) -> u16 {
        self.0
    }

    /// Its shard in the default layout: LDC's two digits. Splitting leaves this
    /// as it is; who has the bucket now says a [`crate::Layout`].
    #[must_use]
    pub fn shard(self) -> Shard {
        Shard(self.0 / BUCKETS_PER_SHARD)
    }
}

impl fmt::Display for Bucket {
    /// Four digits.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}", self.0)
    }
}

impl FromStr for Bucket {
    type Err = ();
    /// Exactly four digits.
    fn from_str(text: &str) -> Result<Bucket, ()> {
        if text.len() == 4 && text.bytes().all(|byte| byte.is_ascii_digit()) {
            text.parse().ok().and_then(Bucket::new).ok_or(())
        } else {
            Err(())
        }
    }
}

// === impl Shard ===

impl Shard {
    #[must_use]
    pub fn new(number: u16) -> Option<Shard> {
        (number < SHARDS_MAX).then_some(Shard(number))
    }

    #[must_use]
    pub fn number(self) -> u16 {
        self.0
    }

    /// Those of the default layout; splitting adds others to them.
    pub fn all() -> impl Iterator<Item = Shard> {
        (0..DEFAULT_SHARDS).map(Shard)
    }

    /// The hundred of this number; none for a shard that came by splitting.
    #[must_use]
    pub fn hundred(self) -> Option<BucketRange> {
        let first = (self.0 < DEFAULT_SHARDS).then(|| self.0 * BUCKETS_PER_SHARD)?;
        Some(BucketRange { first: Bucket(first), last: Bucket(first + BUCKETS_PER_SHARD - 1) })
    }
}

impl fmt::Display for Shard {
    /// Two digits, as in LDC; more from 100 on.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02}", self.0)
    }
}

impl FromStr for Shard {
    type Err = ShardSetError;
    fn from_str(text: &str) -> Result<Shard, ShardSetError> {
        let digits = (1..=4).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
        let plain = text.len() <= 2 || !text.starts_with('0');
        (digits && plain)
            .then(|| text.parse().ok().and_then(Shard::new))
            .flatten()
            .ok_or_else(|| ShardSetError::NotAShard(text.chars().take(16).collect()))
    }
}

impl TryFrom<u16> for Shard {
    type Error = ShardSetError;
    fn try_from(number: u16) -> Result<Shard, ShardSetError> {
        Shard::new(number).ok_or_else(|| ShardSetError::NotAShard(number.to_string()))
    }
}

impl From<Shard> for u16 {
    fn from(shard: Shard) -> u16 {
        shard.0
    }
}

// === impl BucketRange ===

impl BucketRange {
    /// None if they are not of one hundred, or in the wrong order.
    #[must_use]
    pub fn new(first: Bucket, last: Bucket) -> Option<BucketRange> {
        (first <= last && first.shard() == last.shard()).then_some(BucketRange { first, last })
    }

    #[must_use]
    pub fn first(self) -> Bucket {
        self.first
    }

    #[must_use]
    pub fn last(self) -> Bucket {
        self.last
    }

    /// The shard of the default layout that they are of.
    #[must_use]
    pub fn hundred(self) -> Shard {
        self.first.shard()
    }

    #[must_use]
    pub fn contains(self, bucket: Bucket) -> bool {
        (self.first..=self.last).contains(&bucket)
    }

    #[must_use]
    pub fn covers(self, other: BucketRange) -> bool {
        self.contains(other.first) && self.contains(other.last)
    }

    pub fn iter(self) -> impl DoubleEndedIterator<Item = Bucket> + Clone {
        (self.first.0..=self.last.0).map(Bucket)
    }

    /// How many; never none.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "a range always has a bucket")]
    pub fn len(self) -> usize {
        usize::from(self.last.0 - self.first.0) + 1
    }

    /// What is left when `taken` goes, if that leaves one range.
    #[must_use]
    pub fn without(self, taken: BucketRange) -> Option<BucketRange> {
        if !self.covers(taken) || self == taken {
            None
        } else if taken.first == self.first {
            Some(BucketRange { first: Bucket(taken.last.0 + 1), last: self.last })
        } else if taken.last == self.last {
            Some(BucketRange { first: self.first, last: Bucket(taken.first.0 - 1) })
        } else {
            None
        }
    }

    /// The upper half; none of a single bucket.
    #[must_use]
    pub fn upper_half(self) -> Option<BucketRange> {
        let first = Bucket(self.last.0 - (self.last.0 - self.first.0) / 2);
        (self.first < first).then_some(BucketRange { first, last: self.last })
    }
}

impl fmt::Display for BucketRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.first, self.last)
    }
}

impl FromStr for BucketRange {
    type Err = BucketRangeError;
    fn from_str(text: &str) -> Result<BucketRange, BucketRangeError> {
        let parse = || {
            let (first, last) = text.split_once('-').unwrap_or((text, text));
            BucketRange::new(first.parse().ok()?, last.parse().ok()?)
        };
        parse().ok_or_else(|| BucketRangeError(text.chars().take(16).collect()))
    }
}

impl TryFrom<String> for BucketRange {
    type Error = BucketRangeError;
    fn try_from(text: String) -> Result<BucketRange, BucketRangeError> {
        text.parse()
    }
}

impl From<BucketRange> for String {
    fn from(range: BucketRange) -> String {
        range.to_string()
    }
}

// === impl Extent ===

impl Extent {
    /// The shard with the buckets named, or with its own hundred if none are.
    #[must_use]
    pub fn of(shard: Shard, buckets: Option<BucketRange>) -> Option<Extent> {
        buckets.or_else(|| shard.hundred()).map(|buckets| Extent { shard, buckets })
    }

    /// The whole hundred that a bucket is of.
    #[must_use]
    pub fn around(bucket: Bucket) -> Extent {
        let shard = bucket.shard();
        let buckets = shard.hundred().expect("a bucket's digits are below 100");
        Extent { shard, buckets }
    }

    /// The buckets where the number alone does not say them.
    #[must_use]
    pub fn unusual(&self) -> Option<BucketRange> {
        (self.shard.hundred() != Some(self.buckets)).then_some(self.buckets)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bucket_is_in_the_hundred_that_lists_it() {
        let mut seen = 0;
        for shard in Shard::all() {
            for bucket in shard.hundred().expect("of the default layout").iter() {
                assert_eq!(bucket.shard(), shard);
                seen += 1;
            }
        }
        assert_eq!(seen, BUCKETS);
    }

    #[test]
    fn ranges_of_buckets_stay_within_a_hundred() {
        let range = |text: &str| text.parse::<BucketRange>();
        assert_eq!(range("4250-4299").expect("a range").to_string(), "4250-4299");
        assert_eq!(range("4250").expect("one bucket").len(), 1);
        for bad in ["", "42", "4250-4300", "4299-4250", "4250-", "10000", "x"] {
            assert!(range(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_is_taken_from_an_end_leaves_one_range() {
        let range = |text: &str| text.parse::<BucketRange>().expect(text);
        let check = |taken: &str, left: Option<&str>| {
            assert_eq!(range("4200-4299").without(range(taken)), left.map(range), "{taken}");
        };
        check("4250-4299", Some("4200-4249"));
        check("4200-4209", Some("4210-4299"));
        check("4210-4219", None);
        check("4200-4299", None);
        check("4300-4310", None);
        assert_eq!(range("4200-4299").upper_half(), Some(range("4250-4299")));
        assert_eq!(range("4200-4202").upper_half(), Some(range("4201-4202")));
        assert_eq!(range("4200-4200").upper_half(), None);
    }
}
