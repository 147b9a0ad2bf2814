//! The HTTP face: routes in, operations through, JSON and codes out.
//!
//! Answers about a shard carry `polis-unit`, `polis-shard-id` and
//! `polis-epoch`: who answered, for which shard, under which fence. A 421 also
//! carries `polis-fence`, a stamp of the present owner, for the proxy to learn
//! from.

mod accounts;
mod answer;
mod batch;
mod internal;
mod payments;
mod request;
mod route;
mod shards;

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body::Body;
use tokio::{
    sync::{Semaphore, SemaphorePermit},
    time::timeout,
};

pub use answer::AnswerBody;

use crate::{Books, Error, Peer, Trust, metrics::Metrics};
use answer::{About, text};
use request::Context;
use route::Route;

/// Requests under way at once: at a round trip of some milliseconds this is far
/// more than the store takes, and their bodies stay below 64 MB.
const IN_FLIGHT_MAX: usize = 1024;

/// Exports and audits at once: each holds a page, and they must not crowd out
/// payments.
const WALKS_MAX: usize = 4;

/// Longest wait for the store in a readiness probe.
const READY_TIMEOUT: Duration = Duration::from_secs(2);

/// Answers requests. Cheap to clone.
#[derive(Clone)]
pub struct Service(Arc<Inner>);

struct Inner {
    books: Books,
    trust: Trust,
    metrics: Metrics,
    in_flight: Semaphore,
    walks: Arc<Semaphore>,
}

// === impl Service ===

impl Service {
    pub fn new(books: Books, trust: Trust) -> Service {
        Service(Arc::new(Inner {
            books,
            trust,
            metrics: Metrics::default(),
            in_flight: Semaphore::new(IN_FLIGHT_MAX),
            walks: Arc::new(Semaphore::new(WALKS_MAX)),
        }))
    }

    pub async fn handle<B>(&self, request: Request<B>, peer: &Peer) -> Response<AnswerBody>
    where
        B: Body<Data = Bytes> + Send,
        B::Error: std::fmt::Display,
    {
        let started = tokio::time::Instant::now();
        let (route, response) = match Route::parse(request.method(), request.uri().path()) {
            Ok(route) => (route.name(), self.answer(route, request, peer).await),
            Err(error) => ("none", answer::failure(&error, self.books(), None)),
        };
        self.metrics().answered(route, response.status(), started.elapsed());
        response
    }

    async fn answer<B>(
        &self,
        route: Route,
        request: Request<B>,
        peer: &Peer,
    ) -> Response<AnswerBody>
    where
        B: Body<Data = Bytes> + Send,
        B::Error: std::fmt::Display,
    {
        match route {
            Route::Live => return text(StatusCode::OK, "ok\n"),
            Route::Ready => return self.ready().await,
            Route::Metrics => return text(StatusCode::OK, &self.metrics().render()),
            _ => {}
        }
        let about = route.about();
        match self.work(route, request, peer).await {
            Ok(response) => response,
            Err((error, decided)) => answer::failure(&error, self.books(), decided.or(about)),
        }
    }

    /// The error comes with what it is about, as far as that got known.
    async fn work<B>(
        &self,
        route: Route,
        request: Request<B>,
        peer: &Peer,
    ) -> Result<Response<AnswerBody>, (Error, Option<About>)>
    where
        B: Body<Data = Bytes> + Send,
        B::Error: std::fmt::Display,
    {
        let nothing = |error| (error, None);
        let internal = matches!(route, Route::Fence | Route::Drain | Route::Fenced);
        let allowed =
            if internal { self.0.trust.controller(peer) } else { self.0.trust.edge(peer) };
        allowed.map_err(nothing)?;
        let mut context =
            Context::parse(request.headers(), stamp_required(internal, peer)).map_err(nothing)?;
        // Fences must get through when payments fill the house.
        let _permit = if internal { None } else { Some(self.permit().map_err(nothing)?) };
        let answered = match route {
            Route::OpenAccount => accounts::open(self, &mut context, request).await,
            Route::Account(user) => accounts::show(self, &mut context, &user).await,
            Route::Entries(user) => {
                accounts::entries(self, &mut context, &user, request.uri()).await
            }
            Route::Pay => payments::pay(self, &mut context, request).await,
            Route::PayBatch => batch::pay(self, &mut context, request).await,
            Route::Payment(id) => payments::show(self, &mut context, &id).await,
            Route::Resolve(id) => payments::resolve(self, &mut context, id).await,
            Route::ShardPayments(shard) => {
                shards::payments(self, &mut context, shard, request.uri()).await
            }
            Route::ShardAudit(shard) => shards::audit(self, &mut context, shard).await,
            Route::Fence => internal::fence(self, &context, request).await,
            Route::Drain => internal::drain(self, request).await,
            Route::Fenced => Ok(internal::fenced(self)),
            Route::Live | Route::Ready | Route::Metrics => Err(Error::NoPath),
        };
        answered.map_err(|error| (error, context.about))
    }

    async fn ready(&self) -> Response<AnswerBody> {
        let asked = timeout(READY_TIMEOUT, self.books().database().ready()).await;
        match asked {
            Ok(Ok(())) => text(StatusCode::OK, "ok\n"),
            Ok(Err(error)) => text(StatusCode::SERVICE_UNAVAILABLE, &format!("store: {error}\n")),
            Err(_) => text(StatusCode::SERVICE_UNAVAILABLE, "store: no answer\n"),
        }
    }

    fn permit(&self) -> Result<SemaphorePermit<'_>, Error> {
        self.0.in_flight.try_acquire().map_err(|_| Error::Busy)
    }

    fn books(&self) -> &Books {
        &self.0.books
    }

    fn metrics(&self) -> &Metrics {
        &self.0.metrics
    }

    fn walks(&self) -> &Arc<Semaphore> {
        &self.0.walks
    }
}

/// Where TLS proves who speaks, the stamp must be there too.
fn stamp_required(internal: bool, peer: &Peer) -> bool {
    !internal && !matches!(peer, Peer::Plaintext)
}
