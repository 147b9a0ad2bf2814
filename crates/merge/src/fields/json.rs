//! The form that objects keep (`fieldsV1`): `{"f:spec": {".": {}, "f:replicas": {}}}`.
//! An empty map is a member; with others below it, `.` says that it is one too.

use serde_json::{Map, Value};

use super::{Fields, Node, Step};

// === impl Fields ===

impl Fields {
    #[must_use]
    pub fn to_json(&self) -> Value {
        Value::Object(self.entries(false))
    }

    fn entries(&self, is_member: bool) -> Map<String, Value> {
        let mut map = Map::new();
        if is_member && !self.is_empty() {
            map.insert(".".into(), Value::Object(Map::new()));
        }
        for node in self.nodes() {
            let below = node.below.entries(node.member);
            map.insert(node.step.as_str().to_owned(), Value::Object(below));
        }
        map
    }

    pub fn from_json(value: &Value) -> Result<Fields, String> {
        match value {
            Value::Null => Ok(Fields::default()),
            Value::Object(map) => Fields::below(map),
            _ => Err("fieldsV1: expected an object".into()),
        }
    }

    fn below(map: &Map<String, Value>) -> Result<Fields, String> {
        let mut nodes: Vec<Node> = Vec::with_capacity(map.len());
        for (key, value) in map {
            if key == "." {
                continue;
            }
            let Some(step) = Step::parse(key)? else { continue };
            let node = match value {
                Value::Object(map) => {
                    let below = Fields::below(map)?;
                    Node { step, member: map.contains_key(".") || below.is_empty(), below }
                }
                // Kubernetes reads what is no map as an empty one.
                _ => Node { step, member: true, below: Fields::default() },
            };
            // Two keys may be one step, written in two ways.
            match nodes.iter_mut().find(|one| one.step == node.step && one.step.name().is_none()) {
                Some(same) => *same = node,
                None => nodes.push(node),
            }
        }
        Ok(Fields::from_nodes(nodes.into_iter()))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn sets_are_written_and_read_as_kubernetes_does() {
        let form = json!({
            "f:metadata": {"f:labels": {".": {}, "f:app": {}}},
            "f:spec": {
                "f:replicas": {},
                "f:template": {"f:spec": {"f:containers": {
                    "k:{\"name\":\"web\"}": {".": {}, "f:image": {}, "f:ports": {
                        "k:{\"containerPort\":80,\"protocol\":\"TCP\"}": {".": {}, "f:containerPort": {}},
                    }},
                }}},
            },
        });
        let fields = Fields::from_json(&form).expect("it is well formed");
        assert_eq!(fields.to_json(), form);
        let mut paths = Vec::new();
        fields.for_each(&mut |path| paths.push(path.to_string()));
        assert_eq!(paths[0], ".metadata.labels");
        assert_eq!(paths[3], r#".spec.template.spec.containers[name="web"]"#);
        assert_eq!(paths.len(), 7);
    }

    #[test]
    fn what_cannot_be_read_is_told_and_what_is_new_left_out() {
        assert_eq!(Fields::from_json(&json!({"z:new": {}})), Ok(Fields::default()));
        assert!(Fields::from_json(&json!({"name": {}})).is_err());
        assert!(Fields::from_json(&json!([])).is_err());
    }
}
