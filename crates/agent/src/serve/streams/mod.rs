//! What a client does in a Pod while it is connected: `exec`, `attach` and
//! `port-forward`, as a kubelet serves them.
//!
//! The API server passes the bytes of a connection on as they are, so the
//! protocols of Kubernetes' clients end here: channels in a WebSocket, or the
//! streams of SPDY, bare or inside a WebSocket. Either way a session sees
//! [`lane`]s: numbered or named streams with a bounded queue each.
//!
//! Reading order: `upgrade` agrees on a protocol, `wire` carries bytes,
//! `channels` and `session` make lanes of them, `remote` is the client of a
//! command; `exec`, `attach` and `forward` do the work.
//!
//! A command lives for its client: it is stopped when the client is gone, when
//! its container ends and when the agent does.

mod attach;
mod channels;
mod exec;
mod forward;
mod lane;
mod options;
mod remote;
mod session;
mod status;
mod upgrade;
mod wire;

use std::sync::Arc;

use http::{Method, Request};
use hyper::body::Incoming;
use rt::{Drain, TaskKind};
use runtime::{ContainerId, Exec};

use self::{
    options::{Forward, Remote as RemoteOptions},
    upgrade::{Purpose, Upgrade},
};
use super::{
    State,
    answer::{Answer, refuse},
};
use crate::{
    metrics::Metrics,
    pod::{PodPlan, PodRef},
};

/// Sessions at once. Each holds a few queues of [`lane::QUEUE`] pieces, a port
/// forward as many as it has connections.
const SESSIONS_MAX: u64 = 64;

/// Counts a session for as long as it lasts.
struct Place(Arc<Metrics>);

/// Which container of which Pod, in the words of a path.
pub(crate) struct Asked<'a> {
    pub namespace: &'a str,
    pub pod: &'a str,
    pub uid: Option<&'a str>,
}

/// `…/exec/NAMESPACE/POD/UID/CONTAINER?command=…&input=1&output=1&error=1&tty=1`
pub(crate) async fn exec(
    state: &Arc<State>,
    asked: &Asked<'_>,
    container: &str,
    request: Request<Incoming>,
    drain: Drain,
) -> Answer {
    let options = match RemoteOptions::parse(request.uri().query().unwrap_or_default()) {
        Ok(options) => options,
        Err(message) => return refuse(400, errors::AGENT_BAD_REQUEST, &message),
    };
    let mut command = options.command.clone().into_iter();
    let Some(program) = command.next() else {
        return refuse(400, errors::AGENT_BAD_REQUEST, "command: you must say what to run");
    };
    let (id, pod) = match find(state, asked) {
        Ok(found) => found,
        Err(refusal) => return *refusal,
    };
    let plan = PodPlan::of(&pod, &id, &state.place);
    let plan = plan.ok().and_then(|plan| plan.containers.into_iter().find(|c| c.name == container));
    let Some(plan) = plan.filter(|plan| state.runtime.lifetime(&plan.spec.id).is_some()) else {
        return no_container(container);
    };
    let (upgrade, place) = match begin(state, request, Purpose::Command) {
        Ok(begun) => begun,
        Err(refusal) => return *refusal,
    };
    let answer = upgrade.answer();
    let runtime = state.runtime.clone();
    rt::spawn(TaskKind::Connection, "exec", async move {
        let Some(client) = remote::open(upgrade, &options).await else { return };
        let exec = Exec {
            program,
            args: command.collect(),
            input: options.stdin,
            stdout: options.stdout,
            stderr: options.stderr,
            terminal: options.tty,
        };
        let execution = runtime.exec(&plan.spec, exec).await;
        exec::run(client, execution, drain).await;
        drop(place);
    });
    answer
}

/// `…/attach/NAMESPACE/POD/UID/CONTAINER?output=1&error=1`
pub(crate) async fn attach(
    state: &Arc<State>,
    asked: &Asked<'_>,
    container: &str,
    request: Request<Incoming>,
    drain: Drain,
) -> Answer {
    let options = match RemoteOptions::parse(request.uri().query().unwrap_or_default()) {
        Ok(options) => options,
        Err(message) => return refuse(400, errors::AGENT_BAD_REQUEST, &message),
    };
    let PodRef { namespace, name: pod, uid } = match find(state, asked) {
        Ok((id, _)) => id,
        Err(refusal) => return *refusal,
    };
    let id = ContainerId { namespace, pod, uid, container: container.into() };
    if state.runtime.lifetime(&id).is_none() {
        return no_container(container);
    }
    if options.stdin {
        let message = format!(
            "container {container:?} was not started with an input (stdin: true), so there is \
             none to attach to; attach without -i, or use exec"
        );
        return refuse(400, errors::AGENT_BAD_REQUEST, &message);
    }
    let (upgrade, place) = match begin(state, request, Purpose::Command) {
        Ok(begun) => begun,
        Err(refusal) => return *refusal,
    };
    let answer = upgrade.answer();
    let runtime = state.runtime.clone();
    rt::spawn(TaskKind::Connection, "attach", async move {
        let Some(client) = remote::open(upgrade, &options).await else { return };
        attach::run(client, &runtime, &id, drain).await;
        drop(place);
    });
    answer
}

/// `…/portForward/NAMESPACE/POD/UID`
pub(crate) async fn forward(
    state: &Arc<State>,
    asked: &Asked<'_>,
    request: Request<Incoming>,
    drain: Drain,
) -> Answer {
    let options = Forward::parse(request.uri().query().unwrap_or_default());
    let id = match find(state, asked) {
        Ok((id, _)) => id,
        Err(refusal) => return *refusal,
    };
    let (upgrade, place) = match begin(state, request, Purpose::Forward) {
        Ok(begun) => begun,
        Err(refusal) => return *refusal,
    };
    // SPDY names its ports stream by stream.
    let options = match (&upgrade.wire, options) {
        (upgrade::Wire::Channels, Err(message)) => {
            return refuse(400, errors::AGENT_BAD_REQUEST, &message);
        }
        (_, options) => options.unwrap_or_default(),
    };
    let answer = upgrade.answer();
    let runtime = state.runtime.clone();
    rt::spawn(TaskKind::Connection, "port forward", async move {
        forward::run(upgrade, options, id, runtime, drain).await;
        drop(place);
    });
    answer
}

fn find(
    state: &State,
    asked: &Asked<'_>,
) -> Result<(PodRef, Arc<crate::pod::SeenPod>), Box<Answer>> {
    let Asked { namespace, pod, uid } = asked;
    state.pods.find(namespace, pod, *uid).ok_or_else(|| {
        let message = format!("no pod {namespace}/{pod} on this node");
        Box::new(refuse(404, errors::AGENT_NOT_FOUND, &message))
    })
}

/// A kubelet's words.
fn no_container(name: &str) -> Answer {
    refuse(404, errors::AGENT_NOT_FOUND, &format!("container not found ({name:?})"))
}

fn begin(
    state: &State,
    request: Request<Incoming>,
    purpose: Purpose,
) -> Result<(Upgrade, Place), Box<Answer>> {
    if !matches!(*request.method(), Method::GET | Method::POST) {
        let message = "only GET and POST are served here";
        return Err(Box::new(refuse(405, errors::AGENT_BAD_REQUEST, message)));
    }
    let upgrade = Upgrade::parse(request, purpose)
        .map_err(|message| Box::new(refuse(400, errors::AGENT_BAD_REQUEST, &message)))?;
    let place = Place::take(&state.metrics).ok_or_else(|| {
        let message = format!("{SESSIONS_MAX} sessions are open");
        Box::new(refuse(503, errors::AGENT_TOO_MANY_STREAMS, &message))
    })?;
    Ok((upgrade, place))
}

// === impl Place ===

impl Place {
    fn take(metrics: &Arc<Metrics>) -> Option<Place> {
        metrics.sessions.add(1);
        let place = Place(metrics.clone());
        (metrics.sessions.get() <= SESSIONS_MAX).then_some(place)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.sessions.sub(1);
    }
}
