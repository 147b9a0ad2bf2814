//! How much is served at once.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use http::Method;

use crate::{
    caller::{Caller, MASTERS},
    failure::Failure,
    metrics::Metrics,
    settings::Bounds,
};

/// Watches and log streams served at once: each holds a store watch and a
/// queue of frames.
pub const LONG_RUNNING_MAX: i64 = 2000;

/// Of these, those of one caller: it takes four that ask too much to leave none
/// for others, and a controller that watches every kind twice has half of them.
pub const LONG_RUNNING_OF_CALLER_MAX: usize = 500;

/// Connections open at once; more are accepted and closed at once.
pub const CONNECTIONS_MAX: usize = 2000;

/// What a request that is no watch may take.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);

/// What a TLS handshake may take.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// What a request's head may take, over HTTP/1.1, and the first words of a
/// connection over either version.
pub const HEAD_TIMEOUT: Duration = Duration::from_secs(30);

/// Size of a request's head.
pub const HEAD_BYTES_MAX: u32 = 64 * 1024;

/// Streams of one HTTP/2 connection at once.
pub const STREAMS_MAX: u32 = 250;

/// Read buffer of an HTTP/1.1 connection; hyper's default of 400 KiB is more
/// than a control plane's requests need.
pub const READ_BUFFER_BYTES: usize = 64 * 1024;

const TOO_MANY: &str =
    "the server has received too many requests and has asked us to try again later";

/// A place among those served; given back when dropped.
pub struct Ticket {
    metrics: Arc<Metrics>,
    pick: fn(&Metrics) -> &AtomicI64,
    of: Option<OfCaller>,
}

/// How many watches and streams each caller has; those of none are not kept.
#[derive(Default)]
pub struct Callers(Mutex<HashMap<String, usize>>);

/// One of them.
struct OfCaller(Arc<Callers>, String);

// === impl Ticket ===

impl Ticket {
    /// Requests that read and those that write have places of their own, so that
    /// neither keeps the other out. Where priority levels give out seats, they
    /// are only counted.
    pub fn request(
        metrics: &Arc<Metrics>,
        bounds: &Bounds,
        method: &Method,
    ) -> Result<Ticket, Failure> {
        let (pick, max): (fn(&Metrics) -> &AtomicI64, usize) = match *method {
            Method::GET | Method::HEAD | Method::OPTIONS => {
                (|metrics| &metrics.in_flight, bounds.in_flight_max)
            }
            _ => (|metrics| &metrics.mutating_in_flight, bounds.mutating_in_flight_max),
        };
        // As in kube-apiserver, 0 is no bound.
        let max = i64::try_from(max).ok().filter(|max| *max > 0 && !bounds.fair);
        let max = max.unwrap_or(i64::MAX);
        Ticket::take(metrics, pick, max)
    }

    /// Masters and our own processes may have all there are: they mend what is
    /// wrong.
    pub fn long_running(
        metrics: &Arc<Metrics>,
        callers: &Arc<Callers>,
        caller: &Caller,
    ) -> Result<Ticket, Failure> {
        let of = match caller.is_in(MASTERS) || caller.is_polis() {
            true => None,
            false => Some(callers.enter(&caller.name)?),
        };
        let mut ticket = Ticket::take(metrics, |metrics| &metrics.watches, LONG_RUNNING_MAX)?;
        ticket.of = of;
        Ok(ticket)
    }

    fn take(
        metrics: &Arc<Metrics>,
        pick: fn(&Metrics) -> &AtomicI64,
        max: i64,
    ) -> Result<Ticket, Failure> {
        let ticket = Ticket { metrics: metrics.clone(), pick, of: None };
        if pick(metrics).fetch_add(1, Ordering::Relaxed) >= max {
            return Err(Failure::too_many(TOO_MANY));
        }
        Ok(ticket)
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        (self.pick)(&self.metrics).fetch_sub(1, Ordering::Relaxed);
    }
}

// === impl Callers ===

impl Callers {
    fn enter(self: &Arc<Callers>, name: &str) -> Result<OfCaller, Failure> {
        let mut callers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = callers.entry(name.to_owned()).or_default();
        if *count >= LONG_RUNNING_OF_CALLER_MAX {
            return Err(Failure::too_many(TOO_MANY));
        }
        *count += 1;
        Ok(OfCaller(self.clone(), name.to_owned()))
    }
}

impl Drop for OfCaller {
    fn drop(&mut self) {
        let OfCaller(callers, name) = self;
        let mut callers = callers.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = callers.get_mut(name) {
            *count -= 1;
            if *count == 0 {
                callers.remove(name);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_who_watches_too_much_leaves_room_for_others() {
        let (metrics, callers) = (Arc::new(Metrics::default()), Arc::new(Callers::default()));
        let watch = |caller: &Caller| Ticket::long_running(&metrics, &callers, caller);
        let noisy = Caller::user("noisy", []);
        let mut tickets: Vec<Ticket> =
            (0..LONG_RUNNING_OF_CALLER_MAX).map(|_| watch(&noisy).expect("room")).collect();
        assert!(watch(&noisy).is_err_and(|failure| failure.retry_after_s() == Some(1)));
        tickets.push(watch(&Caller::user("quiet", [])).expect("room for others"));
        let master = Caller::user("root", [MASTERS.to_owned()]);
        tickets.extend((0..600).map(|_| watch(&master).expect("never counted")));
        tickets.swap_remove(0);
        tickets.push(watch(&noisy).expect("one was given back"));
        drop(tickets);
        assert!(callers.0.lock().expect("whole").is_empty());
        assert_eq!(metrics.watches.load(Ordering::Relaxed), 0);
    }
}
