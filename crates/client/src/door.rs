//! The client and its doors: the federation's objects, and each unit's.

use std::{future::Future, marker::PhantomData, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Request, Response};
use topology::UnitName;

use crate::{
    Cache, Config, ConfigError, Entity, Objects, Scope, answerer::Answerer, transport::Transport,
};

/// Cheap to clone; all clones and doors share one connection.
#[derive(Clone)]
pub struct Client {
    http: kube::Client,
    request_timeout: Duration,
}

/// One API: the federation's at `/`, or a unit's at `/units/NAME`.
#[derive(Clone)]
pub struct Door {
    client: Client,
    /// Empty for the federation.
    prefix: Arc<str>,
}

/// Makes a client. Nothing is sent yet: the API may start later than we do.
///
/// Must be called within a tokio runtime, which then carries the connection.
pub fn connect(config: &Config) -> Result<Client, ConfigError> {
    let transport = Transport::new(config)?;
    let http = kube::Client::new(transport, "default");
    Ok(Client { http, request_timeout: config.request_timeout })
}

/// Makes a client of an API that `answer` answers for, without a connection.
///
/// Must be called within a tokio runtime, which then carries the requests.
pub fn over<A, F, B, E>(request_timeout: Duration, answer: A) -> Client
where
    A: Fn(Request<Bytes>) -> F + Send + Sync + 'static,
    F: Future<Output = Result<Response<B>, E>> + Send + 'static,
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    E: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let http = kube::Client::new(Answerer(Arc::new(answer)), "default");
    Client { http, request_timeout }
}

// === impl Client ===

impl Client {
    #[must_use]
    pub fn federation(&self) -> Door {
        Door { client: self.clone(), prefix: "".into() }
    }

    #[must_use]
    pub fn unit(&self, unit: &UnitName) -> Door {
        Door { client: self.clone(), prefix: format!("/units/{unit}").into() }
    }

    /// For requests that have no type here (logs, discovery).
    #[must_use]
    pub fn raw(&self) -> &kube::Client {
        &self.http
    }

    pub(crate) fn request_timeout(&self) -> Duration {
        self.request_timeout
    }
}

// === impl Door ===

impl Door {
    /// Cluster-scoped objects, or the namespaced ones of all namespaces (which
    /// can be listed and watched, not written).
    #[must_use]
    pub fn all<T: Entity>(&self) -> Objects<T> {
        Objects::new(self.clone(), None)
    }

    /// Objects of one namespace.
    #[must_use]
    pub fn namespaced<T: Entity>(&self, namespace: &str) -> Objects<T> {
        Objects::new(self.clone(), Some(namespace.into()))
    }

    /// A picture of these objects that is kept up to date until it is dropped.
    #[must_use]
    pub fn watch<T: Entity>(&self, scope: Scope) -> Cache<T> {
        Cache::start(self.clone(), scope, PhantomData)
    }

    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    /// `/units/rz01/api/v1/namespaces/payments/pods`
    pub(crate) fn path<T: Entity>(&self, namespace: Option<&str>) -> String {
        let api = if T::GROUP.is_empty() { "api".into() } else { format!("apis/{}", T::GROUP) };
        let (prefix, version, plural) = (&self.prefix, T::VERSION, T::PLURAL);
        match namespace {
            Some(namespace) => format!("{prefix}/{api}/{version}/namespaces/{namespace}/{plural}"),
            None => format!("{prefix}/{api}/{version}/{plural}"),
        }
    }
}
