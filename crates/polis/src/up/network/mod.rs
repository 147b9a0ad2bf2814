//! A network per center: each lives in a namespace of its own, with one link to
//! a bridge that stands for the lines between the cities.
//!
//! Faults are rules of that bridge and not of a center's own namespace: there
//! they would answer the sender with an error, and a cable that was cut does
//! not. The machine itself is at the bridge too; it is where the users are.
//!
//! What is made carries the estate's number in its name and the data folder as
//! the bridge's alias. Whatever an `up` that was killed left behind is found by
//! both, and removed by the next start or by `polis up --cleanup`.

mod rules;

use std::{
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, bail};

use super::fault::{Cut, STORE};
use crate::{layout::Layout, subnet::Subnet};

/// Where `ip` keeps its namespaces.
const NAMESPACES: &str = "/run/netns";
const LINKS: &str = "/sys/class/net";

/// Of a slow line: one large packet may pass at once, and what waits longer than
/// a person would call slow is lost.
const BURST_BYTES: u32 = 16 * 1024;
const QUEUE_MS: u32 = 400;

/// An estate's networks, for as long as it runs.
pub struct Network {
    layout: Layout,
    subnet: Subnet,
    cuts: Vec<Cut>,
}

/// Claims a number that nobody uses: the bridge with its name is ours from now
/// on. `earlier` is removed first if it is what this folder left behind.
pub fn claim(data: &Path, earlier: Option<Subnet>) -> anyhow::Result<Subnet> {
    check_possible()?;
    if let Some(earlier) = earlier {
        remove(data, earlier)?;
    }
    let alias = data.display();
    for subnet in earlier.into_iter().chain(Subnet::all()) {
        // Fails when there is one already, so that two never share a number.
        if ip(None, &format!("link add {subnet} type bridge\n")).is_ok() {
            let alias = format!("link set {subnet} alias \"{alias}\"\n");
            ip(None, &alias).context("mark the bridge as ours")?;
            return Ok(subnet);
        }
    }
    bail!("{}: every one of 254 networks is taken", errors::NETWORK_UNAVAILABLE)
}

/// Removes what this folder's estate left behind, and nothing of others.
pub fn remove(data: &Path, subnet: Subnet) -> anyhow::Result<()> {
    let alias = format!("{LINKS}/{subnet}/ifalias");
    let owner = std::fs::read_to_string(alias).unwrap_or_default();
    if Path::new(owner.trim_end()) != data {
        return Ok(());
    }
    nft(&rules::none(subnet))?;
    let prefix = subnet.namespace("");
    let mut batch = String::new();
    // Links first: they would end with their namespaces, but some time later.
    for (dir, what) in [(LINKS, "link"), (NAMESPACES, "netns")] {
        for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.starts_with(&prefix) {
                batch.push_str(&format!("{what} del {name}\n"));
            }
        }
    }
    // The bridge last: as long as it is there, all this is found again.
    batch.push_str(&format!("link del {subnet}\n"));
    ip(None, &batch).context("remove the networks of an earlier run")
}

fn check_possible() -> anyhow::Result<()> {
    let code = errors::NETWORK_UNAVAILABLE;
    if !rustix::process::geteuid().is_root() {
        bail!("{code}: networks per center need root. {}", code.remedy());
    }
    for (program, flag) in [("ip", "-V"), ("nft", "-v")] {
        let tried = Command::new(program).arg(flag).output();
        if !tried.is_ok_and(|output| output.status.success()) {
            bail!("{code}: the program `{program}` is not here. {}", code.remedy());
        }
    }
    Ok(())
}

// === impl Network ===

impl Network {
    /// Makes a namespace and a link for every center and for the store.
    pub fn build(layout: &Layout, subnet: Subnet) -> anyhow::Result<Network> {
        let host = format!("address add {}/24 dev {subnet}\nlink set {subnet} up\n", subnet.host());
        ip(None, &host).context("give the bridge its address")?;
        let centers = layout.centers.iter().map(|plan| (plan.center.as_str(), plan.address));
        let places = std::iter::once((STORE, subnet.store())).chain(centers);
        for (index, (place, address)) in places.enumerate() {
            let (namespace, link) = (subnet.namespace(place), subnet.link(index));
            let outside = format!(
                "netns add {namespace}\n\
                 link add {link} type veth peer name eth0 netns {namespace}\n\
                 link set {link} master {subnet} up\n"
            );
            let inside =
                format!("link set lo up\naddress add {address}/24 dev eth0\nlink set eth0 up\n");
            ip(None, &outside)
                .and_then(|()| ip(Some(&namespace), &inside))
                .with_context(|| format!("make the network of {place}"))?;
        }
        Ok(Network { layout: layout.clone(), subnet, cuts: Vec::new() })
    }

    /// The file by which a process enters the namespace of a center or the store.
    #[must_use]
    pub fn namespace(&self, place: &str) -> PathBuf {
        Path::new(NAMESPACES).join(self.subnet.namespace(place))
    }

    /// From now on, these packets are lost.
    pub fn cut(&mut self, cut: &Cut) -> anyhow::Result<()> {
        self.cuts.push(cut.clone());
        let applied = self.apply();
        if applied.is_err() {
            self.cuts.pop();
        }
        applied
    }

    /// Ends one cut; others go on.
    pub fn heal(&mut self, cut: &Cut) -> anyhow::Result<()> {
        if let Some(index) = self.cuts.iter().position(|standing| standing == cut) {
            self.cuts.remove(index);
        }
        self.apply()
    }

    /// From now on, the lines of these centers carry so much and no more, in
    /// each direction. What does not fit waits its turn, and is dropped when it
    /// has waited for too long.
    pub fn slow(&self, centers: &[String], kbit: u32) -> anyhow::Result<()> {
        let limit = format!("tbf rate {kbit}kbit burst {BURST_BYTES} latency {QUEUE_MS}ms");
        for (namespace, device) in self.ends(centers)? {
            tc(namespace.as_deref(), &format!("qdisc replace dev {device} root {limit}\n"))?;
        }
        Ok(())
    }

    pub fn hasten(&self, centers: &[String]) -> anyhow::Result<()> {
        for (namespace, device) in self.ends(centers)? {
            // One that carries no limit has nothing to delete.
            let _ = tc(namespace.as_deref(), &format!("qdisc del dev {device} root\n"));
        }
        Ok(())
    }

    /// Both ends of each center's line: where its namespace sends, and where the
    /// bridge does.
    fn ends(&self, centers: &[String]) -> anyhow::Result<Vec<(Option<String>, String)>> {
        let mut ends = Vec::new();
        for name in centers {
            let mut plans = self.layout.centers.iter();
            let index = plans.position(|plan| plan.center.as_str() == name);
            let index = index.with_context(|| format!("{name:?} has no line"))?;
            ends.push((Some(self.subnet.namespace(name)), "eth0".to_owned()));
            // The first is the store's.
            ends.push((None, self.subnet.link(index + 1)));
        }
        Ok(ends)
    }

    /// All rules at once: there is no moment with half of them.
    fn apply(&self) -> anyhow::Result<()> {
        nft(&rules::all(&self.layout, self.subnet, &self.cuts)?)
    }
}

fn ip(namespace: Option<&str>, batch: &str) -> anyhow::Result<()> {
    let mut command = Command::new("ip");
    command.args(namespace.iter().flat_map(|name| ["-n", name])).args(["-batch", "-"]);
    feed(&mut command, batch)
}

fn tc(namespace: Option<&str>, batch: &str) -> anyhow::Result<()> {
    let mut command = Command::new("tc");
    command.args(namespace.iter().flat_map(|name| ["-n", name])).args(["-batch", "-"]);
    feed(&mut command, batch)
}

fn nft(script: &str) -> anyhow::Result<()> {
    feed(Command::new("nft").args(["-f", "-"]), script)
}

fn feed(command: &mut Command, input: &str) -> anyhow::Result<()> {
    let program = command.get_program().to_string_lossy().into_owned();
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("start {program}"))?;
    let mut stdin = child.stdin.take().expect("it was asked for a pipe");
    stdin.write_all(input.as_bytes()).with_context(|| format!("write to {program}"))?;
    drop(stdin);
    let output = child.wait_with_output().with_context(|| format!("wait for {program}"))?;
    if !output.status.success() {
        bail!("{program}: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}
