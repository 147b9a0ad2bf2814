//! From a Pod template to a Pod: placeholders, ports, the template's hash.
//!
//! Works on JSON, since a template may hold fields that we only pass on.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

/// Names and values a template may refer to as `$(NAME)`.
pub type Variables = BTreeMap<&'static str, String>;

/// A fingerprint of the template, the same in every release: FNV-1a over its
/// JSON with sorted keys.
#[must_use]
pub fn hash(template: &Value) -> String {
    let mut hash = Fnv(0xcbf2_9ce4_8422_2325);
    hash.value(template);
    format!("{:016x}", hash.0)
}

/// Replaces `$(NAME)` of known names, as Kubernetes does: `$$` is a literal
/// dollar and is left for whoever expands last; unknown names stay.
#[must_use]
pub fn expand(text: &str, variables: &Variables) -> String {
    let mut expanded = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        expanded.push_str(&rest[..at]);
        rest = &rest[at..];
        let reference = rest
            .strip_prefix("$(")
            .and_then(|after| after.split_once(')'))
            .and_then(|(name, after)| Some((variables.get(name)?, after)));
        match reference {
            Some((value, after)) => {
                expanded.push_str(value);
                rest = after;
            }
            None => {
                let literal = if rest.starts_with("$$") { 2 } else { 1 };
                expanded.push_str(&rest[..literal]);
                rest = &rest[literal..];
            }
        }
    }
    expanded.push_str(rest);
    expanded
}

/// How many host ports a pod of this template needs.
#[must_use]
pub fn ports_needed(template: &Value) -> usize {
    let containers = containers(template);
    containers.iter().filter_map(|container| container.get("ports")?.as_array()).map(Vec::len).sum()
}

/// The host ports a pod holds.
#[must_use]
pub fn ports_of(spec: &Value) -> Vec<u16> {
    let containers =
        spec.get("containers").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let ports = containers.iter().filter_map(|container| container.get("ports")?.as_array());
    let numbers = ports.flatten().filter_map(|port| port.get("hostPort")?.as_u64());
    numbers.filter_map(|number| number.try_into().ok()).collect()
}

/// The pod's spec: ports given out in order, `variables` set in every
/// container's environment and replaced where Kubernetes would.
///
/// `ports` holds [`ports_needed`] numbers; the first is also `POLIS_PORT`.
#[must_use]
pub fn fill(template: &Value, variables: &Variables, ports: &[u16]) -> Value {
    let mut spec = template.get("spec").cloned().unwrap_or_else(|| json!({}));
    let mut variables = variables.clone();
    if let Some(first) = ports.first() {
        variables.insert("POLIS_PORT", first.to_string());
    }
    let mut ports = ports.iter().copied();
    for kind in ["initContainers", "containers"] {
        let Some(containers) = spec.get_mut(kind).and_then(Value::as_array_mut) else { continue };
        for container in containers.iter_mut().filter_map(Value::as_object_mut) {
            if kind == "containers" {
                give_ports(container, &mut ports);
            }
            fill_container(container, &variables);
        }
    }
    for volume in spec.get_mut("volumes").and_then(Value::as_array_mut).into_iter().flatten() {
        if let Some(path) = volume.pointer_mut("/hostPath/path") {
            expand_text(path, &variables);
        }
    }
    spec
}

fn containers(template: &Value) -> &[Value] {
    template.pointer("/spec/containers").and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// Pods share the host's ports, so the numbers a template names are only
/// placeholders: each gets one of the unit's, and probes follow.
fn give_ports(container: &mut Map<String, Value>, ports: &mut impl Iterator<Item = u16>) {
    let mut given = BTreeMap::new();
    let wanted = container.get_mut("ports").and_then(Value::as_array_mut);
    for port in wanted.into_iter().flatten().filter_map(Value::as_object_mut) {
        let Some(number) = ports.next() else { break };
        if let Some(before) = port.get("containerPort").and_then(Value::as_u64) {
            given.insert(before, number);
        }
        port.insert("containerPort".into(), number.into());
        port.insert("hostPort".into(), number.into());
    }
    for probe in ["readinessProbe", "livenessProbe", "startupProbe"] {
        for kind in ["httpGet", "tcpSocket"] {
            let port =
                container.get_mut(probe).and_then(|probe| probe.get_mut(kind)?.get_mut("port"));
            let Some(port) = port else { continue };
            if let Some(number) = port.as_u64().and_then(|before| given.get(&before)) {
                *port = (*number).into();
            }
        }
    }
}

fn fill_container(container: &mut Map<String, Value>, variables: &Variables) {
    for list in ["command", "args"] {
        let texts = container.get_mut(list).and_then(Value::as_array_mut);
        texts.into_iter().flatten().for_each(|text| expand_text(text, variables));
    }
    if let Some(folder) = container.get_mut("workingDir") {
        expand_text(folder, variables);
    }
    let mut own = match container.remove("env") {
        Some(Value::Array(own)) => own,
        _ => Vec::new(),
    };
    for entry in &mut own {
        if let Some(value) = entry.get_mut("value") {
            expand_text(value, variables);
        }
    }
    let is_own = |name: &str| own.iter().any(|entry| entry.get("name") == Some(&name.into()));
    let given = variables.iter().filter(|(name, _)| !is_own(name));
    let given = given.map(|(name, value)| json!({ "name": name, "value": value }));
    let env: Vec<_> = given.collect::<Vec<_>>().into_iter().chain(own).collect();
    container.insert("env".into(), env.into());
}

fn expand_text(value: &mut Value, variables: &Variables) {
    if let Value::String(text) = value {
        *text = expand(text, variables);
    }
}

/// FNV-1a, 64 bits (Fowler, Noll, Vo).
struct Fnv(u64);

// === impl Fnv ===

impl Fnv {
    fn bytes(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }

    /// Each kind has its own first byte, each text its length, so that no two
    /// values run together.
    fn value(&mut self, value: &Value) {
        match value {
            Value::Object(fields) => {
                self.bytes(b"{");
                let sorted: BTreeMap<_, _> = fields.iter().collect();
                for (name, field) in sorted {
                    self.text(name);
                    self.value(field);
                }
                self.bytes(b"}");
            }
            Value::Array(items) => {
                self.bytes(b"[");
                items.iter().for_each(|item| self.value(item));
                self.bytes(b"]");
            }
            Value::String(text) => self.text(text),
            Value::Null | Value::Bool(_) | Value::Number(_) => {
                self.bytes(b"=");
                self.text(&value.to_string());
            }
        }
    }

    fn text(&mut self, text: &str) {
        self.bytes(b"\"");
        self.bytes(&(text.len() as u64).to_le_bytes());
        self.bytes(text.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variables() -> Variables {
        Variables::from([("POLIS_UNIT", "rz01".into()), ("POLIS_CENTER", "east-1".into())])
    }

    #[test]
    fn known_names_are_replaced_and_the_rest_is_left_to_the_agent() {
        for (text, expected) in [
            ("--unit=$(POLIS_UNIT)", "--unit=rz01"),
            ("$(POLIS_UNIT)/$(POLIS_CENTER)", "rz01/east-1"),
            ("$(OTHER) $$(POLIS_UNIT) $x $", "$(OTHER) $$(POLIS_UNIT) $x $"),
            ("$(POLIS_UNIT", "$(POLIS_UNIT"),
            ("$($(POLIS_UNIT))", "$(rz01)"),
            ("价格$(POLIS_UNIT)元", "价格rz01元"),
        ] {
            assert_eq!(expand(text, &variables()), expected, "{text}");
        }
    }

    #[test]
    fn ports_are_given_out_and_probes_follow_them() {
        let template = json!({ "spec": { "containers": [{
            "name": "ledger",
            "args": ["--port", "$(POLIS_PORT)"],
            "ports": [{ "name": "https", "containerPort": 8443 }, { "name": "admin" }],
            "env": [{ "name": "POLIS_CENTER", "value": "mine" }, { "name": "B", "value": "$(POLIS_UNIT)" }],
            "readinessProbe": { "httpGet": { "port": 8443 } },
            "livenessProbe": { "httpGet": { "port": "https" } },
        }]}});
        assert_eq!(ports_needed(&template), 2);
        let spec = fill(&template, &variables(), &[7001, 7002]);
        assert_eq!(ports_of(&spec), [7001, 7002]);
        let container = &spec["containers"][0];
        assert_eq!(container["args"], json!(["--port", "7001"]));
        assert_eq!(container["readinessProbe"]["httpGet"]["port"], 7001);
        assert_eq!(container["livenessProbe"]["httpGet"]["port"], "https");
        let env = json!([
            { "name": "POLIS_PORT", "value": "7001" },
            { "name": "POLIS_UNIT", "value": "rz01" },
            { "name": "POLIS_CENTER", "value": "mine" },
            { "name": "B", "value": "rz01" },
        ]);
        assert_eq!(container["env"], env);
    }

    #[test]
    fn the_hash_ignores_the_order_of_fields_and_nothing_else() {
        let one: Value = serde_json::from_str(r#"{"a":1,"b":["x","y"]}"#).expect("json");
        let same: Value = serde_json::from_str(r#"{"b":["x","y"],"a":1}"#).expect("json");
        assert_eq!(hash(&one), hash(&same));
        for other in [r#"{"a":1,"b":["xy"]}"#, r#"{"a":"1","b":["x","y"]}"#, r#"{"a":1}"#, "null"] {
            let other = serde_json::from_str(other).expect("json");
            assert_ne!(hash(&one), hash(&other));
        }
    }
}
