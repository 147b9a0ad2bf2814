//! One frame of either protocol, and what a proxy asks of it.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::StatusCode;
use rpc::{
    bolt::{self, Kind, Version, sofa},
    dubbo::{self, Status},
};
use serde::{Deserialize, Serialize};

use super::view::View;
use crate::refusal::Refusal;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub(crate) enum Wire {
    Bolt,
    Dubbo,
}

#[derive(Clone)]
pub(crate) enum Frame {
    Bolt(bolt::Frame),
    Dubbo(dubbo::Frame),
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum Malformed {
    #[error("Bolt: {0}")]
    Bolt(#[from] bolt::Error),
    #[error("Dubbo: {0}")]
    Dubbo(#[from] dubbo::Error),
}

/// What a frame is to whoever receives it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum What {
    Call {
        two_way: bool,
    },
    Answer,
    /// Asks whether we are there.
    Heartbeat,
    /// Says that the peer heeds a goodbye; in Bolt it asks as well.
    Hello,
    /// The peer is about to go.
    Goodbye,
    Noise,
}

/// What frames of one connection have in common: the peers answer all of them
/// in the version that they saw first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lane {
    Bolt(Version),
    Dubbo,
}

// === impl Wire ===

impl Wire {
    /// Takes the next frame off `input`; none if it is not whole yet.
    pub(crate) fn next(self, input: &mut BytesMut, max: usize) -> Result<Option<Frame>, Malformed> {
        Ok(match self {
            Wire::Bolt => bolt::next(input, max)?.map(Frame::Bolt),
            Wire::Dubbo => dubbo::next(input, max)?.map(Frame::Dubbo),
        })
    }

    /// Of a frame that was one before.
    pub(crate) fn again(self, bytes: &Bytes) -> Frame {
        let again = self.next(&mut BytesMut::from(&bytes[..]), usize::MAX);
        again.ok().flatten().expect("it has been read or written before")
    }
}

// === impl Frame ===

impl Frame {
    pub(crate) fn what(&self) -> What {
        match self {
            Frame::Bolt(frame) if frame.is_go_away() => What::Goodbye,
            Frame::Bolt(frame) => match frame.head().kind {
                Kind::Response { .. } => What::Answer,
                _ if frame.is_hello() => What::Hello,
                Kind::Request { .. } if frame.is_heartbeat() => What::Heartbeat,
                Kind::OneWay { .. } if frame.is_heartbeat() => What::Noise,
                Kind::Request { .. } => What::Call { two_way: true },
                Kind::OneWay { .. } => What::Call { two_way: false },
            },
            Frame::Dubbo(frame) if frame.is_readonly() => What::Goodbye,
            Frame::Dubbo(frame) if frame.is_hello() => What::Hello,
            Frame::Dubbo(frame) => {
                let head = frame.head();
                match (head.is_request(), head.is_event(), head.is_two_way()) {
                    (false, ..) => What::Answer,
                    (true, true, true) => What::Heartbeat,
                    (true, true, false) => What::Noise,
                    (true, false, two_way) => What::Call { two_way },
                }
            }
        }
    }

    pub(crate) fn lane(&self) -> Lane {
        match self {
            Frame::Bolt(frame) => Lane::Bolt(frame.head().version),
            Frame::Dubbo(_) => Lane::Dubbo,
        }
    }

    /// What it takes, head and all.
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Frame::Bolt(frame) => frame.bytes(),
            Frame::Dubbo(frame) => dubbo::HEAD_BYTES + frame.body().len(),
        }
    }

    pub(crate) fn id(&self) -> u64 {
        match self {
            Frame::Bolt(frame) => frame.head().id.into(),
            Frame::Dubbo(frame) => frame.head().id,
        }
    }

    pub(crate) fn set_id(&mut self, id: u64) {
        match self {
            Frame::Bolt(frame) => frame.set_id(id as u32),
            Frame::Dubbo(frame) => frame.set_id(id),
        }
    }

    /// Passes on what is `left` of the time that the caller waits, if it says so
    /// where the service looks.
    pub(crate) fn set_timeout(&mut self, left: Duration) {
        // Zero would be no bound at all.
        let left = left.as_millis().max(1);
        match self {
            Frame::Bolt(frame) => {
                if matches!(frame.head().kind, Kind::Request { timeout_ms: 1.. }) {
                    frame.set_timeout_ms(u32::try_from(left).unwrap_or(u32::MAX));
                }
            }
            Frame::Dubbo(frame) => {
                let says = dubbo::Call::of(frame)
                    .and_then(|mut call| call.attachment(dubbo::TIMEOUT))
                    .is_ok_and(|said| said.is_some());
                if says {
                    // It has just been read.
                    let _ = frame.set_attachment(dubbo::TIMEOUT, &left.to_string());
                }
            }
        }
    }

    /// What became of a call, as HTTP would say it. What the service itself
    /// threw is in the content, and as good an answer as any.
    pub(crate) fn status(&self) -> StatusCode {
        match self {
            Frame::Bolt(frame) => match frame.head().kind {
                Kind::Response { status: 0 } => StatusCode::OK,
                Kind::Response { status: 4 } => StatusCode::SERVICE_UNAVAILABLE,
                Kind::Response { status: 7 } => StatusCode::GATEWAY_TIMEOUT,
                _ => StatusCode::INTERNAL_SERVER_ERROR,
            },
            Frame::Dubbo(frame) => match frame.head().status {
                Status::OK => StatusCode::OK,
                Status::CLIENT_TIMEOUT | Status::SERVER_TIMEOUT => StatusCode::GATEWAY_TIMEOUT,
                Status::BAD_REQUEST => StatusCode::BAD_REQUEST,
                Status::SERVICE_NOT_FOUND => StatusCode::NOT_FOUND,
                Status::THREADPOOL_EXHAUSTED => StatusCode::SERVICE_UNAVAILABLE,
                _ => StatusCode::INTERNAL_SERVER_ERROR,
            },
        }
    }

    /// Adds a header or an attachment, or puts another value to it.
    pub(crate) fn stamp(&mut self, name: &str, value: &str) -> Result<(), Malformed> {
        match self {
            Frame::Bolt(frame) => frame.set_header(name, value)?,
            Frame::Dubbo(frame) => frame.set_attachment(name, value)?,
        }
        Ok(())
    }

    pub(crate) fn view(&self) -> View<'_> {
        match self {
            Frame::Bolt(frame) => View::Bolt { frame, call: sofa::Call::of(frame) },
            Frame::Dubbo(frame) => View::Dubbo(dubbo::Call::of(frame).ok()),
        }
    }

    pub(crate) fn heartbeat_answer(&self) -> Frame {
        match self {
            Frame::Bolt(frame) => Frame::Bolt(frame.heartbeat_answer()),
            Frame::Dubbo(frame) => Frame::Dubbo(frame.heartbeat_answer()),
        }
    }

    /// Our own answer to a call, in words its caller has; none to one that
    /// expects none.
    pub(crate) fn refuse(&self, refusal: &Refusal) -> Option<Frame> {
        let busy = [errors::MESH_OVERFLOW, errors::MESH_RATE_LIMIT].contains(&refusal.code);
        let late = refusal.status == StatusCode::GATEWAY_TIMEOUT;
        let text = format!("{}: {}", refusal.code, refusal.message);
        match self {
            Frame::Bolt(frame) => {
                let why = match () {
                    () if busy => sofa::Refusal::Busy,
                    () if late => sofa::Refusal::TimedOut,
                    () => sofa::Refusal::Because(&text),
                };
                sofa::refuse(frame, why).map(Frame::Bolt)
            }
            Frame::Dubbo(frame) => {
                let status = match () {
                    () if busy => Status::THREADPOOL_EXHAUSTED,
                    () if late => Status::SERVER_TIMEOUT,
                    () if refusal.code == errors::MESH_NO_ROUTE => Status::SERVICE_NOT_FOUND,
                    () => Status::SERVER_ERROR,
                };
                frame.refuse(status, &text).map(Frame::Dubbo)
            }
        }
    }

    pub(crate) fn into_bytes(self) -> Bytes {
        match self {
            Frame::Bolt(frame) => frame.into_parts().into_bytes(),
            Frame::Dubbo(frame) => frame.into_parts().into_bytes(),
        }
    }
}

// === impl Lane ===

impl Lane {
    /// Switches are of a frame, not of a connection.
    pub(crate) fn shares_with(self, other: Lane) -> bool {
        match (self, other) {
            (
                Lane::Bolt(Version::V2 { revision, .. }),
                Lane::Bolt(Version::V2 { revision: other, .. }),
            ) => revision == other,
            _ => self == other,
        }
    }

    pub(crate) fn wire(self) -> Wire {
        match self {
            Lane::Bolt(_) => Wire::Bolt,
            Lane::Dubbo => Wire::Dubbo,
        }
    }

    /// Ids of Bolt have 32 bits.
    pub(crate) fn id_after(self, id: u64) -> u64 {
        match self {
            Lane::Bolt(_) => u64::from((id as u32).wrapping_add(1)),
            Lane::Dubbo => id.wrapping_add(1),
        }
    }

    pub(crate) fn heartbeat(self, id: u64) -> Frame {
        match self {
            Lane::Bolt(version) => Frame::Bolt(bolt::Frame::heartbeat(version, id as u32)),
            Lane::Dubbo => Frame::Dubbo(dubbo::Frame::heartbeat(id)),
        }
    }

    pub(crate) fn hello(self, id: u64) -> Frame {
        match self {
            Lane::Bolt(version) => Frame::Bolt(bolt::Frame::hello(version, id as u32)),
            Lane::Dubbo => Frame::Dubbo(dubbo::Frame::hello()),
        }
    }

    pub(crate) fn goodbye(self) -> Frame {
        match self {
            Lane::Bolt(version) => Frame::Bolt(bolt::Frame::go_away(version, 0)),
            Lane::Dubbo => Frame::Dubbo(dubbo::Frame::readonly(0)),
        }
    }
}
