//! The servers under test: started, waited for, killed at the end.

use std::{
    fs::File,
    io,
    net::{SocketAddr, TcpListener},
    os::unix::process::CommandExt as _,
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Context, bail};
use rustix::process::Signal;
use tokio::net::TcpStream;

use crate::{target::Target, usage};

const START_TIMEOUT: Duration = Duration::from_secs(30);
/// How exactly it is known when a server began to listen.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// Below the range from which the kernel gives ports to connections.
const PORTS: std::ops::Range<u16> = 21_000..30_000;

/// Between those at which a process begins to look, and the next one.
const APART: u32 = 2503;

/// A server that listens; one of ours is killed when this is dropped.
pub(crate) struct Server {
    pub name: &'static str,
    pub target: Target,
    /// None if somebody else has started it.
    children: Vec<Child>,
}

/// Whom nobody listens to yet.
pub(crate) fn free_address() -> anyhow::Result<SocketAddr> {
    // Where to begin differs from process to process, by more ports than a run
    // takes, so that two runs do not take the same one between look and use.
    let count = PORTS.end - PORTS.start;
    let offset = std::process::id().wrapping_mul(APART) % u32::from(count);
    let offset = u16::try_from(offset).unwrap_or(0);
    let ports = (0..count).map(|n| PORTS.start + (offset + n) % count);
    for port in ports {
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        if TcpListener::bind(address).is_ok() && !TAKEN.with_borrow(|taken| taken.contains(&port)) {
            TAKEN.with_borrow_mut(|taken| taken.push(port));
            return Ok(address);
        }
    }
    bail!("no free port in {PORTS:?}")
}

thread_local! {
    /// Given out already, though nobody may listen there yet.
    static TAKEN: std::cell::RefCell<Vec<u16>> = const { std::cell::RefCell::new(Vec::new()) };
}

// === impl Server ===

impl Server {
    /// Started by somebody else.
    pub fn running(name: &'static str, target: Target) -> Server {
        Server { name, target, children: Vec::new() }
    }

    /// Another process of the same server.
    pub fn join(&mut self, mut other: Server) {
        self.children.append(&mut other.children);
    }

    /// Starts one and waits until it accepts connections. Must be called on
    /// the main thread, with which the child dies at the latest.
    pub async fn start(
        name: &'static str,
        binary: &Path,
        args: &[String],
        target: Target,
        log: &Path,
    ) -> anyhow::Result<Server> {
        let output = File::create(log).with_context(|| format!("create {}", log.display()))?;
        let mut command = Command::new(binary);
        command.args(args).stdin(Stdio::null());
        command.stdout(output.try_clone().context("duplicate log file")?).stderr(output);
        // SAFETY: between fork and exec only async-signal-safe work is allowed;
        // the closure makes one system call.
        #[allow(unsafe_code)]
        unsafe {
            command.pre_exec(|| {
                rustix::process::set_parent_process_death_signal(Some(Signal::KILL))
                    .map_err(io::Error::from)
            });
        }
        let child = command.spawn().with_context(|| format!("start {}", binary.display()))?;
        let mut server = Server { name, target, children: vec![child] };
        let started = tokio::time::timeout(START_TIMEOUT, server.ready()).await;
        match started {
            Ok(true) => Ok(server),
            Ok(false) | Err(_) => {
                let said = std::fs::read_to_string(log).unwrap_or_default();
                bail!("{name} did not start; it said:\n{said}")
            }
        }
    }

    /// False when it has ended instead.
    async fn ready(&mut self) -> bool {
        loop {
            if TcpStream::connect(self.target.address).await.is_ok() {
                return true;
            }
            if self.children.iter_mut().any(|child| !matches!(child.try_wait(), Ok(None))) {
                return false;
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// CPU time used so far, where it can be seen.
    pub fn cpu(&self) -> Option<Duration> {
        self.sum(usage::cpu)
    }

    /// Of several processes, what each has a share in.
    pub fn resident_bytes(&self) -> Option<u64> {
        match &self.children[..] {
            [child] => usage::resident_bytes(child.id()),
            _ => self.sum(usage::share_bytes),
        }
    }

    fn sum<T: std::iter::Sum>(&self, of: impl Fn(u32) -> Option<T>) -> Option<T> {
        let is_ours = !self.children.is_empty();
        is_ours.then(|| self.children.iter().map(|child| of(child.id())).sum())?
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        for child in &mut self.children {
            // One that has ended already needs no signal.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
