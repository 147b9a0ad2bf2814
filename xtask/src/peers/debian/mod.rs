//! Peers from Debian packages, unpacked into a folder and not installed.
//!
//! apt finds and checks the packages by the sources that the machine has. A
//! pinned version goes away from them when a security fix replaces it; then
//! the newest of the same release stands in, which apt's signatures vouch for.

mod chromium;
mod pins;

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, bail};

use super::text;
use crate::run::output;

pub struct Package {
    name: &'static str,
    version: &'static str,
    /// sha-256 of this version for amd64.
    digest: &'static str,
}

/// Packages that make one peer.
pub struct Peer {
    /// Of its folder and its pin.
    pub name: &'static str,
    pub title: &'static str,
    packages: &'static [Package],
    /// What is run of them; each must find all its libraries.
    programs: &'static [&'static str],
    /// What else is to be done in the tree before it is complete.
    finish: fn(&Path) -> anyhow::Result<()>,
}

pub const PEERS: [Peer; 7] = [
    Peer {
        name: "mariadb",
        title: "MariaDB and Galera",
        packages: pins::MARIADB,
        programs: &[
            "usr/sbin/mariadbd",
            "usr/lib/galera/libgalera_smm.so",
            "usr/bin/rsync",
            "usr/bin/lsof",
        ],
        finish: finish_mariadb,
    },
    Peer {
        name: "nftables",
        title: "nftables",
        packages: pins::NFTABLES,
        programs: &["usr/sbin/nft"],
        finish: |tree| program(tree, "usr/sbin/nft"),
    },
    Peer {
        name: "nginx",
        title: "nginx",
        packages: pins::NGINX,
        programs: &["usr/sbin/nginx", "usr/lib/nginx/modules/ngx_stream_module.so"],
        finish: |tree| program(tree, "usr/sbin/nginx"),
    },
    Peer {
        name: "faketime",
        title: "libfaketime",
        packages: pins::FAKETIME,
        programs: &["usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1"],
        finish: |_| Ok(()),
    },
    Peer {
        name: "nghttp2",
        title: "nghttp and h2load",
        packages: pins::NGHTTP2,
        programs: &["usr/bin/nghttp", "usr/bin/h2load"],
        finish: |tree| {
            program(tree, "usr/bin/nghttp")?;
            program(tree, "usr/bin/h2load")
        },
    },
    Peer {
        name: "wrk",
        title: "wrk",
        packages: pins::WRK,
        programs: &["usr/bin/wrk"],
        finish: |tree| program(tree, "usr/bin/wrk"),
    },
    Peer {
        name: "chromium",
        title: "Chromium",
        packages: chromium::PACKAGES,
        programs: &["usr/lib/chromium/chromium-headless-shell"],
        finish: |tree| program(tree, "usr/lib/chromium/chromium-headless-shell"),
    },
];

/// Away from the server's own programs, which its scripts find before all
/// others: whoever runs the server says how rsync is run.
const RSYNC: &str = "usr/libexec/rsync";

/// What nobody runs.
const DISPENSABLE: [&str; 4] = ["usr/share/doc", "usr/share/man", "usr/share/lintian", "etc"];

/// Where Debian's libraries are below the folder.
const LIBRARIES: [&str; 3] =
    ["usr/lib/x86_64-linux-gnu", "lib/x86_64-linux-gnu", "usr/lib/x86_64-linux-gnu/pulseaudio"];

/// Raised when what is made of the same packages changes.
const LAYOUT: u32 = 2;

// === impl Peer ===

impl Peer {
    /// Other packages, or other contents of them, give another pin.
    pub fn pin(&self) -> String {
        let digests: Vec<_> = self.packages.iter().map(|package| &package.digest[..8]).collect();
        let (name, version) = (self.name, self.packages[0].version);
        format!("{name}=={version} layout {LAYOUT} {}", digests.join(" "))
    }

    /// Unpacks the packages into its folder below `peers`, and makes it complete.
    pub fn fetch(&self, peers: &Path) -> anyhow::Result<()> {
        let folder = peers.join(self.name);
        for program in ["apt-get", "dpkg"] {
            output(Command::new(program).arg("--version")).with_context(|| {
                let names: Vec<_> = self.packages.iter().map(|package| package.name).collect();
                format!(
                    "{program} is needed: this peer is unpacked from the packages of Debian 12 \
                     ({}), which stay within the peers' folder",
                    names.join(", ")
                )
            })?;
        }
        let work = folder.with_extension("new");
        let _ = fs::remove_dir_all(&work);
        let downloads = work.join("packages");
        fs::create_dir_all(&downloads)?;
        download(self.packages, &downloads).context(
            "get Debian packages (are the package lists there? `apt-get update` brings them)",
        )?;
        for file in files_in(&downloads)? {
            output(Command::new("dpkg").args(["-x", text(&file)?, text(&work)?]))?;
        }
        fs::remove_dir_all(downloads)?;
        for part in DISPENSABLE {
            let _ = fs::remove_dir_all(work.join(part));
        }
        check_libraries(&work, self.programs)?;
        (self.finish)(&work)?;
        let _ = fs::remove_dir_all(&folder);
        fs::rename(&work, folder).context("move it to its place")
    }
}

fn finish_mariadb(tree: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(tree.join("usr/libexec"))?;
    fs::rename(tree.join("usr/bin/rsync"), tree.join(RSYNC)).context("move rsync")?;
    initialise(tree).context("initialise MariaDB's data directory")
}

/// `bin/NAME` for the PATH, which brings its libraries along.
fn program(tree: &Path, path: &str) -> anyhow::Result<()> {
    let libraries = LIBRARIES.map(|folder| format!("$tree/{folder}")).join(":");
    let script = format!(
        "#!/bin/sh\n\
         tree=$(dirname \"$0\")/..\n\
         LD_LIBRARY_PATH={libraries} exec \"$tree/{path}\" \"$@\"\n"
    );
    let name = path.rsplit('/').next().unwrap_or(path);
    let place = tree.join("bin").join(name);
    fs::create_dir_all(tree.join("bin"))?;
    fs::write(&place, script)?;
    fs::set_permissions(place, fs::Permissions::from_mode(0o755)).context("make it a program")
}

fn check_libraries(tree: &Path, programs: &[&str]) -> anyhow::Result<()> {
    for program in programs {
        let path = tree.join(program);
        let needed =
            output(Command::new("ldd").arg(&path).env("LD_LIBRARY_PATH", library_path(tree)))?;
        let missing: Vec<_> =
            needed.lines().filter(|line| line.contains("not found")).map(str::trim).collect();
        if !missing.is_empty() {
            bail!("{program} does not find its libraries here: {}", missing.join(", "));
        }
    }
    Ok(())
}

/// `root` may come from loopback without a password, and nobody else.
fn initialise(tree: &Path) -> anyhow::Result<()> {
    let (base, data) = (tree.join("usr"), tree.join("data"));
    let mut command = Command::new(base.join("bin/mariadb-install-db"));
    command
        .arg("--no-defaults")
        .arg(format!("--basedir={}", base.display()))
        .arg(format!("--datadir={}", data.display()))
        .args(["--auth-root-authentication-method=normal", "--skip-test-db"])
        // Kept small, because every server of a test copies it.
        .args(["--innodb-log-file-size=8M"])
        .env("LD_LIBRARY_PATH", library_path(tree));
    if output(Command::new("id").arg("-u"))?.trim() == "0" {
        // It refuses to be root unless told.
        command.arg("--user=root");
    }
    output(&mut command).map(drop)
}

fn library_path(tree: &Path) -> String {
    let folders = LIBRARIES.map(|folder| tree.join(folder).display().to_string());
    folders.join(":")
}

/// All at once where every pinned version is there; else one by one.
fn download(packages: &[Package], into: &Path) -> anyhow::Result<()> {
    let get = |wanted: &[String]| {
        let args = ["download", "--quiet"];
        output(Command::new("apt-get").args(args).args(wanted).current_dir(into))
    };
    let pinned: Vec<_> = packages.iter().map(Package::requirement).collect();
    if get(&pinned).is_err() {
        for package in packages {
            if get(&[package.requirement()]).is_err() {
                get(&[package.name.to_owned()])?;
                eprintln!("  {} is gone, using the newest", package.requirement());
            }
        }
    }
    for file in files_in(into)? {
        let name = text(&file)?.rsplit('/').next().unwrap_or_default();
        let Some(package) = packages.iter().find(|package| package.file_name() == name) else {
            continue; // Another version or architecture, which apt has checked.
        };
        let found = output(Command::new("sha256sum").arg(&file))?;
        if !found.starts_with(package.digest) {
            bail!("{name} is not what was pinned: its sha-256 is {found}");
        }
    }
    Ok(())
}

fn files_in(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect()
}

// === impl Package ===

impl Package {
    /// As apt reads it.
    fn requirement(&self) -> String {
        format!("{}={}", self.name, self.version)
    }

    /// As apt writes it.
    fn file_name(&self) -> String {
        format!("{}_{}_amd64.deb", self.name, self.version.replace(':', "%3a"))
    }
}
