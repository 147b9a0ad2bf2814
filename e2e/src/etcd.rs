//! A real etcd of one member, to compare with.

use std::{net::SocketAddr, path::Path, process::Command, time::Duration};

use crate::{Running, Scratch, free_base_port, peer::peer};

const LIMIT: Duration = Duration::from_secs(60);

pub struct Etcd {
    pub address: SocketAddr,
    _process: Running,
    _data: Scratch,
}

// === impl Etcd ===

impl Etcd {
    /// On a port of its own. It does not wait for its disk: that decides
    /// nothing that it answers.
    #[must_use]
    pub fn start(name: &str) -> Etcd {
        Etcd::start_with(name, |_, _| {})
    }

    /// As [`Self::start`], on what `prepare` puts into the data folder that it
    /// is told, for a member whose peers find it at the URL that it is told.
    #[must_use]
    pub fn start_with(name: &str, prepare: impl FnOnce(&Path, &str)) -> Etcd {
        let data = Scratch::new(name);
        let port = free_base_port();
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let client = format!("http://{address}");
        let peers = format!("http://127.0.0.1:{}", port + 1);
        prepare(&data.join("data"), &peers);
        let mut command = Command::new(peer("etcd"));
        command.arg("--data-dir").arg(data.join("data")).arg("--unsafe-no-fsync").args([
            "--name=peer",
            &format!("--listen-client-urls={client}"),
            &format!("--advertise-client-urls={client}"),
            &format!("--listen-peer-urls={peers}"),
            &format!("--initial-advertise-peer-urls={peers}"),
            &format!("--initial-cluster=peer={peers}"),
        ]);
        let mut process = Running::spawn(&mut command);
        process.wait_for_line("ready to serve client requests", LIMIT);
        Etcd { address, _process: process, _data: data }
    }
}
