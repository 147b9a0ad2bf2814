//! One request: parse, authorize, serve, count.

use std::{borrow::Cow, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode, header, request::Parts};
use http_body::Body as HttpBody;
use hyper::upgrade::OnUpgrade;
use rt::Drain;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::{
    answer,
    audit::{self, Audit, AuditId, Trail},
    authn::{Authenticator, Connection, Wish},
    authz::{Attributes, Authorizer, Decision},
    caller::Caller,
    cluster::Clusters,
    departure::Departure,
    discovery,
    failure::Failure,
    flows::{Flows, Passage, What},
    limits::{Callers, Ticket},
    merged::Mergers,
    metrics::{Labels, Metrics},
    object, openapi,
    request::{
        accept::{self, Accept},
        body,
        path::{Address, Discovery, Door, Issuer, Review, Target},
        query::Query,
    },
    response::{self, Body},
    review::Desk,
    selector::FieldSelector,
    settings::Bounds,
    streams::Agents,
    subresource::Subresource,
    token_request, verbs, version,
};

/// Serves requests, however they came. Cheap to clone.
#[derive(Clone)]
pub struct Handler {
    pub(crate) shared: Arc<Shared>,
}

pub(crate) struct Shared {
    pub clusters: Arc<Clusters>,
    pub metrics: Arc<Metrics>,
    pub mergers: Mergers,
    pub agents: Agents,
    /// What else the process counts.
    pub pages: rt::Pages,
    pub departure: Departure,
    pub bounds: Bounds,
    pub flows: Flows,
    pub callers: Arc<Callers>,
    /// None without a policy.
    pub audit: Option<Arc<Audit>>,
    pub authn: Authenticator,
    pub authz: Arc<Authorizer>,
    pub documents: openapi::Documents,
}

/// A request without its body, in our words.
pub(crate) struct Ask<'a> {
    pub method: Method,
    pub headers: HeaderMap,
    pub query: Query,
    pub caller: &'a Caller,
    pub drain: &'a Drain,
    /// What the connection becomes, if the request is answered so.
    pub upgrade: Option<OnUpgrade>,
}

type Answer = Result<Response<Body>, Failure>;

// === impl Handler ===

impl Handler {
    /// A request of a caller whose certificate was verified; anonymous when there
    /// was none. Never fails: what is wrong is in the answer.
    pub async fn handle<B>(
        &self,
        request: Request<B>,
        caller: &Caller,
        drain: &Drain,
    ) -> Response<Body>
    where
        B: HttpBody<Data = Bytes>,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        self.receive(request, &Connection::of(caller.clone()), drain).await
    }

    /// A request that came over `connection`.
    pub(crate) async fn receive<B>(
        &self,
        request: Request<B>,
        connection: &Connection,
        drain: &Drain,
    ) -> Response<Body>
    where
        B: HttpBody<Data = Bytes>,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let started = Instant::now();
        let (parts, body) = request.into_parts();
        let id = AuditId::of(&parts.headers);
        if let Some(mut response) = self.beat(&parts).await {
            audit::mark(&mut response, &id);
            return response;
        }
        let trail = Trail::start(self.shared.audit.as_ref(), &parts, connection.peer, &id);
        let headers = parts.headers.clone();
        let mut labels = Labels::OTHER;
        let mut passage = Passage::default();
        let body = trail.hear(body);
        let answer = match patience(&parts, self.shared.bounds.request_timeout) {
            Err(failure) => Err(failure),
            Ok(patience) => {
                let work =
                    self.answer(parts, body, connection, drain, &mut labels, &mut passage, &trail);
                let work = trail.scope(work);
                tokio::time::timeout(patience, work).await.unwrap_or_else(|_| {
                    let patience = patience.as_secs_f64();
                    let message = format!("request did not complete within {patience} s");
                    Err(Failure::timeout(message))
                })
            }
        };
        let response = answer.unwrap_or_else(|failure| response::failure(&failure));
        let response = answer::dress(&headers, trail.see(response).await).await;
        let refused = connection.refusal(object::now()).is_some();
        let mut response = trail.finish(&headers, refused, response).await;
        audit::mark(&mut response, &id);
        passage.show(response.headers_mut());
        self.shared.metrics.record(labels, response.status().as_u16(), started.elapsed());
        response
    }

    /// What probers ask several times a second, for as long as we live: answered
    /// before anything is taken apart. Whatever is less plain goes the long way.
    async fn beat(&self, parts: &Parts) -> Option<Response<Body>> {
        let plain = parts.method == Method::GET
            && parts.uri.query().is_none()
            && self.shared.audit.is_none();
        let which = match parts.uri.path() {
            "/livez" if plain => "livez",
            "/healthz" if plain => "healthz",
            _ => return None,
        };
        let response = self.health(which, None, &Query::default()).await.ok()?;
        self.shared.metrics.record_beat(response.status().as_u16());
        Some(response)
    }

    #[expect(clippy::too_many_arguments, reason = "what each request is accompanied by")]
    async fn answer<B>(
        &self,
        mut parts: Parts,
        body: B,
        connection: &Connection,
        drain: &Drain,
        labels: &mut Labels,
        passage: &mut Passage,
        trail: &Trail,
    ) -> Answer
    where
        B: HttpBody<Data = Bytes>,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let path = parts.uri.path();
        let root = self.shared.clusters.root();
        let target = Target::parse(path, root);
        trail.asks(&parts, &target);
        // Health is answered even when there is no room for anything else, and to
        // anybody.
        if let Ok(target @ Target::Health(..)) = target {
            trail.receive(&connection.caller).await?;
            let query = Query::parse(parts.uri.query()).ok_or_else(malformed_query)?;
            check_method(&parts.method)?;
            return self.page(target, &parts.headers, &query).await;
        }
        let _ticket = Ticket::request(&self.shared.metrics, &self.shared.bounds, &parts.method)?;
        let door = target.as_ref().ok().and_then(Target::door).unwrap_or(root).clone();
        let caller = self.identify(connection, &parts.headers, &door, trail).await?;
        let caller = &*caller;
        let target = match target {
            Ok(target) => target,
            Err(failure) => {
                let what = What::of_path(&parts.method, below(&door, path));
                let none = Query::default();
                self.shared.flows.enter(passage, caller, &door, &what, &none).await?;
                // Whoever may nothing is not told what is served.
                self.check_path(caller, root, &parts.method, path, trail).await?;
                return Err(failure);
            }
        };
        let query = Query::parse(parts.uri.query()).ok_or_else(malformed_query)?;
        if let Target::Resource(address) = target {
            let upgrade = parts.extensions.remove();
            let Parts { method, headers, .. } = parts;
            let ask = Ask { method, headers, query, caller, drain, upgrade };
            let verb = verbs::Verb::of(&ask, &address)?;
            if !address.subresource.is_some_and(Subresource::goes_on) {
                let what = What::of(verb.as_str(), &address);
                self.shared.flows.enter(passage, caller, &door, &what, &ask.query).await?;
            }
            // A list of the one object that may be read is as good as reading it.
            let selector = ask.query.get("fieldSelector").filter(|_| verb.selects());
            let selected = selector.and_then(FieldSelector::required_name);
            let check = async |verb: &str| {
                let mut what = Attributes::of(verb, &address);
                if let (None, Some(name)) = (&address.name, &selected) {
                    what.name = name;
                }
                self.check(caller, &address.door, &what, trail).await
            };
            let mut allowed = check(verb.as_str()).await;
            // Browsers can only GET; doing something in a pod is more than reading.
            if allowed.is_ok() && address.subresource.is_some_and(Subresource::connects) {
                allowed = check("create").await;
            }
            let answer = match allowed {
                Ok(()) => self.resource(verb, &ask, &address, body, labels).await,
                Err(failure) => Err(failure),
            };
            if verb.writes() && !trail.is_on() {
                let code = answer.as_ref().map_or_else(Failure::code, Response::status);
                audit::line::record(caller, verb.as_str(), &address, code.as_u16());
            }
            return answer;
        }
        if let Target::Unkept(door, unkept) = &target {
            let (verb, resource, namespace, name) = unkept.names(&parts.method)?;
            let what = Attributes::of_resource(verb, "", resource, namespace, name);
            let asked = What::of_resource(&what);
            self.shared.flows.enter(passage, caller, door, &asked, &query).await?;
            self.check(caller, door, &what, trail).await?;
            let Parts { method, headers, .. } = parts;
            let ask = Ask { method, headers, query, caller, drain, upgrade: None };
            return self.unkept(unkept, door, &ask, body).await;
        }
        if let Target::Review(door, which, namespace) = &target {
            let namespace = namespace.as_deref().unwrap_or_default();
            let asked = What::of_review(*which, namespace);
            self.shared.flows.enter(passage, caller, door, &asked, &query).await?;
            let what =
                Attributes::of_resource("create", which.group(), which.plural(), namespace, "");
            self.check(caller, door, &what, trail).await?;
            return self.review(door, *which, namespace, &parts, body, caller).await;
        }
        let what = What::of_path(&parts.method, below(&door, path));
        self.shared.flows.enter(passage, caller, &door, &what, &query).await?;
        self.check_path(caller, &door, &parts.method, path, trail).await?;
        check_method(&parts.method)?;
        self.page(target, &parts.headers, &query).await
    }

    /// Who asks at `door`, or for whom they speak.
    async fn identify<'a>(
        &self,
        connection: &'a Connection,
        headers: &HeaderMap,
        door: &Door,
        trail: &Trail,
    ) -> Result<Cow<'a, Caller>, Failure> {
        let shared = &self.shared;
        let cluster = async || shared.clusters.enter(door).await;
        let caller = shared.authn.identify(connection, headers, cluster).await?;
        trail.receive(&caller).await?;
        let Some(wish) = Wish::of(headers)? else { return Ok(caller) };
        for what in wish.questions() {
            self.check(&caller, door, &what, trail).await?;
        }
        let played = wish.caller().played_by(&caller);
        trail.impersonates(&played);
        Ok(Cow::Owned(played))
    }

    /// Whether `caller` may. Why is asked for only where it is written down.
    async fn check(
        &self,
        caller: &Caller,
        door: &Door,
        what: &Attributes<'_>,
        trail: &Trail,
    ) -> Result<(), Failure> {
        if !trail.is_on() {
            return self.shared.authz.check(caller, door, what).await;
        }
        let decision = self.shared.authz.decide(caller, door, what).await;
        let decision = decision.inspect_err(|_| trail.fails_to_decide())?;
        trail.decides(decision.is_allowed(), decision.reason());
        match decision {
            Decision::Allowed(_) => Ok(()),
            Decision::Denied(reason) => Err(what.refuse(caller, &reason)),
        }
    }

    /// Paths that are not of a kind.
    async fn check_path(
        &self,
        caller: &Caller,
        door: &Door,
        method: &Method,
        path: &str,
        trail: &Trail,
    ) -> Result<(), Failure> {
        let path = below(door, path);
        let verb = method.as_str().to_lowercase();
        self.check(caller, door, &Attributes::of_path(&verb, path), trail).await
    }

    async fn review<B>(
        &self,
        door: &Door,
        which: Review,
        namespace: &str,
        parts: &Parts,
        body: B,
        caller: &Caller,
    ) -> Answer
    where
        B: HttpBody<Data = Bytes>,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        if parts.method != Method::POST {
            return Err(Failure::method_not_allowed("only POST is served here", "POST"));
        }
        accept::check_plain(&parts.headers)?;
        let bytes = body::read(body).await?;
        let question = question(&parts.headers, &bytes)?;
        let shared = &self.shared;
        let cluster = shared.clusters.enter(door).await?;
        let desk = Desk { authn: &shared.authn, authz: &shared.authz, cluster };
        let answer = desk.answer(which, caller, namespace, &question).await?;
        Ok(response::json(StatusCode::CREATED, &answer))
    }

    /// A kind's collection or object, for a caller who may.
    async fn resource<B>(
        &self,
        verb: verbs::Verb,
        ask: &Ask<'_>,
        address: &Address,
        body: B,
        labels: &mut Labels,
    ) -> Answer
    where
        B: HttpBody<Data = Bytes>,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let cluster = self.shared.clusters.enter(&address.door).await?;
        let place = address.resolve(&cluster.catalog())?;
        *labels = Labels::of(verb, &place);
        verb.check(&place)?;
        accept::check(&ask.headers, &place.resource)?;
        let Some(custom) = place.resource.custom() else {
            return self.serve(verb, ask, cluster, &place, body).await;
        };
        let mut response = self.serve(verb, ask, cluster, &place, body).await?;
        response::warn(&mut response, custom.warning.as_slice());
        Ok(response)
    }

    /// Documents about the server.
    async fn page(&self, target: Target, headers: &HeaderMap, query: &Query) -> Answer {
        let ok = |value| Ok(response::json(StatusCode::OK, &value));
        match target {
            Target::Health(which, only) => self.health(which, only.as_deref(), query).await,
            Target::Version => ok(version::show()),
            Target::Metrics => {
                let media_type = "text/plain; version=0.0.4";
                let shared = &self.shared;
                let audit = shared.audit.as_ref().map(|audit| audit.show());
                let text = shared.metrics.show()
                    + &shared.flows.metrics()
                    + &audit.unwrap_or_default()
                    + &shared.pages.show();
                Ok(response::with_type(StatusCode::OK, media_type, text))
            }
            Target::Discovery(door, what) => {
                let catalog = self.shared.clusters.enter(&door).await?.catalog();
                let aggregated = Accept::parse(headers)?.discovery;
                let shown = discovery::show(&catalog, &door, &what, aggregated)?;
                let mut response = response::json(StatusCode::OK, &shown);
                if let Some(media_type) = match (aggregated, &what) {
                    (Some("v2"), Discovery::Core | Discovery::Groups) => Some(AGGREGATED),
                    (Some(_), Discovery::Core | Discovery::Groups) => Some(AGGREGATED_BETA),
                    _ => None,
                } {
                    let value = header::HeaderValue::from_static(media_type);
                    response.headers_mut().insert(header::CONTENT_TYPE, value);
                    return Ok(answer::keep(headers, response).await);
                }
                Ok(response)
            }
            Target::OpenApiV2(door) => {
                let catalog = self.shared.clusters.enter(&door).await?.catalog();
                let documents = &self.shared.documents;
                match openapi::wanted_v2(headers)? {
                    openapi::Form::Json => {
                        let page = documents.v2(&catalog, &door);
                        Ok(page.show(headers, "application/json"))
                    }
                    openapi::Form::Protobuf => {
                        let page = documents.v2_protobuf(&catalog, &door);
                        Ok(page.show(headers, openapi::V2_PROTOBUF))
                    }
                }
            }
            Target::Flows(door, what) => {
                Ok(response::text(StatusCode::OK, self.shared.flows.dump(&door, what)?))
            }
            Target::Issuer(_, which) => self.issuer(which),
            Target::OpenApiV3(door, document) => {
                Accept::parse(headers)?;
                let catalog = self.shared.clusters.enter(&door).await?.catalog();
                let documents = &self.shared.documents;
                let Some((group, version)) = document else {
                    let page = documents.index(&catalog, &door);
                    return Ok(page.show(headers, "application/json"));
                };
                let page = documents.document(&catalog, &door, &group, &version)?;
                Ok(page.show_at(
                    headers,
                    query.get("hash"),
                    &openapi::path(&door, &group, &version),
                ))
            }
            Target::Review(..) | Target::Unkept(..) | Target::Resource(_) => {
                Err(Failure::no_such_path())
            }
        }
    }

    /// For whoever verifies tokens of service accounts.
    fn issuer(&self, which: Issuer) -> Answer {
        let accounts = self.shared.authn.accounts().ok_or_else(Failure::no_such_path)?;
        let (media_type, document) = match which {
            Issuer::Configuration => ("application/json", token_request::configuration(accounts)),
            Issuer::Keys => ("application/jwk-set+json", token_request::key_set(accounts)),
        };
        let mut response = response::with_type(StatusCode::OK, media_type, document.to_string());
        let an_hour = header::HeaderValue::from_static("public, max-age=3600");
        response.headers_mut().insert(header::CACHE_CONTROL, an_hour);
        Ok(response)
    }
}

/// Of aggregated discovery.
const AGGREGATED: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";

const AGGREGATED_BETA: &str =
    "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList";

/// What `path` is behind `door`.
fn below<'a>(door: &Door, path: &'a str) -> &'a str {
    path.strip_prefix(&*door.prefix()).unwrap_or(path)
}

/// How long the caller waits, and at most `bound`: as long when nothing is said.
fn patience(parts: &Parts, bound: Duration) -> Result<Duration, Failure> {
    let text = parts.uri.query().filter(|query| query.contains("timeout="));
    let query = text.and_then(|text| Query::parse(Some(text)));
    let Some(told) = query.as_ref().and_then(|query| query.get("timeout")) else {
        return Ok(bound);
    };
    let nanos = schema::proto::parse_duration(told).and_then(|nanos| u64::try_from(nanos).ok());
    match nanos {
        Some(0) => Ok(bound),
        Some(nanos) => Ok(Duration::from_nanos(nanos).min(bound)),
        None => Err(Failure::bad_request(format!(
            "invalid timeout specified in the request URL - time: invalid duration {told:?}"
        ))),
    }
}

fn malformed_query() -> Failure {
    Failure::bad_request("the query string is malformed")
}

fn check_method(method: &Method) -> Result<(), Failure> {
    match *method {
        Method::GET | Method::HEAD => Ok(()),
        _ => Err(Failure::method_not_allowed("only GET is served here", "GET")),
    }
}

/// A body that is asked and not kept; empty when there is none.
pub(crate) fn question(headers: &HeaderMap, bytes: &Bytes) -> Result<Value, Failure> {
    Ok(body::json(headers, bytes)?.map_or_else(|| json!({}), |decoded| decoded.value))
}
