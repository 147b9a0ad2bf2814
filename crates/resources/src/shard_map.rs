//! ShardMap: where shards belong (`spec`) and who serves them (`status`).
//!
//! `status` is the truth of routing. It is written only through the `status`
//! subresource, with the object's resourceVersion compared, by controllers
//! that follow `planner`'s rules.

use serde::{Deserialize, Serialize};
use topology::{ShardMap, ShardSet, UnitName};

use crate::{FieldError, Kind, Object, Scope};

/// The one shard map of a federation.
pub const SHARD_MAP_NAME: &str = "main";

pub type ShardMapObject = Object<ShardMapSpec>;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ShardMapSpec {
    /// Where each shard belongs when everything is well. Disjoint.
    pub homes: Vec<Home>,
    #[serde(default)]
    pub return_policy: ReturnPolicy,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Home {
    pub shards: ShardSet,
    pub unit: UnitName,
}

/// Whether shards go home by themselves once their unit is well again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ReturnPolicy {
    #[serde(default = "return_automatic")]
    pub automatic: bool,
    /// How long the home unit must have been well, in milliseconds.
    #[serde(default = "return_after_ms")]
    pub after_ms: u64,
    /// So many shards go home at a time; the rest wait until these serve.
    #[serde(default = "return_batch_shards")]
    pub batch_shards: u16,
    /// Least time between two batches, in milliseconds.
    #[serde(default)]
    pub pause_ms: u64,
}

fn return_automatic() -> bool {
    true
}

/// Long enough not to return to a unit that flaps.
fn return_after_ms() -> u64 {
    5_000
}

/// A home that turns out to be unwell has cost little by then.
fn return_batch_shards() -> u16 {
    10
}

impl Default for ReturnPolicy {
    fn default() -> ReturnPolicy {
        ReturnPolicy {
            automatic: return_automatic(),
            after_ms: return_after_ms(),
            batch_shards: return_batch_shards(),
            pause_ms: 0,
        }
    }
}

impl Kind for ShardMapSpec {
    type Status = ShardMap;
    const GROUP: &'static str = "polis.dev";
    const VERSION: &'static str = "v1alpha1";
    const KIND: &'static str = "ShardMap";
    const PLURAL: &'static str = "shardmaps";
    const SINGULAR: &'static str = "shardmap";
    const SHORT_NAMES: &'static [&'static str] = &["sm"];
    const SCOPE: Scope = Scope::Cluster;

    fn validate(&self) -> Vec<FieldError> {
        let mut errors = Vec::new();
        if self.return_policy.batch_shards == 0 {
            errors.push(FieldError::invalid(
                "spec.returnPolicy.batchShards",
                0,
                "must be at least 1",
            ));
        }
        for (index, home) in self.homes.iter().enumerate() {
            let path = format!("spec.homes[{index}].shards");
            if home.shards.is_empty() {
                errors.push(FieldError::required(path.clone(), "name at least one shard"));
            }
            let earlier = &self.homes[..index];
            let twice = home.shards.iter().find(|s| earlier.iter().any(|e| e.shards.contains(*s)));
            if let Some(shard) = twice {
                let detail = format!("shard {shard} has another home already");
                errors.push(FieldError::invalid(path, home.shards.to_string(), detail));
            }
        }
        errors
    }
}

// === impl ShardMapSpec ===

impl ShardMapSpec {
    #[must_use]
    pub fn home_of(&self, shard: topology::Shard) -> Option<&UnitName> {
        self.homes.iter().find(|home| home.shards.contains(shard)).map(|home| &home.unit)
    }

    /// Makes `unit` the home of these shards. False when it is already.
    pub fn rehome(&mut self, shards: &ShardSet, unit: &UnitName) -> bool {
        if shards.iter().all(|shard| self.home_of(shard) == Some(unit)) {
            return false;
        }
        for home in &mut self.homes {
            home.shards = home.shards.iter().filter(|shard| !shards.contains(*shard)).collect();
        }
        match self.homes.iter_mut().find(|home| home.unit == *unit) {
            Some(home) => home.shards = home.shards.iter().chain(shards.iter()).collect(),
            None => self.homes.push(Home { shards: shards.clone(), unit: unit.clone() }),
        }
        self.homes.retain(|home| !home.shards.is_empty());
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shard_that_finds_a_new_home_leaves_the_old_one() {
        let homes =
            r#"{"homes": [{"shards": "00-19", "unit": "rz01"}, {"shards": "20", "unit": "rz02"}]}"#;
        let mut spec: ShardMapSpec = serde_json::from_str(homes).expect("a spec");
        let shards = |text: &str| text.parse::<ShardSet>().expect("shards");
        let (near, far) = ("rz01".parse().expect("a name"), "rz03".parse().expect("a name"));
        assert!(spec.rehome(&shards("00-04,20"), &far));
        assert!(!spec.rehome(&shards("00-04"), &far), "it is there");
        assert!(spec.rehome(&shards("03"), &near));
        let shown: Vec<_> = spec.homes.iter().map(|h| format!("{} {}", h.unit, h.shards)).collect();
        assert_eq!(shown, ["rz01 03,05-19", "rz03 00-02,04,20"]);
        assert!(spec.validate().is_empty());
    }
}
