//! The audit log: one line for each request that may have changed something,
//! through `tracing` under the target `audit`, whatever became of it.

use crate::{caller::Caller, request::path::Place};

/// Names come from callers; a line stays a line.
const TEXT_CHARS_MAX: usize = 256;

pub fn record(caller: &Caller, verb: &str, place: &Place, code: u16) {
    // Our own heartbeats would bury what people did.
    if place.resource.plural == "leases" && (caller.is_polis() || caller.is_agent()) {
        return;
    }
    let bounded = |text: &str| text.chars().take(TEXT_CHARS_MAX).collect::<String>();
    tracing::info!(
        target: "audit",
        user = bounded(&caller.name),
        verb,
        door = place.door.prefix(),
        group = place.resource.group,
        resource = place.resource.plural,
        subresource = place.subresource.map_or("", |sub| sub.as_str()),
        namespace = bounded(place.namespace.as_deref().unwrap_or_default()),
        name = bounded(place.name.as_deref().unwrap_or_default()),
        code,
    );
}
