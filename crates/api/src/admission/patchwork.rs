//! What a webhook wants changed.

use serde_json::Value;

use super::hook::Hook;
use crate::{failure::Failure, patch::json};

/// The object with a JSON patch applied.
pub fn apply(hook: &Hook, mut object: Value, patch: &[u8]) -> Result<Value, Failure> {
    let wrong = |why: String| {
        Failure::internal(format!("admission webhook {:?} sent a wrong patch: {why}", hook.name))
    };
    let patch = serde_json::from_slice(patch).map_err(|error| wrong(error.to_string()))?;
    let patch = json::parse(patch).map_err(|failure| wrong(failure.message().to_owned()))?;
    let identity = |object: &Value| {
        ["name", "namespace", "uid"].map(|field| object["metadata"][field].clone())
    };
    let before = identity(&object);
    json::change(&mut object, &patch).map_err(|failure| wrong(failure.message().to_owned()))?;
    match identity(&object) == before || before[0].is_null() {
        true => Ok(object),
        false => Err(wrong("it changes the object's identity".to_owned())),
    }
}
