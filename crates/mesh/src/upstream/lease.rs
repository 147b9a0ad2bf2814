//! One request's hold of a connection to an endpoint.

use std::{cell::RefCell, ops::Deref, rc::Rc};

use hop::{Call, Io, Sender};
use tokio::time::Instant;

use super::{Busy, LocalEndpoint};

pub(crate) struct Lease {
    call: Call,
    /// The connection's place, where it is this request's alone.
    busy: Option<Busy>,
    reused: bool,
}

// === impl Lease ===

impl Lease {
    pub(super) fn h1(io: Box<RefCell<Io>>, busy: Busy, reused: bool) -> Lease {
        Lease { call: Call::h1(io), busy: Some(busy), reused }
    }

    pub(super) fn h2(sender: Rc<Sender>) -> Lease {
        Lease { call: Call::h2(sender), busy: None, reused: true }
    }

    /// It has served before, so that it may be closing this very moment.
    pub(crate) fn is_reused(&self) -> bool {
        self.reused
    }

    /// The answer has come as a whole: the connection is for the next.
    pub(crate) fn finish(self, endpoint: &Rc<LocalEndpoint>, now: Instant) {
        if let (Some(io), Some(busy)) = (self.call.into_io(), self.busy) {
            // What comes unasked is nobody's answer.
            if io.borrow().input.is_empty() {
                endpoint.put_idle(io, busy, now);
            }
        }
    }

    /// The connection itself, to be a tunnel from here on.
    pub(crate) fn into_io(self) -> Option<(Io, Busy)> {
        Some((self.call.into_io()?.into_inner(), self.busy?))
    }
}

impl Deref for Lease {
    type Target = Call;

    fn deref(&self) -> &Call {
        &self.call
    }
}
