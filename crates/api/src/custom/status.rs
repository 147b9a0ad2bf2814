//! What a definition's status says: which names were accepted, whether the kind
//! is served, whether it is going.

use serde_json::{Map, Value, json};

use super::definition::Definition;
use crate::object;

/// The status that `crd` should have at `now`, among `others` of all groups;
/// none when it has it.
pub fn settle<'a>(
    crd: &Value,
    others: impl Iterator<Item = &'a Value>,
    now: &str,
) -> Option<Value> {
    let definition = Definition(crd);
    let told = crd.get("status").filter(|told| told.is_object()).cloned();
    let mut status = told.unwrap_or_else(|| json!({}));
    let taken = Taken::by(others.filter(|other| {
        Definition(other).group() == definition.group()
            && Definition(other).name() != definition.name()
    }));
    let (names, conflict) = accept(crd, &taken);
    status["acceptedNames"] = names;
    match conflict {
        None => {
            set(&mut status, "NamesAccepted", "True", "NoConflicts", "no conflicts found", now);
        }
        Some((reason, message)) => {
            set(&mut status, "NamesAccepted", "False", reason, &message, now);
        }
    }
    let accepted = is(&status, "NamesAccepted", "True");
    if accepted && !is(&status, "Established", "True") {
        let message = "the initial names have been accepted";
        set(&mut status, "Established", "True", "InitialNamesAccepted", message, now);
    } else if !accepted && !has(&status, "Established") {
        let message = "not all names are accepted";
        set(&mut status, "Established", "False", "NotAccepted", message, now);
    }
    non_structural(definition, &mut status, now);
    if object::is_deleting(crd) && !has(&status, "Terminating") {
        let message = "CustomResource deletion is in progress";
        set(&mut status, "Terminating", "True", "InstanceDeletionInProgress", message, now);
    }
    (crd.get("status") != Some(&status)).then_some(status)
}

/// Names that other kinds of a group have.
#[derive(Default)]
struct Taken<'a> {
    resources: Vec<&'a str>,
    kinds: Vec<&'a str>,
}

impl<'a> Taken<'a> {
    fn by(others: impl Iterator<Item = &'a Value>) -> Taken<'a> {
        let mut taken = Taken::default();
        for other in others {
            let Some(names) = other.pointer("/status/acceptedNames") else { continue };
            let text = |name: &str| names[name].as_str();
            taken.resources.extend(text("plural"));
            taken.resources.extend(text("singular"));
            taken.resources.extend(texts(names, "shortNames"));
            taken.kinds.extend(text("kind"));
            taken.kinds.extend(text("listKind"));
        }
        taken
    }
}

/// The names that the kind may have, and what stood in the way of others.
fn accept(crd: &Value, taken: &Taken<'_>) -> (Value, Option<(&'static str, String)>) {
    let wanted = &crd["spec"]["names"];
    let had = crd.pointer("/status/acceptedNames").unwrap_or(&Value::Null);
    let mut names = had.as_object().cloned().unwrap_or_default();
    let mut conflict = None;
    let in_use = |name: &str| format!("{name:?} is already in use");
    let single = [
        ("plural", "PluralConflict", &taken.resources),
        ("singular", "SingularConflict", &taken.resources),
    ];
    let kinds =
        [("kind", "KindConflict", &taken.kinds), ("listKind", "ListKindConflict", &taken.kinds)];
    let mut take = |(field, reason, taken): (&str, &'static str, &Vec<&str>)| {
        let name = wanted[field].as_str().unwrap_or_default();
        if had[field].as_str() != Some(name) && taken.contains(&name) {
            return Some((reason, in_use(name)));
        }
        names.insert(field.to_owned(), name.into());
        None
    };
    for one in single {
        conflict = take(one).or(conflict);
    }
    let short: Vec<&str> = texts(wanted, "shortNames").collect();
    let own: Vec<&str> = texts(had, "shortNames").collect();
    let gone = short.iter().filter(|name| !own.contains(name) && taken.resources.contains(name));
    let gone: Vec<String> = gone.map(|name| in_use(name)).collect();
    let short = match gone.as_slice() {
        [] => short,
        [one] => {
            conflict = Some(("ShortNamesConflict", one.clone()));
            own
        }
        several => {
            conflict = Some(("ShortNamesConflict", format!("[{}]", several.join(", "))));
            own
        }
    };
    for one in kinds {
        conflict = take(one).or(conflict);
    }
    set_list(&mut names, "shortNames", short);
    set_list(&mut names, "categories", texts(wanted, "categories").collect());
    (Value::Object(names), conflict)
}

fn set_list(names: &mut Map<String, Value>, field: &str, list: Vec<&str>) {
    if list.is_empty() {
        names.remove(field);
    } else {
        names.insert(field.to_owned(), list.into());
    }
}

fn texts<'a>(names: &'a Value, field: &str) -> impl Iterator<Item = &'a str> {
    let list = names.get(field).and_then(Value::as_array);
    list.into_iter().flatten().filter_map(Value::as_str)
}

/// Definitions from before a rule go on to work, and say so.
fn non_structural(definition: Definition<'_>, status: &mut Value, now: &str) {
    let shared = definition.is_shared("schema");
    let mut wrong = Vec::new();
    for (index, version) in definition.versions().enumerate() {
        let Some(open_api) = version.open_api() else { continue };
        let at = match shared {
            true => "spec.validation.openAPIV3Schema".to_owned(),
            false => format!("spec.versions[{index}].schema.openAPIV3Schema"),
        };
        wrong.extend(schema::structural::is_structural(open_api, &at));
        if shared {
            break;
        }
    }
    match wrong.as_slice() {
        [] => remove(status, "NonStructuralSchema"),
        wrong => {
            let shown: Vec<String> = wrong.iter().map(ToString::to_string).collect();
            let message = match shown.as_slice() {
                [one] => one.clone(),
                several => format!("[{}]", several.join(", ")),
            };
            set(status, "NonStructuralSchema", "True", "Violations", &message, now);
        }
    }
}

fn conditions(status: &Value) -> impl Iterator<Item = &Value> {
    status.get("conditions").and_then(Value::as_array).into_iter().flatten()
}

fn has(status: &Value, kind: &str) -> bool {
    conditions(status).any(|condition| condition["type"] == kind)
}

fn is(status: &Value, kind: &str, wanted: &str) -> bool {
    conditions(status).any(|one| one["type"] == kind && one["status"] == wanted)
}

fn remove(status: &mut Value, kind: &str) {
    if let Some(list) = status.get_mut("conditions").and_then(Value::as_array_mut) {
        list.retain(|condition| condition["type"] != kind);
    }
}

/// Sets a condition; its time is that of the last change of its state.
pub fn set(status: &mut Value, kind: &str, state: &str, reason: &str, message: &str, now: &str) {
    if !status["conditions"].is_array() {
        status["conditions"] = json!([]);
    }
    let list = status["conditions"].as_array_mut().expect("it was made a list above");
    let at = list.iter().position(|condition| condition["type"] == kind);
    let since = at.map(|at| &list[at]).filter(|old| old["status"] == state);
    let since = since.and_then(|old| old["lastTransitionTime"].as_str()).unwrap_or(now);
    let condition = json!({"type": kind, "status": state, "reason": reason, "message": message,
        "lastTransitionTime": since});
    match at {
        Some(at) => list[at] = condition,
        None => list.push(condition),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: &str = "2026-01-01T00:00:00Z";

    fn crd(plural: &str, kind: &str, short: &[&str]) -> Value {
        json!({"metadata": {"name": format!("{plural}.b.c")}, "spec": {"group": "b.c",
            "names": {"plural": plural, "singular": kind.to_lowercase(), "kind": kind,
                "listKind": format!("{kind}List"), "shortNames": short},
            "versions": [{"name": "v1", "schema": {"openAPIV3Schema": {"type": "object"}}}]}})
    }

    fn settled(mut crd: Value, others: &[Value]) -> Value {
        if let Some(status) = settle(&crd, others.iter(), NOW) {
            crd["status"] = status;
        }
        crd
    }

    #[test]
    fn a_new_definition_is_established_at_once_and_stays_as_it_is() {
        let a = settled(crd("as", "A", &["x"]), &[]);
        assert!(Definition(&a).is("Established") && Definition(&a).is("NamesAccepted"));
        assert_eq!(a["status"]["acceptedNames"], a["spec"]["names"]);
        assert_eq!(settle(&a, [].iter(), "2027-01-01T00:00:00Z"), None);
    }

    #[test]
    fn names_in_use_are_refused_until_they_are_free() {
        let a = settled(crd("as", "A", &["x"]), &[]);
        let b = settled(crd("bs", "A", &["x", "y"]), std::slice::from_ref(&a));
        let names = Definition(&b).condition("NamesAccepted").expect("it is set");
        assert_eq!(names["status"], "False");
        assert_eq!(names["reason"], "ListKindConflict");
        assert_eq!(names["message"], "\"AList\" is already in use");
        assert_eq!(b["status"]["acceptedNames"]["plural"], "bs");
        assert_eq!(b["status"]["acceptedNames"].get("kind"), None);
        let established = Definition(&b).condition("Established").expect("it is set");
        assert_eq!(established["reason"], "NotAccepted");
        let b = settled(b, &[]);
        assert!(Definition(&b).is("Established"));
        assert_eq!(b["status"]["acceptedNames"]["shortNames"], json!(["x", "y"]));
    }

    #[test]
    fn a_schema_that_is_not_structural_is_told() {
        let mut odd = crd("as", "A", &[]);
        odd["spec"]["versions"][0]["schema"]["openAPIV3Schema"] = json!({});
        let odd = settled(odd, &[]);
        let condition = Definition(&odd).condition("NonStructuralSchema").expect("it is set");
        assert_eq!(
            condition["message"],
            "spec.validation.openAPIV3Schema.type: Required value: must not be empty at the root"
        );
    }
}
