//! The relay's view of Dubbo.

use bytes::{Bytes, BytesMut};
use rpc::dubbo::{self, BODY_BYTES_MAX, Call, Frame, Status};

use super::{Why, Wire};

pub struct Dubbo;

// === impl Dubbo ===

impl Wire for Dubbo {
    type Frame = Frame;

    fn next(input: &mut BytesMut) -> Option<Frame> {
        dubbo::next(input, BODY_BYTES_MAX).expect("real peers are understood")
    }

    fn id(frame: &Frame) -> u64 {
        frame.head().id
    }

    fn set_id(frame: &mut Frame, id: u64) {
        frame.set_id(id);
    }

    fn heartbeat_answer(frame: &Frame) -> Option<Frame> {
        let asks = frame.head().is_request() && frame.is_heartbeat();
        asks.then(|| frame.heartbeat_answer())
    }

    fn expects_answer(frame: &Frame) -> bool {
        frame.head().is_two_way()
    }

    fn named_user(frame: &Frame) -> Option<String> {
        let mut call = Call::of(frame).expect("a call");
        let user = call.attachment("polis-uid").expect("it is understood")?.key()?;
        Some(user.into_owned())
    }

    fn user_of_argument(frame: &Frame) -> Option<String> {
        let mut call = Call::of(frame).expect("a call");
        let path = if call.method == "find" { &["user"][..] } else { &[] };
        let user = call.argument(0, path).expect("it is understood")?.key()?;
        Some(user.into_owned())
    }

    fn stamp(frame: &mut Frame) {
        frame.set_attachment("polis-stamp", "epoch=17").expect("it is a call");
    }

    fn refuse(frame: &Frame, why: Why) -> Option<Frame> {
        match why {
            Why::Busy => frame.refuse(Status::THREADPOOL_EXHAUSTED, "too many calls"),
            Why::Nobody => frame.refuse(Status::SERVER_ERROR, "no unit has this user"),
        }
    }

    fn go_away() -> Option<Frame> {
        Some(Frame::readonly(0))
    }

    fn bytes(frame: Frame) -> Bytes {
        frame.into_parts().into_bytes()
    }
}
