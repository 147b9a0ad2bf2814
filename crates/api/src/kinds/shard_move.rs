//! Orders to move shards: one that has ended stays as it was carried out.

use resources::{FieldError, MovePhase, ShardMoveSpec};
use serde::Deserialize;
use serde_json::Value;

use super::ours;
use crate::{object, resource::Rules};

pub const fn rules() -> Rules {
    let rules = ours::rules::<ShardMoveSpec>();
    Rules { validate_update, ..rules }
}

/// Nobody acts on a finished order any more, so another target would only make
/// its record say what never was.
fn validate_update(new: &Value, old: &Value) -> Vec<FieldError> {
    let phase = old.pointer("/status/phase").and_then(|phase| MovePhase::deserialize(phase).ok());
    if phase.is_none_or(|phase| !phase.is_final()) || object::same_intent(new, old) {
        return Vec::new();
    }
    let detail = "the order has ended and is a record now: give another one";
    vec![FieldError::not_supported("spec", detail)]
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_order_can_be_changed_until_it_has_ended() {
        let order = |to: &str, phase: &str| {
            let mut order = json!({"spec": {"shards": "40-49", "to": to}});
            if !phase.is_empty() {
                order["status"] = json!({"phase": phase});
            }
            order
        };
        let refused = |to: &str, phase: &str| {
            !validate_update(&order(to, phase), &order("rz01", phase)).is_empty()
        };
        for open in ["", "Pending", "Moving"] {
            assert!(!refused("rz03", open), "{open}");
        }
        for ended in ["Succeeded", "Failed"] {
            assert!(refused("rz03", ended), "{ended}");
            assert!(!refused("rz01", ended), "{ended}");
        }
    }
}
