//! A center's process: an API server, the controllers, an edge, and an agent
//! that only says whether the unit's ledger is ready.

use std::{future::Future, io, sync::Arc, time::Duration};

use api::{Caller, Handler};
use bytes::Bytes;
use client::{Client, k8s_openapi::api::core::v1::Pod};
use controllers::Controllers;
use http::{Request, Response};
use http_body_util::Full;
use identity::SpiffeId;
use kv::Kv;
use rt::{Clock, Drain};
use serde_json::json;
use tokio::{runtime::Handle, time::timeout};

use crate::{
    Bug,
    edge::Edge,
    layout::{Process, SEATS},
    net::{Face, Life, Net, Times},
    played::Played,
    store::Road,
    witness::Witness,
};

/// What the real process gives its own API server.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

const AGENT_EVERY: Duration = Duration::from_millis(500);
const AGENT_ANSWER: Duration = Duration::from_secs(1);
/// So often in a row a ledger may not answer.
const AGENT_MISSES_MAX: u32 = 3;

pub const NAMESPACE: &str = "payments";
pub const POD: &str = "ledger-0";

/// Serves for as long as the machine runs.
pub async fn serve(net: Net, machine: Handle, at: usize, witness: Witness, bug: Option<Bug>) {
    let process = Process::Center(at);
    let keyspaces: api::Keyspaces = {
        let (net, witness) = (net.clone(), witness.clone());
        Arc::new(move |name: &str| -> Arc<dyn Kv> {
            let (net, witness) = (net.clone(), witness.clone());
            Arc::new(Road { net, from: process, keyspace: name.into(), witness, bug })
        })
    };
    let handler = Handler::new(keyspaces, None, rt::Pages::default());
    let (_trigger, drain) = rt::drain::channel();
    let client = {
        let (handler, drain) = (handler.clone(), drain.clone());
        let caller = Arc::new(Caller::process(&identity(at)));
        client::over(REQUEST_TIMEOUT, move |request| {
            let (handler, drain, caller) = (handler.clone(), drain.clone(), caller.clone());
            async move { Ok::<_, io::Error>(answer(&handler, &drain, &caller, request).await) }
        })
    };
    let edge = Edge::start(net.clone(), at, client.clone());
    let face = Face::Center { api: handler, drain: drain.clone(), edge };
    net.begin_life(process, Life { machine, face });
    tokio::spawn(watch_over_ledger(net.clone(), at, client.clone()));
    let network = Played::new(net, process, bug);
    let controllers = Controllers::within(network, SEATS[at].center(), client, Clock::of_runtime());
    controllers.expect("nothing is read that could be wrong").run(drain).await;
}

fn answer(
    handler: &Handler,
    drain: &Drain,
    caller: &Caller,
    request: Request<Bytes>,
) -> impl Future<Output = Response<api::Body>> + Send {
    let (handler, drain, caller) = (handler.clone(), drain.clone(), caller.clone());
    async move { handler.handle(request.map(Full::new), &caller, &drain).await }
}

fn identity(at: usize) -> SpiffeId {
    SpiffeId {
        trust_domain: "polis.sim".into(),
        unit: SEATS[at].unit.into(),
        namespace: "polis-system".into(),
        service_account: "controllers".into(),
    }
}

/// As an agent does: asks the pod, and writes down whether it is ready.
async fn watch_over_ledger(net: Net, at: usize, client: Client) {
    let pods = client.unit(&SEATS[at].unit()).namespaced::<Pod>(NAMESPACE);
    let (mut written, mut misses) = (None, 0);
    loop {
        let asked = net.ask(Process::Center(at), Process::Ledger(at), Times::Once, |face| {
            let Face::Ledger(service) = face.clone() else { return None };
            Some(Box::pin(async move {
                let probe = Request::get("/readyz").body(Full::<Bytes>::default());
                let probe = probe.expect("a path makes a request");
                service.handle(probe, &ledger::Peer::Plaintext).await.status().is_success()
            }))
        });
        let answered = matches!(timeout(AGENT_ANSWER, asked).await, Ok(Ok(true)));
        misses = if answered { 0 } else { misses + 1 };
        let up = net.is_up(Process::Ledger(at));
        let ready = up && misses < AGENT_MISSES_MAX;
        if written != Some(ready) {
            let patch = json!({ "status": pod_status(at, ready) });
            if pods.patch_status(POD, &patch).await.is_ok() {
                written = Some(ready);
            }
        }
        tokio::time::sleep(AGENT_EVERY).await;
    }
}

fn pod_status(at: usize, ready: bool) -> serde_json::Value {
    let word = if ready { "True" } else { "False" };
    let condition = json!({ "type": "Ready", "status": word });
    let ip = crate::layout::ip(at).to_string();
    json!({ "phase": "Running", "podIP": ip, "conditions": [condition] })
}
