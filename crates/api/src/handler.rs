//! One request: parse, authorize, serve, count.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode, header, request::Parts};
use http_body::Body as HttpBody;
use rt::Drain;
use serde_json::json;
use tokio::time::Instant;

use crate::{
    audit, authz,
    caller::Caller,
    cluster::Clusters,
    discovery,
    failure::Failure,
    limits::{REQUEST_TIMEOUT, Ticket},
    logs::Agents,
    merged::Mergers,
    metrics::{Labels, Metrics},
    openapi, proto,
    request::{
        accept::Accept,
        body,
        path::{Door, Review, Target},
        query::Query,
    },
    response::{self, Body},
    review, verbs, version,
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
}

/// A request without its body, in our words.
pub(crate) struct Ask<'a> {
    pub method: Method,
    pub headers: HeaderMap,
    pub query: Query,
    pub caller: &'a Caller,
    pub drain: &'a Drain,
}

type Answer = Result<Response<Body>, Failure>;

// === impl Handler ===

impl Handler {
    /// Never fails: what is wrong is in the answer.
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
        let started = Instant::now();
        let (parts, body) = request.into_parts();
        if let Some(response) = self.beat(&parts).await {
            return response;
        }
        let mut labels = Labels::OTHER;
        let work = self.answer(parts, body, caller, drain, &mut labels);
        let answer = match tokio::time::timeout(REQUEST_TIMEOUT, work).await {
            Ok(answer) => answer,
            Err(_) => Err(Failure::timeout(format!(
                "request did not complete within {} s",
                REQUEST_TIMEOUT.as_secs()
            ))),
        };
        let response = answer.unwrap_or_else(|failure| response::failure(&failure));
        self.shared.metrics.record(labels, response.status().as_u16(), started.elapsed());
        response
    }

    /// What probers ask several times a second, for as long as we live: answered
    /// before anything is taken apart. Whatever is less plain goes the long way.
    async fn beat(&self, parts: &Parts) -> Option<Response<Body>> {
        let plain = parts.method == Method::GET && parts.uri.query().is_none();
        let which = match parts.uri.path() {
            "/livez" if plain => "livez",
            "/healthz" if plain => "healthz",
            _ => return None,
        };
        let response = self.health(which, false).await;
        self.shared.metrics.record_beat(response.status().as_u16());
        Some(response)
    }

    async fn answer<B>(
        &self,
        parts: Parts,
        body: B,
        caller: &Caller,
        drain: &Drain,
        labels: &mut Labels,
    ) -> Answer
    where
        B: HttpBody<Data = Bytes>,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let path = parts.uri.path();
        let target = Target::parse(path)?;
        let query = Query::parse(parts.uri.query())
            .ok_or_else(|| Failure::bad_request("the query string is malformed"))?;
        // Health is answered even when there is no room for anything else.
        let _ticket = match target {
            Target::Health(_) => None,
            _ => Some(Ticket::request(&self.shared.metrics)?),
        };
        if let Target::Resource(place) = target {
            let ask = Ask { method: parts.method, headers: parts.headers, query, caller, drain };
            let verb = verbs::Verb::of(&ask, &place)?;
            let (group, resource) = (place.resource.group, place.resource.plural);
            *labels = Labels { verb: verb.as_str(), group, resource };
            let answer = match authz::check_resource(caller, verb.as_str(), &place) {
                Ok(()) => self.serve(verb, &ask, &place, body).await,
                Err(failure) => Err(failure),
            };
            if verb.writes() {
                let code = answer.as_ref().map_or_else(Failure::code, Response::status);
                audit::record(caller, verb.as_str(), &place, code.as_u16());
            }
            return answer;
        }
        authz::check_path(caller, &target, path)?;
        if let Target::Review(door, which) = target {
            return review(&door, which, &parts, body, caller).await;
        }
        if !matches!(parts.method, Method::GET | Method::HEAD) {
            return Err(Failure::method_not_allowed("only GET is served here", "GET"));
        }
        self.page(target, &parts.headers, &query).await
    }

    /// Documents about the server.
    async fn page(&self, target: Target, headers: &HeaderMap, query: &Query) -> Answer {
        let ok = |value| Ok(response::json(StatusCode::OK, &value));
        match target {
            Target::Health(which) => Ok(self.health(which, query.flag("verbose")).await),
            Target::Version => ok(version::show()),
            Target::Metrics => {
                let media_type = "text/plain; version=0.0.4";
                let text = self.shared.metrics.show() + &self.shared.pages.show();
                Ok(response::with_type(StatusCode::OK, media_type, text))
            }
            Target::Discovery(door, what) => {
                self.shared.clusters.check(&door).await?;
                let aggregated = Accept::parse(headers)?.discovery;
                let mut response =
                    response::json(StatusCode::OK, &discovery::show(&door, &what, aggregated)?);
                if aggregated && response.status() == StatusCode::OK {
                    let media_type =
                        "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
                    let value = header::HeaderValue::from_static(media_type);
                    response.headers_mut().insert(header::CONTENT_TYPE, value);
                }
                Ok(response)
            }
            Target::OpenApiV2(door) => {
                self.shared.clusters.check(&door).await?;
                Accept::parse(headers)?;
                ok(openapi::v2())
            }
            Target::OpenApiV3(door, document) => {
                self.shared.clusters.check(&door).await?;
                match document {
                    None => ok(openapi::index(&door)),
                    Some((group, version)) => ok(openapi::document(&door, &group, &version)?),
                }
            }
            Target::Review(..) | Target::Resource(_) => Err(Failure::no_such_path()),
        }
    }

    /// `readyz` is about serving: it asks the store. `livez` is about being.
    async fn health(&self, which: &str, verbose: bool) -> Response<Body> {
        let store = match which {
            "livez" => Ok(()),
            _ => self.shared.clusters.probe(READY_TIMEOUT).await,
        };
        match store {
            Ok(()) if verbose => response::text(
                StatusCode::OK,
                format!("[+]ping ok\n[+]store ok\n{which} check passed\n"),
            ),
            Ok(()) => response::text(StatusCode::OK, "ok"),
            Err(why) => {
                let code = errors::API_STORE_UNAVAILABLE;
                let body =
                    format!("[+]ping ok\n[-]store failed: {code}: {why}\n{which} check failed\n");
                response::text(StatusCode::SERVICE_UNAVAILABLE, body)
            }
        }
    }
}

/// A store that takes longer than this to answer a read is not ready.
const READY_TIMEOUT: Duration = Duration::from_secs(2);

async fn review<B>(door: &Door, which: Review, parts: &Parts, body: B, caller: &Caller) -> Answer
where
    B: HttpBody<Data = Bytes>,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    if parts.method != Method::POST {
        return Err(Failure::method_not_allowed("only POST is served here", "POST"));
    }
    let bytes = body::read(body).await?;
    let question = match (body::media_type(&parts.headers), which) {
        (proto::MEDIA_TYPE, Review::Access) => proto::review(&bytes)
            .ok_or_else(|| Failure::bad_request("the review cannot be read"))?,
        // The others ask nothing but who they are.
        (proto::MEDIA_TYPE, Review::Rules | Review::Whoami) => json!({}),
        _ => body::json(&parts.headers, &bytes)?.map_or_else(|| json!({}), |d| d.value),
    };
    Ok(response::json(StatusCode::CREATED, &review::answer(door, which, caller, question)))
}
