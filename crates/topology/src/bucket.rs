//! Buckets, shards, and sets of shards in text.

use std::{collections::BTreeSet, fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// Every user maps to one of these; data and fences carry the bucket, so
/// splitting a shard moves no data.
pub const BUCKETS: u16 = 10_000;

/// Shards of the default layout, each of [`BUCKETS_PER_SHARD`] buckets, so
/// that shard 42 is LDC's 42.
pub const DEFAULT_SHARDS: u16 = 100;

const BUCKETS_PER_SHARD: u16 = BUCKETS / DEFAULT_SHARDS;

/// A bucket, below [`BUCKETS`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Bucket(u16);

/// A shard of the default layout, below [`DEFAULT_SHARDS`]. (Shards of other
/// bucket ranges come with splitting.)
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u16", into = "u16")]
pub struct Shard(u16);

/// A set of shards, written as ranges: `00-19,42`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ShardSet(BTreeSet<Shard>);

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ShardSetError {
    #[error("{0:?} is not a shard: write a number from 00 to 99")]
    NotAShard(String),
    #[error("shard range {0:?} runs backwards")]
    Backwards(String),
    #[error("shard {0} is named twice")]
    Twice(Shard),
}

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
        (number < DEFAULT_SHARDS).then_some(Shard(number))
    }

    #[must_use]
    pub fn number(self) -> u16 {
        self.0
    }

    pub fn all() -> impl Iterator<Item = Shard> {
        (0..DEFAULT_SHARDS).map(Shard)
    }

    /// The buckets of this shard, in order.
    pub fn buckets(self) -> impl Iterator<Item = Bucket> {
        let first = self.0 * BUCKETS_PER_SHARD;
        (first..first + BUCKETS_PER_SHARD).map(Bucket)
    }
}

impl fmt::Display for Shard {
    /// Two digits, as in LDC.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02}", self.0)
    }
}

impl FromStr for Shard {
    type Err = ShardSetError;
    fn from_str(text: &str) -> Result<Shard, ShardSetError> {
        let digits = (1..=2).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
        digits
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

// === impl ShardSet ===

impl ShardSet {
    pub fn iter(&self) -> impl Iterator<Item = Shard> + '_ {
        self.0.iter().copied()
    }

    #[must_use]
    pub fn contains(&self, shard: Shard) -> bool {
        self.0.contains(&shard)
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl FromIterator<Shard> for ShardSet {
    fn from_iter<I: IntoIterator<Item = Shard>>(shards: I) -> ShardSet {
        ShardSet(shards.into_iter().collect())
    }
}

impl FromStr for ShardSet {
    type Err = ShardSetError;
    fn from_str(text: &str) -> Result<ShardSet, ShardSetError> {
        let mut set = BTreeSet::new();
        for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            let (first, last): (Shard, Shard) = match part.split_once('-') {
                Some((first, last)) => (first.trim().parse()?, last.trim().parse()?),
                None => (part.parse()?, part.parse()?),
            };
            if last < first {
                return Err(ShardSetError::Backwards(part.into()));
            }
            for number in first.0..=last.0 {
                if !set.insert(Shard(number)) {
                    return Err(ShardSetError::Twice(Shard(number)));
                }
            }
        }
        Ok(ShardSet(set))
    }
}

impl fmt::Display for ShardSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shards = self.iter().peekable();
        let mut separator = "";
        while let Some(first) = shards.next() {
            let mut last = first;
            while let Some(next) = shards.next_if(|next| next.0 == last.0 + 1) {
                last = next;
            }
            if first == last {
                write!(f, "{separator}{first}")?;
            } else {
                write!(f, "{separator}{first}-{last}")?;
            }
            separator = ",";
        }
        Ok(())
    }
}

impl TryFrom<String> for ShardSet {
    type Error = ShardSetError;
    fn try_from(text: String) -> Result<ShardSet, ShardSetError> {
        text.parse()
    }
}

impl From<ShardSet> for String {
    fn from(set: ShardSet) -> String {
        set.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_of_shards_read_and_write_as_ranges() {
        for (typed, shown) in [
            ("00-19", "00-19"),
            ("3,1,2", "01-03"),
            ("42", "42"),
            ("", ""),
            ("7, 9-10", "07,09-10"),
        ] {
            let set: ShardSet = typed.parse().expect(typed);
            assert_eq!(set.to_string(), shown);
        }
        for bad in ["100", "x", "5-1", "1-3,2", "-", "1-"] {
            assert!(bad.parse::<ShardSet>().is_err(), "{bad}");
        }
    }

    #[test]
    fn every_bucket_is_in_the_shard_that_lists_it() {
        let mut seen = 0;
        for shard in Shard::all() {
            for bucket in shard.buckets() {
                assert_eq!(bucket.shard(), shard);
                seen += 1;
            }
        }
        assert_eq!(seen, BUCKETS);
    }
}
