//! Structured logs on standard error.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

/// What is logged unless `POLIS_LOG` says otherwise (`POLIS_LOG=debug`,
/// `POLIS_LOG=info,api=debug`).
const DEFAULT_FILTER: &str = "info";

/// How much is logged, as etcd's `--log-level` has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum LogLevel {
    Debug,
    Info,
    Warn,
    Error,
    // etcd's last two end the process; what they log is an error.
    Panic,
    Fatal,
}

/// Roles log one JSON object a line, terminals get text. Once per process.
pub fn init() {
    init_at(None);
}

/// As [`init`], unless `POLIS_LOG` says otherwise at `level`.
pub fn init_at(level: Option<LogLevel>) {
    let default = match level {
        None => DEFAULT_FILTER,
        Some(LogLevel::Debug) => "debug",
        Some(LogLevel::Info) => "info",
        Some(LogLevel::Warn) => "warn",
        Some(LogLevel::Error | LogLevel::Panic | LogLevel::Fatal) => "error",
    };
    let filter = EnvFilter::try_from_env("POLIS_LOG").unwrap_or_else(|_| EnvFilter::new(default));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    if std::io::stderr().is_terminal() {
        builder.init();
    } else {
        builder.json().flatten_event(true).with_current_span(false).init();
    }
}
