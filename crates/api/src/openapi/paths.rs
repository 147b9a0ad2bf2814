//! Which paths a kind has, and what is done there.

use schema::{
    builtin,
    openapi::{Components, Version},
};
use serde_json::{Map, Value, json};

use super::operation::{Body, MEDIA_TYPES, Operation, Parameter, show_parameter};
use crate::{
    discovery::{Served, Sub},
    resource::{Origin, Resource},
};

const LIST: &[Parameter] = &[
    ("allowWatchBookmarks", "boolean"),
    ("continue", "string"),
    ("fieldSelector", "string"),
    ("labelSelector", "string"),
    ("limit", "integer"),
    ("resourceVersion", "string"),
    ("resourceVersionMatch", "string"),
    ("sendInitialEvents", "boolean"),
    ("timeoutSeconds", "integer"),
    ("watch", "boolean"),
];

const WRITE: &[Parameter] =
    &[("dryRun", "string"), ("fieldManager", "string"), ("fieldValidation", "string")];

const PATCH: &[Parameter] = &[
    ("dryRun", "string"),
    ("fieldManager", "string"),
    ("fieldValidation", "string"),
    ("force", "boolean"),
];

const DELETE: &[Parameter] = &[
    ("dryRun", "string"),
    ("gracePeriodSeconds", "integer"),
    ("orphanDependents", "boolean"),
    ("propagationPolicy", "string"),
];

const LOG: &[Parameter] = &[
    ("container", "string"),
    ("follow", "boolean"),
    ("limitBytes", "integer"),
    ("previous", "boolean"),
    ("sinceSeconds", "integer"),
    ("tailLines", "integer"),
    ("timestamps", "boolean"),
];

const STREAM: &[Parameter] = &[
    ("command", "string"),
    ("container", "string"),
    ("stderr", "boolean"),
    ("stdin", "boolean"),
    ("stdout", "boolean"),
    ("tty", "boolean"),
];

const PORTS: &[Parameter] = &[("ports", "integer")];

const PATCHES: &[&str] = &[
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
    "application/apply-patch+yaml",
];

const CUSTOM_PATCHES: &[&str] = &[
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/apply-patch+yaml",
];

const OK: &[(&str, &str)] = &[("200", "OK")];
const CREATED: &[(&str, &str)] = &[("200", "OK"), ("201", "Created"), ("202", "Accepted")];
const REPLACED: &[(&str, &str)] = &[("200", "OK"), ("201", "Created")];
const ACCEPTED: &[(&str, &str)] = &[("200", "OK"), ("202", "Accepted")];

/// Makes the operations of one kind.
struct Maker<'a> {
    served: &'a Served,
    version: Version,
    components: &'a mut Components,
    /// References to the kind and to a list of it.
    object: Value,
    list: Value,
}

/// The paths of `served`; what they refer to becomes part of `components`.
pub fn of(served: &Served, version: Version, components: &mut Components) -> Map<String, Value> {
    let (object, list) = match served {
        Served::Kind { resource, .. } => references(resource, version, components),
        Served::Question(kind) => {
            let list = kind.list.map_or(Value::Null, |list| components.refer(list));
            (components.refer(kind.id), list)
        }
    };
    let mut maker = Maker { served, version, components, object, list };
    maker.paths()
}

/// `dev.polis.v1alpha1.Unit`: the group's parts in reverse, as Kubernetes does.
fn name(group: &str, version: &str, kind: &str) -> String {
    let mut parts: Vec<&str> = group.split('.').rev().collect();
    parts.extend([version, kind]);
    parts.join(".")
}

fn references(
    resource: &Resource,
    version: Version,
    components: &mut Components,
) -> (Value, Value) {
    if let Origin::Builtin(kind) = resource.origin {
        let list = kind.list.map_or(Value::Null, |list| components.refer(list));
        return (components.refer(kind.id), list);
    }
    let kinds = |kind: &str| {
        let kind = json!([{ "group": resource.group, "version": resource.version, "kind": kind }]);
        Map::from_iter([("x-kubernetes-group-version-kind".to_owned(), kind)])
    };
    let (own, list) = (&*resource.kind, &*resource.list_kind);
    let names = [own, list].map(|kind| name(&resource.group, &resource.version, kind));
    components.add_custom(&names[0], &resource.schema, kinds(own));
    let object = version.reference(&names[0]);
    let meta = builtin::find("meta.v1.ListMeta").map(|id| components.refer(id));
    let mut value = json!({
        "type": "object",
        "description": format!("{list} is a list of {own}"),
        "required": ["items"],
        "properties": {
            "apiVersion": { "type": "string" },
            "kind": { "type": "string" },
            "metadata": meta,
            "items": { "type": "array", "items": object },
        },
    });
    if let Some(members) = value.as_object_mut() {
        members.extend(kinds(list));
    }
    components.add_value(&names[1], value);
    (object, version.reference(&names[1]))
}

// === impl Maker ===

impl Maker<'_> {
    fn paths(&mut self) -> Map<String, Value> {
        let namespaced = self.served.is_namespaced();
        let base = self.served.base();
        let plural = self.served.plural();
        let below = match namespaced {
            true => format!("{base}/namespaces/{{namespace}}/{plural}"),
            false => format!("{base}/{plural}"),
        };
        let verbs = self.served.verbs();
        let has = |verb: &str| verbs.contains(&verb);
        let mut paths = Map::new();
        if namespaced && has("list") {
            let all = self.operation("get", "list", "list", "ForAllNamespaces");
            let path = self.path(vec![all], &[]);
            paths.insert(format!("{base}/{plural}"), path);
        }
        let wanted = [
            ("list", ("get", "list", "list")),
            ("create", ("post", "post", "create")),
            ("deletecollection", ("delete", "deletecollection", "deletecollection")),
        ];
        let here = wanted.into_iter().filter(|(verb, _)| has(verb));
        let operations: Vec<Operation> = here
            .map(|(_, (method, action, word))| self.operation(method, action, word, ""))
            .collect();
        let parameters: &[&str] = if namespaced { &["namespace"] } else { &[] };
        if !operations.is_empty() {
            paths.insert(below.clone(), self.path(operations, parameters));
        }
        let parameters: &[&str] = if namespaced { &["name", "namespace"] } else { &["name"] };
        let wanted = [
            ("get", ("get", "get", "read")),
            ("update", ("put", "put", "replace")),
            ("patch", ("patch", "patch", "patch")),
            ("delete", ("delete", "delete", "delete")),
        ];
        let here = wanted.into_iter().filter(|(verb, _)| has(verb));
        let operations: Vec<Operation> = here
            .map(|(_, (method, action, word))| self.operation(method, action, word, ""))
            .collect();
        if !operations.is_empty() {
            paths.insert(format!("{below}/{{name}}"), self.path(operations, parameters));
        }
        for sub in self.served.subresources() {
            let operations = self.subresource(&sub);
            let path = format!("{below}/{{name}}/{}", sub.name);
            paths.insert(path, self.path(operations, parameters));
        }
        paths
    }

    fn path(&self, operations: Vec<Operation>, parameters: &[&'static str]) -> Value {
        let mut out: Map<String, Value> = operations
            .into_iter()
            .map(|operation| (operation.method.to_owned(), operation.show(self.version)))
            .collect();
        let mut shown: Vec<Value> = parameters
            .iter()
            .map(|name| show_parameter(&(*name, "string"), "path", self.version))
            .collect();
        shown.push(show_parameter(&("pretty", "string"), "query", self.version));
        out.insert("parameters".into(), shown.into());
        out.into()
    }

    /// `word` begins the operation's name, `tail` ends it.
    fn operation(
        &mut self,
        method: &'static str,
        action: &'static str,
        word: &str,
        tail: &str,
    ) -> Operation {
        let kind = self.served.kind();
        let scope = match self.served.is_namespaced() && tail != "ForAllNamespaces" {
            true => "Namespaced",
            false => "",
        };
        let (group, version) = (camel_group(self.served.group()), camel(self.served.version()));
        let id = match word {
            "deletecollection" => format!("delete{group}{version}Collection{scope}{kind}{tail}"),
            word => format!("{word}{group}{version}{scope}{kind}{tail}"),
        };
        let typed = !matches!(self.served, Served::Kind { resource, .. } if !matches!(resource.origin, Origin::Builtin(_)));
        let whole = |schema: &Value| {
            Some(Body { schema: schema.clone(), required: true, media_types: MEDIA_TYPES })
        };
        let object = self.object.clone();
        let (parameters, body, answer, codes) = match action {
            "list" => (LIST, None, self.list.clone(), OK),
            "post" => (WRITE, whole(&object), object, CREATED),
            "put" => (WRITE, whole(&object), object, REPLACED),
            "patch" => {
                let media_types = if typed { PATCHES } else { CUSTOM_PATCHES };
                let schema = json!({ "type": "object" });
                (PATCH, Some(Body { schema, required: true, media_types }), object, REPLACED)
            }
            "delete" | "deletecollection" => {
                let schema = self.refer("meta.v1.DeleteOptions");
                let body = Body { schema, required: false, media_types: MEDIA_TYPES };
                let codes = if action == "delete" { ACCEPTED } else { OK };
                let parameters = if action == "delete" { DELETE } else { LIST };
                (parameters, Some(body), self.refer("meta.v1.Status"), codes)
            }
            _ => (&[][..], None, object, OK),
        };
        let about = match word {
            "list" => format!("list objects of kind {kind}"),
            "deletecollection" => format!("delete a collection of {kind}"),
            word => format!("{word} a {kind}"),
        };
        let tag = format!("{}_{}", short_group(self.served.group()), self.served.version());
        let kind = json!({
            "group": self.served.group(), "version": self.served.version(), "kind": kind,
        });
        let answer = Some(answer);
        Operation { method, action, id, about, tag, kind, parameters, body, answer, codes }
    }

    fn subresource(&mut self, sub: &Sub) -> Vec<Operation> {
        let (own, list) = (self.object.clone(), self.list.clone());
        if let Some(id) = sub.type_id {
            self.object = self.components.refer(id);
        }
        let tail = camel(sub.name);
        let mut made = Vec::new();
        for verb in sub.verbs {
            let (method, action, word) = match *verb {
                "get" => ("get", "get", "read"),
                "update" => ("put", "put", "replace"),
                "patch" => ("patch", "patch", "patch"),
                "create" => ("post", "post", "create"),
                _ => continue,
            };
            let mut operation = self.operation(method, action, word, &tail);
            let streams = match sub.name {
                "log" => Some(LOG),
                "exec" | "attach" => Some(STREAM),
                "portforward" => Some(PORTS),
                "proxy" => Some(&[][..]),
                _ => None,
            };
            if let Some(parameters) = streams {
                operation.parameters = parameters;
                operation.body = None;
                operation.answer = None;
                operation.codes = OK;
                operation.action = if sub.name == "log" { "get" } else { "connect" };
            }
            operation.kind =
                json!({ "group": sub.group, "version": sub.version, "kind": sub.kind });
            made.push(operation);
        }
        (self.object, self.list) = (own, list);
        made
    }

    fn refer(&mut self, name: &str) -> Value {
        match builtin::find(name) {
            Some(id) => self.components.refer(id),
            None => json!({ "type": "object" }),
        }
    }
}

/// `rbac.authorization.k8s.io` is `rbacAuthorization` to code that is generated.
fn short_group(group: &str) -> String {
    match group {
        "" => "core".to_owned(),
        group => {
            let camel = camel_group(group);
            let mut letters = camel.chars();
            let first = letters.next().map(|letter| letter.to_ascii_lowercase());
            first.into_iter().chain(letters).collect()
        }
    }
}

fn camel_group(group: &str) -> String {
    match group {
        "" => "Core".to_owned(),
        group => group.trim_end_matches(".k8s.io").split('.').map(camel).collect(),
    }
}

fn camel(word: &str) -> String {
    let mut letters = word.chars();
    let first = letters.next().map(|letter| letter.to_ascii_uppercase());
    first.into_iter().chain(letters).collect()
}
