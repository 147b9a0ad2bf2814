//! One child process of `polis up`, dying with it at the latest.

use std::{
    fs::{self, File},
    io,
    os::fd::{AsFd, OwnedFd},
    path::{Path, PathBuf},
    process::Stdio,
};

use anyhow::Context;
use rustix::{
    process::{Pid, PidfdFlags, Signal},
    thread::{LinkNameSpaceType, move_into_link_name_space},
};
use tokio::process::{Child, Command};

/// A log larger than this is moved aside when its process starts.
const LOG_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// How to start a child: this binary again, with other arguments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    pub name: String,
    pub args: Vec<String>,
    pub log: PathBuf,
    /// Beside our own environment.
    pub envs: Vec<(String, String)>,
    /// The network namespace it lives in, if not ours.
    pub network: Option<PathBuf>,
}

/// A started child. Signals go through the pidfd, so a recycled process id is
/// never hit.
#[derive(Debug)]
pub struct Process {
    pub pid: Pid,
    pidfd: OwnedFd,
}

// === impl Program ===

impl Program {
    /// Starts it. Must be called on the main thread: the kernel ties "die with
    /// the parent" to the thread that forked, and only that one lives as long
    /// as the process.
    pub fn start(&self) -> anyhow::Result<(Process, Child)> {
        let exe = std::env::current_exe().context("find our own binary")?;
        let log = open_log(&self.log).with_context(|| format!("open {}", self.log.display()))?;
        let mut command = Command::new(exe);
        command.args(&self.args).envs(self.envs.iter().cloned()).stdin(Stdio::null());
        command.stdout(log.try_clone().context("duplicate log file")?).stderr(log);
        let parent = rustix::process::getpid();
        let network = self.network.as_ref().map(File::open).transpose();
        let network = network.with_context(|| format!("open the network of {}", self.name))?;
        let prepare = move || {
            if let Some(network) = &network {
                let kind = Some(LinkNameSpaceType::Network);
                move_into_link_name_space(network.as_fd(), kind)?;
            }
            // Away from our terminal: its Ctrl-C is ours to pass on, in order.
            rustix::process::setsid()?;
            rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
            if rustix::process::getppid() == Some(parent) {
                Ok(())
            } else {
                // The parent died before the request was in place.
                Err(io::Error::from_raw_os_error(rustix::io::Errno::SRCH.raw_os_error()))
            }
        };
        // SAFETY: between fork and exec only async-signal-safe work is allowed;
        // the closure makes system calls and builds an error from a number.
        #[allow(unsafe_code)]
        unsafe {
            command.pre_exec(prepare);
        }
        let child = command.spawn().with_context(|| format!("start {}", self.name))?;
        let pid = child
            .id()
            .and_then(|pid| Pid::from_raw(pid.cast_signed()))
            .expect("a child that was not waited for has a process id");
        let pidfd = rustix::process::pidfd_open(pid, PidfdFlags::empty())
            .with_context(|| format!("open process of {}", self.name))?;
        Ok((Process { pid, pidfd }, child))
    }
}

// === impl Process ===

impl Process {
    /// Signals this process; one that has ended already is left alone.
    pub fn signal(&self, signal: Signal) {
        let _ = rustix::process::pidfd_send_signal(&self.pidfd, signal);
    }

    /// Signals this process and everything it started. Stopping begins with the
    /// parent and continuing ends with it, so that it never sees its children
    /// half stopped.
    pub fn signal_tree(&self, signal: Signal) {
        let pods = self.below();
        if signal != Signal::CONT {
            self.signal(signal);
        }
        for pod in pods {
            let _ = rustix::process::kill_process(pod, signal);
        }
        if signal == Signal::CONT {
            self.signal(signal);
        }
    }

    /// Everything that it started, at any depth.
    pub fn below(&self) -> Vec<Pid> {
        children(self.pid)
    }
}

/// What a process runs: a role of ours, or the name of its program.
pub fn program_of(pid: Pid) -> Option<String> {
    let line = fs::read(format!("/proc/{}/cmdline", pid.as_raw_nonzero())).ok()?;
    let mut args = line.split(|byte| *byte == 0).map(String::from_utf8_lossy);
    let (program, first) = (args.next()?, args.next());
    let ours = std::env::current_exe().ok()?;
    let name = match first {
        Some(role) if Path::new(&*program) == ours => role.into_owned(),
        _ => Path::new(&*program).file_name()?.to_string_lossy().into_owned(),
    };
    Some(name)
}

/// Processes below `parent`, at any depth.
fn children(parent: Pid) -> Vec<Pid> {
    let pid_of = |entry: fs::DirEntry| entry.file_name().to_str()?.parse::<i32>().ok();
    let pairs: Vec<(i32, i32)> = fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(pid_of)
        .filter_map(|pid| Some((pid, parent_of(pid)?)))
        .collect();
    let mut found = vec![parent.as_raw_nonzero().get()];
    let mut next = 0;
    while let Some(parent) = found.get(next).copied() {
        found.extend(pairs.iter().filter(|(_, ppid)| *ppid == parent).map(|(pid, _)| *pid));
        next += 1;
    }
    found.into_iter().skip(1).filter_map(Pid::from_raw).collect()
}

/// Whether it was stopped by a signal.
pub fn stands_still(pid: Pid) -> bool {
    stat(pid.as_raw_nonzero().get()).is_some_and(|(state, _)| state == "T")
}

fn parent_of(pid: i32) -> Option<i32> {
    stat(pid)?.1.parse().ok()
}

/// Fields 3 and 4 of `/proc/PID/stat`, state and parent; the name before them
/// may contain anything.
fn stat(pid: i32) -> Option<(String, String)> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, after_name) = stat.rsplit_once(')')?;
    let mut fields = after_name.split_whitespace().map(ToOwned::to_owned);
    Some((fields.next()?, fields.next()?))
}

fn open_log(path: &Path) -> io::Result<File> {
    if let Some(dir) = path.parent() {
        fs::create_dir_all(dir)?;
    }
    if fs::metadata(path).is_ok_and(|log| log.len() > LOG_BYTES_MAX) {
        fs::rename(path, path.with_extension("log.1"))?;
    }
    File::options().create(true).append(true).open(path)
}
