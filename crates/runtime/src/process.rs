//! A process under watch: when it ends, how it ended, how to end it.
//!
//! Everything goes by pidfd, which names this process and no later one of the
//! same number, and which works for processes that another agent started. Only
//! how such a process ended is not known: the kernel tells its parent alone.

use std::{io, os::fd::OwnedFd, sync::OnceLock, time::Duration};

use rustix::{
    io::Errno,
    process::{
        Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, kill_process_group, pidfd_open, waitid,
    },
};
use serde::{Deserialize, Serialize};
use tokio::io::{Interest, unix::AsyncFd};

use crate::{proc, record::Running};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Exit {
    Code(i32),
    Signal(i32),
    /// It ended, but it was no child of ours.
    Unknown,
}

/// Dropping it leaves the process alone.
#[derive(Debug)]
pub struct Process {
    pid: Pid,
    pidfd: AsyncFd<OwnedFd>,
    exit: OnceLock<Exit>,
}

// === impl Exit ===

impl Exit {
    /// As shells and Kubernetes show it: 128 + signal for a signal.
    #[must_use]
    pub fn code(self) -> i32 {
        match self {
            Exit::Code(code) => code,
            Exit::Signal(signal) => 128 + signal,
            Exit::Unknown => 137,
        }
    }
}

// === impl Process ===

impl Process {
    /// Watches a child of ours that was not reaped yet.
    pub(crate) fn watch(pid: Pid) -> io::Result<Process> {
        let pidfd = pidfd_open(pid, PidfdFlags::NONBLOCK)?;
        // SAFETY: an `OwnedFd` gives the same open descriptor for as long as it
        // lives, and the registration ends before it does: `AsyncFd` owns both.
        #[allow(unsafe_code)]
        let pidfd = unsafe { AsyncFd::register_with_interest(pidfd, Interest::READABLE)? };
        Ok(Process { pid, pidfd, exit: OnceLock::new() })
    }

    /// The recorded process, if it is still the same one.
    pub(crate) fn adopt(running: &Running, boot_id: &str) -> io::Result<Option<Process>> {
        let Some(pid) = Pid::from_raw(running.pid).filter(|_| running.boot_id == boot_id) else {
            return Ok(None);
        };
        let process = match Process::watch(pid) {
            Ok(process) => process,
            Err(error) if error.raw_os_error() == Some(Errno::SRCH.raw_os_error()) => {
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        // Compared after the pidfd is held: from here on the number is ours.
        let same = proc::start_ticks(pid) == Some(running.start_ticks);
        Ok(same.then_some(process))
    }

    #[must_use]
    pub fn pid(&self) -> i32 {
        self.pid.as_raw_nonzero().get()
    }

    /// Waits for the end. Cancel-safe, any number of callers.
    pub async fn exited(&self) -> Exit {
        if self.exit.get().is_none() {
            // An error here would mean that the runtime is shutting down.
            let _ = self.pidfd.readable().await;
        }
        *self.exit.get_or_init(|| self.reap())
    }

    /// SIGTERM to the group, `grace` to finish, then SIGKILL.
    pub async fn stop(&self, grace: Duration) -> Exit {
        self.signal(Signal::TERM);
        match tokio::time::timeout(grace, self.exited()).await {
            Ok(exit) => exit,
            Err(_) => self.kill().await,
        }
    }

    pub async fn kill(&self) -> Exit {
        self.signal(Signal::KILL);
        self.exited().await
    }

    /// Not seen to have ended means that the group's number is still its own:
    /// an unreaped leader keeps it.
    fn signal(&self, signal: Signal) {
        if self.exit.get().is_some() {
            return;
        }
        match kill_process_group(self.pid, signal) {
            Ok(()) | Err(Errno::SRCH) => {}
            Err(error) => tracing::warn!(pid = self.pid(), %error, "could not signal a container"),
        }
    }

    fn reap(&self) -> Exit {
        use std::os::fd::AsFd as _;
        let ended = |options| waitid(WaitId::PidFd(self.pidfd.as_fd()), options);
        let look = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
        if let Ok(Some(_)) = ended(look | WaitIdOptions::NOWAIT) {
            // What the leader left behind goes with it, while its number is ours.
            let _ = kill_process_group(self.pid, Signal::KILL);
        }
        match ended(look) {
            Ok(Some(status)) => match (status.exit_status(), status.terminating_signal()) {
                (Some(code), _) => Exit::Code(code),
                (None, Some(signal)) => Exit::Signal(signal),
                (None, None) => Exit::Unknown,
            },
            // ECHILD: adopted.
            Ok(None) | Err(_) => Exit::Unknown,
        }
    }
}
