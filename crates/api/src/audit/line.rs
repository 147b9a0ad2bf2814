//! What is said of a write where no policy says what is written down: one line in
//! the log, through `tracing` under the target `audit`, whatever became of it.

use crate::{caller::Caller, request::path::Address};

/// Names come from callers; a line stays a line.
const TEXT_CHARS_MAX: usize = 256;

pub fn record(caller: &Caller, verb: &str, address: &Address, code: u16) {
    // Our own heartbeats would bury what people did.
    if address.plural == "leases" && (caller.is_polis() || caller.is_agent()) {
        return;
    }
    let bounded = |text: &str| text.chars().take(TEXT_CHARS_MAX).collect::<String>();
    tracing::info!(
        target: "audit",
        user = bounded(&caller.name),
        impersonated_by = bounded(&caller.acting),
        verb,
        door = address.door.prefix(),
        group = bounded(&address.group),
        resource = bounded(&address.plural),
        subresource = address.subresource.map_or("", |sub| sub.as_str()),
        namespace = bounded(address.namespace.as_deref().unwrap_or_default()),
        name = bounded(address.name.as_deref().unwrap_or_default()),
        code,
    );
}
