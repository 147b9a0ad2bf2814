//! Agreeing on a protocol: a WebSocket with one of Kubernetes' subprotocols, or
//! SPDY/3.1 by HTTP's `Upgrade`.

use http::{
    HeaderMap, HeaderValue, Request, Response, StatusCode,
    header::{
        CONNECTION, HeaderName, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL,
        SEC_WEBSOCKET_VERSION, UPGRADE,
    },
};
use http_body_util::{BodyExt as _, Empty};
use hyper::{body::Incoming, upgrade::OnUpgrade};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use crate::serve::answer::Answer;

const SPDY: &str = "SPDY/3.1";

/// Where SPDY clients offer what they speak inside.
const STREAM_PROTOCOL: HeaderName = HeaderName::from_static("x-stream-protocol-version");

/// Of commands, in a WebSocket and in SPDY.
const COMMAND: [&str; 2] = ["v5.channel.k8s.io", "v4.channel.k8s.io"];

/// Of port forwards: bare, and how a WebSocket says that SPDY is inside.
const FORWARD: &str = "portforward.k8s.io";
const FORWARD_TUNNEL: &str = "SPDY/3.1+portforward.k8s.io";
/// Without SPDY: two channels for each port.
const FORWARD_CHANNELS: &str = "v4.channel.k8s.io";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    Command,
    Forward,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wire {
    /// Messages of a WebSocket, each with its channel's number first.
    Channels,
    /// SPDY in messages of a WebSocket.
    Tunnel,
    /// SPDY.
    Bare,
}

/// A request that becomes something else once it is answered.
pub(crate) struct Upgrade {
    pub wire: Wire,
    pub on: OnUpgrade,
    protocol: &'static str,
    /// Of a WebSocket's handshake.
    accept: Option<HeaderValue>,
}

// === impl Upgrade ===

impl Upgrade {
    pub(crate) fn parse(request: Request<Incoming>, purpose: Purpose) -> Result<Upgrade, String> {
        let (wire, protocol, accept) = agree(request.headers(), purpose)?;
        Ok(Upgrade { wire, on: hyper::upgrade::on(request), protocol, accept })
    }

    pub(crate) fn answer(&self) -> Answer {
        let empty = Empty::new().map_err(|never| match never {}).boxed_unsync();
        let mut answer = Response::new(empty);
        *answer.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        let headers = answer.headers_mut();
        headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
        let protocol = HeaderValue::from_static(self.protocol);
        match &self.accept {
            Some(accept) => {
                headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
                headers.insert(SEC_WEBSOCKET_ACCEPT, accept.clone());
                headers.insert(SEC_WEBSOCKET_PROTOCOL, protocol);
            }
            None => {
                headers.insert(UPGRADE, HeaderValue::from_static(SPDY));
                headers.insert(STREAM_PROTOCOL, protocol);
            }
        }
        answer
    }
}

fn agree(
    headers: &HeaderMap,
    purpose: Purpose,
) -> Result<(Wire, &'static str, Option<HeaderValue>), String> {
    let to = headers.get(UPGRADE).and_then(|to| to.to_str().ok()).unwrap_or_default();
    if to.eq_ignore_ascii_case(SPDY) {
        let served = match purpose {
            Purpose::Command => COMMAND.as_slice(),
            Purpose::Forward => &[FORWARD],
        };
        return Ok((Wire::Bare, choose(headers, &STREAM_PROTOCOL, served)?, None));
    }
    if !to.eq_ignore_ascii_case("websocket") {
        return Err("Upgrade request required".into());
    }
    if headers.get(SEC_WEBSOCKET_VERSION).is_none_or(|version| version != "13") {
        return Err("WebSockets are served in version 13".into());
    }
    let key = headers.get(SEC_WEBSOCKET_KEY).ok_or("the WebSocket handshake has no key")?;
    let accept = HeaderValue::from_str(&derive_accept_key(key.as_bytes()))
        .expect("base64 is a header's value");
    let (served, wire) = match purpose {
        Purpose::Command => (COMMAND.as_slice(), Wire::Channels),
        Purpose::Forward => ([FORWARD_TUNNEL, FORWARD_CHANNELS].as_slice(), Wire::Tunnel),
    };
    let protocol = choose(headers, &SEC_WEBSOCKET_PROTOCOL, served)?;
    let wire = if protocol == FORWARD_CHANNELS { Wire::Channels } else { wire };
    Ok((wire, protocol, Some(accept)))
}

/// The first that is offered and served.
fn choose(
    headers: &HeaderMap,
    header: &HeaderName,
    served: &[&'static str],
) -> Result<&'static str, String> {
    let values = headers.get_all(header).iter().filter_map(|value| value.to_str().ok());
    let offered: Vec<&str> = values.flat_map(|value| value.split(',').map(str::trim)).collect();
    let chosen = offered.iter().find_map(|offer| served.iter().find(|known| *known == offer));
    chosen.copied().ok_or_else(|| {
        format!(
            "unable to upgrade: unable to negotiate protocol: client supports {offered:?}, server \
             accepts {served:?}"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn agreed(purpose: Purpose, pairs: &[(&str, &str)]) -> Result<(Wire, &'static str), String> {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            let name: HeaderName = name.parse().expect("a name");
            headers.append(name, value.parse().expect("a value"));
        }
        agree(&headers, purpose).map(|(wire, protocol, _)| (wire, protocol))
    }

    #[test]
    fn the_first_offer_that_is_served_is_taken() {
        let websocket = |offer: &'static str| {
            [
                ("upgrade", "websocket"),
                ("sec-websocket-version", "13"),
                ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
                ("sec-websocket-protocol", offer),
            ]
        };
        let spdy = [
            ("upgrade", "SPDY/3.1"),
            ("x-stream-protocol-version", "v9.channel.k8s.io"),
            ("x-stream-protocol-version", "v4.channel.k8s.io"),
        ];
        let (command, forward) = (Purpose::Command, Purpose::Forward);
        let v5 = websocket("v6.channel.k8s.io, v5.channel.k8s.io");
        assert_eq!(agreed(command, &v5), Ok((Wire::Channels, COMMAND[0])));
        let tunnel = websocket("SPDY/3.1+portforward.k8s.io");
        assert_eq!(agreed(forward, &tunnel), Ok((Wire::Tunnel, FORWARD_TUNNEL)));
        let old = websocket("v4.channel.k8s.io");
        assert_eq!(agreed(forward, &old), Ok((Wire::Channels, FORWARD_CHANNELS)));
        assert_eq!(agreed(command, &spdy), Ok((Wire::Bare, COMMAND[1])));
        assert!(agreed(forward, &spdy).expect_err("refused").contains("v9.channel.k8s.io"));
        assert_eq!(agreed(command, &[]), Err("Upgrade request required".into()));
        assert!(agreed(command, &v5[..2]).is_err(), "no key");
    }
}
