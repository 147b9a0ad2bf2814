//! Connections to what runs in a pod: `exec`, `attach`, `portforward`, and logs.
//!
//! The agent speaks the clients' protocols itself (WebSocket channels, SPDY), so
//! what is left to do here is what only this server knows: whether the caller
//! may, where the pod is, and to whom its agent listens. From then on bytes are
//! passed on as they come, at the slower side's pace.
//!
//! Reading order: `options` is what webhooks are asked about, `target` finds the
//! pod's agent, `agents` asks it, `relay` passes on what follows an upgrade,
//! `frames` knows where a message ends, so that a last word can be put in when
//! an agent is lost.

mod agents;
mod frames;
mod logs;
mod options;
mod relay;
mod target;

pub(crate) use agents::Agents;

use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Empty};
use hyper_util::rt::TokioIo;
use rt::TaskKind;

use crate::{
    admission::Operation,
    audit,
    failure::Failure,
    handler::{Ask, Handler},
    limits::Ticket,
    registry::Registry,
    request::{
        path::Place,
        query::{self, Query},
    },
    response::Body,
    subresource::Subresource,
};
use agents::refusal;
use relay::{Framing, Relay};
use target::Target;

/// Of an upgrade, both ways. Whatever else a client says is not for agents.
const PASSED_ON: [HeaderName; 7] = [
    header::CONNECTION,
    header::UPGRADE,
    header::SEC_WEBSOCKET_KEY,
    header::SEC_WEBSOCKET_VERSION,
    header::SEC_WEBSOCKET_PROTOCOL,
    header::SEC_WEBSOCKET_ACCEPT,
    HeaderName::from_static("x-stream-protocol-version"),
];

/// Of a protocol that is a bearer token.
const TOKEN_PREFIX: &str = "base64url.bearer.authorization.k8s.io.";

// === impl Handler ===

impl Handler {
    /// Answers with the agent's own upgrade, and relays from then on.
    pub(crate) async fn stream(
        &self,
        sub: Subresource,
        ask: &Ask<'_>,
        place: &Place,
    ) -> Result<Response<Body>, Failure> {
        let place = self.located(place).await?;
        let query = self.admit_connection(sub, ask, &place).await?;
        let Some(client) = ask.upgrade.clone().filter(|_| asks_for_upgrade(&ask.headers)) else {
            return Err(Failure::bad_request("Upgrade request required"));
        };
        let target = self.target(&place).await?;
        let path = agent_path(sub, &target, query.as_ref().unwrap_or(&ask.query))?;
        let mut request = Request::new(Empty::new());
        *request.method_mut() = Method::GET;
        *request.uri_mut() = path.parse().map_err(|_| {
            Failure::bad_request("the command is too long, or cannot be part of a request")
        })?;
        pass_on(&ask.headers, request.headers_mut());
        let ticket = Ticket::long_running(&self.shared.metrics, &self.shared.callers, ask.caller)?;
        let answer = self.shared.agents.ask(&target, request).await?;
        if answer.status() != StatusCode::SWITCHING_PROTOCOLS {
            return Err(refusal(answer).await);
        }
        let mut response = Response::new(Empty::new().boxed_unsync());
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        pass_on(answer.headers(), response.headers_mut());
        let framing = Framing::of(answer.headers(), sub != Subresource::PortForward);
        let drain = ask.drain.clone();
        let node = target.node.clone();
        let held = audit::held();
        rt::spawn(TaskKind::Connection, "stream", async move {
            let _held = (ticket, held);
            let (client, agent) = tokio::join!(client, hyper::upgrade::on(answer));
            // Whichever side is gone before it began, the other one is told by
            // the end of its connection.
            let (Ok(client), Ok(agent)) = (client, agent) else { return };
            let (client, agent) = (TokioIo::new(client), TokioIo::new(agent));
            Relay { node, framing, drain }.run(client, agent).await;
        });
        Ok(response)
    }
}

// === impl Handler, webhooks ===

impl Handler {
    /// What is asked for as webhooks changed it; none when they did not.
    async fn admit_connection(
        &self,
        sub: Subresource,
        ask: &Ask<'_>,
        place: &Place,
    ) -> Result<Option<Query>, Failure> {
        let cluster = self.shared.clusters.enter(&place.door).await?;
        let registry = Registry::new(cluster, place.clone()).by(ask.caller);
        let asked = options::show(sub, &ask.query);
        let part = options::part(sub);
        let (admitted, _) =
            registry.admit_part(Operation::Connect, part, false, asked.clone()).await?;
        if admitted == asked {
            return Ok(None);
        }
        options::query(&admitted).map(Some)
    }
}

pub(crate) fn asks_for_upgrade(headers: &HeaderMap) -> bool {
    let values = headers.get_all(header::CONNECTION).iter().filter_map(|value| value.to_str().ok());
    let mut tokens = values.flat_map(|value| value.split(','));
    headers.contains_key(header::UPGRADE)
        && tokens.any(|token| token.trim().eq_ignore_ascii_case("upgrade"))
}

fn pass_on(from: &HeaderMap, to: &mut HeaderMap) {
    for name in &PASSED_ON {
        for value in from.get_all(name) {
            to.append(name, without_tokens(value));
        }
    }
}

/// Browsers hand over who they are among the protocols they offer.
pub(crate) fn without_tokens(value: &HeaderValue) -> HeaderValue {
    let text = value.to_str().unwrap_or_default();
    if !text.contains(TOKEN_PREFIX) {
        return value.clone();
    }
    let kept = text.split(',').map(str::trim).filter(|offer| !offer.starts_with(TOKEN_PREFIX));
    let kept = kept.collect::<Vec<_>>().join(", ");
    HeaderValue::from_str(&kept).expect("a part of a header's value is one")
}

/// A kubelet's paths and parameters. The uid keeps apart pods of one name, which
/// every unit of a center may have.
fn agent_path(sub: Subresource, target: &Target, query: &Query) -> Result<String, Failure> {
    let Target { namespace, name, uid, .. } = target;
    let pod = [namespace, name, uid].map(|part| query::encode(part)).join("/");
    if sub == Subresource::PortForward {
        let ports: Vec<_> =
            query.all("ports").map(|p| format!("port={}", query::encode(p))).collect();
        return Ok(format!("/portForward/{pod}?{}", ports.join("&")));
    }
    let container = target.container(query.get("container"))?;
    let mut parameters = Vec::new();
    let switches = [("stdin", "input"), ("stdout", "output"), ("stderr", "error"), ("tty", "tty")];
    for (ours, theirs) in switches {
        if query.flag(ours) {
            parameters.push(format!("{theirs}=1"));
        }
    }
    let what = match sub {
        Subresource::Exec => {
            let words = query.all("command").map(|word| format!("command={}", query::encode(word)));
            parameters.extend(words);
            "exec"
        }
        _ => "attach",
    };
    Ok(format!("/{what}/{pod}/{}?{}", query::encode(&container), parameters.join("&")))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn target() -> Target {
        let pod = json!({
            "metadata": { "name": "p", "namespace": "payments", "uid": "1-2" },
            "spec": { "nodeName": "east-1", "containers": [{ "name": "main" }] },
        });
        let node = json!({ "status": {
            "addresses": [{ "type": "InternalIP", "address": "127.0.0.1" }],
            "daemonEndpoints": { "kubeletEndpoint": { "Port": 10250 } },
        } });
        Target::of(pod, Some(&node)).expect("a target")
    }

    #[test]
    fn commands_and_ports_reach_the_agent_as_they_were_asked() {
        let check = |sub, query: &str, expected: &str| {
            let query = Query::parse(Some(query)).expect("well formed");
            assert_eq!(agent_path(sub, &target(), &query).expect("a path"), expected);
        };
        check(
            Subresource::Exec,
            "command=sh&command=-c&command=a%20%26b%2F..&stdout=true&stdin=true&tty=0",
            "/exec/payments/p/1-2/main?input=1&output=1&command=sh&command=-c&command=a%20%26b%2F..",
        );
        check(Subresource::Attach, "stderr=1", "/attach/payments/p/1-2/main?error=1");
        check(Subresource::PortForward, "ports=80", "/portForward/payments/p/1-2?port=80");
        let other = Query::parse(Some("container=..%2Fx")).expect("well formed");
        assert!(agent_path(Subresource::Exec, &target(), &other).is_err());
    }

    #[test]
    fn only_what_belongs_to_an_upgrade_is_passed_on() {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONNECTION, "keep-alive, Upgrade".parse().expect("a value"));
        headers.insert(header::AUTHORIZATION, "Bearer secret".parse().expect("a value"));
        assert!(!asks_for_upgrade(&headers), "to what?");
        headers.insert(header::UPGRADE, "websocket".parse().expect("a value"));
        assert!(asks_for_upgrade(&headers));
        let offers = "v5.channel.k8s.io, base64url.bearer.authorization.k8s.io.c2VjcmV0";
        headers.insert(header::SEC_WEBSOCKET_PROTOCOL, offers.parse().expect("a value"));
        let mut passed = HeaderMap::new();
        pass_on(&headers, &mut passed);
        assert!(passed.len() == 3 && !passed.contains_key(header::AUTHORIZATION));
        assert_eq!(passed[header::SEC_WEBSOCKET_PROTOCOL], "v5.channel.k8s.io");
    }
}
