//! Devices: how many of them a claim asks for, and since when one is tainted.

use serde_json::Value;

use crate::{
    object::{self, timestamp},
    resource::Rules,
};

pub const CLAIM: Rules = Rules { default: default_claim, ..Rules::NONE };
pub const CLAIM_TEMPLATE: Rules = Rules { default: default_template, ..Rules::NONE };
pub const SLICE: Rules = Rules { default: default_slice, ..Rules::NONE };
pub const TAINT: Rules = Rules { default: default_taint, ..Rules::NONE };

fn default_claim(claim: &mut Value) {
    requests(claim.pointer_mut("/spec/devices/requests"));
}

fn default_template(template: &mut Value) {
    requests(template.pointer_mut("/spec/spec/devices/requests"));
}

/// Whoever says nothing wants one; the schema says that it is counted at all.
fn requests(requests: Option<&mut Value>) {
    for request in items(requests) {
        let (exactly, rest) = match request.get("exactly").is_some() {
            true => (request.get_mut("exactly"), None),
            false => (None, request.get_mut("firstAvailable")),
        };
        for choice in exactly.into_iter().chain(items(rest)) {
            let counted = choice["allocationMode"] == "ExactCount";
            if counted && choice.get("count").is_none_or(|count| *count == 0) {
                choice["count"] = 1.into();
            }
        }
    }
}

fn default_slice(slice: &mut Value) {
    for device in items(slice.pointer_mut("/spec/devices")) {
        items(device.get_mut("taints")).for_each(since_now);
    }
}

fn default_taint(rule: &mut Value) {
    rule.pointer_mut("/spec/taint").into_iter().for_each(since_now);
}

fn since_now(taint: &mut Value) {
    if taint.is_object() && taint.get("timeAdded").is_none() {
        taint["timeAdded"] = timestamp(object::now()).into();
    }
}

fn items(list: Option<&mut Value>) -> impl Iterator<Item = &mut Value> {
    list.and_then(Value::as_array_mut).into_iter().flatten().filter(|item| item.is_object())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn who_says_no_number_wants_one_device() {
        let counted = |count: Value| json!({"allocationMode": "ExactCount", "count": count});
        let mut claim = json!({"spec": {"devices": {"requests": [
            {"exactly": {"allocationMode": "ExactCount"}},
            {"firstAvailable": [counted(0.into()), {"allocationMode": "All"}, counted(3.into())]},
        ]}}});
        default_claim(&mut claim);
        let expected = json!([
            {"exactly": counted(1.into())},
            {"firstAvailable": [counted(1.into()), {"allocationMode": "All"}, counted(3.into())]},
        ]);
        assert_eq!(claim["spec"]["devices"]["requests"], expected);
        // What is no request at all is the schema's matter.
        for odd in [json!({}), json!({"spec": {"devices": {"requests": [7, {"exactly": {}}]}}})] {
            default_claim(&mut odd.clone());
        }
    }

    #[test]
    fn a_taint_has_a_time_and_keeps_it() {
        let mut slice = json!({"spec": {"devices": [{"taints": [{"key": "a"},
            {"key": "b", "timeAdded": "2026-01-01T00:00:00Z"}]}, {}]}});
        default_slice(&mut slice);
        let taints = &slice["spec"]["devices"][0]["taints"];
        assert!(taints[0]["timeAdded"].is_string(), "{slice}");
        assert_eq!(taints[1]["timeAdded"], "2026-01-01T00:00:00Z");
    }
}
