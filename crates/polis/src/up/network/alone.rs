//! Single processes whose packets are lost, and not those of the others in their
//! center's network.
//!
//! On the bridge one process cannot be told from another, so these rules stand in
//! the center's own network. The kernel keeps the class of a process with each of
//! its sockets, the open ones too (cgroup v1, `net_cls`; needs root): what comes
//! out of one is lost where it leaves, and what is for it is lost where it
//! arrives, at the ports that it listens on and on the connections that it made,
//! which carry the class as their mark. TCP takes no notice: what is lost here is
//! sent again, as on any line.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, bail};
use rustix::process::Pid;

use super::{NAMESPACES, feed};
use crate::up::fault::Direction;

const TABLE: &str = "table inet polis_alone";
const PROCESSES: &str = "cgroup.procs";
const CLASS: &str = "net_cls.classid";
/// Of the first of them; any number does that nobody else marks packets with.
const FIRST_CLASS: u32 = 0x7065_0001;
/// What `/proc/net/tcp` calls a socket that listens.
const LISTENS: &str = "0A";

/// The processes that are cut off now, each by the name of its part.
pub struct Alone {
    /// Groups of ours are called after the data folder, so that whoever finds one
    /// knows whose it is.
    prefix: String,
    /// Where we mount the groups if nobody has.
    folder: PathBuf,
    standing: Vec<One>,
}

struct One {
    name: String,
    namespace: PathBuf,
    class: u32,
    direction: Direction,
    /// That it listens on.
    ports: BTreeSet<u16>,
}

// === impl Alone ===

impl Alone {
    #[must_use]
    pub fn new(data: &Path) -> Alone {
        let prefix = format!("polis{}", data.display().to_string().replace('/', "-"));
        Alone { prefix, folder: data.join("net-classes"), standing: Vec::new() }
    }

    /// From now on packets of these processes, which live in `namespace`, are
    /// lost.
    pub fn begin(
        &mut self,
        name: &str,
        processes: &[Pid],
        namespace: PathBuf,
        direction: Direction,
    ) -> anyhow::Result<()> {
        if self.standing.iter().any(|one| one.name == name) {
            bail!("{name} is cut off already");
        }
        let code = errors::DRILL_NETWORK;
        let cannot = || format!("{code}: the kernel keeps no classes of packets (net_cls)");
        let groups = self.groups().with_context(cannot)?;
        let taken = |class: &u32| self.standing.iter().any(|one| one.class == *class);
        let class = (FIRST_CLASS..).find(|class| !taken(class)).context("a number")?;
        let group = groups.join(self.group_of(class));
        fs::create_dir_all(&group).with_context(cannot)?;
        fs::write(group.join(CLASS), class.to_string()).with_context(cannot)?;
        for process in processes {
            fs::write(group.join(PROCESSES), process.as_raw_nonzero().to_string())
                .with_context(cannot)?;
        }
        let ports = processes.iter().flat_map(|process| listens(*process)).collect();
        let name = name.to_owned();
        self.standing.push(One {
            name: name.clone(),
            namespace: namespace.clone(),
            class,
            direction,
            ports,
        });
        let applied = self.apply(&namespace);
        if applied.is_err() {
            self.end(&name)?;
        }
        applied
    }

    /// Ends one; others go on.
    pub fn end(&mut self, name: &str) -> anyhow::Result<()> {
        let Some(at) = self.standing.iter().position(|one| one.name == name) else {
            return Ok(());
        };
        let one = self.standing.remove(at);
        let applied = self.apply(&one.namespace);
        let groups = self.groups()?;
        empty(&groups, &groups.join(self.group_of(one.class)))?;
        self.unmount()?;
        applied
    }

    /// All rules of a network at once: there is no moment with half of them.
    fn apply(&self, namespace: &Path) -> anyhow::Result<()> {
        let here: Vec<_> = self.standing.iter().filter(|one| one.namespace == namespace).collect();
        run(namespace, &script(&here))
    }

    fn group_of(&self, class: u32) -> String {
        format!("{}-{}", self.prefix, class - FIRST_CLASS)
    }

    /// The folder of all groups: the one that is mounted already, or our own.
    fn groups(&self) -> anyhow::Result<PathBuf> {
        if let Some(mounted) = mounted(&fs::read_to_string("/proc/mounts")?) {
            return Ok(mounted);
        }
        fs::create_dir_all(&self.folder)?;
        let mut mount = Command::new("mount");
        mount.args(["-t", "cgroup", "-o", "net_cls", "none"]).arg(&self.folder);
        feed(&mut mount, "")?;
        Ok(self.folder.clone())
    }

    /// What others mounted stays.
    fn unmount(&self) -> anyhow::Result<()> {
        if self.standing.is_empty() && self.folder.join(PROCESSES).exists() {
            feed(Command::new("umount").arg(&self.folder), "")?;
        }
        Ok(())
    }
}

/// Ends the groups that an `up` of this folder that was killed left behind.
pub fn clean(data: &Path) -> anyhow::Result<()> {
    let alone = Alone::new(data);
    let Some(groups) = mounted(&fs::read_to_string("/proc/mounts")?) else { return Ok(()) };
    for entry in fs::read_dir(&groups).context("list groups of packets")?.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let ours = name.strip_prefix(&alone.prefix).and_then(|rest| rest.strip_prefix('-'));
        if ours.is_some_and(|number| number.parse::<u32>().is_ok()) {
            empty(&groups, &entry.path())?;
        }
    }
    alone.unmount()
}

/// Removes what rules there are in a network.
pub fn forget(namespace: &Path) -> anyhow::Result<()> {
    run(namespace, &script(&[]))
}

fn run(namespace: &Path, script: &str) -> anyhow::Result<()> {
    let name = namespace.strip_prefix(NAMESPACES).unwrap_or(namespace);
    let mut command = Command::new("ip");
    command.args(["netns", "exec"]).arg(name).args(["nft", "-f", "-"]);
    feed(&mut command, script)
}

fn empty(groups: &Path, group: &Path) -> anyhow::Result<()> {
    let members = fs::read_to_string(group.join(PROCESSES)).context("read who is cut off")?;
    for member in members.lines() {
        // One that has ended meanwhile is in no group.
        let _ = fs::write(groups.join(PROCESSES), member);
    }
    fs::remove_dir(group).context("end a group of packets")
}

/// Where the groups of `net_cls` are mounted, from `/proc/mounts`.
fn mounted(mounts: &str) -> Option<PathBuf> {
    mounts.lines().find_map(|line| {
        let mut fields = line.split(' ').skip(1);
        let (folder, kind, options) = (fields.next()?, fields.next()?, fields.next()?);
        let ours = kind == "cgroup" && options.split(',').any(|option| option == "net_cls");
        // Blanks in names are written as numbers there.
        ours.then(|| PathBuf::from(folder.replace("\\040", " ")))
    })
}

/// Exactly these, in one network.
fn script(here: &[&One]) -> String {
    // Made if absent, since only what is there can be deleted.
    let mut script = format!("{TABLE} {{}}\ndelete {TABLE}\n");
    if here.is_empty() {
        return script;
    }
    let (mut out, mut to) = (String::new(), String::new());
    for one in here {
        let class = one.class;
        out.push_str(&format!(
            "    meta cgroup {class} ct direction original ct mark set {class}\n"
        ));
        if one.direction != Direction::In {
            out.push_str(&format!("    meta cgroup {class} drop\n"));
        }
        if one.direction == Direction::Out {
            continue;
        }
        let ports: Vec<_> = one.ports.iter().map(u16::to_string).collect();
        if !ports.is_empty() {
            to.push_str(&format!("    tcp dport {{ {} }} drop\n", ports.join(", ")));
        }
        // On connections that it made; those that it accepted are at its ports.
        to.push_str(&format!("    ct mark {class} ct direction reply drop\n"));
    }
    script.push_str(&format!("{TABLE} {{\n"));
    for (hook, rules) in [("output", out), ("input", to)] {
        script.push_str(&format!(
            "  chain {hook} {{\n    type filter hook {hook} priority 0;\n{rules}  }}\n"
        ));
    }
    script.push_str("}\n");
    script
}

/// The ports at which a process listens.
fn listens(process: Pid) -> BTreeSet<u16> {
    let own = format!("/proc/{}", process.as_raw_nonzero());
    let open = fs::read_dir(format!("{own}/fd")).into_iter().flatten().flatten();
    let sockets: BTreeSet<String> = open
        .filter_map(|entry| fs::read_link(entry.path()).ok())
        .filter_map(|link| {
            let number = link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?;
            Some(number.to_owned())
        })
        .collect();
    let tables = ["tcp", "tcp6"].map(|table| fs::read_to_string(format!("{own}/net/{table}")));
    let tables = tables.into_iter().flatten().collect::<String>();
    tables.lines().filter_map(|line| port_of(line, &sockets)).collect()
}

/// Of a line of `/proc/net/tcp`: the port, if it is of a socket that listens and
/// is one of these.
fn port_of(line: &str, sockets: &BTreeSet<String>) -> Option<u16> {
    let fields: Vec<_> = line.split_whitespace().collect();
    let (local, state, socket) = (fields.get(1)?, fields.get(3)?, fields.get(9)?);
    let (_, port) = local.rsplit_once(':')?;
    let listens = *state == LISTENS && sockets.contains(*socket);
    u16::from_str_radix(port, 16).ok().filter(|_| listens)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(direction: Direction, ports: &[u16]) -> One {
        One {
            name: "east-1/ledger".into(),
            namespace: PathBuf::from("/run/netns/polis7-east-1"),
            class: 5,
            direction,
            ports: ports.iter().copied().collect(),
        }
    }

    #[test]
    fn what_one_process_says_and_hears_is_lost_and_nothing_else() {
        let silent = script(&[&one(Direction::Both, &[7500, 9100])]);
        assert!(silent.contains("meta cgroup 5 drop\n"), "{silent}");
        assert!(silent.contains("tcp dport { 7500, 9100 } drop\n"), "{silent}");
        assert!(silent.contains("ct mark 5 ct direction reply drop\n"), "{silent}");
        let unheard = script(&[&one(Direction::Out, &[7500])]);
        assert!(unheard.contains("cgroup 5 drop") && !unheard.contains("dport"), "{unheard}");
        let deaf = script(&[&one(Direction::In, &[])]);
        assert!(deaf.contains("ct mark 5") && !deaf.contains("cgroup 5 drop"), "{deaf}");
        assert_eq!(script(&[]), "table inet polis_alone {}\ndelete table inet polis_alone\n");
    }

    #[test]
    fn the_ports_of_a_process_are_those_of_its_listening_sockets() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("listen");
        let port = listener.local_addr().expect("an address").port();
        let client = std::net::TcpStream::connect(("127.0.0.1", port)).expect("connect");
        let ports = listens(rustix::process::getpid());
        assert!(ports.contains(&port), "{ports:?}");
        let other = client.local_addr().expect("an address").port();
        assert!(!ports.contains(&other), "{ports:?}");
    }

    #[test]
    fn groups_are_found_where_they_are_mounted() {
        let mounts = "tmpfs /sys/fs/cgroup tmpfs rw 0 0\n\
                      cgroup /sys/fs/cgroup/cpu cgroup rw,cpu 0 0\n\
                      none /a\\040b/net-classes cgroup rw,relatime,net_cls 0 0\n";
        assert_eq!(mounted(mounts), Some(PathBuf::from("/a b/net-classes")));
        assert_eq!(mounted("none /x cgroup2 rw,net_cls 0 0\n"), None);
    }
}
