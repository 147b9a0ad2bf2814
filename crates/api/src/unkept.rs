//! Kinds that are served and not kept: `bindings`, another way to give a pod a
//! node, and `componentstatuses`, how what the cluster stands on is.
//!
//! Of components only the store is known: schedulers and controllers are
//! others', who tell of themselves by their leases. It goes by the name that it
//! has in Kubernetes, whatever it really is.

use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use http::{Method, Response, StatusCode};
use http_body::Body as HttpBody;
use schema::builtin::{self, Kind};
use serde_json::{Value, json};

use crate::{
    catalog,
    failure::Failure,
    handler::{Ask, Handler},
    health::READY_TIMEOUT,
    object,
    registry::{Item, Page},
    request::{
        body,
        options::ListOptions,
        path::{Door, Place},
    },
    resource::{Face, Resource},
    response::{self, Body},
    subresource::Subresource,
    table::Table,
    verbs::Showing,
};

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unkept {
    Binding {
        namespace: String,
    },
    /// All, or one by its name.
    Components(Option<String>),
}

/// The store, as clients of Kubernetes know it.
const STORE: &str = "etcd-0";

const DEPRECATED: &str = "v1 ComponentStatus is deprecated in v1.19+";

static COMPONENT: LazyLock<Arc<Resource>> = LazyLock::new(|| {
    let kind = builtin::kind("", "v1", "ComponentStatus").expect("a built-in kind");
    Arc::new(Resource::builtin(kind))
});

// === impl Unkept ===

impl Unkept {
    /// From a path's segments below `/api/v1`.
    pub fn find(segments: &[&str]) -> Option<Unkept> {
        match segments {
            ["namespaces", namespace, "bindings"] => {
                Some(Unkept::Binding { namespace: (*namespace).to_owned() })
            }
            ["componentstatuses"] => Some(Unkept::Components(None)),
            ["componentstatuses", name] => Some(Unkept::Components(Some((*name).to_owned()))),
            _ => None,
        }
    }

    /// Whether `door` serves `kind` so.
    pub fn has(door: &Door, kind: &Kind) -> bool {
        match (kind.group, kind.kind) {
            ("", "ComponentStatus") => true,
            ("", "Binding") => takes_bindings(door),
            _ => false,
        }
    }

    /// In the words of an authorizer: verb, resource, namespace and name.
    pub fn names(
        &self,
        method: &Method,
    ) -> Result<(&'static str, &'static str, &str, &str), Failure> {
        match (self, method) {
            (Unkept::Binding { namespace }, &Method::POST) => {
                Ok(("create", "bindings", namespace, ""))
            }
            (Unkept::Components(None), &Method::GET | &Method::HEAD) => {
                Ok(("list", "componentstatuses", "", ""))
            }
            (Unkept::Components(Some(name)), &Method::GET | &Method::HEAD) => {
                Ok(("get", "componentstatuses", "", name))
            }
            (unkept, _) => {
                let served = match unkept {
                    Unkept::Binding { .. } => "POST",
                    Unkept::Components(_) => "GET",
                };
                let message = "the server does not allow this method on the requested resource";
                Err(Failure::method_not_allowed(message, served))
            }
        }
    }
}

/// At the federation pods are a view of others'.
fn takes_bindings(door: &Door) -> bool {
    door.face(catalog::pods()) == Face::Stored
}

// === impl Handler ===

impl Handler {
    /// For a caller who may.
    pub(crate) async fn unkept<B>(
        &self,
        unkept: &Unkept,
        door: &Door,
        ask: &Ask<'_>,
        body: B,
    ) -> Result<Response<Body>, Failure>
    where
        B: HttpBody<Data = Bytes>,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        match unkept {
            Unkept::Binding { namespace } => {
                let bytes = body::read(body).await?;
                let (said, _) = body::require_object(body::json(&ask.headers, &bytes)?)?;
                let place = Place {
                    door: door.clone(),
                    resource: catalog::pods().clone(),
                    namespace: Some(namespace.clone()),
                    name: Some(pod_of(&said)?),
                    subresource: Some(Subresource::Binding),
                };
                if !takes_bindings(door) {
                    return Err(Failure::no_such_path());
                }
                let cluster = self.shared.clusters.enter(door).await?;
                self.act_on_pod(Subresource::Binding, ask, cluster, &place, &bytes).await
            }
            Unkept::Components(name) => self.components(door, ask, name.as_deref()).await,
        }
    }

    async fn components(
        &self,
        door: &Door,
        ask: &Ask<'_>,
        name: Option<&str>,
    ) -> Result<Response<Body>, Failure> {
        if let Some(name) = name.filter(|name| *name != STORE) {
            return Err(Failure::not_found(&COMPONENT, name));
        }
        let Showing { shape, include, .. } = Showing::of(ask)?;
        let resource = COMPONENT.clone();
        let table = Table::new(resource.clone(), false, include);
        let store = component(STORE, self.shared.clusters.probe(READY_TIMEOUT).await);
        let mut answer = match name {
            Some(_) => response::object(StatusCode::OK, shape, &table, Item::Made(store))?,
            None => {
                let place = Place {
                    door: door.clone(),
                    resource: resource.clone(),
                    namespace: None,
                    name: None,
                    subresource: None,
                };
                let ListOptions { labels, fields, .. } = ListOptions::parse(&ask.query, &place)?;
                let mut items = vec![Item::Made(store)];
                items.retain(|item| item.matches(&resource, &labels, &fields).unwrap_or(false));
                response::list(shape, &table, Page { items, ..Page::default() })?
            }
        };
        response::warn(&mut answer, &[DEPRECATED.to_owned()]);
        Ok(answer)
    }
}

/// Which pod a binding is for: the one whose name it has.
fn pod_of(binding: &Value) -> Result<String, Failure> {
    match object::name(binding) {
        "" => Err(Failure::bad_request("name is required: a binding has the name of its pod")),
        name => Ok(name.to_owned()),
    }
}

fn component(name: &str, found: Result<(), String>) -> Value {
    let condition = match found {
        Ok(()) => json!({ "type": "Healthy", "status": "True", "message": "ok" }),
        Err(why) => json!({ "type": "Healthy", "status": "False", "error": why }),
    };
    json!({
        "kind": "ComponentStatus",
        "apiVersion": "v1",
        "metadata": { "name": name },
        "conditions": [condition],
    })
}

#[cfg(test)]
mod tests {
    use resources::Scope;

    use super::*;

    #[test]
    fn they_are_told_from_what_is_kept_by_their_paths() {
        let check = |path: &[&str], expected: Option<Unkept>| {
            assert_eq!(Unkept::find(path), expected, "{path:?}");
        };
        let binding = Unkept::Binding { namespace: "a".into() };
        check(&["namespaces", "a", "bindings"], Some(binding.clone()));
        check(&["namespaces", "a", "bindings", "b"], None);
        check(&["bindings"], None);
        check(&["componentstatuses"], Some(Unkept::Components(None)));
        check(&["namespaces", "a", "componentstatuses"], None);
        assert!(binding.names(&Method::GET).is_err() && binding.names(&Method::POST).is_ok());
        let kind = builtin::kind("", "v1", "Binding").expect("a built-in kind");
        assert_eq!(kind.scope, Scope::Namespaced);
        assert!(Unkept::has(&Door::Cluster, kind) && !Unkept::has(&Door::Federation, kind));
    }
}
