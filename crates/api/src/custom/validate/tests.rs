//! Definitions that are refused, and why.

use serde_json::json;

use super::*;

fn crd() -> Value {
    json!({
        "metadata": {"name": "crontabs.stable.example.com"},
        "spec": {
            "group": "stable.example.com", "scope": "Namespaced",
            "names": {"plural": "crontabs", "singular": "crontab", "kind": "CronTab",
                "listKind": "CronTabList", "shortNames": ["ct"]},
            "versions": [{"name": "v1", "served": true, "storage": true,
                "schema": {"openAPIV3Schema": {"type": "object", "properties": {
                    "spec": {"type": "object", "properties": {
                        "cronSpec": {"type": "string"},
                        "replicas": {"type": "integer"}}}}}},
                "selectableFields": [{"jsonPath": ".spec.cronSpec"}],
                "additionalPrinterColumns": [
                    {"name": "Spec", "type": "string", "jsonPath": ".spec.cronSpec"}]}],
        },
        "status": {"storedVersions": ["v1"]},
    })
}

#[track_caller]
fn check(pointer: &str, value: Value, expected: &[&str]) {
    let mut crd = crd();
    *crd.pointer_mut(pointer).expect("the pointer leads somewhere") = value;
    let errors: Vec<String> = validate(&crd).iter().map(ToString::to_string).collect();
    assert_eq!(errors, expected);
}

#[test]
fn a_definition_as_people_write_it_is_fine() {
    assert_eq!(validate(&crd()), []);
}

#[test]
fn what_is_wrong_is_said_where_kubernetes_says_it() {
    check(
        "/metadata/name",
        json!("a.b"),
        &[r#"metadata.name: Invalid value: "a.b": must be spec.names.plural+"."+spec.group"#],
    );
    check(
        "/spec/scope",
        json!("Everywhere"),
        &[
            r#"spec.scope: Unsupported value: "Everywhere": supported values: "Cluster", "Namespaced""#,
        ],
    );
    check(
        "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/cronSpec",
        json!({}),
        &[
            concat!(
                "spec.validation.openAPIV3Schema.properties[spec].properties[cronSpec].type: ",
                "Required value: must not be empty for specified object fields"
            ),
            concat!(
                r#"spec.selectableFields[0].jsonPath: Invalid value: ".spec.cronSpec": must "#,
                "point to a field of type string, boolean or integer. Enum string fields and ",
                "strings with formats are allowed."
            ),
        ],
    );
    check(
        "/spec/versions/0/additionalPrinterColumns/0/type",
        json!("text"),
        &[concat!(
            r#"spec.additionalPrinterColumns[0].type: Invalid value: "text": must be one of "#,
            "boolean,date,integer,number,string"
        )],
    );
    check(
        "/spec/names/shortNames/0",
        json!("C T"),
        &[concat!(
            r#"spec.names.shortNames[0]: Invalid value: "C T": a DNS-1035 label must consist "#,
            "of lower case alphanumeric characters or '-', start with an alphabetic ",
            "character, and end with an alphanumeric character (e.g. 'my-name',  or ",
            "'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')"
        )],
    );
    check(
        "/status/storedVersions",
        json!(["v0", "v1"]),
        &[concat!(
            r#"status.storedVersions[0]: Invalid value: "v0": missing from spec.versions; v0 "#,
            "was previously a storage version, and must remain in spec.versions until a ",
            "storage migration ensures no data remains persisted in v0 and removes v0 from ",
            "status.storedVersions"
        )],
    );
}

#[test]
fn what_objects_are_kept_by_does_not_change() {
    let mut old = crd();
    let mut new = old.clone();
    new["spec"]["scope"] = "Cluster".into();
    new["spec"]["names"]["plural"] = "others".into();
    let paths = |new: &Value, old: &Value| -> Vec<String> {
        validate_update(new, old).into_iter().map(|error| error.path).collect()
    };
    assert_eq!(paths(&new, &old), ["spec.names.plural"]);
    old["status"]["conditions"] = json!([{"type": "Established", "status": "True"}]);
    assert_eq!(paths(&new, &old), ["spec.scope", "spec.names.plural"]);
}

#[test]
fn kubernetes_own_groups_need_its_consent() {
    let mut crd = crd();
    crd["spec"]["group"] = "gateway.networking.k8s.io".into();
    assert!(approval(&crd, None).is_some());
    crd["metadata"]["annotations"] = json!({ APPROVED: "https://example.com/1" });
    assert_eq!(approval(&crd, None), None);
}

#[test]
fn a_webhook_that_converts_is_reachable_in_one_way() {
    let mut crd = crd();
    crd["spec"]["conversion"] = json!({"strategy": "Webhook", "webhook": {
        "clientConfig": {"url": "http://a"}, "conversionReviewVersions": ["v2"]}});
    let paths: Vec<String> = validate(&crd).into_iter().map(|error| error.path).collect();
    let expected =
        ["spec.conversion.webhookClientConfig.url", "spec.conversion.conversionReviewVersions"];
    assert_eq!(paths, expected);
}
