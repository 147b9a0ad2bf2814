//! The audit log: what was asked, by whom, and what came of it, as far as the
//! operator's policy wants it, in kube-apiserver's form (`audit.k8s.io/v1`).
//!
//! A request walks: [`asked`] (what it is about) → [`policy`] (how much of it)
//! → [`trail`] (what becomes known of it on its way) → [`event`] (one line) →
//! [`log`] (a thread that writes) → [`file`].
//!
//! Without a policy there is no trail, and of writes one [`line`] in the
//! process's own log.

mod asked;
mod bodies;
mod document;
mod event;
mod file;
pub mod line;
mod log;
mod mark;
mod policy;
mod trail;

use std::{
    fmt::Write as _,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use self::{
    log::Log,
    policy::{Level, Policy},
};
pub use self::{
    mark::{AuditId, mark},
    trail::{Trail, annotate, held, is_on, wants_bodies},
};
use crate::settings;

/// Whose decision is kept, and in what words.
pub const DECISION: &str = "authorization.k8s.io/decision";
pub const REASON: &str = "authorization.k8s.io/reason";

/// A policy, and where its events go.
pub struct Audit {
    policy: Policy,
    log: Arc<Log>,
    event_bytes_max: Option<usize>,
    /// Requests, by the level that was decided for them.
    levels: [AtomicU64; Level::ALL.len()],
    /// Requests that were refused because their event could not be written.
    rejected: AtomicU64,
}

/// Fails when the file is no policy, and says where it is wrong.
pub fn check_policy(policy_file: &Path) -> Result<(), String> {
    document::read(policy_file).map(|_| ())
}

// === impl Audit ===

impl Audit {
    /// The message names the file that cannot be used.
    pub fn open(settings: &settings::Audit) -> Result<Audit, String> {
        let policy = document::read(&settings.policy_file)?;
        let path = settings.log.path.display();
        let log = Log::open(settings.log.clone()).map_err(|error| format!("{path}: {error}"))?;
        Ok(Audit {
            policy,
            log: Arc::new(log),
            event_bytes_max: settings.log.event_bytes_max,
            levels: Default::default(),
            rejected: AtomicU64::new(0),
        })
    }

    /// Until every event there is has been written.
    pub async fn flush(&self) {
        self.log.flush().await;
    }

    /// In Prometheus' text form.
    pub fn show(&self) -> String {
        let mut out = String::with_capacity(1024);
        let load = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let counts = self.log.counts();
        let (written, lost) = (load(&counts.written), load(&counts.lost));
        let mut counter = |name: &str, help: &str, series: &[(String, u64)]| {
            let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} counter");
            for (labels, count) in series {
                let _ = writeln!(out, "{name}{labels} {count}");
            }
        };
        let bare = |count| [(String::new(), count)];
        counter("apiserver_audit_event_total", "Events of the audit log.", &bare(written + lost));
        counter(
            "apiserver_audit_error_total",
            "Events of the audit log that are lost.",
            &[("{plugin=\"log\"}".to_owned(), lost)],
        );
        counter(
            "apiserver_audit_requests_rejected_total",
            "Requests that were refused because their event could not be written.",
            &bare(load(&self.rejected)),
        );
        let levels = Level::ALL.iter().zip(&self.levels);
        let levels: Vec<(String, u64)> = levels
            .map(|(level, count)| (format!("{{level=\"{}\"}}", level.as_str()), load(count)))
            .collect();
        counter("apiserver_audit_level_total", "Requests, by the policy's level.", &levels);
        out
    }
}
