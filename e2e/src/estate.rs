//! `polis up` in a folder and on ports of a test's own.

use std::{
    ffi::OsString,
    net::TcpListener,
    ops::Range,
    path::PathBuf,
    process::{Command, Output},
    sync::Mutex,
    time::Duration,
};

use serde_json::Value;

use crate::{Answer, Running, Scratch, http, peer, peer::kubectl, process};

/// A debug build on a busy two-core machine; people are promised 20 s.
const START_LIMIT: Duration = Duration::from_secs(310);
/// What `polis up` itself waits, and says what it waited for.
const START_SECONDS: &str = "300";
const STOP_LIMIT: Duration = Duration::from_secs(120);

/// Ports that one estate takes, from its base port on.
const PORTS: u16 = 260;

/// Blocks of ports are between these.
const BASES: Range<u16> = 21_000..32_000;

static BLOCKS: Mutex<Blocks> = Mutex::new(Blocks { next: BASES.start, claims: Vec::new() });

struct Blocks {
    next: u16,
    /// On the port behind every block that was given out: another test program
    /// that looks for a block at the same time passes over it.
    claims: Vec<TcpListener>,
}

pub struct Estate {
    pub up: Running,
    pub base_port: u16,
    pub data: PathBuf,
    scratch: Option<Scratch>,
}

// === impl Estate ===

impl Estate {
    /// Starts the layout and waits until it is ready.
    #[must_use]
    pub fn up(name: &str, layout: &str) -> Estate {
        let scratch = Scratch::new(name);
        let data = scratch.join("data");
        let estate = Estate::start(data, free_base_port(), layout);
        Estate { scratch: Some(scratch), ..estate }
    }

    /// As [`Estate::up`], with the store's log in a database.
    #[must_use]
    pub fn up_on(name: &str, layout: &str, database: &str) -> Estate {
        Estate::up_with(name, layout, &["--database", database])
    }

    /// As [`Estate::up`], with more arguments.
    #[must_use]
    pub fn up_with(name: &str, layout: &str, more: &[&str]) -> Estate {
        let scratch = Scratch::new(name);
        let data = scratch.join("data");
        let estate = Estate::start_with(data, free_base_port(), layout, more);
        Estate { scratch: Some(scratch), ..estate }
    }

    /// Stops it as Ctrl-C does, and starts it again on the same data.
    #[must_use]
    pub fn again(mut self, layout: &str) -> Estate {
        self.stop();
        let (data, base_port, scratch) = (self.data.clone(), self.base_port, self.scratch.take());
        drop(self);
        Estate { scratch, ..Estate::start(data, base_port, layout) }
    }

    /// Starts on a folder that the caller keeps.
    #[must_use]
    pub fn start(data: PathBuf, base_port: u16, layout: &str) -> Estate {
        Estate::start_with(data, base_port, layout, &[])
    }

    /// As [`Estate::start`], with more arguments.
    #[must_use]
    pub fn start_with(data: PathBuf, base_port: u16, layout: &str, more: &[&str]) -> Estate {
        let (shown, port) = (data.display().to_string(), base_port.to_string());
        let mut args = vec!["up", "--data", &shown, "--base-port", &port, "--layout", layout];
        args.extend(["--start-timeout", START_SECONDS]);
        args.extend(more);
        let mut command = Command::new(process::polis());
        let mut up = Running::spawn(command.args(&args).env("PATH", path_with_nft()));
        up.wait_for_line("Ctrl-C stops everything", START_LIMIT);
        Estate { up, base_port, data, scratch: None }
    }

    /// Ctrl-C, and the wait for the end.
    pub fn stop(&mut self) {
        self.up.signal(rustix::process::Signal::INT);
        let status = self.up.wait(STOP_LIMIT);
        assert!(status.success(), "up ended with {status}:\n{}", self.up.printed());
    }

    #[must_use]
    pub fn edge_port(&self, index: u16) -> u16 {
        self.base_port + 20 + index
    }

    /// Where the API server of a center listens itself.
    #[must_use]
    pub fn api_port(&self, index: u16) -> u16 {
        self.base_port + 10 + index
    }

    /// A request to an edge.
    #[must_use]
    pub fn edge(
        &self,
        index: u16,
        method: &str,
        path: &str,
        headers: &[&str],
        body: &str,
    ) -> Answer {
        http::request(self.edge_port(index), method, path, headers, body.as_bytes())
    }

    /// The real kubectl with this estate's kubeconfig.
    #[must_use]
    pub fn kubectl_command(&self) -> Command {
        let mut kubectl = kubectl(&self.data.join("kubectl-cache"));
        kubectl.arg("--kubeconfig").arg(self.data.join("kubeconfig"));
        kubectl
    }

    #[must_use]
    pub fn kubectl(&self, args: &[&str]) -> Output {
        self.kubectl_command().args(args).output().expect("run kubectl")
    }

    /// One drill under a small load, confirmed: its report.
    #[must_use]
    pub fn drill(&self, fault: &[&str]) -> Value {
        let load = ["--rate", "100", "--users", "200", "-o", "json", "--yes"];
        let args: Vec<_> = ["drill"].iter().chain(fault).chain(&load).copied().collect();
        let output = self.polis(&args);
        let said = String::from_utf8_lossy(&output.stderr);
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {said}"))
    }

    /// A verb of ours on this estate.
    #[must_use]
    pub fn polis(&self, args: &[&str]) -> Output {
        let data = self.data.display().to_string();
        let mut all = args.to_vec();
        all.extend(["--data", data.as_str()]);
        process::run(&all)
    }
}

/// Where `polis up` finds what loses packets, wherever else it may be.
#[must_use]
pub fn path_with_nft() -> OsString {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let nft = std::iter::once(peer::peer_at("nftables/bin"));
    std::env::join_paths(nft.chain(std::env::split_paths(&path))).expect("a path without colons")
}

/// A base port whose whole block is free, and ours until all have been given
/// out, which the first are not used any more by then.
#[must_use]
pub fn free_base_port() -> u16 {
    let mut blocks = BLOCKS.lock().expect("nobody panics holding it");
    for _ in BASES {
        let base = blocks.next;
        blocks.next += PORTS + 1;
        if blocks.next > BASES.end {
            (blocks.next, blocks.claims) = (BASES.start, Vec::new());
            continue;
        }
        let Ok(claim) = TcpListener::bind(("127.0.0.1", base + PORTS)) else { continue };
        let free = |port| TcpListener::bind(("127.0.0.1", port)).is_ok();
        if (base..base + PORTS).step_by(5).all(free) && free(base) && free(base + 1) {
            blocks.claims.push(claim);
            return base;
        }
    }
    panic!("no block of ports is free between {} and {}", BASES.start, BASES.end)
}
