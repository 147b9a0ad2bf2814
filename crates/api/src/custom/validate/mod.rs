//! What a CustomResourceDefinition must be, in Kubernetes' words. Paths are
//! those that Kubernetes names: what all versions share, it says at the top.

mod conversion;

use std::collections::HashSet;

use resources::FieldError;
use schema::structural;
use serde_json::Value;

use super::{
    definition::{Definition, METADATA, Version},
    dns::label_1035,
    rules,
};
use crate::names;

const SELECTABLE_MAX: usize = 8;

const DEPRECATION_WARNING_LEN_MAX: usize = 256;

/// Kubernetes' own groups take only what its people agreed to.
const APPROVED: &str = "api-approved.kubernetes.io";

pub fn validate(crd: &Value) -> Vec<FieldError> {
    let definition = Definition(crd);
    let mut errors = Vec::new();
    if definition.name() != format!("{}.{}", definition.plural(), definition.group()) {
        let detail = "must be spec.names.plural+\".\"+spec.group";
        errors.push(FieldError::invalid("metadata.name", definition.name(), detail));
    }
    spec(definition, &mut errors);
    stored_versions(definition, &mut errors);
    errors.extend(approval(crd, None));
    errors.extend(keeps_unknown(crd, None));
    errors
}

/// `new` is checked on its own too; here is what may not change.
pub fn validate_update(new: &Value, old: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let mut same = |pointer: &str| {
        let (new, old) = (new.pointer(pointer), old.pointer(pointer));
        if let Some(new) = new
            && Some(new) != old
        {
            let path = pointer[1..].replace('/', ".");
            errors.push(FieldError::invalid_json(path, new, "field is immutable"));
        }
    };
    if Definition(old).is("Established") {
        same("/spec/scope");
        same("/spec/names/kind");
    }
    same("/spec/group");
    same("/spec/names/plural");
    errors
}

fn spec(definition: Definition<'_>, errors: &mut Vec<FieldError>) {
    let group = definition.group();
    if group.is_empty() {
        errors.push(FieldError::required("spec.group", ""));
    } else if let Some(why) = names::subdomain(group) {
        errors.push(FieldError::invalid("spec.group", group, why));
    } else if !group.contains('.') {
        let detail = "should be a domain with at least one dot";
        errors.push(FieldError::invalid("spec.group", group, detail));
    }
    match &definition.0["spec"]["scope"] {
        Value::Null => errors.push(FieldError::required("spec.scope", "")),
        Value::String(scope) if matches!(scope.as_str(), "Cluster" | "Namespaced") => {}
        odd => errors.push(FieldError::unsupported("spec.scope", odd, ["Cluster", "Namespaced"])),
    }
    versions(definition, errors);
    kind_names(&definition.0["spec"]["names"], "spec.names", errors);
    conversion::check(&definition.0["spec"]["conversion"], errors);
}

fn versions(definition: Definition<'_>, errors: &mut Vec<FieldError>) {
    let mut seen = HashSet::new();
    let (mut twice, mut storages) = (false, 0);
    for (index, version) in definition.versions().enumerate() {
        let at = format!("spec.versions[{index}]");
        if version.open_api().is_none() {
            errors.push(FieldError::required(format!("{at}.schema.openAPIV3Schema"), ""));
        }
        twice |= !seen.insert(version.name());
        storages += usize::from(version.flag("storage"));
        if let Some(why) = label_1035(version.name()) {
            errors.push(FieldError::invalid(format!("{at}.name"), version.name(), why));
        }
        deprecation(version, &at, errors);
        let first = index == 0;
        let place = |part: &str, shared: &str| match definition.is_shared(part) {
            true if first => Some(format!("spec.{shared}")),
            true => None,
            false => Some(format!("{at}.{part}")),
        };
        if let (Some(at), Some(open_api)) = (place("schema", "validation"), version.open_api()) {
            let at = format!("{at}.openAPIV3Schema");
            let status = version.subresource("status").is_some();
            let wrong = structural::judge(open_api, &at, status, &METADATA);
            if wrong.is_empty() {
                errors.extend(rules::problems(&structural::read(open_api, &METADATA), &at));
            }
            errors.extend(wrong);
        }
        if let Some(at) = place("subresources", "subresources") {
            scale(version, &at, errors);
        }
        if let Some(at) = place("additionalPrinterColumns", "additionalPrinterColumns") {
            for (index, told) in version.list("additionalPrinterColumns") {
                column(told, &format!("{at}[{index}]"), errors);
            }
        }
        if let Some(at) = place("selectableFields", "selectableFields") {
            selectable(version, &at, errors);
        }
    }
    let shown = definition.0.pointer("/spec/versions").unwrap_or(&Value::Null);
    if twice {
        let detail = "must contain unique version names";
        errors.push(FieldError::invalid_json("spec.versions", shown, detail));
    }
    if storages != 1 {
        let detail = "must have exactly one version marked as storage version";
        errors.push(FieldError::invalid_json("spec.versions", shown, detail));
    }
}

fn deprecation(version: Version<'_>, at: &str, errors: &mut Vec<FieldError>) {
    let Some(warning) = version.0.get("deprecationWarning").and_then(Value::as_str) else { return };
    let at = format!("{at}.deprecationWarning");
    let mut refuse = |detail: &str| errors.push(FieldError::invalid(&at, warning, detail));
    if !version.flag("deprecated") {
        return refuse("can only be set for deprecated versions");
    }
    if warning.len() > DEPRECATION_WARNING_LEN_MAX {
        refuse("must be <= 256 characters long");
    }
    if warning.is_empty() {
        refuse("must not be an empty string");
    }
    if let Some(index) = warning.find(char::is_control) {
        refuse(&format!(
            "must only contain printable UTF-8 characters; non-printable character found at index \
             {index}"
        ));
    }
}

/// Of a specification or of accepted names; what is absent is told elsewhere.
fn kind_names(told: &Value, at: &str, errors: &mut Vec<FieldError>) {
    const MIXED: &str = "may have mixed case, but should otherwise match: ";
    let text = |name: &str| told[name].as_str().unwrap_or_default();
    for name in ["plural", "singular", "kind", "listKind"] {
        let at = format!("{at}.{name}");
        match text(name) {
            "" => errors.push(FieldError::required(at, "")),
            given if matches!(name, "plural" | "singular") => {
                errors.extend(label_1035(given).map(|why| FieldError::invalid(at, given, why)));
            }
            given => {
                let why = label_1035(&given.to_lowercase());
                let why = why.map(|why| format!("{MIXED}{why}"));
                errors.extend(why.map(|why| FieldError::invalid(at, given, why)));
            }
        }
    }
    for name in ["shortNames", "categories"] {
        let list = told[name].as_array().into_iter().flatten().enumerate();
        for (index, given) in list.filter_map(|(index, given)| Some((index, given.as_str()?))) {
            let at = format!("{at}.{name}[{index}]");
            errors.extend(label_1035(given).map(|why| FieldError::invalid(at, given, why)));
        }
    }
    if !text("kind").is_empty() && text("kind") == text("listKind") {
        let at = format!("{at}.listKind");
        let detail = "kind and listKind may not be the same";
        errors.push(FieldError::invalid(at, text("listKind"), detail));
    }
}

fn column(told: &Value, at: &str, errors: &mut Vec<FieldError>) {
    const KINDS: [&str; 5] = ["boolean", "date", "integer", "number", "string"];
    const FORMATS: [&str; 8] =
        ["byte", "date", "date-time", "double", "float", "int32", "int64", "password"];
    let text = |name: &str| told[name].as_str().unwrap_or_default();
    if text("name").is_empty() {
        errors.push(FieldError::required(format!("{at}.name"), ""));
    }
    let one_of = |known: &[&str]| format!("must be one of {}", known.join(","));
    match text("type") {
        "" => errors.push(FieldError::required(format!("{at}.type"), one_of(&KINDS))),
        kind if KINDS.contains(&kind) => {}
        kind => errors.push(FieldError::invalid(format!("{at}.type"), kind, one_of(&KINDS))),
    }
    let format = text("format");
    if !format.is_empty() && !FORMATS.contains(&format) {
        errors.push(FieldError::invalid(format!("{at}.format"), format, one_of(&FORMATS)));
    }
    let at = format!("{at}.JSONPath");
    match text("jsonPath") {
        "" => errors.push(FieldError::required(at, "")),
        path => errors.extend(simple_path(path, &at)),
    }
}

fn simple_path(path: &str, at: &str) -> Option<FieldError> {
    let detail = "must be a simple json path starting with .";
    (!path.starts_with('.')).then(|| FieldError::invalid(at, path, detail))
}

fn scale(version: Version<'_>, at: &str, errors: &mut Vec<FieldError>) {
    let Some(told) = version.subresource("scale") else { return };
    let text = |name: &str| told[name].as_str().unwrap_or_default();
    let paths: [(&str, bool, &[&str], &str); 3] = [
        ("specReplicasPath", true, &[".spec."], "should be a json path under .spec"),
        ("statusReplicasPath", true, &[".status."], "should be a json path under .status"),
        (
            "labelSelectorPath",
            false,
            &[".spec.", ".status."],
            "should be a json path under either .spec or .status",
        ),
    ];
    for (name, needed, roots, detail) in paths {
        let (at, path) = (format!("{at}.scale.{name}"), text(name));
        if path.is_empty() {
            if needed {
                errors.push(FieldError::required(at, ""));
            }
        } else if let Some(error) = simple_path(path, &at) {
            errors.push(error);
        } else if !roots.iter().any(|root| path.starts_with(root)) {
            errors.push(FieldError::invalid(at, path, detail));
        }
    }
}

fn selectable(version: Version<'_>, at: &str, errors: &mut Vec<FieldError>) {
    let mut seen = HashSet::new();
    for (index, told) in version.list("selectableFields") {
        let at = format!("{at}[{index}].jsonPath");
        let path = told["jsonPath"].as_str().unwrap_or_default();
        if path.is_empty() {
            errors.push(FieldError::required(at, ""));
            continue;
        }
        let open_api = version.open_api().unwrap_or(&Value::Null);
        match structural::field_path(path, open_api, false) {
            Err(why) => {
                let detail = format!("is an invalid path: {why}");
                errors.push(FieldError::invalid(at, path, detail));
            }
            Ok(found) => {
                if found.names.first().is_some_and(|name| name == "metadata") {
                    let detail = "must not point to fields in metadata";
                    errors.push(FieldError::invalid(&at, path, detail));
                }
                if !matches!(found.kind.as_str(), "string" | "boolean" | "integer") {
                    let detail = "must point to a field of type string, boolean or integer. Enum \
                                  string fields and strings with formats are allowed.";
                    errors.push(FieldError::invalid(&at, path, detail));
                }
                if !seen.insert(found.shown) {
                    errors.push(FieldError::duplicate(at, &path.into()));
                }
            }
        }
    }
    if seen.len() > SELECTABLE_MAX {
        errors.push(FieldError::too_many(at, seen.len(), SELECTABLE_MAX as u64));
    }
}

fn stored_versions(definition: Definition<'_>, errors: &mut Vec<FieldError>) {
    let at = "status.storedVersions";
    let shown = definition.0.pointer("/status/storedVersions").unwrap_or(&Value::Null);
    let stored: Vec<&str> =
        shown.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    if stored.is_empty() {
        let detail = "must have at least one stored version";
        errors.push(FieldError::invalid_json(at, shown, detail));
        return;
    }
    if let Some(storage) = definition.storage().filter(|v| !stored.contains(&v.name())) {
        let detail = format!("must have the storage version {}", storage.name());
        errors.push(FieldError::invalid_json(at, shown, detail));
    }
    for (index, name) in stored.iter().enumerate() {
        if !definition.versions().any(|version| version.name() == *name) {
            let detail = format!(
                "missing from spec.versions; {name} was previously a storage version, and must \
                 remain in spec.versions until a storage migration ensures no data remains \
                 persisted in {name} and removes {name} from status.storedVersions"
            );
            errors.push(FieldError::invalid(format!("{at}[{index}]"), *name, detail));
        }
    }
}

pub(super) fn approval(crd: &Value, old: Option<&Value>) -> Option<FieldError> {
    let group = Definition(crd).group();
    let protected = |root: &str| {
        group.strip_suffix(root).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    };
    if !protected("k8s.io") && !protected("kubernetes.io") {
        return None;
    }
    let told = |crd: &Value| {
        let annotation = crd["metadata"]["annotations"][APPROVED].as_str().unwrap_or_default();
        let good = annotation.starts_with("unapproved")
            || annotation.split_once("://").is_some_and(|(scheme, rest)| {
                !scheme.is_empty() && !rest.is_empty() && !rest.starts_with('/')
            });
        (annotation.to_owned(), good)
    };
    let (annotation, good) = told(crd);
    if good || old.is_some_and(|old| told(old) == (annotation.clone(), good)) {
        return None;
    }
    let at = format!("metadata.annotations[{APPROVED}]");
    let see = "see https://github.com/kubernetes/enhancements/pull/1111";
    let must = format!("protected groups must have approval annotation {APPROVED:?}");
    Some(match annotation.as_str() {
        "" => FieldError::required(at, format!("{must}, {see}")),
        annotation => {
            let detail =
                format!("{must} with either a URL or a reason starting with \"unapproved\", {see}");
            FieldError::invalid(at, annotation, detail)
        }
    })
}

fn keeps_unknown(crd: &Value, old: Option<&Value>) -> Option<FieldError> {
    let keeps = |crd: &Value| crd["spec"]["preserveUnknownFields"] == true;
    (keeps(crd) && !old.is_some_and(keeps)).then(|| {
        let detail = "cannot set to true, set x-kubernetes-preserve-unknown-fields to true in \
                      spec.versions[*].schema instead";
        FieldError::invalid("spec.preserveUnknownFields", true, detail)
    })
}

#[cfg(test)]
mod tests;
