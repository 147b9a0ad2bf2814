//! Units: their name becomes the name of a keyspace, which is bounded.

use kv::KeyspaceName;
use resources::{FieldError, UnitSpec};
use serde_json::Value;
use topology::UnitName;

use super::ours;
use crate::{
    object,
    request::path::{Door, UNIT_KEYSPACE_PREFIX},
    resource::Rules,
};

pub const fn rules() -> Rules {
    let rules = ours::rules::<UnitSpec>();
    Rules { validate, ..rules }
}

/// Whether there can be a keyspace of this unit.
pub fn has_keyspace(unit: &UnitName) -> bool {
    KeyspaceName::new(&Door::Unit(unit.clone()).keyspace()).is_ok()
}

fn validate(object: &Value) -> Vec<FieldError> {
    let mut errors = ours::validate::<UnitSpec>(object);
    let name = object::name(object);
    if name.parse().is_ok_and(|unit| !has_keyspace(&unit)) {
        let max = KeyspaceName::LEN_MAX - UNIT_KEYSPACE_PREFIX.len();
        let detail = format!("must have at most {max} characters");
        errors.push(FieldError::invalid("metadata.name", name, detail));
    }
    errors
}
