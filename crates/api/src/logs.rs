//! Logs of a pod, from the agent that runs it.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use rt::TaskKind;
use rustls::pki_types::ServerName;
use serde_json::Value;
use tokio::{net::TcpStream, sync::mpsc};
use tokio_rustls::TlsConnector;

use crate::{
    catalog,
    failure::Failure,
    handler::{Ask, Handler},
    limits::Ticket,
    object,
    registry::{self, Registry},
    request::{
        path::{Door, Place},
        query,
    },
    response::{self, Body},
    watch::FRAMES_MAX,
};

/// What an agent may take to accept and to begin its answer.
const AGENT_TIMEOUT: Duration = Duration::from_secs(5);

/// Bound on an agent's words about why it has no log.
const REFUSAL_BYTES_MAX: usize = 4096;

/// The options that are passed on.
const OPTIONS: &[&str] =
    &["follow", "tailLines", "sinceSeconds", "sinceTime", "timestamps", "previous", "limitBytes"];

/// How agents are reached.
pub struct Agents {
    tls: Option<(Arc<rustls::ClientConfig>, ServerName<'static>)>,
}

/// Where a pod's agent listens.
struct Address {
    host: String,
    port: u16,
}

// === impl Handler ===

impl Handler {
    pub(crate) async fn logs(
        &self,
        ask: &Ask<'_>,
        place: &Place,
    ) -> Result<Response<Body>, Failure> {
        let name = place.name.as_deref().unwrap_or_default();
        let place = match &place.door {
            Door::Federation => {
                let unit = self.unit_of(place, name).await?;
                Place { door: Door::Unit(unit), ..place.clone() }
            }
            Door::Unit(_) => place.clone(),
        };
        let cluster = self.shared.clusters.enter(&place.door).await?;
        let pod = Registry::new(cluster.clone(), place.clone()).get(name).await?;
        let container = container(&pod, name, ask.query.get("container"))?;
        let node = object::text(&pod, "/spec/nodeName");
        if node.is_empty() {
            return Err(Failure::bad_request(format!("pod {name} does not have a host assigned")));
        }
        let nodes = catalog::nodes();
        let found = registry::read(&*cluster.kv, nodes, nodes.key(None, node)).await?;
        let address = found.and_then(|node| Address::of(&node.object)).ok_or_else(|| {
            unreachable(node, "its Node object names no address or kubelet endpoint")
        })?;
        let namespace = place.namespace.as_deref().unwrap_or_default();
        let path = format!(
            "/containerLogs/{}/{}/{}?{}",
            query::encode(namespace),
            query::encode(name),
            query::encode(&container),
            ask.query.only(OPTIONS)
        );
        let ticket = Ticket::long_running(&self.shared.metrics)?;
        let answer = tokio::time::timeout(AGENT_TIMEOUT, self.shared.agents.get(&address, &path))
            .await
            .map_err(|_| unreachable(node, "timed out"))?
            .map_err(|why| unreachable(node, &why))?;
        match answer.status() {
            StatusCode::OK => Ok(relay(answer.into_body(), ask, ticket)),
            code => Err(refusal(code, answer.into_body()).await),
        }
    }
}

/// The container that is meant.
fn container(pod: &Value, name: &str, asked: Option<&str>) -> Result<String, Failure> {
    let list = |field: &str| {
        let list = pod["spec"][field].as_array().map_or(&[][..], Vec::as_slice);
        list.iter().filter_map(|one| one["name"].as_str()).collect::<Vec<_>>()
    };
    let (own, init) = (list("containers"), list("initContainers"));
    match (asked, own.as_slice()) {
        (Some(asked), _) if own.contains(&asked) || init.contains(&asked) => Ok(asked.to_owned()),
        (Some(asked), _) => Err(Failure::bad_request(format!(
            "container {} is not valid for pod {name}",
            asked.chars().take(64).collect::<String>()
        ))),
        (None, [only]) => Ok((*only).to_owned()),
        (None, several) => {
            let annotated =
                pod["metadata"]["annotations"]["kubectl.kubernetes.io/default-container"]
                    .as_str()
                    .filter(|one| several.contains(one));
            annotated.map(str::to_owned).ok_or_else(|| {
                Failure::bad_request(format!(
                    "a container name must be specified for pod {name}, choose one of: [{}]",
                    several.join(" ")
                ))
            })
        }
    }
}

/// Passes the log on as it comes, at the reader's pace.
fn relay(mut body: Incoming, ask: &Ask<'_>, ticket: Ticket) -> Response<Body> {
    let (sender, receiver) = mpsc::channel(FRAMES_MAX);
    let drain = ask.drain.clone();
    rt::spawn(TaskKind::Connection, "logs", async move {
        let _ticket = ticket;
        loop {
            let frame = tokio::select! {
                frame = body.frame() => frame,
                () = sender.closed() => return,
                () = drain.started() => return,
            };
            let Some(Ok(frame)) = frame else { return };
            let Ok(data) = frame.into_data() else { continue };
            if sender.send(data).await.is_err() {
                return;
            }
        }
    });
    response::stream("text/plain", receiver)
}

async fn refusal(code: StatusCode, body: Incoming) -> Failure {
    let words = Limited::new(body, REFUSAL_BYTES_MAX).collect().await;
    let words = words.map(|body| body.to_bytes()).unwrap_or_default();
    let words = String::from_utf8_lossy(&words).trim().to_owned();
    match code {
        StatusCode::NOT_FOUND => Failure::new(code, "NotFound", words),
        code if code.is_client_error() => Failure::bad_request(words),
        code => Failure::internal(format!("the agent answered {code}: {words}")),
    }
}

fn unreachable(node: &str, why: &str) -> Failure {
    let code = errors::API_AGENT_UNREACHABLE;
    Failure::unavailable(format!("{code}: agent of node {node:?}: {why}. {}", code.remedy()))
}

// === impl Address ===

impl Address {
    fn of(node: &Value) -> Option<Address> {
        let addresses = node.pointer("/status/addresses")?.as_array()?;
        let internal = addresses.iter().find(|address| address["type"] == "InternalIP")?;
        let port = node.pointer("/status/daemonEndpoints/kubeletEndpoint/Port")?.as_u64()?;
        let host = internal["address"].as_str()?.to_owned();
        Some(Address { host, port: u16::try_from(port).ok()? })
    }
}

// === impl Agents ===

impl Agents {
    /// Without TLS nothing can be asked of an agent.
    pub fn new(tls: Option<Arc<rustls::ClientConfig>>) -> Agents {
        Agents { tls: tls.map(|config| (config, identity::plain_name())) }
    }

    async fn get(&self, address: &Address, path: &str) -> Result<Response<Incoming>, String> {
        let (config, name) =
            self.tls.clone().ok_or("this server has no identity to ask agents with")?;
        let why = |error: &dyn std::error::Error| error.to_string();
        let stream = TcpStream::connect((address.host.as_str(), address.port))
            .await
            .map_err(|error| why(&error))?;
        let stream =
            TlsConnector::from(config).connect(name, stream).await.map_err(|error| why(&error))?;
        let (mut send, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| why(&error))?;
        rt::spawn(TaskKind::Connection, "agent connection", async move {
            // Its end shows in the body.
            let _ = connection.await;
        });
        let request = Request::get(path)
            .header(header::HOST, format!("{}:{}", address.host, address.port))
            .body(Empty::<Bytes>::new())
            .map_err(|error| why(&error))?;
        send.send_request(request).await.map_err(|error| why(&error))
    }
}
