//! City: centers that may be lost together.

use serde::{Deserialize, Serialize};
use topology::CityName;

use crate::{FieldError, Kind, Object, Scope};

pub type City = Object<CitySpec>;

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CitySpec {
    /// What may be done to this city on purpose. Nothing, unless said.
    #[serde(default)]
    pub drills: DrillPolicy,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum DrillPolicy {
    #[default]
    Forbidden,
    Allowed,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CityStatus {}

impl Kind for CitySpec {
    type Status = CityStatus;
    const GROUP: &'static str = "polis.dev";
    const VERSION: &'static str = "v1alpha1";
    const KIND: &'static str = "City";
    const PLURAL: &'static str = "cities";
    const SINGULAR: &'static str = "city";
    const SHORT_NAMES: &'static [&'static str] = &[];
    const SCOPE: Scope = Scope::Cluster;

    fn validate(&self) -> Vec<FieldError> {
        Vec::new()
    }
}

// === impl City ===

impl City {
    /// The object's name as a city, if it is one.
    pub fn city(&self) -> Result<CityName, topology::NameError> {
        self.name().parse()
    }
}
