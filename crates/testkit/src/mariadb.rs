//! One MariaDB.

use std::{collections::BTreeMap, ops::Deref, path::Path, sync::OnceLock};

use crate::{
    peers, ports,
    scratch::Scratch,
    server::{Program, Server},
};

pub struct MariaDb {
    // Before the folder: it ends before its files go.
    server: Server,
    _scratch: Scratch,
}

// === impl MariaDb ===

impl MariaDb {
    /// Starts one and waits until it answers.
    #[must_use]
    pub fn start() -> MariaDb {
        MariaDb::start_with(&[])
    }

    /// With more arguments.
    #[must_use]
    pub fn start_with(args: &[String]) -> MariaDb {
        let scratch = Scratch::new("mariadb");
        let port = ports::free_block();
        peers::copy_tree(&peers::find("mariadb/data"), &scratch.path().join("data"))
            .expect("copy a data directory");
        let mut program = program("mariadb", scratch.path(), "127.0.0.1", port);
        program.args.extend_from_slice(args);
        let mariadb = MariaDb { server: Server::new(program), _scratch: scratch };
        mariadb.restart();
        mariadb
    }

    /// One for all tests of the process; it ends with the process.
    #[must_use]
    pub fn shared() -> &'static MariaDb {
        static SHARED: OnceLock<MariaDb> = OnceLock::new();
        SHARED.get_or_init(MariaDb::start)
    }

    /// Starts it on the files that it has, killing it first if it runs, and
    /// waits until it answers.
    pub fn restart(&self) {
        self.server.kill9();
        self.server.launch(&[]);
        self.server.await_ready(|| self.server.query("SELECT 1").ok());
    }
}

impl Deref for MariaDb {
    type Target = Server;

    fn deref(&self) -> &Server {
        &self.server
    }
}

/// A server in `folder`, whose `data` is there; durable as a production one.
pub(crate) fn program(name: &str, folder: &Path, host: &str, port: u16) -> Program {
    let root = peers::find("mariadb/usr");
    let at = |name: &str| folder.join(name).display().to_string();
    let mut args = vec![
        // First, as it must be: no file of the system is read.
        "--no-defaults".to_owned(),
        format!("--basedir={}", root.display()),
        format!("--datadir={}", at("data")),
        format!("--socket={}", at("socket")),
        format!("--pid-file={}", at("pid")),
        format!("--port={port}"),
        format!("--bind-address={host}"),
        "--skip-name-resolve".to_owned(),
        "--innodb-flush-log-at-trx-commit=1".to_owned(),
        "--innodb-buffer-pool-size=64M".to_owned(),
        "--innodb-log-file-size=64M".to_owned(),
    ];
    if rustix::process::geteuid().is_root() {
        // It refuses to be root unless told.
        args.push("--user=root".to_owned());
    }
    Program {
        name: name.to_owned(),
        exe: root.join("sbin/mariadbd"),
        args,
        envs: environment(folder),
        log: folder.join("printed.log"),
        namespace: None,
        host: host.to_owned(),
        port,
    }
}

/// The libraries and helpers that were unpacked beside the server.
fn environment(folder: &Path) -> BTreeMap<String, String> {
    let tree = peers::find("mariadb");
    let libraries = ["usr/lib/x86_64-linux-gnu", "lib/x86_64-linux-gnu"]
        .map(|path| tree.join(path).display().to_string());
    let path = std::env::var("PATH").unwrap_or_default();
    let own = folder.join("bin");
    let path = format!("{}:{}:{path}", own.display(), tree.join("usr/bin").display());
    BTreeMap::from([("LD_LIBRARY_PATH".to_owned(), libraries.join(":")), ("PATH".to_owned(), path)])
}
