//! Failover: centers that look lost, what moving their shards would do, and a
//! person's word where the policy asks for it. The record stays when it is
//! over.

use serde::{Deserialize, Serialize};
use topology::{CenterName, ShardSet, UnitName};

use crate::{FieldError, Kind, Object, Scope};

pub type Failover = Object<FailoverSpec>;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FailoverSpec {
    /// Those that look lost.
    pub centers: Vec<CenterName>,
    pub evidence: Evidence,
    /// A person's word that their shards are to move; it may be given once and
    /// not be taken back.
    #[serde(default)]
    pub approved: bool,
}

/// What was seen of a center that looks lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Evidence {
    /// No center of its city answers.
    City,
    /// It is silent, and another center of its city answers.
    Center,
    /// Its machine takes connections, and its process does not answer.
    Paused,
    /// Half of the centers or more look lost: rather the observer is cut off.
    Majority,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct FailoverStatus {
    pub phase: FailoverPhase,
    /// Why it waits, or how it ended.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// Where the shards would go, or went.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub plan: Vec<FailoverStep>,
    /// What each unit that takes some would carry.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub loads: Vec<FailoverLoad>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum FailoverPhase {
    /// For a person, or for time to pass.
    #[default]
    Waiting,
    /// The shards were moved.
    Done,
    /// The centers answered again before that.
    Withdrawn,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailoverStep {
    pub shards: ShardSet,
    pub from: UnitName,
    pub to: UnitName,
}

/// Shards of a unit before and after.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FailoverLoad {
    pub unit: UnitName,
    pub shards_before: u32,
    pub shards_after: u32,
    /// With the shards of the unit whose loss would then hit it most.
    pub shards_if_another_is_lost: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub another: Option<UnitName>,
}

impl Kind for FailoverSpec {
    type Status = FailoverStatus;
    const GROUP: &'static str = "polis.dev";
    const VERSION: &'static str = "v1alpha1";
    const KIND: &'static str = "Failover";
    const PLURAL: &'static str = "failovers";
    const SINGULAR: &'static str = "failover";
    const SHORT_NAMES: &'static [&'static str] = &["fo"];
    const SCOPE: Scope = Scope::Cluster;

    fn validate(&self) -> Vec<FieldError> {
        if self.centers.is_empty() {
            return vec![FieldError::required("spec.centers", "name at least one center")];
        }
        Vec::new()
    }
}

// === impl FailoverPhase ===

impl FailoverPhase {
    #[must_use]
    pub fn is_final(self) -> bool {
        !matches!(self, FailoverPhase::Waiting)
    }
}
