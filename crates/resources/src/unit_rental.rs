//! UnitRental: a unit for a while, in a place that a provider makes and takes
//! back. Its name is the unit's.
//!
//! Everything that carrying it out needs to know is in the object: whoever
//! leads next goes on from there. Deleting it gives the unit back first; once
//! it was given back, the object is only a record.

use serde::{Deserialize, Serialize};
use topology::{CenterName, ShardSet, UnitName};

use crate::{FieldError, Kind, Object, PortRange, Scope};

pub type UnitRental = Object<UnitRentalSpec>;

/// Keeps a rental from going while something of it is left.
pub const RENTAL_FINALIZER: &str = "polis.dev/rental";

/// On what was made for a rental: its name.
pub const RENTAL_LABEL: &str = "polis.dev/rental";

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct UnitRentalSpec {
    /// Where the place is made.
    pub center: CenterName,
    /// Of a hundred shards of those who give, so many move here.
    #[serde(default = "share_percent")]
    pub share_percent: u32,
    /// Who gives; everyone unless said.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub from: Vec<UnitName>,
    /// Or no share at all: this is the second group of that unit, to which
    /// shards move by order.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group_of: Option<UnitName>,
    /// RFC 3339; given back by itself then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
    /// A person's word that it is to be given back.
    #[serde(default)]
    pub give_back: bool,
}

/// Ant's first bounce to rented centers was of a tenth.
fn share_percent() -> u32 {
    10
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct UnitRentalStatus {
    pub phase: RentalPhase,
    /// What is done or waited for, or why it was refused.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// What the provider made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub place: Option<RentedPlace>,
    /// Whose services it runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<UnitName>,
    /// What moves here, and from whom; taken once. They go back there.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub shares: Vec<RentedShare>,
    /// The share has arrived, or as much of it as could.
    pub moved_out: bool,
    /// Orders to move shards back that did not succeed; part of the names of
    /// the next.
    pub attempt: u32,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<RentalCondition>,
    /// The newest last; bounded.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub history: Vec<RentalEvent>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum RentalPhase {
    #[default]
    Pending,
    /// The provider makes the place.
    Creating,
    /// Its services are started.
    Deploying,
    /// Its share moves to it.
    MovingOut,
    Active,
    /// Its shards go back where they came from.
    MovingBack,
    /// Its services end, and the provider takes the place back.
    Releasing,
    /// Given back whole.
    Returned,
    /// Never begun: the message says why.
    Refused,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RentedPlace {
    /// By which the provider knows it.
    pub id: String,
    pub ports: PortRange,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RentedShare {
    pub shards: ShardSet,
    pub from: UnitName,
}

/// As in Kubernetes: something that is true of it, or not, since when.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RentalCondition {
    #[serde(rename = "type")]
    pub kind: String,
    /// `True` or `False`.
    pub status: String,
    /// RFC 3339.
    pub last_transition_time: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RentalEvent {
    /// RFC 3339.
    pub at: String,
    pub phase: RentalPhase,
    pub message: String,
}

impl Kind for UnitRentalSpec {
    type Status = UnitRentalStatus;
    const GROUP: &'static str = "polis.dev";
    const VERSION: &'static str = "v1alpha1";
    const KIND: &'static str = "UnitRental";
    const PLURAL: &'static str = "unitrentals";
    const SINGULAR: &'static str = "unitrental";
    const SHORT_NAMES: &'static [&'static str] = &["rent"];
    const SCOPE: Scope = Scope::Cluster;

    fn validate(&self) -> Vec<FieldError> {
        let mut errors = Vec::new();
        if !(1..=100).contains(&self.share_percent) {
            let detail = "must be 1 to 100";
            errors.push(FieldError::invalid("spec.sharePercent", self.share_percent, detail));
        }
        for (index, unit) in self.from.iter().enumerate() {
            if self.from[..index].contains(unit) {
                let path = format!("spec.from[{index}]");
                errors.push(FieldError::invalid(path, unit, "is named twice"));
            }
        }
        if let (Some(unit), false) = (&self.group_of, self.from.is_empty()) {
            let detail = "a group gets its shards by order: leave out spec.from";
            errors.push(FieldError::invalid("spec.groupOf", unit, detail));
        }
        errors
    }
}

// === impl UnitRental ===

impl UnitRental {
    pub fn unit(&self) -> Result<UnitName, topology::NameError> {
        self.name().parse()
    }

    /// Nothing of it is left, and nothing more happens.
    #[must_use]
    pub fn is_over(&self) -> bool {
        matches!(self.status.phase, RentalPhase::Returned | RentalPhase::Refused)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(spec: serde_json::Value, expected: &[&str]) {
        let parsed: UnitRentalSpec = serde_json::from_value(spec.clone()).expect("it parses");
        let paths: Vec<_> = parsed.validate().into_iter().map(|error| error.path).collect();
        assert_eq!(paths, expected, "{spec}");
    }

    #[test]
    fn a_rental_names_a_center_and_a_share() {
        check(json!({"center": "east-1"}), &[]);
        check(json!({"center": "east-1", "from": ["rz01"], "sharePercent": 100}), &[]);
        check(json!({"center": "east-1", "sharePercent": 0}), &["spec.sharePercent"]);
        check(json!({"center": "east-1", "from": ["rz01", "rz01"]}), &["spec.from[1]"]);
        check(json!({"center": "east-1", "groupOf": "rz01"}), &[]);
        check(json!({"center": "east-1", "groupOf": "rz01", "from": ["rz02"]}), &["spec.groupOf"]);
    }
}
