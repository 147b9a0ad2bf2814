//! OceanBase's kernel as one server.

use std::{collections::BTreeMap, ops::Deref, sync::OnceLock};

use crate::{
    peers, ports,
    scratch::Scratch,
    server::{Program, Server},
};

/// What its files may take; it makes them whole at the start.
const DATA_SIZE: &str = "512M";
/// Its least.
const LOG_SIZE: &str = "2G";

pub struct Seekdb {
    // Before the folder: it ends before its files go.
    server: Server,
    _scratch: Scratch,
}

// === impl Seekdb ===

impl Seekdb {
    /// Starts one and waits until it answers.
    #[must_use]
    pub fn start() -> Seekdb {
        let exe = peers::find("seekdb/pylibseekdb/seekdb");
        let libraries = peers::find("seekdb/pylibseekdb.libs");
        let scratch = Scratch::new("seekdb");
        let port = ports::free_block();
        let base = scratch.path();
        let program = Program {
            name: "seekdb".to_owned(),
            exe,
            args: vec![
                "--nodaemon".to_owned(),
                format!("--base-dir={}", base.display()),
                format!("--port={port}"),
                format!("--parameter=datafile_size={DATA_SIZE}"),
                format!("--parameter=log_disk_size={LOG_SIZE}"),
            ],
            envs: BTreeMap::from([("LD_LIBRARY_PATH".to_owned(), libraries.display().to_string())]),
            log: base.join("printed.log"),
            namespace: None,
            host: "127.0.0.1".to_owned(),
            port,
        };
        let seekdb = Seekdb { server: Server::new(program), _scratch: scratch };
        seekdb.restart();
        seekdb
    }

    /// One for all tests of the process; it ends with the process.
    #[must_use]
    pub fn shared() -> &'static Seekdb {
        static SHARED: OnceLock<Seekdb> = OnceLock::new();
        SHARED.get_or_init(Seekdb::start)
    }

    /// Starts it on the files that it has, killing it first if it runs, and
    /// waits until it answers.
    pub fn restart(&self) {
        self.server.kill9();
        self.server.launch(&[]);
        self.server.await_ready(|| self.server.query("SELECT 1").ok());
    }
}

impl Deref for Seekdb {
    type Target = Server;

    fn deref(&self) -> &Server {
        &self.server
    }
}
