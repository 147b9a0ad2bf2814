//! Center: a data center, where it is reached, and what it sees of the others.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use topology::{CenterName, CityName};

use crate::{FieldError, Kind, Object, Scope};

pub type Center = Object<CenterSpec>;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CenterSpec {
    pub city: CityName,
    /// `host:port` of this center's API server, which others probe too.
    pub api_address: String,
    /// `host:port` of this center's edge, for users.
    pub edge_address: String,
    /// `host:port` where its edge tells operators and controllers how it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub edge_admin_address: Option<String>,
}

/// `phase` is written by the leader among the controllers; `observations` by
/// the center itself, only when they change.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct CenterStatus {
    pub phase: CenterPhase,
    /// Start of the process that wrote the observations, so that a restarted
    /// observer's old opinions are known as such.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub observer: String,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub observations: BTreeMap<CenterName, Observation>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum CenterPhase {
    /// Not seen yet.
    #[default]
    Unknown,
    Ready,
    /// Probes fail, evidence is being gathered.
    Suspect,
    /// Evidence from two or more cities: its shards have been moved.
    Lost,
}

/// What one center sees of another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Observation {
    Alive,
    Suspect,
    /// Suspect, and its machine still takes connections: paused, or drowned.
    Mute,
}

// === impl Observation ===

impl Observation {
    /// Whether it says that the center does not answer.
    #[must_use]
    pub fn is_suspicion(self) -> bool {
        matches!(self, Observation::Suspect | Observation::Mute)
    }
}

impl Kind for CenterSpec {
    type Status = CenterStatus;
    const GROUP: &'static str = "polis.dev";
    const VERSION: &'static str = "v1alpha1";
    const KIND: &'static str = "Center";
    const PLURAL: &'static str = "centers";
    const SINGULAR: &'static str = "center";
    const SHORT_NAMES: &'static [&'static str] = &["dc"];
    const SCOPE: Scope = Scope::Cluster;

    fn validate(&self) -> Vec<FieldError> {
        let addresses =
            [("spec.apiAddress", &self.api_address), ("spec.edgeAddress", &self.edge_address)];
        let admin = self.edge_admin_address.as_ref();
        addresses
            .into_iter()
            .chain(admin.map(|address| ("spec.edgeAdminAddress", address)))
            .filter(|(_, address)| !is_host_port(address))
            .map(|(path, address)| FieldError::invalid(path, address, "must be HOST:PORT"))
            .collect()
    }
}

fn is_host_port(address: &str) -> bool {
    address
        .rsplit_once(':')
        .is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok_and(|p| p > 0))
}

// === impl Center ===

impl Center {
    pub fn center(&self) -> Result<CenterName, topology::NameError> {
        self.name().parse()
    }
}
