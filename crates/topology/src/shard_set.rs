//! Sets of shards in text.

use std::{collections::BTreeSet, fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::Shard;

/// A set of shards, written as ranges: `00-19,42`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ShardSet(BTreeSet<Shard>);

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ShardSetError {
    #[error("{0:?} is not a shard: write a number from 00 to 1023")]
    NotAShard(String),
    #[error("shard range {0:?} runs backwards")]
    Backwards(String),
    #[error("shard {0} is named twice")]
    Twice(Shard),
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
            for shard in (first.number()..=last.number()).filter_map(Shard::new) {
                if !set.insert(shard) {
                    return Err(ShardSetError::Twice(shard));
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
            while let Some(next) = shards.next_if(|next| next.number() == last.number() + 1) {
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
            ("42,99-101", "42,99-101"),
        ] {
            let set: ShardSet = typed.parse().expect(typed);
            assert_eq!(set.to_string(), shown);
        }
        for bad in ["1024", "042", "x", "5-1", "1-3,2", "-", "1-"] {
            assert!(bad.parse::<ShardSet>().is_err(), "{bad}");
        }
    }
}
