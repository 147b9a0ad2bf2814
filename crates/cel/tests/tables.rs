//! Expressions with their values and costs.
//!
//! Each line of `tables` is an expression, its value, what it cost, and what
//! it was estimated to cost: as Kubernetes 1.37 has them, with the schema and
//! data of `tables/data.json`. `refused.txt` has expressions that do not
//! compile, as they are shown with what is wrong.

use std::sync::Arc;

use cel::{Bindings, Budget, CompileError, Decl, Env, Library, PER_CALL_MAX, Type, Value};
use serde_json::Value as Json;

fn env(data: &Json) -> Env {
    let schema = schema::structural::read(&data["schema"], &Arc::default());
    let decl = Decl::from_schema(&schema, "selfType", false).expect("the schema has a type");
    Env::new()
        .with("self", decl.clone())
        .with("oldSelf", decl)
        .with("authorizer", Decl::host(Type::Library(Library::Authorizer)))
}

fn data() -> Json {
    serde_json::from_str(include_str!("tables/data.json")).expect("the table is JSON")
}

/// The value as the tables write it: texts in quotes, types by name.
fn shown(value: &Value<'_>) -> String {
    match value {
        Value::Text(text) => format!("{:?}", &**text),
        Value::Uint(value) => format!("{value}u"),
        Value::Double(_) => {
            let text = value.to_string();
            if text.contains(['.', 'e', 'I', 'N']) { text } else { text + ".0" }
        }
        Value::Timestamp(_) => format!("timestamp({value})"),
        Value::Duration(nanos) => format!("duration({nanos}ns)"),
        Value::Type(name) => format!("type({name})"),
        Value::Optional(None) => "none".into(),
        Value::Optional(Some(value)) => format!("some({})", shown(value)),
        Value::List(list) => {
            let items = list.iter().map(|item| shown(&item.expect("an element")));
            format!("[{}]", items.collect::<Vec<_>>().join(", "))
        }
        Value::Map(map) => {
            let mut entries: Vec<String> = map
                .iter()
                .map(|entry| {
                    let (key, value) = entry.expect("an entry");
                    format!("{}: {}", shown(&key), shown(&value))
                })
                .collect();
            entries.sort();
            format!("{{{}}}", entries.join(", "))
        }
        Value::Bytes(bytes) => format!("b{:?}", String::from_utf8_lossy(bytes)),
        other => other.to_string(),
    }
}

fn line(env: &Env, data: &Json, text: &str) -> String {
    let program = match env.compile(text) {
        Ok(program) => program,
        Err(error) => return format!("{text} => {error}"),
    };
    let bindings = Bindings::new().json("self", &data["self"]).json("oldSelf", &data["oldSelf"]);
    let mut budget = Budget::per_call();
    let value = match program.evaluate(&bindings, &mut budget) {
        Ok(value) => shown(&value),
        Err(error) => format!("error: {error}"),
    };
    let (spent, estimate) = (PER_CALL_MAX - budget.left(), program.estimate());
    format!("{text} => {value} ; {spent} of {}..{}", estimate.min, estimate.max)
}

fn check(table: &str) {
    let data = data();
    let env = env(&data);
    let wrong: Vec<String> = table
        .lines()
        .filter_map(|wanted| {
            let (text, _) = wanted.split_once(" => ").expect("a line has an arrow");
            let found = line(&env, &data, text);
            (found != wanted).then(|| format!("wanted {wanted}\n found {found}"))
        })
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn operators_and_literals() {
    check(include_str!("tables/operators.txt"));
}

#[test]
fn fields_of_objects() {
    check(include_str!("tables/fields.txt"));
}

#[test]
fn conversions_and_dynamic_values() {
    check(include_str!("tables/conversions.txt"));
}

#[test]
fn macros_of_one_variable_and_two() {
    check(include_str!("tables/macros.txt"));
}

#[test]
fn optionals() {
    check(include_str!("tables/optionals.txt"));
}

#[test]
fn strings() {
    check(include_str!("tables/strings.txt"));
}

#[test]
fn formatted_texts() {
    check(include_str!("tables/printf.txt"));
}

#[test]
fn regular_expressions() {
    check(include_str!("tables/regex.txt"));
}

#[test]
fn lists_and_sets() {
    check(include_str!("tables/lists.txt"));
}

#[test]
fn times_and_durations() {
    check(include_str!("tables/time.txt"));
}

#[test]
fn urls() {
    check(include_str!("tables/url.txt"));
}

#[test]
fn addresses_and_networks() {
    check(include_str!("tables/network.txt"));
}

#[test]
fn quantities() {
    check(include_str!("tables/quantity.txt"));
}

#[test]
fn semantic_versions() {
    check(include_str!("tables/semver.txt"));
}

#[test]
fn named_formats() {
    check(include_str!("tables/named_formats.txt"));
}

#[test]
fn questions_without_an_authorizer_are_errors() {
    check(include_str!("tables/authorizer.txt"));
}

#[test]
fn what_is_wrong_is_shown_where_it_is() {
    let env = env(&data());
    for wanted in include_str!("tables/refused.txt").split_terminator("\n\n") {
        let wanted = wanted.trim_end_matches('\n');
        let text = wanted.lines().nth(1).expect("the expression").trim_start_matches(" | ");
        match env.compile(text) {
            Err(CompileError::Issues(issues)) => assert_eq!(issues.to_string(), wanted),
            other => panic!("{text}: {other:?}"),
        }
    }
}
