//! The verbs on kinds: from a request to the registry and back to an answer.

use std::sync::Arc;

use bytes::Bytes;
use http::{Method, Response, StatusCode};
use http_body::Body as HttpBody;
use rt::TaskKind;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::{
    admission::Operation,
    authz::{Attributes, Authorizer, Guard},
    cluster::Cluster,
    failure::Failure,
    handler::{Ask, Handler, question},
    limits::Ticket,
    owners,
    patch::{self, Patch},
    registry::{Deleted, Item, Part, Registry, Wanted},
    request::{
        accept::{self, Accept, Shape},
        body,
        options::{
            CREATE_OPTIONS, DeleteOptions, ListOptions, PATCH_OPTIONS, UPDATE_OPTIONS,
            WatchOptions, WriteOptions,
        },
        path::{Address, Place},
    },
    resource::{Face, Resource},
    response::{self, Body},
    scale,
    socket::Socket,
    subresource::Subresource,
    table::{Include, Table},
    token_request,
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
    beta: bool,
    pub include: Include,
}

type Answer = Result<Response<Body>, Failure>;

// === impl Verb ===

impl Verb {
    /// What the method asks for, whether it is served or not.
    pub(crate) fn of(ask: &Ask<'_>, address: &Address) -> Result<Verb, Failure> {
        Verb::asked(&ask.method, address, || ask.query.flag("watch"))
    }

    pub(crate) fn asked(
        method: &Method,
        address: &Address,
        watches: impl FnOnce() -> bool,
    ) -> Result<Verb, Failure> {
        let reads = matches!(*method, Method::GET | Method::HEAD);
        let watch = reads && address.subresource.is_none() && watches();
        Ok(match (method, &address.name) {
            (&Method::GET | &Method::HEAD, _) if watch => Verb::Watch,
            (&Method::GET | &Method::HEAD, None) => Verb::List,
            (&Method::GET | &Method::HEAD, Some(_)) => Verb::Get,
            (&Method::POST, _) => Verb::Create,
            (&Method::PUT, _) => Verb::Update,
            (&Method::PATCH, _) => Verb::Patch,
            (&Method::DELETE, Some(_)) => Verb::Delete,
            (&Method::DELETE, None) => Verb::DeleteCollection,
            _ => return Err(not_allowed()),
        })
    }

    /// Whether a selector says which objects are read.
    pub(crate) fn selects(self) -> bool {
        matches!(self, Verb::List | Verb::Watch)
    }

    /// Whether `place` takes it.
    pub(crate) fn check(self, place: &Place) -> Result<(), Failure> {
        // A collection of all namespaces takes no writes.
        let located = place.resource.is_namespaced() == place.namespace.is_some();
        let fits = match (place.subresource, &place.name) {
            (Some(sub), _) => sub.verbs().contains(&self.as_str()),
            (None, None) => match self {
                Verb::List | Verb::Watch => true,
                Verb::Create => located,
                Verb::DeleteCollection => {
                    located && place.resource.verbs().contains(&self.as_str())
                }
                _ => false,
            },
            (None, Some(_)) => self != Verb::Create,
        };
        match (place.face(), self.writes()) {
            _ if !fits => Err(not_allowed()),
            (Face::Merged, true) if !place.subresource.is_some_and(Subresource::connects) => {
                Err(read_only(place))
            }
            _ => Ok(()),
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

fn not_allowed() -> Failure {
    let message = "the server does not allow this method on the requested resource";
    Failure::method_not_allowed(message, "GET, POST, PUT, PATCH, DELETE")
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
    pub(crate) async fn serve<B>(
        &self,
        verb: Verb,
        ask: &Ask<'_>,
        cluster: Arc<Cluster>,
        place: &Place,
        body: B,
    ) -> Answer
    where
        B: HttpBody<Data = Bytes>,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        match place.subresource {
            None
            | Some(
                Subresource::Status
                | Subresource::Finalize
                | Subresource::Approval
                | Subresource::EphemeralContainers
                | Subresource::Resize,
            ) => {}
            Some(sub @ (Subresource::Binding | Subresource::Eviction)) => {
                let bytes = body::read(body).await?;
                return self.act_on_pod(sub, ask, cluster, place, &bytes).await;
            }
            Some(Subresource::Log) => return self.logs(ask, place).await,
            Some(Subresource::Scale) => return replicas(verb, ask, cluster, place, body).await,
            Some(sub) if sub.connects() => return self.stream(sub, ask, place).await,
            Some(Subresource::Token) => return self.token(ask, cluster, place, body).await,
            Some(sub) => {
                return Err(Failure::not_served(&format!(
                    "{}/{}",
                    place.resource.plural,
                    sub.as_str()
                )));
            }
        }
        let showing = Showing::of(ask)?;
        if place.face() == Face::Merged {
            return self.serve_merged(verb, ask, place, &showing).await;
        }
        let guard = match verb.writes() {
            true => Guard::of(&self.shared.authz, ask.caller, place).await?,
            false => None,
        };
        let registry = Registry::new(cluster, place.clone()).guarded(guard).by(ask.caller);
        let name = place.name.as_deref().unwrap_or_default();
        let table = showing.table(place);
        match verb {
            Verb::Get => {
                let object = registry.fetch(name).await?;
                response::object(StatusCode::OK, showing.shape, &table, object)
            }
            Verb::List => {
                let page = registry.list(&ListOptions::parse(&ask.query, place)?).await?;
                response::list(showing.shape, &table, page)
            }
            Verb::Watch => {
                let options = WatchOptions {
                    timeout_min: self.shared.bounds.watch_timeout_min,
                    ..WatchOptions::parse(&ask.query, place)?
                };
                let ticket =
                    Ticket::long_running(&self.shared.metrics, &self.shared.callers, ask.caller)?;
                let opening = registry.watch(&options).await?;
                let view = View::new(place.resource.clone(), showing.shape, table);
                start_watch(ask, options, view, opening, ticket)
            }
            Verb::Create => {
                let options =
                    WriteOptions::parse(&ask.query)?.by(&ask.headers, CREATE_OPTIONS, false)?;
                let bytes = body::read(body).await?;
                let (object, twice) = body::require_object(body::json(&ask.headers, &bytes)?)?;
                self.shared.authz.judge_creation(ask.caller, registry.kind(), &object)?;
                let created = registry.create(ask.caller, object, &twice, &options).await?;
                let object = created.object;
                let mut response =
                    response::object(StatusCode::CREATED, showing.shape, &table, object)?;
                response::warn(&mut response, &created.warnings);
                Ok(response)
            }
            Verb::Update => {
                let options =
                    WriteOptions::parse(&ask.query)?.by(&ask.headers, UPDATE_OPTIONS, false)?;
                let bytes = body::read(body).await?;
                let wanted = body::require_object(body::json(&ask.headers, &bytes)?)?;
                let change = |_: &Value| Ok(Wanted::sent(wanted.clone()));
                let part = Part::of(place.subresource);
                let updated = registry.update(name, part, &options, change).await?;
                let object = updated.object;
                let mut response = response::object(StatusCode::OK, showing.shape, &table, object)?;
                response::warn(&mut response, &updated.warnings);
                Ok(response)
            }
            Verb::Patch => {
                let (code, object, warnings) =
                    patch(&registry, &self.shared.authz, ask, place, body).await?;
                let mut response = response::object(code, showing.shape, &table, object)?;
                response::warn(&mut response, &warnings);
                Ok(response)
            }
            Verb::Delete => {
                let options = delete_options(ask, body).await?;
                match registry.delete(name, &options).await? {
                    Deleted::Gone(object) => {
                        Ok(response::json(StatusCode::OK, &gone(&place.resource, &object)))
                    }
                    Deleted::Going(object) => {
                        let item = Item::Made(object);
                        response::object(StatusCode::OK, showing.shape, &table, item)
                    }
                }
            }
            Verb::DeleteCollection => {
                let options = delete_options(ask, body).await?;
                let list = ListOptions::parse(&ask.query, place)?;
                let page = registry.delete_collection(&list, &options).await?;
                response::list(showing.shape, &table, page)
            }
        }
    }
}

/// The count of replicas, read or set.
async fn replicas<B>(
    verb: Verb,
    ask: &Ask<'_>,
    cluster: Arc<Cluster>,
    place: &Place,
    body: B,
) -> Answer
where
    B: HttpBody<Data = Bytes>,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let resource = place.resource.clone();
    let paths = resource.scale.as_ref().ok_or_else(Failure::no_such_path)?;
    let registry = Registry::new(cluster, place.clone()).by(ask.caller);
    let name = place.name.as_deref().unwrap_or_default();
    if verb == Verb::Get {
        return Ok(response::json(StatusCode::OK, &paths.show(&registry.get(name).await?)));
    }
    let media_type = body::media_type(&ask.headers);
    let (kind, applies) = match verb {
        Verb::Patch => (PATCH_OPTIONS, media_type == patch::APPLY),
        _ => (UPDATE_OPTIONS, false),
    };
    let options = WriteOptions::parse(&ask.query)?.by(&ask.headers, kind, applies)?;
    let bytes = body::read(body).await?;
    let written = if verb == Verb::Patch {
        let patch = Patch::parse(media_type, &bytes, true)?;
        if let Patch::Apply(scale, twice) = &patch {
            let object = paths.part(&resource, scale)?;
            registry.apply(ask.caller, &object, twice, &options, || Ok(())).await?.object
        } else {
            let change = |object: &Value| {
                let (scale, twice) = patch.change(&paths.show(object), scale::schema())?;
                Ok(Wanted::patched((paths.apply(&resource, object, &scale)?, twice)))
            };
            registry.update(name, Part::Main, &options, change).await?.object
        }
    } else {
        let (scale, twice) = body::require_object(body::json(&ask.headers, &bytes)?)?;
        let change = |object: &Value| {
            Ok(Wanted::sent((paths.apply(&resource, object, &scale)?, twice.clone())))
        };
        registry.update(name, Part::Main, &options, change).await?.object
    };
    let object = written.into_object(&resource)?;
    Ok(response::json(StatusCode::OK, &paths.show(&object)))
}

// === impl Handler, tokens ===

impl Handler {
    /// A token of a service account.
    async fn token<B>(&self, ask: &Ask<'_>, cluster: Arc<Cluster>, place: &Place, body: B) -> Answer
    where
        B: HttpBody<Data = Bytes>,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let accounts = self.shared.authn.accounts().ok_or_else(Failure::no_such_path)?;
        let bytes = body::read(body).await?;
        let request = question(&ask.headers, &bytes)?;
        let namespace = place.namespace.as_deref().unwrap_or_default();
        let name = place.name.as_deref().unwrap_or_default();
        let registry = Registry::new(cluster.clone(), place.clone()).by(ask.caller);
        let kind = token_request::PART;
        let admitted = registry.admit_part(Operation::Create, kind, false, request).await;
        let (request, warnings) = admitted?;
        let answer = token_request::issue(accounts, &cluster, namespace, name, &request).await?;
        let mut response = response::json(StatusCode::CREATED, &answer);
        response::warn(&mut response, &warnings);
        Ok(response)
    }
}

pub(crate) fn start_watch(
    ask: &Ask<'_>,
    options: WatchOptions,
    view: View,
    opening: crate::registry::watch::Opening,
    ticket: Ticket,
) -> Answer {
    let socket = Socket::wanted(&ask.headers, ask.upgrade.as_ref())?;
    let (sender, receiver) = mpsc::channel(FRAMES_MAX);
    let view = view.encoded(&accept::encodings(&ask.headers));
    let encoding = view.encoding();
    let session = Session::new(options, view, sender);
    let drain = ask.drain.clone();
    rt::spawn(TaskKind::Connection, "watch", async move {
        session.run(opening, drain).await;
        drop(ticket);
    });
    Ok(match socket {
        Some(socket) => socket.answer(encoding, receiver),
        None => response::stream(encoding.stream_type(), receiver),
    })
}

/// What came of it, and what the caller should be told.
async fn patch<B>(
    registry: &Registry,
    authz: &Authorizer,
    ask: &Ask<'_>,
    place: &Place,
    body: B,
) -> Result<(StatusCode, Item, Vec<String>), Failure>
where
    B: HttpBody<Data = Bytes>,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let media_type = body::media_type(&ask.headers);
    let options = WriteOptions::parse(&ask.query)?;
    let options = options.by(&ask.headers, PATCH_OPTIONS, media_type == patch::APPLY)?;
    let bytes = body::read(body).await?;
    let patch = Patch::parse(media_type, &bytes, owners::is_builtin(&place.resource))?;
    if let Patch::Apply(object, twice) = &patch {
        let what = Attributes::of_place("create", place);
        let allowed = authz.check(ask.caller, &place.door, &what).await;
        let may_create = || allowed.clone();
        let applied = registry.apply(ask.caller, object, twice, &options, may_create).await?;
        let code = if applied.is_new { StatusCode::CREATED } else { StatusCode::OK };
        return Ok((code, applied.object, applied.warnings));
    }
    let name = place.name.as_deref().unwrap_or_default();
    let schema = &place.resource.schema;
    let change = |object: &Value| patch.change(object, schema).map(Wanted::patched);
    let part = Part::of(place.subresource);
    let updated = registry.update(name, part, &options, change).await?;
    Ok((StatusCode::OK, updated.object, updated.warnings))
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

fn gone(resource: &Resource, object: &Value) -> Value {
    let mut details = json!({
        "name": object["metadata"]["name"],
        "kind": resource.plural,
        "uid": object["metadata"]["uid"],
    });
    if !resource.group.is_empty() {
        details["group"] = json!(resource.group);
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
    pub fn of(ask: &Ask<'_>) -> Result<Showing, Failure> {
        let Accept { shape, beta, .. } = Accept::parse(&ask.headers)?;
        let include = Include::parse(ask.query.get("includeObject")).ok_or_else(|| {
            Failure::bad_request(
                "includeObject: supported values: \"None\", \"Metadata\", \"Object\"",
            )
        })?;
        Ok(Showing { shape, beta, include })
    }

    pub fn table(&self, place: &Place) -> Table {
        let merged = place.face() == Face::Merged;
        Table::new(place.resource.clone(), merged, self.include).beta(self.beta)
    }
}
