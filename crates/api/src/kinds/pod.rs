//! Pods: defaults, what may change, and the graceful end.

use resources::FieldError;
use serde_json::{Value, json};

use super::{
    check::{Check, at, int, len, list, same, text},
    pod_spec::{self, Whose},
};
use crate::{
    object::{self, set_default, timestamp},
    resource::Rules,
};

const GRACE: &str = "terminationGracePeriodSeconds";

/// Its default in Kubernetes.
const GRACE_S: u64 = 30;

pub const RULES: Rules =
    Rules { default, create, validate, validate_update, grace_s, ..Rules::NONE };

/// Runtime classes that run a process of the host: they need no image.
const CLASSES_WITHOUT_IMAGE: [&str; 2] = ["", "package"];

fn default(pod: &mut Value) {
    pod_spec::default_pod(&mut pod["spec"]);
    // At once, for those who wrote it before it was refused of templates.
    if int(at(pod, "spec"), GRACE).is_some_and(|grace| grace < 0) {
        pod["spec"][GRACE] = 1.into();
    }
}

/// Pods stay this long on a node that is lost, unless they say otherwise.
const LOST_S: u64 = 300;

const LOST: [&str; 2] = ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"];

fn create(pod: &mut Value) {
    let class = pod_spec::qos_class(at(pod, "spec"));
    pod["status"] = json!({ "phase": "Pending", "qosClass": class });
    if len(at(pod, "spec"), "schedulingGates") > 0 {
        pod["status"]["conditions"] = json!([{
            "type": "PodScheduled",
            "status": "False",
            "lastProbeTime": null,
            "lastTransitionTime": timestamp(object::now()),
            "reason": "SchedulingGated",
            "message": "Scheduling is blocked due to non-empty scheduling gates",
        }]);
    }
    let spec = object::child(pod, "spec");
    let own = spec.get("tolerations").and_then(Value::as_array).cloned().unwrap_or_default();
    let mut tolerations = own.clone();
    for taint in LOST {
        let tolerated = |it: &Value| text(it, "key").is_empty() || text(it, "key") == taint;
        let everything = |it: &Value| matches!(text(it, "effect"), "" | "NoExecute");
        if !own.iter().any(|it| tolerated(it) && everything(it)) {
            tolerations.push(json!({
                "key": taint, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": LOST_S,
            }));
        }
    }
    spec.insert("tolerations".into(), tolerations.into());
    if spec.get("priorityClassName").and_then(Value::as_str).is_none_or(str::is_empty) {
        set_default(spec, "priority", 0);
        set_default(spec, "preemptionPolicy", "PreemptLowerPriority");
    }
}

fn validate(pod: &Value) -> Vec<FieldError> {
    let Some(spec) = pod.get("spec").filter(|spec| spec.is_object()) else {
        return vec![FieldError::required("spec", "")];
    };
    let mut check = Check::default();
    let needs_image = !CLASSES_WITHOUT_IMAGE.contains(&text(spec, "runtimeClassName"));
    pod_spec::validate(&mut check, format_args!("spec"), spec, Whose::Pod, needs_image);
    check.into_errors()
}

/// A running pod is not changed in place, but for its images and its end.
fn validate_update(new: &Value, old: &Value) -> Vec<FieldError> {
    let mut check = Check::default();
    let (new, old) = (at(new, "spec"), at(old, "spec"));
    let frame = |spec: &Value| {
        let mut spec = spec.clone();
        let Some(map) = spec.as_object_mut() else { return spec };
        for field in [
            "activeDeadlineSeconds",
            "tolerations",
            "terminationGracePeriodSeconds",
            "schedulingGates",
        ] {
            map.remove(field);
        }
        // Being given a node is how a pod is scheduled.
        if text(old, "nodeName").is_empty() {
            map.remove("nodeName");
        }
        for list in ["containers", "initContainers"] {
            let containers = map.get_mut(list).and_then(Value::as_array_mut);
            for container in containers.into_iter().flatten().filter_map(Value::as_object_mut) {
                container.remove("image");
            }
        }
        spec
    };
    if !same(&frame(new), &frame(old)) {
        check.forbidden(
            format_args!("spec"),
            "pod updates may not change fields other than \
             `spec.containers[*].image`,`spec.initContainers[*].image`,\
             `spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing \
             tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was \
             previously negative)",
        );
    }
    let known = |gate: &str| list(old, "schedulingGates").any(|(_, it)| text(it, "name") == gate);
    for (index, gate) in list(new, "schedulingGates") {
        let name = text(gate, "name");
        if !known(name) {
            let path = format_args!("spec.schedulingGates[{index}].name");
            let detail =
                format!("only deletion is allowed, but found new scheduling gate '{name}'");
            check.forbidden(path, detail);
        }
    }
    check.into_errors()
}

/// Only a pod that an agent may be running has anything to finish.
fn grace_s(pod: &Value) -> Option<u64> {
    let assigned = !object::text(pod, "/spec/nodeName").is_empty();
    let over = matches!(object::text(pod, "/status/phase"), "Succeeded" | "Failed");
    let wanted = pod.pointer("/spec/terminationGracePeriodSeconds").and_then(Value::as_u64);
    (assigned && !over).then(|| wanted.unwrap_or(GRACE_S))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod() -> Value {
        let mut pod = json!({
            "metadata": {"name": "p", "namespace": "default"},
            "spec": {"nodeName": "n", "containers": [{"name": "c", "image": "a:1", "ports": [{"containerPort": 80}]}]},
        });
        filled(&mut pod);
        pod
    }

    fn filled(pod: &mut Value) {
        let id = schema::builtin::find("core.v1.Pod").expect("a Pod");
        schema::builtin::get(id).fill(pod);
        default(pod);
    }

    #[test]
    fn a_pod_is_defaulted_once_and_for_all() {
        let once = pod();
        let mut twice = once.clone();
        filled(&mut twice);
        assert_eq!(once, twice);
        assert_eq!(once["spec"]["containers"][0]["ports"][0]["protocol"], "TCP");
        assert!(validate(&once).is_empty());
    }

    #[test]
    fn only_images_of_a_running_pod_change() {
        let old = pod();
        let mut new = pod();
        new["spec"]["containers"][0]["image"] = "b".into();
        assert!(validate_update(&new, &old).is_empty());
        new["spec"]["nodeName"] = "other".into();
        assert_eq!(validate_update(&new, &old).len(), 1);
    }

    #[test]
    fn a_new_pod_waits_for_lost_nodes_and_has_a_priority() {
        let mut pod = pod();
        pod["spec"]["tolerations"] = json!([{"operator": "Exists", "key": LOST[0]}]);
        create(&mut pod);
        assert_eq!(pod["spec"]["tolerations"].as_array().map_or(0, Vec::len), 2);
        assert_eq!(pod["spec"]["tolerations"][1]["key"], LOST[1]);
        assert_eq!(pod["spec"]["priority"], 0);
        assert_eq!(pod["status"]["qosClass"], "BestEffort");
        assert!(validate(&pod).is_empty(), "{:?}", validate(&pod));
    }

    #[test]
    fn a_gated_pod_says_why_it_waits() {
        let mut pod = pod();
        pod["spec"]["schedulingGates"] = json!([{"name": "example.com/wait"}]);
        pod["spec"]["priorityClassName"] = "".into();
        pod["spec"][GRACE] = (-5).into();
        create(&mut pod);
        filled(&mut pod);
        assert_eq!(pod["status"]["conditions"][0]["reason"], "SchedulingGated");
        assert_eq!(pod["spec"]["priority"], 0);
        assert_eq!(pod["spec"][GRACE], 1);
    }

    #[test]
    fn a_finished_or_unassigned_pod_has_no_grace() {
        let mut pod = pod();
        assert_eq!(grace_s(&pod), Some(30));
        pod["status"] = json!({"phase": "Succeeded"});
        assert_eq!(grace_s(&pod), None);
        pod["status"] = json!({"phase": "Running"});
        pod["spec"]["nodeName"] = "".into();
        assert_eq!(grace_s(&pod), None);
    }

    #[test]
    fn odd_pods_are_refused_without_a_panic() {
        for odd in [
            json!({"spec": 1}),
            json!({"spec": {"containers": {}}}),
            json!({"spec": {"containers": [1, null, {"ports": 3, "env": [1], "command": "x"}]}}),
        ] {
            let mut pod = odd;
            default(&mut pod);
            assert!(!validate(&pod).is_empty());
        }
    }
}
