//! Structured logs on standard error.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

/// What is logged unless `POLIS_LOG` says otherwise (`POLIS_LOG=debug`,
/// `POLIS_LOG=info,api=debug`).
const DEFAULT_FILTER: &str = "info";

/// Roles log one JSON object a line, terminals get text. Once per process.
pub fn init() {
    let filter =
        EnvFilter::try_from_env("POLIS_LOG").unwrap_or_else(|_| EnvFilter::new(DEFAULT_FILTER));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    if std::io::stderr().is_terminal() {
        builder.init();
    } else {
        builder.json().flatten_event(true).with_current_span(false).init();
    }
}
