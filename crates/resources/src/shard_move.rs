//! ShardMove: an order to move shards to another unit by plan, and how far it
//! is.
//!
//! While it is under way it claims its shards: nothing else sends them
//! anywhere, save for a failover. Deleting it then takes the order back, and
//! what has moved goes home again. Once it has succeeded, its shards belong
//! where they are, and the object is only a record.

use serde::{Deserialize, Serialize};
use topology::{BucketRange, Epoch, ShardSet, UnitName};

use crate::{FieldError, Kind, Object, Scope};

pub type ShardMove = Object<ShardMoveSpec>;

/// A hold must end well within the deadline of a request (10 s at the edge
/// unless it says less), so that what waits is served and not refused.
const HOLD_MS_MAX: u64 = 8_000;
/// One drain and one raise over a slow link.
const HOLD_MS_MIN: u64 = 500;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ShardMoveSpec {
    /// These shards, wherever they are.
    #[serde(default, skip_serializing_if = "ShardSet::is_empty")]
    pub shards: ShardSet,
    /// Of the one shard named, only these: they become a shard of their own first,
    /// and go to `to` if that is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub buckets: Option<BucketRange>,
    /// Or those of this unit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<UnitName>,
    /// So many of a hundred of the unit's shards; all unless said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub percent: Option<u32>,
    /// Where to; a unit that is emptied is spread over the others unless said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<UnitName>,
    /// Longest time that a shard's requests are held before it goes back.
    #[serde(default = "hold_ms")]
    pub hold_ms: u64,
}

/// Twice a drain that runs into its bound (1 s), and the rest for the fence.
fn hold_ms() -> u64 {
    3_000
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ShardMoveStatus {
    /// Of the spec that `progress` follows from.
    pub observed_generation: i64,
    pub phase: MovePhase,
    /// Why it waits, or how it ended.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// Shards of the plan, and those that have arrived.
    pub total: u32,
    pub moved: u32,
    /// The plan and how far each shard is; taken once, so that a percentage
    /// means the same after a crash.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub progress: Vec<MoveProgress>,
    /// The newest last; bounded.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub history: Vec<MoveEvent>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum MovePhase {
    /// Not begun: the plan cannot be made yet.
    #[default]
    Pending,
    Moving,
    Succeeded,
    /// Some shards were given up; they are where they were.
    Failed,
}

/// Shards with the same fate share a row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MoveProgress {
    pub shards: ShardSet,
    pub from: UnitName,
    pub to: UnitName,
    pub state: MoveState,
    /// Under which the shard was seen last.
    pub epoch: Epoch,
    #[serde(default)]
    pub reverts: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum MoveState {
    /// Served by another unit than the target, for now.
    Waiting,
    /// On its way to the target: its requests are held.
    Holding,
    Moved,
    /// On its way to another unit: a revert or a failover.
    Elsewhere,
    /// Went back too often.
    GivenUp,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MoveEvent {
    /// RFC 3339.
    pub at: String,
    pub shards: ShardSet,
    pub epoch: Epoch,
    pub state: MoveState,
    /// Who serves or shall.
    pub unit: UnitName,
    pub reason: String,
}

impl Kind for ShardMoveSpec {
    type Status = ShardMoveStatus;
    const GROUP: &'static str = "polis.dev";
    const VERSION: &'static str = "v1alpha1";
    const KIND: &'static str = "ShardMove";
    const PLURAL: &'static str = "shardmoves";
    const SINGULAR: &'static str = "shardmove";
    const SHORT_NAMES: &'static [&'static str] = &["mv"];
    const SCOPE: Scope = Scope::Cluster;

    fn validate(&self) -> Vec<FieldError> {
        let mut errors = Vec::new();
        match (self.shards.is_empty(), &self.unit) {
            (true, None) => {
                let detail = "name the shards to move, or in spec.unit the unit they leave";
                errors.push(FieldError::required("spec.shards", detail));
            }
            (false, Some(unit)) => {
                let detail = "may not be given together with spec.shards";
                errors.push(FieldError::invalid("spec.unit", unit, detail));
            }
            (false, None) if self.to.is_none() && self.buckets.is_none() => {
                let detail = "name the unit that takes them";
                errors.push(FieldError::required("spec.to", detail));
            }
            _ => {}
        }
        if let Some(buckets) = self.buckets.filter(|_| self.shards.len() != 1) {
            let detail = "are of one shard: name it in spec.shards";
            errors.push(FieldError::invalid("spec.buckets", buckets, detail));
        }
        if let Some(to) = self.to.as_ref().filter(|to| Some(*to) == self.unit.as_ref()) {
            errors.push(FieldError::invalid("spec.to", to, "is the unit they leave"));
        }
        match self.percent {
            Some(percent) if self.unit.is_none() => {
                let detail = "is of a unit: name it in spec.unit";
                errors.push(FieldError::invalid("spec.percent", percent, detail));
            }
            Some(percent) if !(1..=100).contains(&percent) => {
                errors.push(FieldError::invalid("spec.percent", percent, "must be 1 to 100"));
            }
            _ => {}
        }
        if !(HOLD_MS_MIN..=HOLD_MS_MAX).contains(&self.hold_ms) {
            let detail = format!("must be {HOLD_MS_MIN} to {HOLD_MS_MAX}");
            errors.push(FieldError::invalid("spec.holdMs", self.hold_ms, detail));
        }
        errors
    }
}

impl Default for ShardMoveSpec {
    fn default() -> ShardMoveSpec {
        ShardMoveSpec {
            shards: ShardSet::default(),
            buckets: None,
            unit: None,
            percent: None,
            to: None,
            hold_ms: hold_ms(),
        }
    }
}

// === impl MovePhase ===

impl MovePhase {
    /// Nothing more happens by this order.
    #[must_use]
    pub fn is_final(self) -> bool {
        matches!(self, MovePhase::Succeeded | MovePhase::Failed)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(spec: serde_json::Value, expected: &[&str]) {
        let parsed: ShardMoveSpec = serde_json::from_value(spec.clone()).expect("it parses");
        let paths: Vec<_> = parsed.validate().into_iter().map(|error| error.path).collect();
        assert_eq!(paths, expected, "{spec}");
    }

    #[test]
    fn an_order_names_what_moves_once_and_where_to() {
        check(json!({"shards": "42", "to": "rz03"}), &[]);
        check(json!({"unit": "rz01"}), &[]);
        check(json!({"shards": "42", "buckets": "4250-4299"}), &[]);
        check(json!({"shards": "42", "buckets": "4250-4299", "to": "rz03"}), &[]);
        check(json!({"shards": "42-43", "buckets": "4250-4299"}), &["spec.buckets"]);
        check(json!({"unit": "rz01", "buckets": "4250-4299"}), &["spec.buckets"]);
        check(json!({"unit": "rz01", "percent": 10, "to": "rz03"}), &[]);
        check(json!({}), &["spec.shards"]);
        check(json!({"shards": "42"}), &["spec.to"]);
        check(json!({"shards": "42", "unit": "rz01", "to": "rz03"}), &["spec.unit"]);
        check(json!({"unit": "rz01", "to": "rz01"}), &["spec.to"]);
        check(json!({"shards": "42", "percent": 10, "to": "rz03"}), &["spec.percent"]);
        check(json!({"unit": "rz01", "percent": 0}), &["spec.percent"]);
        check(json!({"unit": "rz01", "percent": 101}), &["spec.percent"]);
        check(json!({"unit": "rz01", "holdMs": 10}), &["spec.holdMs"]);
    }
}
