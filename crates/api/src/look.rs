//! The first look at an object that came in: what does not belong is named and
//! dropped, what is missing is filled in, what is wrong is said.

use resources::FieldError;
use serde_json::Value;

use crate::{
    failure::Failure,
    own,
    resource::{Origin, Resource},
};

/// What a look found.
pub struct Found {
    /// Paths of fields that the kind does not have; they were removed.
    pub unknown: Vec<String>,
    pub errors: Vec<FieldError>,
}

/// Fails when the object cannot be one of the kind at all.
pub fn look(resource: &Resource, object: &mut Value) -> Result<Found, Failure> {
    if let Origin::Own(own) = &resource.origin {
        let own::Findings { unknown, errors } = own.look(object);
        return Ok(Found { unknown, errors });
    }
    let findings = resource.schema.look(object);
    match findings.malformed {
        None => Ok(Found { unknown: findings.unknown, errors: Vec::new() }),
        Some(why) => {
            let (kind, version) = (&resource.kind, &resource.version);
            let message =
                format!("{kind} in version {version:?} cannot be handled as a {kind}: {why}");
            Err(Failure::bad_request(message))
        }
    }
}

pub fn fill(resource: &Resource, object: &mut Value) {
    resource.schema.fill(object);
    (resource.rules.default)(object);
}

/// All that speaks against the object: its schema and the rules of its kind;
/// `old` is what it replaces.
pub fn judge(resource: &Resource, object: &Value, old: Option<&Value>) -> Vec<FieldError> {
    let mut own = (resource.rules.validate)(object);
    if let Some(old) = old {
        own.extend((resource.rules.validate_update)(object, old));
    }
    let mut errors = check(resource, object, old);
    // Said by both, a thing is said in the words of the kind.
    let said = |error: &FieldError| {
        own.iter().any(|it| it.path == error.path && it.cause() == error.cause())
    };
    errors.retain(|error| !said(error));
    errors.extend(own);
    errors
}

/// What the schema has against the object.
fn check(resource: &Resource, object: &Value, old: Option<&Value>) -> Vec<FieldError> {
    match &resource.origin {
        Origin::Own(_) => Vec::new(),
        Origin::Builtin(_) => resource.schema.check(object, old),
        Origin::Custom(custom) => custom.check(object, old),
    }
}
