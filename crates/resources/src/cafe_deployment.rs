//! CafeDeployment: an application spread over units, after the spec that Ant
//! published for `apps.cafe.cloud.alipay.com/v1alpha1`, under our own group.
//!
//! This release serves replicas per unit and the template. The other fields of
//! the design are refused by name rather than ignored.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use topology::UnitName;

use crate::{FieldError, Kind, Object, Scope};

pub type CafeDeployment = Object<CafeDeploymentSpec>;

/// Bound on the pods of one unit: one host's ports and processes.
const UNIT_REPLICAS_MAX: u32 = 100;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CafeDeploymentSpec {
    #[serde(default)]
    pub pod_set_type: PodSetType,
    pub topology: Topology,
    /// A Pod template (`metadata`, `spec`) as in apps/v1.
    pub template: Value,

    // Of the design, not served yet: present only to be refused by name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replicas: Option<Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub strategy: Option<Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub history_limit: Option<Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub volume_claim_templates: Option<Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_name: Option<Value>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum PodSetType {
    #[default]
    InPlaceSet,
    ReplicaSet,
    StatefulSet,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Topology {
    #[serde(default)]
    pub unit_type: UnitType,
    /// Pods in each unit. Units that are not named get none.
    pub unit_replicas: BTreeMap<UnitName, UnitReplicas>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auto_reschedule: Option<Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub values: Option<Value>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum UnitType {
    #[default]
    Cell,
    Zone,
    None,
}

/// A number of pods; a percentage (`10%`) is of the design, and not served yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum UnitReplicas {
    Count(u32),
    Text(String),
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct CafeDeploymentStatus {
    pub observed_generation: i64,
    pub replicas: u32,
    pub ready_replicas: u32,
    pub updated_replicas: u32,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub units: BTreeMap<UnitName, UnitStatus>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct UnitStatus {
    pub replicas: u32,
    pub ready_replicas: u32,
    pub updated_replicas: u32,
}

impl Kind for CafeDeploymentSpec {
    type Status = CafeDeploymentStatus;
    const GROUP: &'static str = "apps.polis.dev";
    const VERSION: &'static str = "v1alpha1";
    const KIND: &'static str = "CafeDeployment";
    const PLURAL: &'static str = "cafedeployments";
    const SINGULAR: &'static str = "cafedeployment";
    const SHORT_NAMES: &'static [&'static str] = &["cafe"];
    const SCOPE: Scope = Scope::Namespaced;

    fn validate(&self) -> Vec<FieldError> {
        let mut errors = self.not_served();
        for (unit, replicas) in &self.topology.unit_replicas {
            let path = format!("spec.topology.unitReplicas[{unit}]");
            match replicas {
                UnitReplicas::Count(count) if *count <= UNIT_REPLICAS_MAX => {}
                UnitReplicas::Count(count) => {
                    let detail = format!("must not be above {UNIT_REPLICAS_MAX}");
                    errors.push(FieldError::invalid(path, count, detail));
                }
                UnitReplicas::Text(text) => {
                    let detail = format!("{text:?}: only a number is served in this release");
                    errors.push(FieldError::not_supported(path, detail));
                }
            }
        }
        let containers = self.template.pointer("/spec/containers").and_then(Value::as_array);
        if containers.is_none_or(Vec::is_empty) {
            let path = "spec.template.spec.containers";
            errors.push(FieldError::required(path, "name at least one container"));
        }
        errors
    }
}

// === impl CafeDeploymentSpec ===

impl CafeDeploymentSpec {
    fn not_served(&self) -> Vec<FieldError> {
        let topology = &self.topology;
        let fields = [
            ("spec.replicas", self.replicas.is_some()),
            ("spec.selector", self.selector.is_some()),
            ("spec.strategy", self.strategy.is_some()),
            ("spec.historyLimit", self.history_limit.is_some()),
            ("spec.volumeClaimTemplates", self.volume_claim_templates.is_some()),
            ("spec.serviceName", self.service_name.is_some()),
            ("spec.podSetType", self.pod_set_type != PodSetType::InPlaceSet),
            ("spec.topology.autoReschedule", topology.auto_reschedule.is_some()),
            ("spec.topology.values", topology.values.is_some()),
            ("spec.topology.unitType", topology.unit_type != UnitType::Cell),
        ];
        fields
            .into_iter()
            .filter(|(_, present)| *present)
            .map(|(path, _)| FieldError::not_supported(path, "not served in this release"))
            .collect()
    }

    /// Pods wanted in `unit`.
    #[must_use]
    pub fn replicas_in(&self, unit: &UnitName) -> u32 {
        match self.topology.unit_replicas.get(unit) {
            Some(UnitReplicas::Count(count)) => *count,
            Some(UnitReplicas::Text(_)) | None => 0,
        }
    }
}
