//! One thread that starts every process.
//!
//! Why a thread of its own: the kernel ties "die with the parent" to the thread
//! that forked, not to its process. A pool's worker may end at any time and
//! would take healthy processes with it; this one lives as long as its runtime.

use std::{
    fs, io,
    os::{
        fd::{BorrowedFd, OwnedFd},
        unix::process::CommandExt as _,
    },
    path::PathBuf,
    process::{Command, Stdio},
    sync::mpsc,
    thread,
};

use rustix::{
    io::{FdFlags, fcntl_setfd},
    process::{Pid, Signal},
};
use tokio::sync::oneshot;

/// Starts waiting for the thread at once; beyond it callers wait in line.
const QUEUE: usize = 16;

pub(crate) struct Spawner {
    queue: mpsc::SyncSender<(Start, oneshot::Sender<io::Result<Pid>>)>,
}

pub(crate) struct Start {
    pub program: String,
    pub args: Vec<String>,
    pub env: Vec<(String, String)>,
    pub working_dir: PathBuf,
    pub input: Option<OwnedFd>,
    pub stdout: OwnedFd,
    pub stderr: OwnedFd,
    /// Its input is a terminal, to be the one it is controlled by.
    pub terminal: bool,
    pub die_with_parent: bool,
}

// === impl Spawner ===

impl Spawner {
    pub(crate) fn start() -> io::Result<Spawner> {
        keep_inherited_files_to_ourselves()?;
        let (queue, starts) = mpsc::sync_channel::<(Start, oneshot::Sender<_>)>(QUEUE);
        thread::Builder::new().name("spawner".into()).stack_size(128 << 10).spawn(move || {
            for (start, answer) in starts {
                // A caller that gave up waiting finds the process by its mark.
                let _ = answer.send(spawn(start));
            }
        })?;
        Ok(Spawner { queue })
    }

    pub(crate) async fn spawn(&self, start: Start) -> io::Result<Pid> {
        let gone = || io::Error::other("the spawner thread has ended");
        let (answer, pid) = oneshot::channel();
        self.queue.try_send((start, answer)).map_err(|error| match error {
            mpsc::TrySendError::Full(_) => io::Error::from(io::ErrorKind::ResourceBusy),
            mpsc::TrySendError::Disconnected(_) => gone(),
        })?;
        pid.await.map_err(|_| gone())?
    }
}

/// All we open ourselves is closed on exec. What whoever started us left open is
/// not, and containers would inherit it.
fn keep_inherited_files_to_ourselves() -> io::Result<()> {
    for entry in fs::read_dir("/proc/self/fd")? {
        let Some(fd) = entry?.file_name().to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        if fd > 2 {
            // SAFETY: the descriptor is used for this one call. Should another
            // thread close it meanwhile, the call fails or marks a later file
            // that is closed on exec anyway.
            #[allow(unsafe_code)]
            let fd = unsafe { BorrowedFd::borrow_raw(fd) };
            let _ = fcntl_setfd(fd, FdFlags::CLOEXEC);
        }
    }
    Ok(())
}

fn spawn(start: Start) -> io::Result<Pid> {
    let Start { program, args, env, working_dir, input, stdout, stderr, .. } = start;
    let (terminal, die_with_parent) = (start.terminal, start.die_with_parent);
    let mut command = Command::new(program);
    command.args(args).env_clear().envs(env).current_dir(working_dir);
    command.stdin(input.map_or_else(Stdio::null, Stdio::from)).stdout(stdout).stderr(stderr);
    let parent = rustix::process::getpid();
    let prepare = move || {
        // A session of its own: signals meant for our terminal do not reach it,
        // and one signal to its group reaches all it started.
        rustix::process::setsid()?;
        if terminal {
            // SAFETY: 0 is the input that was put in place before this closure
            // runs, and is open for as long as the call takes.
            #[allow(unsafe_code)]
            let input = unsafe { BorrowedFd::borrow_raw(0) };
            rustix::process::ioctl_tiocsctty(input)?;
        }
        if die_with_parent {
            rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
            // The parent may have died before the request was in place.
            if rustix::process::getppid() != Some(parent) {
                return Err(io::Error::from_raw_os_error(rustix::io::Errno::SRCH.raw_os_error()));
            }
        }
        Ok(())
    };
    // SAFETY: between fork and exec only async-signal-safe work is allowed. The
    // closure makes four system calls through rustix (no allocation, no locks)
    // and builds errors from plain numbers.
    #[allow(unsafe_code)]
    unsafe {
        command.pre_exec(prepare);
    }
    let child = command.spawn()?;
    // `Child` neither kills nor reaps when dropped: `Process` does, by pidfd.
    let raw = i32::try_from(child.id()).expect("a pid fits pid_t");
    Ok(Pid::from_raw(raw).expect("a child's pid is positive"))
}
