//! The relay's view of Bolt.

use bytes::{Bytes, BytesMut};
use rpc::bolt::{self, FRAME_BYTES_MAX, Frame, Kind, sofa};

use super::{Why, Wire};

pub struct Bolt;

// === impl Bolt ===

impl Wire for Bolt {
    type Frame = Frame;

    fn next(input: &mut BytesMut) -> Option<Frame> {
        bolt::next(input, FRAME_BYTES_MAX).expect("real peers are understood")
    }

    fn id(frame: &Frame) -> u64 {
        frame.head().id.into()
    }

    fn set_id(frame: &mut Frame, id: u64) {
        frame.set_id(u32::try_from(id).expect("a test has fewer calls"));
    }

    fn heartbeat_answer(frame: &Frame) -> Option<Frame> {
        let asks = matches!(frame.head().kind, Kind::Request { .. });
        (frame.is_heartbeat() && asks).then(|| frame.heartbeat_answer())
    }

    fn expects_answer(frame: &Frame) -> bool {
        matches!(frame.head().kind, Kind::Request { .. })
    }

    fn named_user(frame: &Frame) -> Option<String> {
        sofa::header(frame, "polis-uid").map(str::to_owned)
    }

    fn user_of_argument(frame: &Frame) -> Option<String> {
        let path =
            if sofa::header(frame, sofa::METHOD) == Some("find") { &["user"][..] } else { &[] };
        let mut call = sofa::Call::of(frame).expect("real peers send Hessian");
        let user = call.argument(0, path).expect("it is understood")?.key()?;
        Some(user.into_owned())
    }

    fn stamp(frame: &mut Frame) {
        frame.set_header("polis-stamp", "epoch=17").expect("there is room");
    }

    fn refuse(frame: &Frame, why: Why) -> Option<Frame> {
        let refusal = match why {
            Why::Busy => sofa::Refusal::Busy,
            Why::Nobody => sofa::Refusal::Because("no unit has this user"),
        };
        sofa::refuse(frame, refusal)
    }

    fn go_away() -> Option<Frame> {
        None
    }

    fn bytes(frame: Frame) -> Bytes {
        frame.into_parts().into_bytes()
    }
}
