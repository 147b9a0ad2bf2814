//! What a call says of itself, found without building any object. What cannot
//! be read, because it is not Hessian or not sound, says nothing.

use std::{borrow::Cow, time::Duration};

use rpc::{
    bolt::{self, Kind, sofa},
    dubbo,
    hessian::Value,
};

pub(crate) enum View<'a> {
    Bolt { frame: &'a bolt::Frame, call: Option<sofa::Call<'a>> },
    Dubbo(Option<dubbo::Call<'a>>),
}

type Text<'a> = Option<Cow<'a, str>>;

/// What Dubbo sends for a service that has no version.
const NO_VERSION: &str = "0.0.0";

// === impl View ===

impl<'a> View<'a> {
    /// `com.bank.Pay:1.0` in Bolt, the interface alone in Dubbo.
    pub(crate) fn service(&mut self) -> Text<'a> {
        match self {
            View::Bolt { frame, call } => sofa::header(frame, sofa::SERVICE)
                .map(Cow::Borrowed)
                .or_else(|| call.as_mut()?.service().ok()?),
            View::Dubbo(call) => call.as_ref().map(|call| call.path.clone()),
        }
    }

    pub(crate) fn method(&mut self) -> Text<'a> {
        match self {
            View::Bolt { frame, call } => sofa::header(frame, sofa::METHOD)
                .map(Cow::Borrowed)
                .or_else(|| call.as_mut()?.method().ok()?),
            View::Dubbo(call) => call.as_ref().map(|call| call.method.clone()),
        }
    }

    pub(crate) fn version(&self) -> Text<'a> {
        match self {
            View::Dubbo(Some(call)) => Some(call.version.clone()).filter(|v| v != NO_VERSION),
            _ => None,
        }
    }

    pub(crate) fn group(&mut self) -> Text<'a> {
        match self {
            View::Bolt { .. } => None,
            View::Dubbo(_) => self.named("group"),
        }
    }

    /// A header or an attachment.
    pub(crate) fn named(&mut self, name: &str) -> Text<'a> {
        match self {
            View::Bolt { frame, .. } => sofa::header(frame, name).map(Cow::Borrowed),
            View::Dubbo(call) => call.as_mut()?.attachment(name).ok()?.and_then(Value::key),
        }
    }

    /// An argument, or what a path within it leads to.
    pub(crate) fn argument(&mut self, index: usize, path: &[&str]) -> Text<'a> {
        let value = match self {
            View::Bolt { call, .. } => call.as_mut()?.argument(index, path).ok()?,
            View::Dubbo(call) => call.as_mut()?.argument(index, path).ok()?,
        };
        value?.key()
    }

    /// How long the caller waits, if it says so.
    pub(crate) fn timeout(&mut self) -> Option<Duration> {
        let ms = match self {
            View::Bolt { frame, .. } => match frame.head().kind {
                Kind::Request { timeout_ms } => timeout_ms,
                _ => 0,
            },
            View::Dubbo(_) => {
                let said = self.named(dubbo::TIMEOUT).or_else(|| self.named(dubbo::TIMEOUT_OLD))?;
                said.parse::<u32>().ok()?
            }
        };
        (ms > 0).then(|| Duration::from_millis(ms.into()))
    }

    /// The trace that the caller is in.
    pub(crate) fn trace(&mut self) -> Text<'a> {
        match self {
            View::Bolt { .. } => self.named(sofa::TRACE_ID),
            View::Dubbo(_) => self.named("traceparent"),
        }
    }
}
