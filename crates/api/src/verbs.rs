//! The verbs on kinds: from a request to the registry and back to an answer.

use bytes::Bytes;
use http::{Method, Response, StatusCode};
use http_body::Body as HttpBody;
use rt::TaskKind;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::{
    failure::Failure,
    handler::{Ask, Handler},
    limits::Ticket,
    patch::Patch,
    registry::{Deleted, Part, Registry},
    request::{
        accept::{Accept, Shape},
        body,
        options::{DeleteOptions, ListOptions, WatchOptions, WriteOptions},
        path::{Place, Subresource},
    },
    resource::{Face, Resource},
    response::{self, Body},
    table::{Include, Table},
    watch::{FRAMES_MAX, Session, View},
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    Get,
    List,
    Watch,
    Create,
    Update,
    Patch,
    Delete,
    DeleteCollection,
}

/// How the caller wants to see objects.
pub(crate) struct Showing {
    pub shape: Shape,
    pub include: Include,
}

type Answer = Result<Response<Body>, Failure>;

// === impl Verb ===

impl Verb {
    pub(crate) fn of(ask: &Ask<'_>, place: &Place) -> Result<Verb, Failure> {
        use Subresource::{Finalize, Log, Status};
        let watch = ask.query.flag("watch");
        let verb = match (&ask.method, &place.name, place.subresource) {
            (&Method::GET | &Method::HEAD, None, _) if watch => Verb::Watch,
            (&Method::GET | &Method::HEAD, None, _) => Verb::List,
            (&Method::GET | &Method::HEAD, Some(_), None) if watch => Verb::Watch,
            (&Method::GET | &Method::HEAD, Some(_), None | Some(Status | Log)) => Verb::Get,
            // A collection of all namespaces takes no new objects.
            (&Method::POST, None, _)
                if place.resource.is_namespaced() == place.namespace.is_some() =>
            {
                Verb::Create
            }
            (&Method::PUT, Some(_), None | Some(Status | Finalize)) => Verb::Update,
            (&Method::PATCH, Some(_), None | Some(Status)) => Verb::Patch,
            (&Method::DELETE, Some(_), None) => Verb::Delete,
            (&Method::DELETE, None, _)
                if place.resource.is_namespaced() == place.namespace.is_some() =>
            {
                Verb::DeleteCollection
            }
            _ => {
                let message = "the server does not allow this method on the requested resource";
                return Err(Failure::method_not_allowed(message, "GET, POST, PUT, PATCH, DELETE"));
            }
        };
        match (place.face(), verb.writes()) {
            (Face::Merged, true) => Err(read_only(place)),
            _ => Ok(verb),
        }
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Verb::Get => "get",
            Verb::List => "list",
            Verb::Watch => "watch",
            Verb::Create => "create",
            Verb::Update => "update",
            Verb::Patch => "patch",
            Verb::Delete => "delete",
            Verb::DeleteCollection => "deletecollection",
        }
    }

    pub fn writes(self) -> bool {
        !matches!(self, Verb::Get | Verb::List | Verb::Watch)
    }
}

/// A unit's objects are written at the unit's door.
fn read_only(place: &Place) -> Failure {
    let name = place.name.as_deref().unwrap_or_default();
    let path = place.resource.path(place.namespace.as_deref(), name);
    let message = format!(
        "{} at the federation are a read-only view over all units: write at /units/NAME{path} \
         (kubectl --server …/units/NAME)",
        place.resource.plural
    );
    Failure::method_not_allowed(message, "GET")
}

// === impl Handler ===

impl Handler {
    pub(crate) async fn serve<B>(&self, verb: Verb, ask: &Ask<'_>, place: &Place, body: B) -> Answer
    where
        B: HttpBody<Data = Bytes>,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        if place.subresource == Some(Subresource::Log) {
            return self.logs(ask, place).await;
        }
        let showing = Showing::of(ask)?;
        if place.face() == Face::Merged {
            return self.serve_merged(verb, ask, place, &showing).await;
        }
        let cluster = self.shared.clusters.enter(&place.door).await?;
        let registry = Registry::new(cluster, place.clone());
        let name = place.name.as_deref().unwrap_or_default();
        let table = showing.table(place);
        match verb {
            Verb::Get => {
                let object = registry.get(name).await?;
                Ok(response::object(StatusCode::OK, showing.shape, &table, object))
            }
            Verb::List => {
                let page = registry.list(&ListOptions::parse(&ask.query, place)?).await?;
                Ok(response::list(showing.shape, &table, place.resource, page))
            }
            Verb::Watch => {
                let options = WatchOptions::parse(&ask.query, place)?;
                let ticket = Ticket::long_running(&self.shared.metrics)?;
                let opening = registry.watch(&options).await?;
                let view = View::new(place.resource, showing.shape, table);
                Ok(start_watch(ask, options, view, opening, ticket))
            }
            Verb::Create => {
                let options = WriteOptions::parse(&ask.query)?;
                let bytes = body::read(body).await?;
                let (object, twice) = body::require_object(body::json(&ask.headers, &bytes)?)?;
                let created = registry.create(ask.caller, object, &twice, options).await?;
                let object = created.object;
                let mut response =
                    response::object(StatusCode::CREATED, showing.shape, &table, object);
                response::warn(&mut response, &created.warnings);
                Ok(response)
            }
            Verb::Update | Verb::Patch => {
                let options = WriteOptions::parse(&ask.query)?;
                let bytes = body::read(body).await?;
                let part = part(place);
                let updated = if verb == Verb::Patch {
                    let media_type = body::media_type(&ask.headers);
                    let patch = Patch::parse(media_type, &bytes, is_builtin(place.resource))?;
                    registry.update(name, part, options, |object| patch.apply(object)).await?
                } else {
                    let wanted = body::require_object(body::json(&ask.headers, &bytes)?)?;
                    registry.update(name, part, options, |_| Ok(wanted.clone())).await?
                };
                let object = updated.object;
                let mut response = response::object(StatusCode::OK, showing.shape, &table, object);
                response::warn(&mut response, &updated.warnings);
                Ok(response)
            }
            Verb::Delete => {
                let options = delete_options(ask, body).await?;
                Ok(match registry.delete(name, &options).await? {
                    Deleted::Gone(object) => {
                        response::json(StatusCode::OK, &gone(place.resource, &object))
                    }
                    Deleted::Going(object) => {
                        response::object(StatusCode::OK, showing.shape, &table, object)
                    }
                })
            }
            Verb::DeleteCollection => {
                let options = delete_options(ask, body).await?;
                let list = ListOptions::parse(&ask.query, place)?;
                let page = registry.delete_collection(&list, &options).await?;
                Ok(response::list(showing.shape, &table, place.resource, page))
            }
        }
    }
}

pub(crate) fn start_watch(
    ask: &Ask<'_>,
    options: WatchOptions,
    view: View,
    opening: crate::registry::watch::Opening,
    ticket: Ticket,
) -> Response<Body> {
    let (sender, receiver) = mpsc::channel(FRAMES_MAX);
    let session = Session::new(options, view, sender);
    let drain = ask.drain.clone();
    rt::spawn(TaskKind::Connection, "watch", async move {
        session.run(opening, drain).await;
        drop(ticket);
    });
    response::stream("application/json", receiver)
}

async fn delete_options<B>(ask: &Ask<'_>, body: B) -> Result<DeleteOptions, Failure>
where
    B: HttpBody<Data = Bytes>,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let bytes = body::read(body).await?;
    let decoded = body::json(&ask.headers, &bytes)?;
    DeleteOptions::parse(&ask.query, decoded.map(|decoded| decoded.value))
}

fn part(place: &Place) -> Part {
    match place.subresource {
        Some(Subresource::Status) => Part::Status,
        Some(Subresource::Finalize) => Part::Finalize,
        Some(Subresource::Log) | None => Part::Main,
    }
}

/// Strategic merge patch is for kinds whose lists Kubernetes defines.
fn is_builtin(resource: &Resource) -> bool {
    resource.group.is_empty() || resource.group.ends_with(".k8s.io")
}

fn gone(resource: &Resource, object: &Value) -> Value {
    let mut details = json!({
        "name": object["metadata"]["name"],
        "kind": resource.plural,
        "uid": object["metadata"]["uid"],
    });
    if !resource.group.is_empty() {
        details["group"] = resource.group.into();
    }
    json!({
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Success",
        "details": details,
    })
}

// === impl Showing ===

impl Showing {
    fn of(ask: &Ask<'_>) -> Result<Showing, Failure> {
        let shape = Accept::parse(&ask.headers)?.shape;
        let include = Include::parse(ask.query.get("includeObject")).ok_or_else(|| {
            Failure::bad_request(
                "includeObject: supported values: \"None\", \"Metadata\", \"Object\"",
            )
        })?;
        Ok(Showing { shape, include })
    }

    pub fn table(&self, place: &Place) -> Table {
        Table::new(place.resource, place.face() == Face::Merged, self.include)
    }
}
