//! Each proxy of a run: its configuration in its own words, and how it is
//! started. All do the same: look up the unit of a user by a header, stamp the
//! request, count it, log nothing, and keep connections to the origin.

mod envoy;
mod haproxy;
mod nginx;
mod polis;

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use anyhow::Context;

use super::{
    Origin, Protocol, ProxyPeer, ProxyPlan, Relay, RelayKind, Security,
    certificates::Certificates,
    users::{Unit, User},
};
use crate::{
    child::{Server, free_address},
    target::Target,
};

/// Whom a run measures with one protocol.
pub(crate) struct Side {
    pub server: Server,
    pub kind: SideKind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SideKind {
    Polis,
    Peer,
    Ceiling,
}

/// What all sides are started with.
pub(crate) struct Setting<'a> {
    pub plan: &'a ProxyPlan,
    pub protocol: Protocol,
    pub security: Security,
    pub origin: Origin,
    pub users: &'a [User],
    pub certificates: &'a Certificates,
    pub folder: &'a Path,
}

/// One process to start.
struct Process {
    args: Vec<String>,
    /// Where it listens once it is up.
    listens: SocketAddr,
}

// === impl Side ===

impl Side {
    /// Knows units and stamps.
    pub fn is_routed(&self, protocol: Protocol) -> bool {
        self.kind != SideKind::Ceiling && protocol != Protocol::Tcp
    }
}

// === impl ProxyPeer ===

impl ProxyPeer {
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            ProxyPeer::Haproxy(_) => "haproxy",
            ProxyPeer::Envoy(_) => "envoy",
            ProxyPeer::Nginx(_) => "nginx",
        }
    }

    pub(crate) fn binary(&self) -> &Path {
        let (ProxyPeer::Haproxy(binary) | ProxyPeer::Envoy(binary) | ProxyPeer::Nginx(binary)) =
            self;
        binary
    }

    /// The first line that says it.
    pub(crate) fn version(&self) -> anyhow::Result<String> {
        let flag = if matches!(self, ProxyPeer::Envoy(_)) { "--version" } else { "-v" };
        let binary = self.binary();
        let said = std::process::Command::new(binary).arg(flag).output();
        let said = said.with_context(|| format!("run {}", binary.display()))?;
        let said = String::from_utf8_lossy(&[said.stdout, said.stderr].concat()).into_owned();
        let line = said.lines().find(|line| line.contains("ersion")).unwrap_or_default();
        Ok(line.trim().to_owned())
    }
}

// === impl Setting ===

impl Setting<'_> {
    pub async fn polis(&self) -> anyhow::Result<Side> {
        let listen = free_address()?;
        let processes = vec![self.polis_process(listen)?];
        let server = self.start("polis", &self.plan.polis, processes, listen).await?;
        Ok(Side { server, kind: SideKind::Polis })
    }

    pub async fn peer(&self, peer: &ProxyPeer) -> anyhow::Result<Side> {
        let (listen, binary) = (free_address()?, peer.binary());
        let processes = match peer {
            ProxyPeer::Haproxy(_) => vec![self.haproxy(listen)?],
            ProxyPeer::Envoy(_) => vec![self.envoy(listen)?],
            ProxyPeer::Nginx(_) => self.nginx(binary, listen)?,
        };
        let server = self.start(peer.name(), binary, processes, listen).await?;
        Ok(Side { server, kind: SideKind::Peer })
    }

    pub async fn relay(&self, kind: RelayKind) -> anyhow::Result<Side> {
        let relay = Relay {
            kind,
            protocol: self.protocol,
            listen: free_address()?,
            to: match self.protocol {
                Protocol::Tcp => self.origin.echo,
                _ => self.origin.a,
            },
            workers: self.plan.workers,
            tls: (self.security != Security::None)
                .then(|| (self.certificates.server.clone(), self.security == Security::Mtls)),
        };
        let own = std::env::current_exe().unwrap_or_else(|_| self.plan.polis.clone());
        let processes = vec![Process { args: relay.args(), listens: relay.listen }];
        let server = self.start(kind.name(), &own, processes, relay.listen).await?;
        Ok(Side { server, kind: SideKind::Ceiling })
    }

    async fn start(
        &self,
        name: &'static str,
        binary: &Path,
        processes: Vec<Process>,
        listen: SocketAddr,
    ) -> anyhow::Result<Server> {
        let tls = self.certificates.client(self.security, self.protocol)?;
        let mut all = Server::running(name, Target { address: listen, tls });
        for (n, process) in processes.into_iter().enumerate() {
            let log = self.folder.join(format!("{name}-{n}.log"));
            let target = Target { address: process.listens, tls: None };
            all.join(Server::start(name, binary, &process.args, target, &log).await?);
        }
        Ok(all)
    }

    fn address_of(&self, unit: Unit) -> SocketAddr {
        match unit {
            Unit::A => self.origin.a,
            Unit::B => self.origin.b,
        }
    }

    /// Writes a file of one side.
    fn write(&self, name: &str, text: &str) -> anyhow::Result<PathBuf> {
        let path = self.folder.join(name);
        fs::write(&path, text).with_context(|| format!("write {}", path.display()))?;
        Ok(path)
    }
}

// === impl Relay ===

impl Relay {
    /// As our own binary reads it.
    fn args(&self) -> Vec<String> {
        let mut args = vec!["bench".to_owned(), "relay".to_owned()];
        let mut say = |name: &str, value: String| args.extend([name.to_owned(), value]);
        say("--kind", self.kind.name().to_owned());
        say("--protocol", self.protocol.name().to_owned());
        say("--listen", self.listen.to_string());
        say("--to", self.to.to_string());
        say("--workers", self.workers.to_string());
        if let Some((files, mutual)) = &self.tls {
            say("--cert-file", text(&files.cert));
            say("--key-file", text(&files.key));
            say("--ca-file", text(&files.ca));
            if *mutual {
                args.push("--client-cert-auth".to_owned());
            }
        }
        args
    }
}

// === impl RelayKind ===

impl RelayKind {
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            RelayKind::Bytes => "bytes",
            RelayKind::Hyper => "hyper",
        }
    }
}

fn text(path: &Path) -> String {
    path.display().to_string()
}
