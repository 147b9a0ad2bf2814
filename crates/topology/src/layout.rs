//! Which buckets each shard has.
//!
//! The default layout is LDC's: shard 42 has the hundred 4200-4299. Splitting
//! cuts a shard's range in two, and the part that is cut off takes a number from
//! 100 on. Shard 42 keeps at least one bucket of its hundred whatever is split,
//! so a map without any entry here is a map of before there was splitting.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{Bucket, BucketRange, DEFAULT_SHARDS, Extent, SHARDS_MAX, Shard, ShardSetError};

/// Stored as the ranges of those shards whose hundred was split.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Stored", into = "Stored")]
pub struct Layout {
    split: BTreeMap<Shard, BucketRange>,
}

/// By the shard's number as it is written.
type Stored = BTreeMap<String, BucketRange>;

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LayoutError {
    #[error(transparent)]
    Shard(#[from] ShardSetError),
    #[error("shard {shard} has buckets {buckets}, which are of another hundred")]
    Foreign { shard: Shard, buckets: BucketRange },
    #[error("bucket {0} has two shards")]
    Twice(Bucket),
    #[error("bucket {0} has no shard")]
    Nobody(Bucket),
}

/// Why buckets cannot become a shard of their own.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SplitError {
    #[error("buckets {taken} are of more than one shard; shard {shard} has {buckets}")]
    Several { taken: BucketRange, shard: Shard, buckets: BucketRange },
    #[error(
        "buckets {taken} lie within {buckets} of shard {shard}; a split cuts at one place: take \
         {taken_first}-{last} first, and of that shard the rest",
        taken_first = taken.first(),
        last = buckets.last()
    )]
    Middle { taken: BucketRange, shard: Shard, buckets: BucketRange },
    #[error("there are {SHARDS_MAX} shards, and no more can be")]
    Full,
}

// === impl Layout ===

impl Layout {
    /// Whether nothing was ever split.
    #[must_use]
    pub fn is_default(&self) -> bool {
        self.split.is_empty()
    }

    /// Who has the bucket.
    #[must_use]
    pub fn shard_of(&self, bucket: Bucket) -> Shard {
        let hundred = bucket.shard();
        match self.split.get(&hundred) {
            Some(left) if !left.contains(bucket) => {
                let found = self.split.iter().find(|(_, buckets)| buckets.contains(bucket));
                found.map_or(hundred, |(shard, _)| *shard)
            }
            _ => hundred,
        }
    }

    /// None if there is no such shard.
    #[must_use]
    pub fn buckets(&self, shard: Shard) -> Option<BucketRange> {
        self.split.get(&shard).copied().or_else(|| shard.hundred())
    }

    #[must_use]
    pub fn extent(&self, shard: Shard) -> Option<Extent> {
        self.buckets(shard).map(|buckets| Extent { shard, buckets })
    }

    #[must_use]
    pub fn has(&self, shard: Shard) -> bool {
        self.buckets(shard).is_some()
    }

    /// The shard that has exactly these.
    #[must_use]
    pub fn exactly(&self, buckets: BucketRange) -> Option<Shard> {
        let shard = self.shard_of(buckets.first());
        (self.buckets(shard) == Some(buckets)).then_some(shard)
    }

    /// Whether the hundred is of several shards.
    #[must_use]
    pub fn is_split(&self, hundred: Shard) -> bool {
        self.split.contains_key(&hundred)
    }

    /// All shards there are, in order.
    pub fn shards(&self) -> impl Iterator<Item = Shard> + '_ {
        let added = self.split.keys().filter(|shard| shard.number() >= DEFAULT_SHARDS);
        Shard::all().chain(added.copied())
    }

    /// Makes a shard of `taken`, which are at one end of a shard, and says its
    /// number: the next above those in use.
    pub fn split(&mut self, taken: BucketRange) -> Result<Shard, SplitError> {
        let shard = self.shard_of(taken.first());
        let buckets = self.buckets(shard).expect("whoever has a bucket has a range");
        if !buckets.covers(taken) || buckets == taken {
            return Err(SplitError::Several { taken, shard, buckets });
        }
        let left = buckets.without(taken);
        let left = left.ok_or(SplitError::Middle { taken, shard, buckets })?;
        let highest = self.split.keys().map(|shard| shard.number()).max().unwrap_or_default();
        let next = Shard::new(highest.max(DEFAULT_SHARDS - 1) + 1).ok_or(SplitError::Full)?;
        self.split.insert(shard, left);
        self.split.insert(next, taken);
        Ok(next)
    }
}

impl TryFrom<Stored> for Layout {
    type Error = LayoutError;
    fn try_from(stored: Stored) -> Result<Layout, LayoutError> {
        let shards = stored.into_iter().map(|(shard, buckets)| Ok((shard.parse()?, buckets)));
        let split = shards.collect::<Result<BTreeMap<Shard, _>, ShardSetError>>()?;
        let mut owners = BTreeMap::new();
        for (shard, buckets) in &split {
            if shard.number() < DEFAULT_SHARDS && buckets.hundred() != *shard {
                return Err(LayoutError::Foreign { shard: *shard, buckets: *buckets });
            }
            for bucket in buckets.iter() {
                if owners.insert(bucket, *shard).is_some() {
                    return Err(LayoutError::Twice(bucket));
                }
            }
        }
        let hundreds = split.values().map(|buckets| Extent::around(buckets.first()));
        for hundred in hundreds {
            let nobody = hundred.buckets.iter().find(|bucket| !owners.contains_key(bucket));
            // The hundred's own shard must be there: it is how one sees the split.
            let nobody = nobody.or_else(|| {
                (!split.contains_key(&hundred.shard)).then_some(hundred.buckets.first())
            });
            if let Some(bucket) = nobody {
                return Err(LayoutError::Nobody(bucket));
            }
        }
        Ok(Layout { split })
    }
}

impl From<Layout> for Stored {
    fn from(layout: Layout) -> Stored {
        let shards = layout.split.into_iter();
        shards.map(|(shard, buckets)| (shard.to_string(), buckets)).collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::BUCKETS;

    fn range(text: &str) -> BucketRange {
        text.parse().expect(text)
    }

    fn shard(number: u16) -> Shard {
        Shard::new(number).expect("a shard")
    }

    #[test]
    fn a_split_gives_the_part_the_next_number() {
        let mut layout = Layout::default();
        assert_eq!(layout.split(range("4250-4299")), Ok(shard(100)));
        assert_eq!(layout.split(range("0700-0709")), Ok(shard(101)));
        assert_eq!(layout.split(range("4275-4299")), Ok(shard(102)));
        let shown: Vec<_> = [42, 100, 102, 7, 101, 8]
            .map(|number| layout.buckets(shard(number)).expect("a shard").to_string())
            .into();
        assert_eq!(
            shown,
            ["4200-4249", "4250-4274", "4275-4299", "0710-0799", "0700-0709", "0800-0899"]
        );
        assert_eq!(layout.buckets(shard(103)), None);
        assert_eq!(layout.shards().count(), 103);
        assert_eq!(layout.exactly(range("4275-4299")), Some(shard(102)));
        assert!(layout.is_split(shard(42)) && !layout.is_split(shard(43)));
    }

    #[test]
    fn what_cannot_be_split_says_why() {
        let check = |taken: &str, expected: &str| {
            let mut layout = Layout::default();
            layout.split(range("4250-4299")).expect("a half");
            let before = layout.clone();
            let error = layout.split(range(taken)).expect_err(taken).to_string();
            assert!(error.contains(expected), "{error}");
            assert_eq!(layout, before);
        };
        check("4240-4259", "more than one shard");
        check("4250-4299", "more than one shard");
        check("4210-4219", "take 4210-4249 first");
    }

    #[test]
    fn no_shard_is_numbered_beyond_the_last() {
        let mut layout = Layout::default();
        let mut hundreds = Shard::all().filter_map(Shard::hundred);
        let mut whole = hundreds.next().expect("a hundred");
        let error = loop {
            let Some(part) = whole.upper_half() else {
                whole = hundreds.next().expect("a hundred");
                continue;
            };
            let one = BucketRange::new(part.last(), part.last()).expect("one bucket");
            match layout.split(one) {
                Ok(_) => whole = whole.without(one).expect("an end"),
                Err(error) => break error,
            }
        };
        assert_eq!(error, SplitError::Full);
        assert_eq!(layout.shards().count(), usize::from(SHARDS_MAX));
    }

    #[test]
    fn a_layout_with_a_bucket_of_two_or_of_nobody_is_refused() {
        let read = |text: &str| serde_json::from_str::<Layout>(text);
        assert!(read("{}").expect("the default").is_default());
        assert!(read(r#"{"42": "4200-4249", "100": "4250-4299"}"#).is_ok());
        for bad in [
            r#"{"42": "4200-4250", "100": "4250-4299"}"#,
            r#"{"42": "4200-4248", "100": "4250-4299"}"#,
            r#"{"42": "4200-4249"}"#,
            r#"{"100": "4200-4249", "101": "4250-4299"}"#,
            r#"{"42": "4300-4349", "100": "4250-4299"}"#,
            r#"{"42": "4200-4249", "1024": "4250-4299"}"#,
        ] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }

    proptest! {
        /// Whatever is split, every bucket has exactly one shard, and the layout
        /// reads back as it was written.
        #[test]
        fn every_bucket_keeps_exactly_one_shard(cuts in prop::collection::vec((0..BUCKETS, any::<bool>()), 0..80)) {
            let mut layout = Layout::default();
            for (number, upper) in cuts {
                let bucket = Bucket::new(number).expect("a bucket");
                let whole = layout.buckets(layout.shard_of(bucket)).expect("a shard");
                let (first, last) =
                    if upper { (bucket, whole.last()) } else { (whole.first(), bucket) };
                let _ = layout.split(BucketRange::new(first, last).expect("in order"));
            }
            let mut owned = 0;
            for shard in layout.shards() {
                for bucket in layout.buckets(shard).expect("it exists").iter() {
                    prop_assert_eq!(layout.shard_of(bucket), shard);
                    owned += 1;
                }
            }
            prop_assert_eq!(owned, BUCKETS);
            let text = serde_json::to_string(&layout).expect("it is written");
            prop_assert_eq!(serde_json::from_str::<Layout>(&text).expect("it reads"), layout);
        }
    }
}
