//! Unit: a self-contained cell in one center, with named standbys.

use serde::{Deserialize, Serialize};
use topology::{CenterName, UnitName};

use crate::{FieldError, Kind, Object, Scope};

pub type Unit = Object<UnitSpec>;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct UnitSpec {
    pub kind: UnitKind,
    pub center: CenterName,
    /// Units that take its shards when it is lost, in order of preference.
    #[serde(default)]
    pub standbys: Vec<UnitName>,
    /// Host ports that pods of this unit may be given.
    pub ports: PortRange,
    /// Shards that it can carry; failovers fill other units first. As many as
    /// there are, unless said. With 0 it takes only what an order names: it is
    /// nobody's successor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shards_max: Option<u16>,
    /// What runs here that writes shards, and what keeps two writers apart.
    #[serde(default)]
    pub services: Vec<Service>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum UnitKind {
    /// Owns user shards.
    RZone,
    /// Global: what cannot be split.
    GZone,
    /// A city's read copy of GZone data.
    CZone,
}

/// `first..=last`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PortRange {
    pub first: u16,
    pub last: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Service {
    pub name: String,
    pub namespace: String,
    pub fence: Fence,
}

/// How a service keeps a fenced-out unit from writing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Fence {
    /// Every write is checked where the data is.
    Database,
    Lease,
    None,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct UnitState {
    /// The center's phase, repeated for reading; written by the leader.
    pub ready: bool,
}

impl Kind for UnitSpec {
    type Status = UnitState;
    const GROUP: &'static str = "polis.dev";
    const VERSION: &'static str = "v1alpha1";
    const KIND: &'static str = "Unit";
    const PLURAL: &'static str = "units";
    const SINGULAR: &'static str = "unit";
    const SHORT_NAMES: &'static [&'static str] = &["zone"];
    const SCOPE: Scope = Scope::Cluster;

    fn validate(&self) -> Vec<FieldError> {
        let mut errors = Vec::new();
        let PortRange { first, last } = self.ports;
        if first == 0 || last < first {
            let detail = "first must be at least 1 and not above last";
            errors.push(FieldError::invalid("spec.ports", self.ports, detail));
        }
        for (index, standby) in self.standbys.iter().enumerate() {
            if self.standbys[..index].contains(standby) {
                let path = format!("spec.standbys[{index}]");
                errors.push(FieldError::invalid(path, standby, "is named twice"));
            }
        }
        errors
    }
}

// === impl Unit ===

impl Unit {
    pub fn unit(&self) -> Result<UnitName, topology::NameError> {
        self.name().parse()
    }
}
