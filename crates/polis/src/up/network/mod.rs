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

pub mod alone;
mod long_line;
mod prepared;
mod relay;
mod rules;

use std::{
    collections::{BTreeMap, BTreeSet},
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context, bail};
use rt::random::Random;

pub use self::prepared::{Prepared, check_reachable, prepare};
use self::{
    long_line::{Late, LongLine},
    relay::Relay,
};
use super::fault::{Cut, Delay, STORE};
use crate::{data::DataDir, layout::Layout, subnet::Subnet};

/// Where `ip` keeps its namespaces.
const NAMESPACES: &str = "/run/netns";
const LINKS: &str = "/sys/class/net";

/// Of a slow line: one large packet may pass at once, and what waits longer than
/// a person would call slow is lost.
const BURST_BYTES: u32 = 16 * 1024;
const QUEUE_MS: u32 = 400;

/// Of the pair that joins a line with a relay in it to the bridge: what the
/// link's own name is followed by.
const NEAR_END: char = 'd';
const FAR_END: char = 'r';

/// An estate's networks, for as long as it runs.
pub struct Network {
    layout: Layout,
    subnet: Subnet,
    cuts: Vec<Cut>,
    /// Centers whose lines are long now.
    relays: BTreeMap<String, Relay>,
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
        // An address of its own: else it is that of one of its links, and changes
        // when that one is taken off.
        let address = subnet.link_address();
        if ip(None, &format!("link add {subnet} address {address} type bridge\n")).is_ok() {
            let alias = format!("link set {subnet} alias \"{alias}\"\n");
            ip(None, &alias).context("mark the bridge as ours")?;
            return Ok(subnet);
        }
    }
    bail!("{}: every one of 254 networks is taken", errors::NETWORK_UNAVAILABLE)
}

/// Removes every network that an `up` of this folder left behind or prepared,
/// and says which. They are found by the marks of their bridges: the folder
/// itself may be gone.
pub fn clean_up(data: &DataDir) -> anyhow::Result<()> {
    let _lock = data.path().exists().then(|| data.lock()).transpose()?;
    let left: Vec<_> = Subnet::all().filter(|subnet| is_of(data.path(), *subnet)).collect();
    alone::clean(data.path())?;
    if left.is_empty() {
        println!("no network of {} is left behind", data.path().display());
    } else {
        check_possible()?;
    }
    for subnet in left {
        remove(data.path(), subnet)?;
        println!("removed network {subnet}");
    }
    data.forget_prepared()
}

/// Removes what this folder's estate left behind, and nothing of others.
pub fn remove(data: &Path, subnet: Subnet) -> anyhow::Result<()> {
    if !is_of(data, subnet) {
        return Ok(());
    }
    nft(&rules::none(subnet))?;
    let prefix = subnet.namespace("");
    let mut batch = String::new();
    // Links first: they would end with their namespaces, but some time later.
    for (dir, what) in [(LINKS, "link"), (NAMESPACES, "netns")] {
        for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            // The far end of a pair goes with its near end.
            if name.starts_with(&prefix) && !name.ends_with(FAR_END) {
                batch.push_str(&format!("{what} del {name}\n"));
            }
        }
    }
    // The bridge last: as long as it is there, all this is found again.
    batch.push_str(&format!("link del {subnet}\n"));
    ip(None, &batch).context("remove the networks of an earlier run")
}

/// Whether this network is there, and this folder's.
fn is_of(data: &Path, subnet: Subnet) -> bool {
    let alias = format!("{LINKS}/{subnet}/ifalias");
    let owner = std::fs::read_to_string(alias).unwrap_or_default();
    Path::new(owner.trim_end()) == data
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
        Ok(Network::of(layout, subnet))
    }

    /// One that is there already, as it is without faults.
    pub fn adopt(layout: &Layout, subnet: Subnet) -> anyhow::Result<Network> {
        let network = Network::of(layout, subnet);
        network.apply()?;
        let centers: Vec<_> = layout.centers.iter().map(|plan| plan.center.to_string()).collect();
        network.hasten(&centers)?;
        for center in &centers {
            network.join(center)?;
            alone::forget(&network.namespace(center))?;
        }
        Ok(network)
    }

    fn of(layout: &Layout, subnet: Subnet) -> Network {
        Network { layout: layout.clone(), subnet, cuts: Vec::new(), relays: BTreeMap::new() }
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

    /// From now on, what these centers send and are sent arrives later.
    pub fn lengthen(&mut self, delay: &Delay) -> anyhow::Result<()> {
        let address = |name: &String| rules::address(&self.layout, self.subnet, name);
        let addresses = |names: &[String]| names.iter().map(address).collect::<Result<_, _>>();
        let peers: BTreeSet<_> = addresses(&delay.peers)?;
        let late = match peers.is_empty() {
            true => Late::AllButWithin(addresses(&delay.centers)?),
            false => Late::With(peers),
        };
        let [each_way, jitter] =
            [delay.each_way_ms, delay.jitter_ms].map(|ms| Duration::from_millis(u64::from(ms)));
        let line = || LongLine::new(late.clone(), each_way, jitter, Random::from_entropy());
        for center in &delay.centers {
            if self.relays.contains_key(center) {
                bail!("the line of {center} is long already");
            }
            let link = self.link(center)?;
            let (near, far) = (format!("{link}{NEAR_END}"), format!("{link}{FAR_END}"));
            let subnet = self.subnet;
            // Whoever is asked for an address does not answer at the parted ends.
            let part = format!(
                "link add {near} type veth peer name {far}\n\
                 link set {far} arp off up\n\
                 link set {near} master {subnet} up\n\
                 link set {link} nomaster arp off\n"
            );
            let relay = ip(None, &part)
                .with_context(|| format!("part the line of {center}"))
                .and_then(|()| Relay::start([&link, &far], line(), line()));
            match relay {
                Ok(relay) => self.relays.insert(center.clone(), relay),
                Err(error) => {
                    self.shorten(&delay.centers)?;
                    return Err(error);
                }
            };
        }
        Ok(())
    }

    pub fn shorten(&mut self, centers: &[String]) -> anyhow::Result<()> {
        for center in centers {
            let lost = self.relays.remove(center).map_or(0, Relay::end);
            if lost > 0 {
                tracing::warn!(center, lost, "frames did not fit into a long line");
            }
            self.join(center)?;
        }
        Ok(())
    }

    /// The line of a center as it was built.
    fn join(&self, center: &str) -> anyhow::Result<()> {
        let (link, subnet) = (self.link(center)?, self.subnet);
        let near = format!("{link}{NEAR_END}");
        if !Path::new(LINKS).join(&near).exists() {
            return Ok(());
        }
        ip(None, &format!("link del {near}\nlink set {link} master {subnet} arp on\n"))
            .with_context(|| format!("join the line of {center}"))
    }

    /// The bridge's end of a center's line.
    fn link(&self, center: &str) -> anyhow::Result<String> {
        let mut plans = self.layout.centers.iter();
        let index = plans.position(|plan| plan.center.as_str() == center);
        let index = index.with_context(|| format!("{center:?} has no line"))?;
        // The first is the store's.
        Ok(self.subnet.link(index + 1))
    }

    /// Both ends of each center's line: where its namespace sends, and where the
    /// bridge does.
    fn ends(&self, centers: &[String]) -> anyhow::Result<Vec<(Option<String>, String)>> {
        let mut ends = Vec::new();
        for name in centers {
            let link = self.link(name)?;
            ends.push((Some(self.subnet.namespace(name)), "eth0".to_owned()));
            ends.push((None, link));
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
