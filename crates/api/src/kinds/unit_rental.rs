//! Rentals of units: when they end is a date, and what was agreed stays.

use resources::{FieldError, UnitRentalSpec};
use serde_json::Value;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use super::{ours, unit};
use crate::{object, resource::Rules};

/// What may change once the rental was made.
const CHANGEABLE: [&str; 2] = ["until", "giveBack"];

pub const fn rules() -> Rules {
    let rules = ours::rules::<UnitRentalSpec>();
    Rules { validate, validate_update, ..rules }
}

fn validate(object: &Value) -> Vec<FieldError> {
    let mut errors = ours::validate::<UnitRentalSpec>(object);
    let name = object::name(object);
    match name.parse() {
        Ok(unit) if unit::has_keyspace(&unit) => {}
        Ok(_) => {
            let detail = "is too long for the name of a unit";
            errors.push(FieldError::invalid("metadata.name", name, detail));
        }
        Err(error) => {
            errors.push(FieldError::invalid("metadata.name", name, error.to_string()));
        }
    }
    let until = object.pointer("/spec/until").and_then(Value::as_str);
    if let Some(until) = until.filter(|until| OffsetDateTime::parse(until, &Rfc3339).is_err()) {
        let detail = "must be a time such as 2026-11-12T08:00:00Z";
        errors.push(FieldError::invalid("spec.until", until, detail));
    }
    errors
}

fn validate_update(new: &Value, old: &Value) -> Vec<FieldError> {
    let spec = |object: &Value| {
        let mut spec = object["spec"].clone();
        if let Some(fields) = spec.as_object_mut() {
            fields.retain(|name, _| !CHANGEABLE.contains(&name.as_str()));
        }
        spec
    };
    if spec(new) == spec(old) {
        return Vec::new();
    }
    let detail = "only until and giveBack can be changed: give it back and rent another";
    vec![FieldError::not_supported("spec", detail)]
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_rental_ends_at_a_time_that_may_change_and_nothing_else_may() {
        let rental = |until: &str, center: &str| json!({"metadata": {"name": "rz06"}, "spec": {"center": center, "until": until}});
        let good = rental("2026-11-12T08:00:00Z", "east-1");
        assert_eq!(validate(&good), []);
        assert_eq!(validate(&rental("tomorrow", "east-1"))[0].path, "spec.until");
        let mut nameless = good.clone();
        nameless["metadata"]["name"] = json!("RZ.06");
        assert_eq!(validate(&nameless)[0].path, "metadata.name");
        assert_eq!(validate_update(&rental("2026-11-13T08:00:00Z", "east-1"), &good), []);
        assert_eq!(validate_update(&rental("2026-11-12T08:00:00Z", "east-2"), &good).len(), 1);
    }
}
