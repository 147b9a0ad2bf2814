//! How a try ended without an answer, and what a client is told of it.

use hop::{Broken, Malformed};
use http::StatusCode;
use http2::Code;

use crate::{refusal::Refusal, upstream::ConnectError};

/// How a try ended without an answer.
pub(super) enum Failed {
    /// The endpoint saw nothing of it.
    Unreached(ConnectError),
    Unsent,
    Lost(Broken),
    /// With a status that the route tries again, for which there is room.
    Answered,
    TimedOut {
        sent: bool,
    },
    ClientGone,
    ClientBroke(Broken),
}

/// The body of a request did not come.
pub(super) fn client_broke(broken: &Broken) -> Refusal {
    let (status, code) = match broken {
        Broken::Malformed(why) => (why.status(), errors::BODY_BROKEN),
        Broken::TooSlow => (StatusCode::REQUEST_TIMEOUT, errors::BODY_TOO_SLOW),
        _ => (StatusCode::BAD_REQUEST, errors::BODY_BROKEN),
    };
    Refusal::new(status, code, format!("the request's body: {broken}"))
}

// === impl Failed ===

impl Failed {
    pub(super) fn of(broken: Broken) -> Failed {
        match &broken {
            // RFC 9113 section 8.7: nothing of it was processed.
            Broken::Reset(Code::REFUSED_STREAM) => Failed::Unsent,
            _ => Failed::Lost(broken),
        }
    }

    /// What the client is told, if it is still there.
    pub(super) fn refusal(self, idempotent: bool) -> Option<Refusal> {
        let gateway = StatusCode::BAD_GATEWAY;
        Some(match self {
            Failed::ClientGone => return None,
            Failed::ClientBroke(broken) => client_broke(&broken),
            Failed::Unreached(ConnectError::NoRoom) => Refusal::new(
                StatusCode::SERVICE_UNAVAILABLE,
                errors::MESH_OVERFLOW,
                ConnectError::NoRoom.to_string(),
            ),
            Failed::Unreached(error) => Refusal::new(
                StatusCode::SERVICE_UNAVAILABLE,
                errors::MESH_UNREACHABLE,
                error.to_string(),
            ),
            Failed::Unsent | Failed::Answered => {
                let message = "the connection to the endpoint closed before the request".to_owned();
                Refusal::new(StatusCode::SERVICE_UNAVAILABLE, errors::MESH_UNREACHABLE, message)
            }
            Failed::TimedOut { sent } => Refusal::deadline(sent),
            Failed::Lost(Broken::Malformed(why)) if why != Malformed::CutOff => {
                let message = format!("the endpoint's answer is not HTTP: {why}");
                Refusal::new(gateway, errors::MESH_BAD_ANSWER, message)
            }
            Failed::Lost(broken) if idempotent => {
                Refusal::new(gateway, errors::MESH_LOST, format!("the answer was lost: {broken}"))
            }
            Failed::Lost(broken) => {
                let message = format!("the answer was lost, the outcome is unknown: {broken}");
                Refusal::new(gateway, errors::MESH_LOST, message)
            }
        })
    }
}
