//! The shard map: which unit owns each shard, and under which epoch.

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize};

use crate::{Bucket, Layout, Shard, ShardSet, UnitName};

/// Rises by one with every change of a shard's owner or target, and is taken
/// once, when the intent is committed to the map. Epochs of different shards
/// are not comparable.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Epoch(pub u64);

/// Rises by one with every change of the map; what a compare-and-swap compares.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct MapVersion(pub u64);

/// Who may write a shard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ShardState {
    /// `unit` raised the fence at this epoch and serves.
    Serving { unit: UnitName },
    /// The intent is durable; `to` has not been seen to raise the fence yet.
    /// `from` is none in a failover: nobody is asked to let go.
    Moving { from: Option<UnitName>, to: UnitName },
}

/// A shard's state and the epoch under which it was taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assignment {
    pub epoch: Epoch,
    pub state: ShardState,
}

/// All shards. A shard that was never given to a unit is absent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Stored", into = "Stored")]
pub struct ShardMap {
    pub version: MapVersion,
    /// Which buckets each shard has; changed with the owners in one
    /// compare-and-swap.
    pub layout: Layout,
    pub assignments: BTreeMap<Shard, Assignment>,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ShardMapError {
    #[error("shard {0} appears in two ranges")]
    Twice(Shard),
    #[error("range {range}: state {state} needs {missing}")]
    Incomplete { range: ShardSet, state: &'static str, missing: &'static str },
    #[error("shard {0} has an owner and no buckets")]
    NoBuckets(Shard),
}

/// The text form: shards with the same state and epoch share a range.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Stored {
    #[serde(default)]
    version: MapVersion,
    /// Absent in every map of before there was splitting.
    #[serde(default, skip_serializing_if = "Layout::is_default")]
    buckets: Layout,
    #[serde(default)]
    ranges: Vec<StoredRange>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct StoredRange {
    shards: ShardSet,
    epoch: Epoch,
    state: StoredState,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    unit: Option<UnitName>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    from: Option<UnitName>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    to: Option<UnitName>,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
enum StoredState {
    Serving,
    Moving,
}

// === impl Epoch ===

impl Epoch {
    #[must_use]
    pub fn next(self) -> Epoch {
        Epoch(self.0 + 1)
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for MapVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

// === impl ShardState ===

impl ShardState {
    /// The unit that serves now or will.
    #[must_use]
    pub fn target(&self) -> &UnitName {
        match self {
            ShardState::Serving { unit } => unit,
            ShardState::Moving { to, .. } => to,
        }
    }
}

// === impl ShardMap ===

impl ShardMap {
    #[must_use]
    pub fn get(&self, shard: Shard) -> Option<&Assignment> {
        self.assignments.get(&shard)
    }

    /// Of the shard that has the bucket.
    #[must_use]
    pub fn of_bucket(&self, bucket: Bucket) -> Option<&Assignment> {
        self.get(self.layout.shard_of(bucket))
    }

    /// Whether every shard there is has a unit that serves it.
    #[must_use]
    pub fn is_served(&self) -> bool {
        self.layout.shards().all(|shard| {
            let state = self.get(shard).map(|assignment| &assignment.state);
            matches!(state, Some(ShardState::Serving { .. }))
        })
    }

    /// Shards whose serving unit or target is `unit`.
    pub fn of_unit<'a>(&'a self, unit: &'a UnitName) -> impl Iterator<Item = Shard> + 'a {
        self.assignments
            .iter()
            .filter(move |(_, assignment)| assignment.state.target() == unit)
            .map(|(shard, _)| *shard)
    }
}

impl From<ShardMap> for Stored {
    fn from(map: ShardMap) -> Stored {
        let mut groups: Vec<(Assignment, Vec<Shard>)> = Vec::new();
        for (shard, assignment) in map.assignments {
            match groups.iter_mut().find(|(known, _)| *known == assignment) {
                Some((_, shards)) => shards.push(shard),
                None => groups.push((assignment, vec![shard])),
            }
        }
        let ranges = groups.into_iter().map(|(assignment, shards)| {
            let (state, unit, from, to) = match assignment.state {
                ShardState::Serving { unit } => (StoredState::Serving, Some(unit), None, None),
                ShardState::Moving { from, to } => (StoredState::Moving, None, from, Some(to)),
            };
            let shards = shards.into_iter().collect();
            StoredRange { shards, epoch: assignment.epoch, state, unit, from, to }
        });
        Stored { version: map.version, buckets: map.layout, ranges: ranges.collect() }
    }
}

impl TryFrom<Stored> for ShardMap {
    type Error = ShardMapError;
    fn try_from(stored: Stored) -> Result<ShardMap, ShardMapError> {
        let mut assignments = BTreeMap::new();
        for range in stored.ranges {
            let state = match (range.state, range.unit, range.to) {
                (StoredState::Serving, Some(unit), _) => ShardState::Serving { unit },
                (StoredState::Moving, _, Some(to)) => ShardState::Moving { from: range.from, to },
                (StoredState::Serving, None, _) => {
                    let (state, missing) = ("Serving", "unit");
                    return Err(ShardMapError::Incomplete { range: range.shards, state, missing });
                }
                (StoredState::Moving, _, None) => {
                    let (state, missing) = ("Moving", "to");
                    return Err(ShardMapError::Incomplete { range: range.shards, state, missing });
                }
            };
            for shard in range.shards.iter() {
                if !stored.buckets.has(shard) {
                    return Err(ShardMapError::NoBuckets(shard));
                }
                let assignment = Assignment { epoch: range.epoch, state: state.clone() };
                if assignments.insert(shard, assignment).is_some() {
                    return Err(ShardMapError::Twice(shard));
                }
            }
        }
        Ok(ShardMap { version: stored.version, layout: stored.buckets, assignments })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_map_is_stored_as_ranges_and_reads_back_the_same() {
        let unit = |name: &str| name.parse::<UnitName>().expect("name");
        let serving =
            Assignment { epoch: Epoch(3), state: ShardState::Serving { unit: unit("rz01") } };
        let moving = Assignment {
            epoch: Epoch(4),
            state: ShardState::Moving { from: None, to: unit("rz03") },
        };
        let assignments = Shard::all()
            .map(|shard| {
                (shard, if shard.number() == 42 { moving.clone() } else { serving.clone() })
            })
            .collect();
        let mut map = ShardMap { version: MapVersion(9), assignments, ..ShardMap::default() };
        let stored = Stored::from(map.clone());
        let shards: Vec<_> = stored.ranges.iter().map(|range| range.shards.to_string()).collect();
        assert_eq!(shards, ["00-41,43-99", "42"]);
        assert_eq!(ShardMap::try_from(stored), Ok(map.clone()));
        assert!(!serde_json::to_string(&map).expect("it is written").contains("buckets"));

        let half = "0750-0799".parse().expect("buckets");
        let part = map.layout.split(half).expect("a half");
        let serving = map.of_bucket(half.last()).cloned();
        assert_eq!(serving, None, "nobody was given it");
        map.assignments.insert(part, moving);
        let text = serde_json::to_string(&map).expect("it is written");
        assert!(text.contains(r#""buckets":{"07":"0700-0749","100":"0750-0799"}"#), "{text}");
        assert_eq!(serde_json::from_str::<ShardMap>(&text).expect("it reads"), map);
        let homeless = text.replace(r#""07":"0700-0749","100":"0750-0799""#, "");
        assert!(serde_json::from_str::<ShardMap>(&homeless).is_err());
    }
}
