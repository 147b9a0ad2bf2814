//! Which error codes the replicas have named to people.

use std::{
    collections::BTreeSet,
    fmt::Debug,
    sync::{Mutex, PoisonError},
};

use tracing::{
    Event, Level, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::{Layer, layer::Context};

static NAMED: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

const PREFIX: &str = "PLS";
const CODE_BYTES: usize = PREFIX.len() + 4;

/// Reads what is logged as an error.
pub struct Codes;

struct Message(String);

/// Since the process began.
#[must_use]
pub fn is_named(code: &str) -> bool {
    NAMED.lock().unwrap_or_else(PoisonError::into_inner).contains(code)
}

// === impl Codes ===

impl<S: Subscriber> Layer<S> for Codes {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        if *event.metadata().level() != Level::ERROR {
            return;
        }
        let mut message = Message(String::new());
        event.record(&mut message);
        let Message(text) = message;
        if let Some(at) = text.find(PREFIX)
            && let Some(code) = text.get(at..at + CODE_BYTES)
        {
            NAMED.lock().unwrap_or_else(PoisonError::into_inner).insert(code.to_owned());
        }
    }
}

// === impl Message ===

impl Visit for Message {
    fn record_debug(&mut self, _: &Field, value: &dyn Debug) {
        self.0.push_str(&format!("{value:?} "));
    }
}
