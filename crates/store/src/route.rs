//! From a request's path to who answers it.

use std::convert::Infallible;
use std::sync::Arc;

use http::{Request, Response, header::CONTENT_TYPE};
use hyper::body::Incoming;
use kv_etcd::SERVER_MESSAGE_BYTES_MAX;
use pb_etcd::{
    etcdserverpb::{
        auth_server::AuthServer, cluster_server::ClusterServer, kv_server::KvServer,
        lease_server::LeaseServer, maintenance_server::MaintenanceServer,
        watch_server::WatchServer,
    },
    health::health_server::HealthServer,
    v3electionpb::election_server::ElectionServer,
    v3lockpb::lock_server::LockServer,
};
use rustls::pki_types::CertificateDer;
use tonic::{Code, Status, body::Body, codegen::Service};

use crate::{
    access::{Access, Grant},
    gateway,
    grpc::Face,
    metrics::{Method, Metrics},
    pages,
};

/// One for the whole store; a request clones a few pointers.
pub(crate) struct Router {
    face: Face,
    access: Access,
    metrics: Arc<Metrics>,
    kv: KvServer<Face>,
    watch: WatchServer<Face>,
    lease: LeaseServer<Face>,
    cluster: ClusterServer<Face>,
    maintenance: MaintenanceServer<Face>,
    auth: AuthServer<Face>,
    lock: LockServer<Face>,
    election: ElectionServer<Face>,
    health: HealthServer<Face>,
}

// === impl Router ===

impl Router {
    pub fn new(face: Face, access: Access, metrics: Arc<Metrics>) -> Router {
        Router {
            kv: KvServer::new(face.clone()).max_decoding_message_size(SERVER_MESSAGE_BYTES_MAX),
            watch: WatchServer::new(face.clone()),
            lease: LeaseServer::new(face.clone()),
            cluster: ClusterServer::new(face.clone()),
            maintenance: MaintenanceServer::new(face.clone()),
            auth: AuthServer::new(face.clone()),
            lock: LockServer::new(face.clone()),
            election: ElectionServer::new(face.clone()),
            health: HealthServer::new(face.clone()),
            metrics,
            access,
            face,
        }
    }

    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// What a connection may use, by the chain it showed.
    pub fn grant(&self, chain: Option<&[CertificateDer<'_>]>) -> Arc<Grant> {
        Arc::new(self.access.grant(chain))
    }

    /// Answers on a connection that may use what `grant` says.
    pub async fn answer(
        &self,
        mut request: Request<Incoming>,
        grant: &Arc<Grant>,
    ) -> Response<Body> {
        if !is_grpc(&request) && gateway::serves(request.uri().path()) {
            request.extensions_mut().insert(grant.clone());
            return gateway::answer(self, request).await;
        }
        if !is_grpc(&request) {
            let (head, _) = request.into_parts();
            let (keyspaces, metrics) = (&self.face.keyspaces, &self.metrics);
            let page = pages::page(&head.method, head.uri.path(), keyspaces, metrics).await;
            return page.map(Body::new);
        }
        let Some(method) = Method::of(request.uri().path()) else {
            let text = format!("polis: {} is not served", request.uri().path());
            return Status::unimplemented(text).into_http();
        };
        request.extensions_mut().insert(grant.clone());
        self.call(method, request.map(Body::new)).await
    }

    /// Has the method's service answer, and counts it.
    pub async fn call(&self, method: Method, request: Request<Body>) -> Response<Body> {
        self.metrics.start(method);
        let response = self.dispatch(method, request).await;
        self.metrics.finish(method, code(&response));
        response
    }

    async fn dispatch(&self, method: Method, request: Request<Body>) -> Response<Body> {
        let answered: Result<Response<Body>, Infallible> = match method.service() {
            "etcdserverpb.KV" => self.kv.clone().call(request).await,
            "etcdserverpb.Watch" => self.watch.clone().call(request).await,
            "etcdserverpb.Lease" => self.lease.clone().call(request).await,
            "etcdserverpb.Cluster" => self.cluster.clone().call(request).await,
            "etcdserverpb.Maintenance" => self.maintenance.clone().call(request).await,
            "v3lockpb.Lock" => self.lock.clone().call(request).await,
            "v3electionpb.Election" => self.election.clone().call(request).await,
            "grpc.health.v1.Health" => self.health.clone().call(request).await,
            _ => self.auth.clone().call(request).await,
        };
        answered.unwrap_or_else(|never| match never {})
    }
}

fn is_grpc<B>(request: &Request<B>) -> bool {
    let content_type = request.headers().get(CONTENT_TYPE);
    content_type.is_some_and(|value| value.as_bytes().starts_with(b"application/grpc"))
}

/// A refused call says so in its headers; any other is well until its end.
fn code(response: &Response<Body>) -> Code {
    match response.headers().get("grpc-status") {
        Some(code) => Code::from_bytes(code.as_bytes()),
        None => Code::Ok,
    }
}
