//! From a request's path to who answers it.

use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response, header::CONTENT_TYPE, request::Parts};
use http_body_util::{BodyExt as _, Limited};
use kv::{Error, KeyspaceName};
use kv_etcd::status;
use pb_etcd::{
    etcdserverpb::{
        auth_server::AuthServer, cluster_server::ClusterServer, kv_server::KvServer,
        lease_server::LeaseServer, maintenance_server::MaintenanceServer,
    },
    health::health_server::HealthServer,
    v3electionpb::election_server::ElectionServer,
    v3lockpb::lock_server::LockServer,
};
use rustls::pki_types::CertificateDer;
use tonic::{Code, Status, body::Body, codegen::Service};

use crate::{
    Limits,
    access::{Access, Grant},
    alarms::AlarmKind,
    desk::{self, Asked},
    forward::{self, Forward, Place, Sent, Way},
    gateway,
    grpc::{Face, watch},
    metrics::{Method, Metrics},
    pages,
};

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// One for the whole store; a request clones a few pointers.
pub(crate) struct Router {
    face: Face,
    access: Access,
    metrics: Arc<Metrics>,
    /// `None` where only one process can open the log.
    forward: Option<Arc<Forward>>,
    kv: KvServer<Face>,
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
    pub fn new(
        face: Face,
        access: Access,
        metrics: Arc<Metrics>,
        forward: Option<Arc<Forward>>,
    ) -> Router {
        let message_bytes_max = message_bytes_max(face.limits);
        Router {
            kv: KvServer::new(face.clone()).max_decoding_message_size(message_bytes_max),
            lease: LeaseServer::new(face.clone()),
            cluster: ClusterServer::new(face.clone()),
            maintenance: MaintenanceServer::new(face.clone()),
            auth: AuthServer::new(face.clone()),
            lock: LockServer::new(face.clone()),
            election: ElectionServer::new(face.clone()),
            health: HealthServer::new(face.clone()),
            metrics,
            forward,
            access,
            face,
        }
    }

    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    pub fn forward(&self) -> Option<&Forward> {
        self.forward.as_deref()
    }

    /// What a connection may use, by the chain it showed.
    pub fn grant(&self, chain: Option<&[CertificateDer<'_>]>) -> Arc<Grant> {
        Arc::new(self.access.grant(chain))
    }

    /// Answers on a connection that may use what `grant` says.
    pub async fn answer<B>(&self, request: Request<B>, grant: &Arc<Grant>) -> Response<Body>
    where
        B: http_body::Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
    {
        let mut request = request.map(Body::new);
        if !is_grpc(&request) && gateway::serves(request.uri().path()) {
            request.extensions_mut().insert(grant.clone());
            return gateway::answer(self, request).await;
        }
        if !is_grpc(&request) {
            return self.page(request).await;
        }
        let Some(method) = Method::of(request.uri().path()) else {
            let text = format!("polis: {} is not served", request.uri().path());
            return Status::unimplemented(text).into_http();
        };
        request.extensions_mut().insert(grant.clone());
        self.call(method, request).await
    }

    /// Health, version, metrics: open to whoever could connect.
    pub async fn page<B>(&self, request: Request<B>) -> Response<Body> {
        let (keyspaces, metrics) = (&self.face.keyspaces, &self.metrics);
        let head = request.map(|_| ());
        pages::page(head.method(), head.uri(), keyspaces, metrics).await.map(Body::new)
    }

    pub fn limits(&self) -> Limits {
        self.face.limits
    }

    pub fn message_bytes_max(&self) -> usize {
        message_bytes_max(self.face.limits)
    }

    /// With the alarm CORRUPT nothing is said or done about keys and leases,
    /// whoever asks. etcd goes on to answer reads: we would rather say nothing
    /// than what may be wrong.
    fn refusal(&self, method: Method) -> Option<kv::Error> {
        let about_data = matches!(
            method.service(),
            "etcdserverpb.KV" | "etcdserverpb.Lease" | "v3lockpb.Lock" | "v3electionpb.Election"
        );
        let corrupt = about_data && self.face.keyspaces.alarms().is_raised(AlarmKind::Corrupt);
        corrupt.then_some(kv::Error::Corrupt)
    }

    /// Has the method's service answer, and counts it.
    pub async fn call(&self, method: Method, request: Request<Body>) -> Response<Body> {
        self.metrics.start(method);
        let response = match self.refusal(method) {
            Some(error) => kv_etcd::status::to_status(&error).into_http(),
            None => self.lead(method, request).await,
        };
        self.metrics.finish(method, code(&response));
        response
    }

    /// As [`Router::call`], for a KV call that came without tonic.
    pub async fn unary(
        &self,
        asked: &Asked,
        message: Result<Bytes, Status>,
    ) -> Result<Bytes, Status> {
        self.metrics.start(asked.method);
        let answer = match message {
            Ok(message) => self.unary_or_refuse(asked, message).await,
            Err(unread) => Err(unread),
        };
        self.metrics.finish(asked.method, answer.as_ref().map_or_else(Status::code, |_| Code::Ok));
        answer
    }

    /// Straight from the keyspace where it is led here, as most often it is;
    /// else the long way.
    async fn unary_or_refuse(&self, asked: &Asked, message: Bytes) -> Result<Bytes, Status> {
        if let Some(error) = self.refusal(asked.method) {
            return Err(status::to_status(&error));
        }
        let may_pass_on = self.forward.is_some() && !asked.was_forwarded;
        if may_pass_on {
            let handle = self.face.handle_of(&asked.caller)?;
            if !handle.standing().is_leading() {
                return desk::whole(self.lead(asked.method, asked.request(&message)).await).await;
            }
        }
        match self.face.unary(asked.call, &asked.caller, message.clone()).await {
            // Nothing was done here, and somebody else leads by now.
            Err(refused) if may_pass_on && status::from_status(&refused) == Error::NotLeader => {
                desk::whole(self.lead(asked.method, asked.request(&message)).await).await
            }
            answer => answer,
        }
    }

    /// Answers here, or by whoever leads the keyspace.
    async fn lead(&self, method: Method, request: Request<Body>) -> Response<Body> {
        let Some(forward) = self.forward.as_ref().filter(|_| forward::needs_leader(method)) else {
            return self.dispatch(method, request).await;
        };
        let (head, body) = request.into_parts();
        // What is refused anyway is refused here.
        let grant = head.extensions.get::<Arc<Grant>>();
        let is_open = |name: &KeyspaceName| grant.is_some_and(|grant| grant.covers(name));
        let keyspace = forward::keyspace(&head).filter(is_open);
        let decider = keyspace.map(|name| forward::decider(method, name));
        let handle = decider.and_then(|name| self.face.keyspaces.get(&name).ok());
        let Some(handle) = handle.filter(|_| !forward::was_forwarded(&head)) else {
            return self.dispatch(method, Request::from_parts(head, body)).await;
        };
        let way = forward.way(handle);
        match method.is_bidi() {
            true => self.lead_stream(way, method, head, body).await,
            false => self.lead_whole(way, method, head, body).await,
        }
    }

    async fn lead_stream(
        &self,
        mut way: Way<'_>,
        method: Method,
        head: Parts,
        body: Body,
    ) -> Response<Body> {
        match way.settled().await {
            Place::Here => self.dispatch(method, Request::from_parts(head, body)).await,
            Place::There(peer) => match way.send(&peer, head, body).await {
                Sent::Answered(response) => response,
                Sent::Never(error) => {
                    tracing::info!(leader = peer.name, %error, "not passed on");
                    status::to_status(&Error::NotLeader).into_http()
                }
                Sent::Unknown => unknown(),
            },
            Place::Nobody => status::to_status(&Error::NotLeader).into_http(),
        }
    }

    async fn lead_whole(
        &self,
        mut way: Way<'_>,
        method: Method,
        head: Parts,
        body: Body,
    ) -> Response<Body> {
        let body = match Limited::new(body, way.body_bytes_max()).collect().await {
            Ok(body) => body.to_bytes(),
            Err(error) => return Status::resource_exhausted(error.to_string()).into_http(),
        };
        loop {
            let is_over = way.is_over();
            match way.place() {
                Place::Here => {
                    let (head, body) = forward::again(&head, &body);
                    let answer = self.dispatch(method, Request::from_parts(head, body)).await;
                    if is_over || !forward::is_refused(&answer) {
                        return answer;
                    }
                }
                _ if forward::is_serializable(method, &body) => {
                    let (head, body) = forward::again(&head, &body);
                    return self.dispatch(method, Request::from_parts(head, body)).await;
                }
                Place::There(peer) => {
                    let (head, body) = forward::again(&head, &body);
                    match way.send(&peer, head, body).await {
                        Sent::Answered(answer) if is_over || !forward::is_refused(&answer) => {
                            return answer;
                        }
                        Sent::Answered(_) => {}
                        Sent::Never(error) => {
                            tracing::debug!(leader = peer.name, %error, "not passed on");
                        }
                        Sent::Unknown if forward::is_idempotent(method) => {}
                        Sent::Unknown => return unknown(),
                    }
                }
                Place::Nobody => {}
            }
            if is_over {
                return status::to_status(&Error::NotLeader).into_http();
            }
            way.turn().await;
        }
    }

    async fn dispatch(&self, method: Method, request: Request<Body>) -> Response<Body> {
        let answered: Result<Response<Body>, Infallible> = match method.service() {
            "etcdserverpb.KV" => self.kv.clone().call(request).await,
            "etcdserverpb.Watch" => Ok(watch::serve(self.face.clone(), request).await),
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

fn message_bytes_max(limits: Limits) -> usize {
    limits.request_bytes.saturating_add(forward::SURROUNDING_BYTES)
}

/// Whoever led may have done it, or not.
fn unknown() -> Response<Body> {
    status::to_status(&Error::Unknown("the leader was lost".into())).into_http()
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
