//! Tasks whose kind says what their failure means.

use std::future::Future;

use tokio::task::JoinHandle;

/// What the end of a task by panic means for the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TaskKind {
    /// Nothing works without it: the process ends, and is started again.
    Critical,
    /// One connection or one request: only that ends.
    Connection,
}

/// Exit code of a process that ended because a critical task panicked.
pub const EXIT_CRITICAL_TASK: i32 = 70;

/// Spawns `future` on the current runtime under `name`.
pub fn spawn<F>(kind: TaskKind, name: &'static str, future: F) -> JoinHandle<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    match kind {
        TaskKind::Connection => tokio::spawn(future),
        TaskKind::Critical => {
            let guard = ExitOnPanic { name };
            tokio::spawn(async move {
                let output = future.await;
                std::mem::forget(guard);
                output
            })
        }
    }
}

/// Dropped without being forgotten: by unwinding, or because the runtime shuts
/// down, which is no failure.
struct ExitOnPanic {
    name: &'static str,
}

// === impl ExitOnPanic ===

impl Drop for ExitOnPanic {
    fn drop(&mut self) {
        if std::thread::panicking() {
            tracing::error!(task = self.name, "critical task panicked; ending the process");
            std::process::exit(EXIT_CRITICAL_TASK);
        }
    }
}
