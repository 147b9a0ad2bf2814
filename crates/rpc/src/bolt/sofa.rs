//! SOFARPC's calls in Bolt's frames: whom they are for, what they carry, and
//! how one is refused so that its caller understands.
//!
//! Source: sofa-rpc 5.13 (`RemotingConstants.java`, `SofaRpcSerialization.java`,
//! `SofaRequestHessianSerializer.java`), and what its clients send: a
//! `SofaRequest` object without its arguments, then the arguments, all in one
//! stream of Hessian.

use std::borrow::Cow;

use super::{Command, Frame, HESSIAN, Head, Kind};
use crate::hessian::{self, Dialect, Reader, Value, Writer};

/// The interface and its version, `com.bank.Payments:1.0`, with `:unique-id` if
/// it has one.
pub const SERVICE: &str = "sofa_head_target_service";
pub const METHOD: &str = "sofa_head_method_name";
/// Whose call it is, and its place in a trace.
pub const TARGET_APP: &str = "sofa_head_target_app";
pub const CALLER_APP: &str = "app";
pub const TRACE_ID: &str = "rpc_trace_context.sofaTraceId";
pub const RPC_ID: &str = "rpc_trace_context.sofaRpcId";

pub const REQUEST_CLASS: &str = "com.alipay.sofa.rpc.core.request.SofaRequest";
pub const RESPONSE_CLASS: &str = "com.alipay.sofa.rpc.core.response.SofaResponse";

/// Why a call is answered by us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal<'a> {
    /// Clients raise an error of their own kind for it, and may call another.
    Busy,
    TimedOut,
    /// Clients raise an error with this text.
    Because(&'a str),
}

/// The first values of a call's content, in order.
#[derive(Debug)]
pub struct Call<'a> {
    reader: Reader<'a>,
    values: Vec<Value<'a>>,
}

/// A header as text, if it is there and is text.
#[must_use]
pub fn header<'a>(frame: &'a Frame, key: &str) -> Option<&'a str> {
    frame.headers().get(key).ok().flatten().and_then(|value| std::str::from_utf8(value).ok())
}

/// The answer to a request of a client; none to one that expects none.
///
/// A text needs Hessian. Callers of another serialization get the status for an
/// error that has none.
#[must_use]
pub fn refuse(request: &Frame, refusal: Refusal<'_>) -> Option<Frame> {
    const SERVER_EXCEPTION: u16 = 2;
    const THREADPOOL_BUSY: u16 = 4;
    const TIMEOUT: u16 = 7;
    let Kind::Request { .. } = request.head().kind else { return None };
    let answer = |status| Head {
        kind: Kind::Response { status },
        command: Command::RESPONSE,
        ..request.head()
    };
    Some(match (refusal, dialect(request)) {
        (Refusal::Busy, _) => Frame::new(answer(THREADPOOL_BUSY), "", &[]),
        (Refusal::TimedOut, _) => Frame::new(answer(TIMEOUT), "", &[]),
        (Refusal::Because(_), None) => Frame::new(answer(SERVER_EXCEPTION), "", &[]),
        (Refusal::Because(text), Some(dialect)) => {
            let mut writer = Writer::new(dialect);
            let fields = ["isError", "errorMsg", "appResponse", "responseProps"];
            writer.first_object(RESPONSE_CLASS, &fields).bool(true).text(text).null().null();
            Frame::new(answer(0), RESPONSE_CLASS, &writer.into_bytes())
        }
    })
}

/// A content begins with the definition of a class, which the dialects mark
/// differently.
fn dialect(frame: &Frame) -> Option<Dialect> {
    match (frame.head().codec, frame.content().first()?) {
        (HESSIAN, b'O') => Some(Dialect::Draft),
        (HESSIAN, b'C') => Some(Dialect::Final),
        _ => None,
    }
}

// === impl Call ===

impl<'a> Call<'a> {
    /// None if the content is not Hessian.
    #[must_use]
    pub fn of(frame: &'a Frame) -> Option<Call<'a>> {
        let reader = Reader::new(frame.content(), dialect(frame)?);
        Some(Call { reader, values: Vec::new() })
    }

    /// The service, for clients that do not put it into the header.
    pub fn service(&mut self) -> Result<Option<Cow<'a, str>>, hessian::Error> {
        self.of_request("targetServiceUniqueName")
    }

    /// As [`Call::service`].
    pub fn method(&mut self) -> Result<Option<Cow<'a, str>>, hessian::Error> {
        self.of_request("methodName")
    }

    /// An argument, or what a path within it leads to.
    pub fn argument(
        &mut self,
        index: usize,
        path: &[&str],
    ) -> Result<Option<Value<'a>>, hessian::Error> {
        match self.value(index + 1)? {
            Some(value) => self.reader.walk(value, path),
            None => Ok(None),
        }
    }

    fn of_request(&mut self, field: &str) -> Result<Option<Cow<'a, str>>, hessian::Error> {
        let Some(Value::Node(request)) = self.value(0)? else { return Ok(None) };
        Ok(self.reader.field(request, field)?.and_then(Value::text))
    }

    fn value(&mut self, index: usize) -> Result<Option<Value<'a>>, hessian::Error> {
        while self.values.len() <= index && !self.reader.is_at_end() {
            self.values.push(self.reader.value()?);
        }
        Ok(self.values.get(index).cloned())
    }
}
