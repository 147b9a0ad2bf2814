//! Requests for certificates: who approves one does not sign it, and the other way
//! round.

use serde_json::{Value, json};

use crate::{
    object::{self, timestamp},
    resource::Resource,
};

pub const GROUP: &str = "certificates.k8s.io";
const KIND: &str = "CertificateSigningRequest";
const CONDITIONS: &str = "/status/conditions";

pub fn is_request(resource: &Resource) -> bool {
    resource.group == *GROUP && resource.kind == *KIND
}

/// The request with the conditions that are wanted, and nothing else.
pub fn decide(wanted: &Value, old: &Value) -> Value {
    let mut object = old.clone();
    set(&mut object, conditions(wanted), old);
    object
}

/// A new status keeps what was decided.
pub fn keep_decision(object: &mut Value, old: &Value, resource: &Resource) {
    if !is_request(resource) {
        return;
    }
    let decided = |condition: &Value| ["Approved", "Denied"].contains(&kind(condition));
    let mut all: Vec<Value> = conditions(old).into_iter().filter(decided).collect();
    all.extend(conditions(object).into_iter().filter(|condition| !decided(condition)));
    set(object, all, old);
}

/// With the times that were left out.
fn set(object: &mut Value, mut all: Vec<Value>, old: &Value) {
    let before = conditions(old);
    let now = Value::from(timestamp(object::now()));
    for condition in all.iter_mut().filter(|condition| condition.is_object()) {
        let same = |known: &&Value| {
            kind(known) == kind(condition) && known["status"] == condition["status"]
        };
        let since = before.iter().find(same).map(|known| known["lastTransitionTime"].clone());
        let since = since.filter(|since| !since.is_null()).unwrap_or_else(|| now.clone());
        for (field, value) in [("lastUpdateTime", &now), ("lastTransitionTime", &since)] {
            if condition[field].is_null() {
                condition[field] = value.clone();
            }
        }
    }
    let status = object::child(object, "status");
    match all.is_empty() {
        true => drop(status.remove("conditions")),
        false => drop(status.insert("conditions".to_owned(), json!(all))),
    }
}

fn conditions(object: &Value) -> Vec<Value> {
    object.pointer(CONDITIONS).and_then(Value::as_array).cloned().unwrap_or_default()
}

fn kind(condition: &Value) -> &str {
    object::text(condition, "/type")
}
