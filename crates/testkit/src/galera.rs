//! Several MariaDBs that replicate to each other.
//!
//! All nodes begin with copies of one data directory, the same position in the
//! cluster's history, and the record of a cluster of just these nodes that went
//! down together. So none bootstraps and none transfers its state to another:
//! the cluster comes back whole as soon as they see each other, in a sixth of
//! the time that joining one by one takes.

use std::{
    collections::BTreeMap,
    fs,
    ops::{Deref, Range},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
    sync::{Arc, OnceLock},
};

use crate::{attendant::Attendant, mariadb, peers, ports, scratch::Scratch, server::Server};

/// Of the cluster's history, which begins here.
const HISTORY: &str = "706f6c69-7300-11f0-8000-000000000001";

/// Wanted of a node that serves.
const SYNCED: &str = "4";

/// Where a node stands: in the network of this namespace, with this address.
#[derive(Clone, Debug)]
pub struct Seat {
    /// As `ip netns` knows it; none is ours.
    pub namespace: Option<String>,
    pub address: String,
}

pub struct Galera {
    nodes: Arc<[Node]>,
    attendant: Option<Attendant>,
    _scratch: Scratch,
}

/// One server of the cluster.
pub struct Node {
    server: Server,
    data: PathBuf,
    exe: PathBuf,
    envs: BTreeMap<String, String>,
}

// === impl Galera ===

impl Galera {
    /// Starts a cluster and waits until all nodes are in it and synced.
    #[must_use]
    pub fn start(count: usize) -> Galera {
        Galera::start_with(count, "")
    }

    /// As [`Self::start`], with more options of the provider, `NAME=VALUE` with
    /// semicolons between them.
    #[must_use]
    pub fn start_with(count: usize, provider_options: &str) -> Galera {
        let seat = Seat { namespace: None, address: "127.0.0.1".to_owned() };
        Galera::start_in(&vec![seat; count], provider_options)
    }

    /// As [`Self::start_with`], a node in each of these places. Needs root where
    /// they are not ours.
    #[must_use]
    pub fn start_in(seats: &[Seat], provider_options: &str) -> Galera {
        let scratch = Scratch::new("galera");
        let seats: Vec<_> = seats.iter().map(|seat| (seat, ports::free_block())).collect();
        let node = |index| Node::new(scratch.path(), &seats, index, provider_options);
        let nodes: Arc<[Node]> = (0..seats.len()).map(node).collect();
        let mut galera = Galera { nodes, attendant: None, _scratch: scratch };
        galera.nodes.iter().for_each(|node| node.server.launch(&[]));
        galera.await_synced(0..seats.len());
        galera.attendant = Some(Attendant::start(galera.nodes.clone()));
        galera
    }

    /// A cluster of five for all tests of the process; it ends with it.
    #[must_use]
    pub fn shared() -> &'static Galera {
        static SHARED: OnceLock<Galera> = OnceLock::new();
        SHARED.get_or_init(|| Galera::start(5))
    }

    #[must_use]
    pub fn node(&self, index: usize) -> &Node {
        &self.nodes[index]
    }

    #[must_use]
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// Without a database, all nodes by number:
    /// `mysql://root@HOST:PORT,HOST:PORT`.
    #[must_use]
    pub fn url(&self) -> String {
        let servers: Vec<_> = self.nodes.iter().map(|node| node.address()).collect();
        format!("mysql://root@{}", servers.join(","))
    }

    /// The URL of a database that is made anew, on all nodes.
    #[must_use]
    pub fn empty_database(&self, name: &str) -> String {
        let _ = self.nodes[0].empty_database(name);
        for node in &self.nodes[1..] {
            // Answers when it has applied all that came before; one that is down
            // will have it when it is back.
            let _ = node.query("SET STATEMENT wsrep_sync_wait = 1 FOR SELECT 1");
        }
        format!("{}/{name}", self.url())
    }

    /// Starts one node again on the files that it has, killing it first if it
    /// runs, and waits until it is synced. It catches up from another node.
    pub fn restart(&self, index: usize) {
        let node = &self.nodes[index];
        node.server.kill9();
        let position = node.recover();
        node.server.launch(&[format!("--wsrep-start-position={position}")]);
        node.server.await_ready(|| node.is_synced().then_some(()));
    }

    /// Waits until a node that was cut off is one of them again.
    pub fn await_back(&self, index: usize) {
        self.await_synced(index..index + 1);
    }

    fn await_synced(&self, range: Range<usize>) {
        for node in &self.nodes[range] {
            node.server.await_ready(|| node.is_synced().then_some(()));
        }
    }
}

impl Drop for Galera {
    fn drop(&mut self) {
        // Whoever asks one of them hears at once that it is gone, and their
        // files go last.
        self.nodes.iter().for_each(|node| node.server.end());
        self.attendant = None;
    }
}

// === impl Node ===

impl Node {
    fn new(scratch: &Path, seats: &[(&Seat, u16)], index: usize, options: &str) -> Node {
        let name = format!("node-{index}");
        let folder = scratch.join(&name);
        let data = folder.join("data");
        peers::copy_tree(&peers::find("mariadb/data"), &data).expect("copy a data directory");
        fs::write(data.join("grastate.dat"), position_file()).expect("write a position");
        fs::write(data.join("gvwstate.dat"), view_file(seats.len(), index)).expect("write a view");
        write_rsync(&folder.join("bin"));

        let (seat, port) = seats[index];
        let host = &seat.address;
        let (group, transfer, state) = (port + 1, port + 2, port + 3);
        let library = peers::find("mariadb/usr/lib/galera/libgalera_smm.so");
        let member = |(seat, port): &(&Seat, u16)| format!("{}:{}", seat.address, port + 1);
        let members: Vec<_> = seats.iter().map(member).collect();
        let mut program = mariadb::program(&name, &folder, host, port);
        program.args.extend([
            "--binlog-format=ROW".to_owned(),
            "--default-storage-engine=InnoDB".to_owned(),
            "--innodb-autoinc-lock-mode=2".to_owned(),
            "--wsrep-on=1".to_owned(),
            format!("--wsrep-provider={}", library.display()),
            "--wsrep-cluster-name=polis".to_owned(),
            format!("--wsrep-node-name={name}"),
            format!("--wsrep-node-address={host}:{group}"),
            format!("--wsrep-node-incoming-address={host}:{port}"),
            "--wsrep-sst-method=rsync".to_owned(),
            format!("--wsrep-sst-receive-address={host}:{state}"),
            format!("--wsrep-cluster-address=gcomm://{}", members.join(",")),
            format!(
                "--wsrep-provider-options=gmcast.listen_addr=tcp://{host}:{group};\
                 ist.recv_addr={host}:{transfer};gcache.size=64M;{options}"
            ),
        ]);
        program.namespace = seat.namespace.clone();
        if seat.namespace.is_some() {
            // Root may come from loopback only, and nobody else is in there.
            program.args.push("--skip-grant-tables".to_owned());
        }
        let (exe, envs) = (program.exe.clone(), program.envs.clone());
        Node { server: Server::new(program), data, exe, envs }
    }

    /// Whether it is in the primary component and has caught up.
    #[must_use]
    pub fn is_synced(&self) -> bool {
        let status = "SHOW STATUS WHERE Variable_name IN \
                      ('wsrep_local_state', 'wsrep_cluster_status', 'wsrep_ready')";
        let Ok(rows) = self.server.query(status) else { return false };
        let is = |name: &str, value: &str| {
            rows.iter().any(|row| row[0].eq_ignore_ascii_case(name) && row[1] == value)
        };
        is("wsrep_local_state", SYNCED)
            && is("wsrep_cluster_status", "Primary")
            && is("wsrep_ready", "ON")
    }

    /// Where its files stand in the cluster's history: a killed node has not
    /// written it down, but the storage engine knows.
    fn recover(&self) -> String {
        let output = Command::new(&self.exe)
            .args(self.server_args())
            .arg("--wsrep-recover")
            .envs(&self.envs)
            .output()
            .expect("run a recovery");
        let printed = String::from_utf8_lossy(&output.stderr);
        let position = printed
            .lines()
            .rev()
            .find_map(|line| line.split_once("Recovered position:"))
            .map(|(_, position)| position.trim().to_owned());
        position.unwrap_or_else(|| panic!("no position in {}:\n{printed}", self.data.display()))
    }

    fn server_args(&self) -> Vec<String> {
        self.server.args().iter().filter(|arg| !arg.starts_with("--pid-file")).cloned().collect()
    }
}

impl Deref for Node {
    type Target = Server;

    fn deref(&self) -> &Server {
        &self.server
    }
}

fn position_file() -> String {
    format!("# GALERA saved state\nversion: 2.1\nuuid: {HISTORY}\nseqno: 0\nsafe_to_bootstrap: 0\n")
}

/// The record of a primary component of all nodes, as each keeps its own.
fn view_file(count: usize, index: usize) -> String {
    let id = |index: usize| format!("{:08x}-7300-11f0-8000-000000000002", index + 1);
    let members: String = (0..count).map(|index| format!("member: {} 0\n", id(index))).collect();
    format!(
        "my_uuid: {}\n#vwbeg\nview_id: 3 {} 1\nbootstrap: 0\n{members}#vwend\n",
        id(index),
        id(0)
    )
}

/// How the server's scripts find rsync. A daemon that root starts becomes
/// nobody, who may not write where the state is received, and the script that
/// starts it does not tell it otherwise.
fn write_rsync(folder: &Path) {
    let real = peers::find("mariadb/usr/libexec/rsync").display().to_string();
    let daemon = match rustix::process::geteuid().is_root() {
        true => format!("{real} --dparam=uid=0 --dparam=gid=0"),
        false => real.clone(),
    };
    let script = format!(
        "#!/bin/sh\ncase \"$*\" in\n\
         *--daemon*) exec {daemon} \"$@\" ;;\n\
         *) exec {real} \"$@\" ;;\n\
         esac\n"
    );
    fs::create_dir_all(folder).expect("create a folder");
    let path = folder.join("rsync");
    fs::write(&path, script).expect("write a script");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("make it executable");
}
