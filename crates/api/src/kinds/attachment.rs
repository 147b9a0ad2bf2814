//! What drivers of storage are told, and what they tell.

use std::collections::HashSet;

use resources::FieldError;
use serde_json::Value;

use super::check::{Check, IMMUTABLE, at, len, list, map, same, some, text};
use crate::{names, resource::Rules};

pub const ATTACHMENT: Rules =
    Rules { validate: validate_attachment, validate_update: update_attachment, ..Rules::NONE };
pub const ATTRIBUTES: Rules =
    Rules { validate: validate_attributes, validate_update: update_attributes, ..Rules::NONE };
pub const NODE: Rules = Rules { validate: validate_node, ..Rules::NONE };
pub const CAPACITY: Rules = Rules { validate: validate_capacity, ..Rules::NONE };

fn validate_attachment(attachment: &Value) -> Vec<FieldError> {
    let (mut check, spec) = (Check::default(), at(attachment, "spec"));
    check.present(format_args!("spec.attacher"), text(spec, "attacher"));
    let source = at(spec, "source");
    let volume = text(source, "persistentVolumeName");
    match (some(source, "inlineVolumeSpec").is_some(), volume) {
        (false, "") => {
            let detail = "must specify exactly one of inlineVolumeSpec and persistentVolumeName";
            check.required(format_args!("spec.source"), detail);
        }
        (true, named) if !named.is_empty() => {
            let detail = "must specify exactly one of inlineVolumeSpec and persistentVolumeName";
            check.forbidden(format_args!("spec.source"), detail);
        }
        (_, named) => {
            check.optional(
                format_args!("spec.source.persistentVolumeName"),
                named,
                names::subdomain,
            );
        }
    }
    let node = text(spec, "nodeName");
    if let Some(why) = names::subdomain(node) {
        check.invalid(format_args!("spec.nodeName"), node, why);
    }
    check.into_errors()
}

fn update_attachment(new: &Value, old: &Value) -> Vec<FieldError> {
    let mut check = Check::default();
    if !same(at(new, "spec"), at(old, "spec")) {
        check.invalid(format_args!("spec"), at(new, "spec").clone(), IMMUTABLE);
    }
    check.into_errors()
}

fn validate_attributes(class: &Value) -> Vec<FieldError> {
    let mut check = Check::default();
    check.named(format_args!("driverName"), text(class, "driverName"), names::label_key);
    if len(class, "parameters") == 0 {
        let detail = "must contain at least one key/value pair";
        check.required(format_args!("parameters"), detail);
    }
    if map(class, "parameters").is_some_and(|parameters| parameters.contains_key("")) {
        check.invalid(format_args!("parameters"), "", "field can not be empty.");
    }
    check.into_errors()
}

/// A class is a promise about volumes that were made by it.
fn update_attributes(new: &Value, old: &Value) -> Vec<FieldError> {
    let mut check = Check::default();
    for field in ["driverName", "parameters"] {
        check.unchanged(format_args!("{field}"), at(new, field), at(old, field));
    }
    check.into_errors()
}

fn validate_node(node: &Value) -> Vec<FieldError> {
    let (mut check, mut seen) = (Check::default(), HashSet::new());
    for (index, driver) in list(at(node, "spec"), "drivers") {
        let path = format_args!("spec.drivers[{index}]");
        let name = text(driver, "name");
        check.named(format_args!("{path}.name"), name, names::subdomain);
        check.present(format_args!("{path}.nodeID"), text(driver, "nodeID"));
        if !seen.insert(name) {
            check.duplicate(format_args!("{path}.name"), name);
        }
    }
    check.into_errors()
}

fn validate_capacity(capacity: &Value) -> Vec<FieldError> {
    let mut check = Check::default();
    let class = text(capacity, "storageClassName");
    if let Some(why) = names::subdomain(class) {
        check.invalid(format_args!("storageClassName"), class, why);
    }
    check.into_errors()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn paths(errors: &[FieldError]) -> Vec<&str> {
        errors.iter().map(|error| error.path.as_str()).collect()
    }

    #[test]
    fn an_attachment_says_what_is_attached_where() {
        let spec =
            json!({"attacher": "a.b", "nodeName": "n", "source": {"persistentVolumeName": "v"}});
        assert!(validate_attachment(&json!({"spec": spec})).is_empty());
        let errors = validate_attachment(&json!({"spec": {"attacher": "a.b"}}));
        assert_eq!(paths(&errors), ["spec.source", "spec.nodeName"]);
        let mut both = spec.clone();
        both["source"]["inlineVolumeSpec"] = json!({"accessModes": []});
        assert_eq!(paths(&validate_attachment(&json!({"spec": both}))), ["spec.source"]);
        let mut moved = spec.clone();
        moved["nodeName"] = "m".into();
        let errors = update_attachment(&json!({"spec": moved}), &json!({"spec": spec}));
        assert_eq!(paths(&errors), ["spec"]);
    }

    #[test]
    fn drivers_and_classes_have_names_of_their_own() {
        let drivers = json!([{"name": "a", "nodeID": "1"}, {"name": "a"}]);
        let errors = validate_node(&json!({"spec": {"drivers": drivers}}));
        assert_eq!(paths(&errors), ["spec.drivers[1].nodeID", "spec.drivers[1].name"]);
        assert_eq!(paths(&validate_attributes(&json!({}))), ["driverName", "parameters"]);
        let class = json!({"driverName": "a.b", "parameters": {"iops": "1"}});
        assert!(validate_attributes(&class).is_empty());
        assert_eq!(paths(&validate_capacity(&json!({}))), ["storageClassName"]);
    }
}
