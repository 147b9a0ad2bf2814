//! Jobs, which run pods to their end, and CronJobs, which make Jobs.

use std::fmt::Arguments;

use resources::FieldError;
use serde_json::{Value, json};

use super::{
    check::{Check, IMMUTABLE, at, int, is_true, len, list, matches, same, some, text},
    pod_spec, schedule,
};
use crate::{
    object::{self, set_default},
    resource::Rules,
};

pub const JOB: Rules = Rules {
    default: default_job,
    create: create_job,
    validate: validate_job,
    validate_update: update_job,
    ..Rules::NONE
};

pub const CRON_JOB: Rules =
    Rules { default: default_cron_job, validate: validate_cron_job, ..Rules::NONE };

/// A Job's name gets a suffix of 11 characters and must fit a label then.
const CRON_JOB_NAME_LEN_MAX: usize = 52;

/// Bounds on Jobs whose pods have an index.
const INDEXED_COMPLETIONS_MAX: i64 = 100_000;

/// The labels by which a Job finds its pods, old and new.
const LABELS: [&str; 4] = [
    "batch.kubernetes.io/controller-uid",
    "controller-uid",
    "batch.kubernetes.io/job-name",
    "job-name",
];

fn default_spec(spec: &mut Value) {
    if let Some(pod) = spec.pointer_mut("/template/spec") {
        pod_spec::default_spec(pod);
    }
    let policy = some(spec, "podFailurePolicy").is_some();
    let by_index = some(spec, "backoffLimitPerIndex").is_some();
    let Some(spec) = spec.as_object_mut() else { return };
    // Without a goal and a width, one pod is wanted.
    if !spec.contains_key("completions") && !spec.contains_key("parallelism") {
        set_default(spec, "completions", 1);
    }
    set_default(spec, "parallelism", 1);
    set_default(spec, "backoffLimit", if by_index { i32::MAX } else { 6 });
    let replacement = if policy { "Failed" } else { "TerminatingOrFailed" };
    set_default(spec, "podReplacementPolicy", replacement);
    set_default(spec, "completionMode", "NonIndexed");
    set_default(spec, "suspend", false);
    set_default(spec, "manualSelector", false);
}

fn default_job(object: &mut Value) {
    default_spec(&mut object["spec"]);
    let labels = object.pointer("/spec/template/metadata/labels").cloned();
    if let Some(labels) = labels.filter(|it| it.as_object().is_some_and(|it| !it.is_empty()))
        && len(at(object, "metadata"), "labels") == 0
    {
        object::metadata(object).insert("labels".into(), labels);
    }
}

fn default_cron_job(object: &mut Value) {
    if let Some(pod) = object.pointer_mut("/spec/jobTemplate/spec/template/spec") {
        pod_spec::default_spec(pod);
    }
}

/// Two Jobs never select each other's pods: their own identity is the label.
fn create_job(object: &mut Value) {
    let (uid, name) = (object::uid(object).to_owned(), object::name(object).to_owned());
    let spec = object::child(object, "spec");
    if spec.get("manualSelector") == Some(&Value::Bool(true)) {
        return;
    }
    let mut template = spec.remove("template").unwrap_or_default();
    let metadata = object::metadata(&mut template);
    let labels = metadata.entry("labels").or_insert_with(|| json!({}));
    if !labels.is_object() {
        *labels = json!({});
    }
    for label in LABELS {
        let value = if label.ends_with("uid") { &uid } else { &name };
        labels[label] = value.as_str().into();
    }
    spec.insert("template".into(), template);
    if !spec.contains_key("selector") {
        spec.insert("selector".into(), json!({"matchLabels": {LABELS[0]: uid}}));
    }
}

fn validate_job(object: &Value) -> Vec<FieldError> {
    let (mut check, spec) = (Check::default(), at(object, "spec"));
    let path = format_args!("spec");
    validate_spec(&mut check, path, spec);
    let selector = at(spec, "selector");
    if selector.is_null() {
        check.required(format_args!("spec.selector"), "");
    }
    check.selector(format_args!("spec.selector"), selector);
    let labels = at(at(at(spec, "template"), "metadata"), "labels");
    if !matches(selector, labels) {
        let detail = "`selector` does not match template `labels`";
        check.invalid(format_args!("spec.template.metadata.labels"), labels.clone(), detail);
    }
    check.into_errors()
}

fn validate_spec(check: &mut Check, path: Arguments<'_>, spec: &Value) {
    for field in [
        "parallelism",
        "completions",
        "activeDeadlineSeconds",
        "backoffLimit",
        "ttlSecondsAfterFinished",
        "backoffLimitPerIndex",
        "maxFailedIndexes",
    ] {
        check.not_negative(path, spec, field);
    }
    let mode = text(spec, "completionMode");
    check.any_of(format_args!("{path}.completionMode"), mode, &["Indexed", "NonIndexed"]);
    if mode == "Indexed" {
        match int(spec, "completions") {
            None => {
                let detail = "when completion mode is Indexed";
                check.required(format_args!("{path}.completions"), detail);
            }
            Some(_) if int(spec, "parallelism").unwrap_or(0) > INDEXED_COMPLETIONS_MAX => {
                let detail = format!(
                    "must be less than or equal to {INDEXED_COMPLETIONS_MAX} when completion mode \
                     is Indexed"
                );
                let value = at(spec, "parallelism").clone();
                check.invalid(format_args!("{path}.parallelism"), value, detail);
            }
            Some(_) => {}
        }
    } else {
        for field in ["backoffLimitPerIndex", "maxFailedIndexes", "successPolicy"] {
            if let Some(value) = some(spec, field) {
                let detail = "requires indexed completion mode";
                check.invalid(format_args!("{path}.{field}"), value.clone(), detail);
            }
        }
    }
    if some(spec, "podFailurePolicy").is_some() {
        failure_policy(check, format_args!("{path}.podFailurePolicy"), spec);
    }
    let template = at(spec, "template");
    pod_spec::validate_template(check, format_args!("{path}.template"), template);
    let policy = text(at(template, "spec"), "restartPolicy");
    let policy_path = format_args!("{path}.template.spec.restartPolicy");
    match policy {
        "" | "Always" => check.required(policy_path, "valid values: \"OnFailure\", \"Never\""),
        "OnFailure" if some(spec, "podFailurePolicy").is_some() => {
            let detail = "only \"Never\" is supported when podFailurePolicy is specified";
            check.invalid(policy_path, policy, detail);
        }
        _ => {}
    }
}

fn failure_policy(check: &mut Check, path: Arguments<'_>, spec: &Value) {
    let actions = ["Count", "FailIndex", "FailJob", "Ignore"];
    for (index, rule) in list(at(spec, "podFailurePolicy"), "rules") {
        let path = format_args!("{path}.rules[{index}]");
        let action = text(rule, "action");
        check.one_of(format_args!("{path}.action"), action, &actions);
        let codes = some(rule, "onExitCodes");
        let conditions = len(rule, "onPodConditions") > 0;
        match (codes, conditions) {
            (Some(_), true) => {
                let detail = "specifying both OnExitCodes and OnPodConditions is not supported";
                check.invalid(path, Value::Null, detail);
            }
            (None, false) => {
                let detail = "specifying one of OnExitCodes and OnPodConditions is required";
                check.invalid(path, Value::Null, detail);
            }
            _ => {}
        }
        let Some(codes) = codes else { continue };
        let operators = ["In", "NotIn"];
        let path = format_args!("{path}.onExitCodes");
        check.one_of(format_args!("{path}.operator"), text(codes, "operator"), &operators);
        if len(codes, "values") == 0 {
            check.invalid(
                format_args!("{path}.values"),
                json!([]),
                "at least one value is required",
            );
        }
        for (index, code) in list(codes, "values") {
            if code == 0 && text(codes, "operator") == "In" {
                let path = format_args!("{path}.values[{index}]");
                check.invalid(path, 0, "must not be 0 for the In operator");
            }
        }
    }
}

fn update_job(new: &Value, old: &Value) -> Vec<FieldError> {
    let mut check = Check::default();
    let (new, old) = (at(new, "spec"), at(old, "spec"));
    // The width of an indexed Job may follow its goal.
    let elastic = text(new, "completionMode") == "Indexed"
        && at(new, "completions") == at(new, "parallelism");
    let mut fields = vec![
        "selector",
        "completionMode",
        "podFailurePolicy",
        "backoffLimitPerIndex",
        "managedBy",
        "successPolicy",
    ];
    if !elastic {
        fields.insert(0, "completions");
    }
    for field in fields {
        check.unchanged(format_args!("spec.{field}"), at(new, field), at(old, field));
    }
    // Where its pods run may change as long as there are none.
    let frame = |spec: &Value| {
        let mut template = at(spec, "template").clone();
        if is_true(old, "suspend") {
            if let Some(metadata) = template.get_mut("metadata").and_then(Value::as_object_mut) {
                metadata.remove("labels");
                metadata.remove("annotations");
            }
            if let Some(pod) = template.get_mut("spec").and_then(Value::as_object_mut) {
                for field in ["nodeSelector", "affinity", "tolerations", "schedulingGates"] {
                    pod.remove(field);
                }
            }
        }
        template
    };
    if !same(&frame(new), &frame(old)) {
        check.invalid(format_args!("spec.template"), at(new, "template").clone(), IMMUTABLE);
    }
    check.into_errors()
}

fn validate_cron_job(object: &Value) -> Vec<FieldError> {
    let (mut check, spec) = (Check::default(), at(object, "spec"));
    let name = object::name(object);
    if name.len() > CRON_JOB_NAME_LEN_MAX {
        let detail = format!("must be no more than {CRON_JOB_NAME_LEN_MAX} characters");
        check.invalid(format_args!("metadata.name"), name, detail);
    }
    let (path, written) = (format_args!("spec.schedule"), text(spec, "schedule"));
    if written.is_empty() {
        check.required(path, "");
    } else if written.contains("TZ=") {
        let detail = "cannot use TZ or CRON_TZ in schedule, use timeZone field instead";
        check.invalid(path, written, detail);
    } else if let Some(why) = schedule::fault(written) {
        check.invalid(path, written, why);
    }
    for field in ["startingDeadlineSeconds", "successfulJobsHistoryLimit", "failedJobsHistoryLimit"]
    {
        check.not_negative(format_args!("spec"), spec, field);
    }
    if let Some(zone) = some(spec, "timeZone").and_then(Value::as_str) {
        let inner = |it: u8| it.is_ascii_alphanumeric() || matches!(it, b'-' | b'_' | b'+' | b'/');
        let path = format_args!("spec.timeZone");
        if zone.is_empty() {
            check.invalid(path, zone, "timeZone must be nil or non-empty string");
        } else if zone.eq_ignore_ascii_case("local") {
            check.invalid(path, zone, "timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones");
        } else if !zone.bytes().all(inner) {
            check.invalid(path, zone, format!("unknown time zone {zone}"));
        }
    }
    let policies = ["Allow", "Forbid", "Replace"];
    let policy = text(spec, "concurrencyPolicy");
    check.any_of(format_args!("spec.concurrencyPolicy"), policy, &policies);
    let job = at(at(spec, "jobTemplate"), "spec");
    validate_spec(&mut check, format_args!("spec.jobTemplate.spec"), job);
    if let Some(selector) = some(job, "selector") {
        let path = format_args!("spec.jobTemplate.spec.selector");
        check.invalid(path, selector.clone(), "`selector` will be auto-generated");
    }
    if is_true(job, "manualSelector") {
        let path = "spec.jobTemplate.spec.manualSelector";
        check.add(FieldError::unsupported(path, &true.into(), ["nil", "false"]));
    }
    check.into_errors()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job() -> Value {
        json!({"metadata": {"name": "j", "uid": "u"}, "spec": {"template": {"spec": {
            "restartPolicy": "Never", "dnsPolicy": "ClusterFirst",
            "containers": [{"name": "c", "image": "i"}]}}}})
    }

    fn made(mut job: Value) -> Value {
        create_job(&mut job);
        default_job(&mut job);
        job
    }

    fn first(errors: &[FieldError]) -> String {
        errors.first().map(ToString::to_string).unwrap_or_default()
    }

    #[test]
    fn a_job_finds_its_own_pods() {
        let job = made(job());
        assert_eq!(first(&validate_job(&job)), "");
        assert_eq!(job["spec"]["selector"]["matchLabels"][LABELS[0]], "u");
        assert_eq!(job["spec"]["template"]["metadata"]["labels"]["job-name"], "j");
        assert_eq!(job["metadata"]["labels"]["controller-uid"], "u");
        let spec = &job["spec"];
        assert_eq!((&spec["completions"], &spec["backoffLimit"]), (&json!(1), &json!(6)));
        assert_eq!(spec["podReplacementPolicy"], "TerminatingOrFailed");
    }

    #[test]
    fn a_job_ends() {
        let mut job = made(job());
        job["spec"]["template"]["spec"]["restartPolicy"] = "Always".into();
        assert_eq!(
            first(&validate_job(&job)),
            "spec.template.spec.restartPolicy: Required value: valid values: \"OnFailure\", \"Never\""
        );
        job["spec"]["template"]["spec"]["restartPolicy"] = "Never".into();
        job["spec"]["completionMode"] = "Indexed".into();
        job["spec"]["completions"] = Value::Null;
        assert_eq!(
            first(&validate_job(&job)),
            "spec.completions: Required value: when completion mode is Indexed"
        );
    }

    #[test]
    fn only_a_waiting_job_moves() {
        let old = made(job());
        let mut new = old.clone();
        new["spec"]["template"]["spec"]["nodeSelector"] = json!({"a": "b"});
        assert!(first(&update_job(&new, &old)).ends_with("field is immutable"));
        let mut waiting = old.clone();
        waiting["spec"]["suspend"] = true.into();
        assert_eq!(first(&update_job(&new, &waiting)), "");
        new["spec"]["completions"] = 2.into();
        assert_eq!(
            first(&update_job(&new, &waiting)),
            "spec.completions: Invalid value: 2: field is immutable"
        );
    }

    #[test]
    fn a_cron_job_has_a_schedule() {
        let mut cron = json!({"metadata": {"name": "c"}, "spec": {
            "schedule": "*/5 * * * *", "concurrencyPolicy": "Allow", "jobTemplate": {"spec": job()["spec"]}}});
        default_cron_job(&mut cron);
        assert_eq!(first(&validate_cron_job(&cron)), "");
        cron["spec"]["schedule"] = "hourly".into();
        assert_eq!(
            first(&validate_cron_job(&cron)),
            "spec.schedule: Invalid value: \"hourly\": expected exactly 5 fields, found 1: [hourly]"
        );
        cron["spec"]["schedule"] = "@hourly".into();
        cron["metadata"]["name"] = "x".repeat(53).into();
        assert!(first(&validate_cron_job(&cron)).contains("no more than 52 characters"));
    }
}
