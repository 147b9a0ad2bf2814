//! Kinds that keep pods running: Deployment, ReplicaSet, DaemonSet,
//! StatefulSet and ReplicationController.

use std::fmt::Arguments;

use resources::FieldError;
use serde_json::{Value, json};

use super::{
    check::{Check, NOT_NEGATIVE, at, int, len, matches, same, some, text},
    pod_spec::{self, claim_spec},
};
use crate::{object, resource::Rules};

pub const DEPLOYMENT: Rules = Rules {
    default: default_deployment,
    validate: validate_deployment,
    validate_update: selector_unchanged,
    ..Rules::NONE
};

pub const REPLICA_SET: Rules = Rules {
    default: default_template,
    validate: validate_replica_set,
    validate_update: selector_unchanged,
    ..Rules::NONE
};

pub const DAEMON_SET: Rules = Rules {
    default: default_daemon_set,
    validate: validate_daemon_set,
    validate_update: selector_unchanged,
    ..Rules::NONE
};

pub const STATEFUL_SET: Rules = Rules {
    default: default_stateful_set,
    validate: validate_stateful_set,
    validate_update: update_stateful_set,
    ..Rules::NONE
};

pub const REPLICATION_CONTROLLER: Rules = Rules {
    default: default_replication_controller,
    validate: validate_replication_controller,
    ..Rules::NONE
};

pub const POD_TEMPLATE: Rules =
    Rules { default: default_pod_template, validate: validate_pod_template, ..Rules::NONE };

pub const CONTROLLER_REVISION: Rules =
    Rules { validate: validate_revision, validate_update: update_revision, ..Rules::NONE };

/// What may change of a set whose pods have names and storage.
const STATEFUL_SET_FIELDS: [&str; 7] = [
    "replicas",
    "ordinals",
    "template",
    "updateStrategy",
    "revisionHistoryLimit",
    "persistentVolumeClaimRetentionPolicy",
    "minReadySeconds",
];

// Defaults

fn default_template(object: &mut Value) {
    if let Some(spec) = object.pointer_mut("/spec/template/spec") {
        pod_spec::default_spec(spec);
    }
}

fn default_pod_template(object: &mut Value) {
    if let Some(spec) = object.pointer_mut("/template/spec") {
        pod_spec::default_spec(spec);
    }
}

/// A strategy in steps has steps.
fn default_rolling(object: &mut Value, field: &str, steps: &Value) {
    let spec = object::child(object, "spec");
    let mut strategy = spec.remove(field).filter(Value::is_object).unwrap_or_else(|| json!({}));
    if matches!(text(&strategy, "type"), "" | "RollingUpdate") {
        strategy["type"] = "RollingUpdate".into();
        let rolling = object::child(&mut strategy, "rollingUpdate");
        for (name, value) in steps.as_object().into_iter().flatten() {
            object::set_default(rolling, name, value.clone());
        }
    }
    spec.insert(field.into(), strategy);
}

fn default_deployment(object: &mut Value) {
    default_rolling(object, "strategy", &json!({"maxUnavailable": "25%", "maxSurge": "25%"}));
    default_template(object);
}

fn default_daemon_set(object: &mut Value) {
    default_rolling(object, "updateStrategy", &json!({"maxUnavailable": 1, "maxSurge": 0}));
    default_template(object);
}

fn default_stateful_set(object: &mut Value) {
    let stated = !text(at(at(object, "spec"), "updateStrategy"), "type").is_empty();
    let steps = object.pointer("/spec/updateStrategy/rollingUpdate").is_some_and(Value::is_object);
    // Who states the strategy states its steps too, or does without.
    if !stated || steps {
        default_rolling(object, "updateStrategy", &json!({"partition": 0, "maxUnavailable": 1}));
    }
    default_template(object);
}

/// The oldest of them takes its selector and labels from the template.
fn default_replication_controller(object: &mut Value) {
    default_template(object);
    let Some(labels) = object.pointer("/spec/template/metadata/labels").cloned() else { return };
    if len(at(object, "spec"), "selector") == 0 {
        object::child(object, "spec").insert("selector".into(), labels.clone());
    }
    if len(at(object, "metadata"), "labels") == 0 {
        object::metadata(object).insert("labels".into(), labels);
    }
}

// Validation

/// What all of them have: a selector, a template that it matches, and pods
/// that are started again when they end.
fn common(check: &mut Check, spec: &Value, empty: &str) {
    for field in ["replicas", "minReadySeconds", "revisionHistoryLimit"] {
        check.not_negative(format_args!("spec"), spec, field);
    }
    let selector = at(spec, "selector");
    if selector.is_null() {
        check.required(format_args!("spec.selector"), "");
    } else {
        check.selector(format_args!("spec.selector"), selector);
        if len(selector, "matchLabels") + len(selector, "matchExpressions") == 0 {
            check.invalid(format_args!("spec.selector"), selector.clone(), empty);
        }
    }
    template(check, at(spec, "template"), |labels| matches(selector, labels));
}

fn template(check: &mut Check, template: &Value, selected: impl Fn(&Value) -> bool) {
    if template.is_null() {
        return check.required(format_args!("spec.template"), "");
    }
    let labels = at(at(template, "metadata"), "labels");
    if !selected(labels) {
        let path = format_args!("spec.template.metadata.labels");
        let shown = if labels.is_null() { json!(null) } else { labels.clone() };
        check.invalid(path, shown, "`selector` does not match template `labels`");
    }
    pod_spec::validate_template(check, format_args!("spec.template"), template);
    let policy = text(at(template, "spec"), "restartPolicy");
    let path = format_args!("spec.template.spec.restartPolicy");
    if matches!(policy, "OnFailure" | "Never") {
        check.any_of(path, policy, &["Always"]);
    }
    if some(at(template, "spec"), "activeDeadlineSeconds").is_some() {
        let path = format_args!("spec.template.spec.activeDeadlineSeconds");
        check.forbidden(path, "activeDeadlineSeconds in ReplicaSet is not Supported");
    }
}

/// A number, or a share of the whole. Returns whether it is zero.
fn share(check: &mut Check, path: Arguments<'_>, of: &Value, field: &str) -> bool {
    let path = format_args!("{path}.{field}");
    match at(of, field) {
        Value::Number(number) => {
            if number.as_i64().is_some_and(|it| it < 0) {
                check.invalid(path, number.clone(), NOT_NEGATIVE);
            }
            number.as_i64() == Some(0)
        }
        Value::String(text) => {
            let digits =
                text.strip_suffix('%').filter(|it| it.bytes().all(|it| it.is_ascii_digit()));
            let Some(percent) = digits.and_then(|it| it.parse::<u32>().ok()) else {
                let detail = "a valid percent string must be a numeric string followed by an \
                              ending '%' (e.g. '1%',  or '93%', regex used for validation is \
                              '[0-9]+%')";
                check.invalid(path, text.as_str(), detail);
                return false;
            };
            if percent > 100 && field == "maxUnavailable" {
                check.invalid(path, text.as_str(), "must not be greater than 100%");
            }
            percent == 0
        }
        _ => true,
    }
}

/// `maxUnavailable` and `maxSurge`: something must be allowed to happen.
fn steps(check: &mut Check, path: Arguments<'_>, rolling: &Value) {
    let stuck = share(check, path, rolling, "maxUnavailable");
    if share(check, path, rolling, "maxSurge") && stuck {
        let path = format_args!("{path}.maxUnavailable");
        let value = at(rolling, "maxUnavailable").clone();
        check.invalid(path, value, "may not be 0 when `maxSurge` is 0");
    }
}

fn validate_deployment(object: &Value) -> Vec<FieldError> {
    let (mut check, spec) = (Check::default(), at(object, "spec"));
    common(&mut check, spec, "empty selector is invalid for deployment");
    let strategy = at(spec, "strategy");
    let kind = text(strategy, "type");
    check.any_of(format_args!("spec.strategy.type"), kind, &["Recreate", "RollingUpdate"]);
    let path = format_args!("spec.strategy.rollingUpdate");
    match some(strategy, "rollingUpdate") {
        Some(_) if kind == "Recreate" => {
            check.forbidden(path, "may not be specified when strategy `type` is 'Recreate'");
        }
        Some(rolling) => steps(&mut check, path, rolling),
        None => {}
    }
    check.not_negative(format_args!("spec"), spec, "progressDeadlineSeconds");
    if let Some(deadline) = int(spec, "progressDeadlineSeconds")
        && deadline <= int(spec, "minReadySeconds").unwrap_or(0)
    {
        let path = format_args!("spec.progressDeadlineSeconds");
        check.invalid(path, deadline, "must be greater than minReadySeconds");
    }
    check.into_errors()
}

fn validate_replica_set(object: &Value) -> Vec<FieldError> {
    let mut check = Check::default();
    common(&mut check, at(object, "spec"), "empty selector is invalid for deployment");
    check.into_errors()
}

fn validate_daemon_set(object: &Value) -> Vec<FieldError> {
    let (mut check, spec) = (Check::default(), at(object, "spec"));
    common(&mut check, spec, "empty selector is invalid for daemonset");
    let strategy = at(spec, "updateStrategy");
    let path = format_args!("spec.updateStrategy");
    let kinds = ["RollingUpdate", "OnDelete"];
    check.any_of(format_args!("{path}.type"), text(strategy, "type"), &kinds);
    match some(strategy, "rollingUpdate") {
        Some(rolling) => steps(&mut check, format_args!("{path}.rollingUpdate"), rolling),
        None if text(strategy, "type") == "RollingUpdate" => {
            check.required(format_args!("{path}.rollingUpdate"), "");
        }
        None => {}
    }
    check.into_errors()
}

fn validate_stateful_set(object: &Value) -> Vec<FieldError> {
    let (mut check, spec) = (Check::default(), at(object, "spec"));
    let policy = text(spec, "podManagementPolicy");
    if !matches!(policy, "" | "OrderedReady" | "Parallel") {
        let detail = "must be 'OrderedReady' or 'Parallel'";
        check.invalid(format_args!("spec.podManagementPolicy"), policy, detail);
    }
    let strategy = at(spec, "updateStrategy");
    let path = format_args!("spec.updateStrategy");
    match (text(strategy, "type"), some(strategy, "rollingUpdate")) {
        ("OnDelete", Some(rolling)) => {
            let detail = "only allowed for updateStrategy 'RollingUpdate'";
            check.invalid(format_args!("{path}.rollingUpdate"), rolling.clone(), detail);
        }
        ("" | "RollingUpdate" | "OnDelete", rolling) => {
            let rolling = rolling.unwrap_or(&Value::Null);
            check.not_negative(format_args!("{path}.rollingUpdate"), rolling, "partition");
            if some(rolling, "maxUnavailable").is_some()
                && share(
                    &mut check,
                    format_args!("{path}.rollingUpdate"),
                    rolling,
                    "maxUnavailable",
                )
            {
                let path = format_args!("{path}.rollingUpdate.maxUnavailable");
                check.invalid(path, at(rolling, "maxUnavailable").clone(), "cannot be 0");
            }
        }
        _ => {
            let detail = "must be 'RollingUpdate' or 'OnDelete'";
            check.invalid(path, strategy.clone(), detail);
        }
    }
    for field in ["whenDeleted", "whenScaled"] {
        let policy = text(at(spec, "persistentVolumeClaimRetentionPolicy"), field);
        let path = format_args!("spec.persistentVolumeClaimRetentionPolicy.{field}");
        check.any_of(path, policy, &["Delete", "Retain"]);
    }
    check.not_negative(format_args!("spec.ordinals"), at(spec, "ordinals"), "start");
    // Containers see the claims as volumes of the template.
    let mut seen = spec.clone();
    let claims = super::check::list(spec, "volumeClaimTemplates");
    let claims: Vec<_> = claims
        .map(|(_, claim)| json!({"name": text(at(claim, "metadata"), "name"), "emptyDir": {}}))
        .collect();
    if !claims.is_empty()
        && let Some(pod) = seen.pointer_mut("/template/spec")
    {
        let volumes = pod.as_object_mut().map(|pod| pod.entry("volumes").or_insert(json!([])));
        if let Some(Value::Array(volumes)) = volumes {
            let taken = |claim: &Value| volumes.iter().any(|it| it["name"] == claim["name"]);
            let new: Vec<_> = claims.into_iter().filter(|claim| !taken(claim)).collect();
            volumes.extend(new);
        }
    }
    common(&mut check, &seen, "empty selector is invalid for statefulset");
    for (index, claim) in super::check::list(spec, "volumeClaimTemplates") {
        let path = format_args!("spec.volumeClaimTemplates[{index}].spec");
        claim_spec(&mut check, path, at(claim, "spec"));
    }
    check.into_errors()
}

fn validate_replication_controller(object: &Value) -> Vec<FieldError> {
    let (mut check, spec) = (Check::default(), at(object, "spec"));
    for field in ["replicas", "minReadySeconds"] {
        check.not_negative(format_args!("spec"), spec, field);
    }
    let selector = at(spec, "selector");
    if len(spec, "selector") == 0 {
        check.required(format_args!("spec.selector"), "");
    }
    let labels = json!({ "matchLabels": selector });
    template(&mut check, at(spec, "template"), |own| matches(&labels, own));
    check.into_errors()
}

fn validate_pod_template(object: &Value) -> Vec<FieldError> {
    let mut check = Check::default();
    pod_spec::validate_template(&mut check, format_args!("template"), at(object, "template"));
    check.into_errors()
}

fn validate_revision(object: &Value) -> Vec<FieldError> {
    let mut check = Check::default();
    if at(object, "data").is_null() {
        check.required(format_args!("data"), "data is mandatory");
    }
    if let Some(revision) = int(object, "revision").filter(|revision| *revision < 0) {
        check.invalid(format_args!("revision"), revision, NOT_NEGATIVE);
    }
    check.into_errors()
}

// Updates

fn selector_unchanged(new: &Value, old: &Value) -> Vec<FieldError> {
    let mut check = Check::default();
    let selector = |object| at(at(object, "spec"), "selector");
    check.unchanged(format_args!("spec.selector"), selector(new), selector(old));
    check.into_errors()
}

fn update_revision(new: &Value, old: &Value) -> Vec<FieldError> {
    let mut check = Check::default();
    check.unchanged(format_args!("data"), at(new, "data"), at(old, "data"));
    check.into_errors()
}

fn update_stateful_set(new: &Value, old: &Value) -> Vec<FieldError> {
    let frame = |object: &Value| {
        let mut spec = at(object, "spec").clone();
        if let Some(spec) = spec.as_object_mut() {
            spec.retain(|field, _| !STATEFUL_SET_FIELDS.contains(&field.as_str()));
        }
        spec
    };
    let mut check = Check::default();
    if !same(&frame(new), &frame(old)) {
        check.forbidden(
            format_args!("spec"),
            "updates to statefulset spec for fields other than 'replicas', 'ordinals', \
             'template', 'updateStrategy', 'revisionHistoryLimit', \
             'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden",
        );
    }
    check.into_errors()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn deployment(with: Value) -> Value {
        let mut object = json!({"metadata": {"name": "d"}, "spec": {
            "replicas": 1, "selector": {"matchLabels": {"app": "a"}},
            "template": {"metadata": {"labels": {"app": "a"}}, "spec": {
                "restartPolicy": "Always", "dnsPolicy": "ClusterFirst",
                "containers": [{"name": "c", "image": "nginx"}],
            }},
        }});
        json_patch::merge(&mut object, &json!({ "spec": with }));
        object
    }

    fn check(rules: &Rules, with: Value, fault: &str) {
        let mut object = deployment(with);
        (rules.default)(&mut object);
        let once = object.clone();
        (rules.default)(&mut object);
        assert_eq!(object, once, "defaults are filled in once and for all");
        let errors: Vec<_> = (rules.validate)(&object).iter().map(ToString::to_string).collect();
        match fault {
            "" => assert_eq!(errors, Vec::<String>::new()),
            fault => assert_eq!(errors.first().map_or("", |it| it), fault, "{errors:?}"),
        }
    }

    #[test]
    fn what_a_workload_selects_is_what_it_makes() {
        for rules in [DEPLOYMENT, REPLICA_SET, DAEMON_SET, STATEFUL_SET] {
            check(&rules, json!({}), "");
            check(&rules, json!({"selector": null}), "spec.selector: Required value");
            check(
                &rules,
                json!({"selector": {"matchLabels": {"app": "b"}}}),
                "spec.template.metadata.labels: Invalid value: {\"app\":\"a\"}: `selector` does \
                 not match template `labels`",
            );
            check(
                &rules,
                json!({"template": {"spec": {"restartPolicy": "Never"}}}),
                "spec.template.spec.restartPolicy: Unsupported value: \"Never\": supported values: \
                 \"Always\"",
            );
        }
        check(
            &DEPLOYMENT,
            json!({"selector": {"matchLabels": null}}),
            "spec.selector: Invalid value: {}: empty selector is invalid for deployment",
        );
    }

    #[test]
    fn a_rollout_must_be_able_to_move() {
        let mut object = deployment(json!({}));
        (DEPLOYMENT.default)(&mut object);
        assert_eq!(object["spec"]["strategy"]["rollingUpdate"]["maxSurge"], "25%");
        check(
            &DEPLOYMENT,
            json!({"strategy": {"rollingUpdate": {"maxSurge": 0, "maxUnavailable": "0%"}}}),
            "spec.strategy.rollingUpdate.maxUnavailable: Invalid value: \"0%\": may not be 0 when \
             `maxSurge` is 0",
        );
        check(
            &DEPLOYMENT,
            json!({"strategy": {"type": "Recreate", "rollingUpdate": {"maxSurge": 1}}}),
            "spec.strategy.rollingUpdate: Forbidden: may not be specified when strategy `type` is \
             'Recreate'",
        );
        check(
            &DEPLOYMENT,
            json!({"minReadySeconds": 700, "progressDeadlineSeconds": 600}),
            "spec.progressDeadlineSeconds: Invalid value: 600: must be greater than \
             minReadySeconds",
        );
    }

    #[test]
    fn claims_of_a_stateful_set_can_be_mounted() {
        let claim = json!({"metadata": {"name": "data"}, "spec": {
            "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}});
        let container = json!({"name": "c", "image": "i",
            "volumeMounts": [{"name": "data", "mountPath": "/data"}]});
        let spec = json!({
            "volumeClaimTemplates": [claim], "template": {"spec": {"containers": [container]}}});
        check(&STATEFUL_SET, spec, "");
    }

    #[test]
    fn selectors_stay() {
        let old = deployment(json!({}));
        let mut new = old.clone();
        new["spec"]["replicas"] = 3.into();
        assert!(
            selector_unchanged(&new, &old).is_empty() && update_stateful_set(&new, &old).is_empty()
        );
        new["spec"]["selector"]["matchLabels"]["x"] = "y".into();
        assert_eq!(
            selector_unchanged(&new, &old)[0].to_string(),
            "spec.selector: Invalid value: {\"matchLabels\":{\"app\":\"a\",\"x\":\"y\"}}: field is \
             immutable"
        );
        assert_eq!(update_stateful_set(&new, &old).len(), 1);
    }

    #[test]
    fn the_oldest_controller_takes_labels_from_its_template() {
        let mut object = deployment(json!({"selector": null}));
        (REPLICATION_CONTROLLER.default)(&mut object);
        assert_eq!(object["spec"]["selector"], json!({"app": "a"}));
        assert_eq!(object["metadata"]["labels"], json!({"app": "a"}));
        assert!((REPLICATION_CONTROLLER.validate)(&object).is_empty());
    }
}
