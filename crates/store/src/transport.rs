//! How requests come to another replica: over the network, or as a simulation
//! has it.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    task::{Context, Poll},
};

use async_trait::async_trait;
use futures::future::BoxFuture;
use http::{Request, Response};
use kv::Error;
use kv_etcd::{connect, status};
use tonic::{Status, body::Body, codegen::Service, transport::Channel};

use crate::{
    access::Grant,
    metrics::Method,
    replica::{MEMORY_PAGE, Replicas},
    route::Router,
};

/// Replicas that have come and gone are forgotten beyond this many.
const CHANNELS_MAX: usize = 16;

#[async_trait]
pub trait Transport: Send + Sync + 'static {
    /// Carries a request to the replica at `url`. [`Error::Unreachable`] says
    /// that it certainly did not arrive there; after any other error it may
    /// have, or may still.
    async fn carry(&self, url: &str, request: Request<Body>) -> Result<Response<Body>, Error>;

    /// Given what answers at this replica, once it serves.
    fn arrive(&self, entrance: Entrance);
}

/// What answers a replica's connections, for who comes without one.
#[derive(Clone)]
pub struct Entrance {
    router: Arc<Router>,
    grant: Arc<Grant>,
}

/// The way to one replica, for clients of gRPC.
#[derive(Clone)]
pub(crate) struct Road {
    transport: Arc<dyn Transport>,
    url: Arc<str>,
}

/// One connection to each replica, made on first use and again after each
/// failure.
pub(crate) struct Channels {
    replicas: Replicas,
    tls: Option<Arc<rustls::ClientConfig>>,
    /// By URL.
    made: Mutex<BTreeMap<String, Channel>>,
}

// === impl Entrance ===

impl Entrance {
    pub(crate) fn new(router: Arc<Router>) -> Entrance {
        let grant = router.grant(None);
        Entrance { router, grant }
    }

    /// Answers a gRPC call, or a replica's question, as it answers one from a
    /// connection without a certificate.
    pub async fn call(&self, mut request: Request<Body>) -> Response<Body> {
        if request.uri().path() == MEMORY_PAGE {
            return self.router.page(request).await;
        }
        let Some(method) = Method::of(request.uri().path()) else {
            return Status::unimplemented("polis: it is not served").into_http();
        };
        request.extensions_mut().insert(self.grant.clone());
        self.router.call(method, request).await
    }
}

// === impl Road ===

impl Road {
    pub fn new(transport: Arc<dyn Transport>, url: &str) -> Road {
        Road { transport, url: url.into() }
    }
}

impl Service<Request<Body>> for Road {
    type Response = Response<Body>;
    type Error = Status;
    type Future = BoxFuture<'static, Result<Response<Body>, Status>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Status>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let Road { transport, url } = self.clone();
        Box::pin(async move {
            transport.carry(&url, request).await.map_err(|error| status::to_status(&error))
        })
    }
}

// === impl Channels ===

impl Channels {
    pub fn new(replicas: Replicas, tls: Option<Arc<rustls::ClientConfig>>) -> Channels {
        Channels { replicas, tls, made: Mutex::default() }
    }

    fn channel(&self, url: &str) -> Result<Channel, Error> {
        let mut made = self.made.lock().expect("nobody panics while holding it");
        if let Some(channel) = made.get(url) {
            return Ok(channel.clone());
        }
        if made.len() >= CHANNELS_MAX {
            let alive = self.replicas.alive();
            made.retain(|url, _| alive.iter().any(|peer| peer.urls.first() == Some(url)));
        }
        let channel = connect::channel(url, self.tls.clone())?;
        made.insert(url.to_owned(), channel.clone());
        Ok(channel)
    }
}

#[async_trait]
impl Transport for Channels {
    async fn carry(&self, url: &str, request: Request<Body>) -> Result<Response<Body>, Error> {
        let mut channel = self.channel(url)?;
        let call = async {
            std::future::poll_fn(|cx| channel.poll_ready(cx)).await?;
            channel.call(request).await
        };
        call.await.map_err(|error| status::from_status(&Status::from_error(Box::new(error))))
    }

    /// Whoever connects is answered.
    fn arrive(&self, _entrance: Entrance) {}
}
