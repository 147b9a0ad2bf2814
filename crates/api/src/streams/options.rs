//! What is asked of a pod by a connection, as an object that webhooks judge and
//! may change: `PodExecOptions` and its like.

use serde_json::{Map, Value, json};

use crate::{admission::Part, failure::Failure, request::query::Query, subresource::Subresource};

/// Of `exec` and `attach`; in both, what is false is left out.
const SWITCHES: [&str; 4] = ["stdin", "stdout", "stderr", "tty"];

pub(super) fn part(sub: Subresource) -> Part {
    let kind = match sub {
        Subresource::Exec => "PodExecOptions",
        Subresource::Attach => "PodAttachOptions",
        _ => "PodPortForwardOptions",
    };
    Part { group: "", version: "v1", kind }
}

pub(super) fn show(sub: Subresource, query: &Query) -> Value {
    let mut options = Map::new();
    options.insert("kind".into(), part(sub).kind.into());
    options.insert("apiVersion".into(), "v1".into());
    if sub == Subresource::PortForward {
        let ports: Vec<u16> = query.all("ports").filter_map(|port| port.parse().ok()).collect();
        if !ports.is_empty() {
            options.insert("ports".into(), json!(ports));
        }
        return Value::Object(options);
    }
    for switch in SWITCHES.into_iter().filter(|switch| query.flag(switch)) {
        options.insert(switch.into(), true.into());
    }
    if let Some(container) = query.get("container") {
        options.insert("container".into(), container.into());
    }
    let command: Vec<&str> = query.all("command").collect();
    if sub == Subresource::Exec && !command.is_empty() {
        options.insert("command".into(), json!(command));
    }
    Value::Object(options)
}

/// The query that says the same as `options`, which others made.
pub(super) fn query(options: &Value) -> Result<Query, Failure> {
    let mut pairs = Vec::new();
    let mut add = |key: &str, value: &Value| match value {
        Value::String(text) => pairs.push((key.to_owned(), text.clone())),
        Value::Bool(_) | Value::Number(_) => pairs.push((key.to_owned(), value.to_string())),
        _ => {}
    };
    for field in SWITCHES.into_iter().chain(["container"]) {
        add(field, &options[field]);
    }
    for list in ["command", "ports"] {
        for value in options[list].as_array().into_iter().flatten() {
            add(list, value);
        }
    }
    Query::of(pairs).ok_or_else(|| Failure::bad_request("the command has too many words"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_query_says_is_shown_and_found_again() {
        let check = |sub, text: &str, expected: Value| {
            let options = show(sub, &Query::parse(Some(text)).expect("well formed"));
            assert_eq!(options, expected);
            assert_eq!(show(sub, &query(&options).expect("it fits")), expected);
        };
        check(
            Subresource::Exec,
            "command=sh&command=-c&stdin=true&tty=false&container=main",
            json!({"kind": "PodExecOptions", "apiVersion": "v1", "stdin": true,
                "container": "main", "command": ["sh", "-c"]}),
        );
        check(
            Subresource::PortForward,
            "ports=80&ports=81",
            json!({"kind": "PodPortForwardOptions", "apiVersion": "v1", "ports": [80, 81]}),
        );
        check(
            Subresource::Attach,
            "stdout=1&command=no",
            json!({"kind": "PodAttachOptions", "apiVersion": "v1", "stdout": true}),
        );
    }
}
