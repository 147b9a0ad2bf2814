//! Peers from Debian packages, unpacked into a folder and not installed.
//!
//! apt finds and checks the packages by the sources that the machine has. A
//! pinned version goes away from them when a security fix replaces it; then
//! the newest of the same release stands in, which apt's signatures vouch for.

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

pub const PEERS: [Peer; 4] = [
    Peer {
        name: "mariadb",
        title: "MariaDB and Galera",
        packages: MARIADB,
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
        packages: NFTABLES,
        programs: &["usr/sbin/nft"],
        finish: |tree| program(tree, "nft"),
    },
    Peer {
        name: "nginx",
        title: "nginx",
        packages: NGINX,
        programs: &["usr/sbin/nginx", "usr/lib/nginx/modules/ngx_stream_module.so"],
        finish: |tree| program(tree, "nginx"),
    },
    Peer {
        name: "faketime",
        title: "libfaketime",
        packages: FAKETIME,
        programs: &["usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1"],
        finish: |_| Ok(()),
    },
];

/// What drills set clocks wrong with.
const FAKETIME: &[Package] = &[Package {
    name: "libfaketime",
    version: "0.9.10-2.1",
    digest: "b09481e7690680966005330c3f907bba4b5eefc35e1faaea4783cc55655d1150",
}];

/// The server, its replication and its state transfer, then the libraries
/// that a system which only has apt may lack.
const MARIADB: &[Package] = &[
    Package {
        name: "mariadb-server-core",
        version: "1:10.11.19-0+deb12u1",
        digest: "bda81cb1c5b538e19eed27462fa8df577684b9cdc4fe40cee8d1da9cbc0fe76b",
    },
    // The scripts of the state transfer.
    Package {
        name: "mariadb-server",
        version: "1:10.11.19-0+deb12u1",
        digest: "2219efc9b1e6f7a13df8b5927ee599838876e21620c1f59ffcc64dcf1aa3bb3a",
    },
    // Only what reads the server's options, which the scripts call.
    Package {
        name: "mariadb-client-core",
        version: "1:10.11.19-0+deb12u1",
        digest: "60549abde2ad55068610b2cae03af7d17a2cafb0993f16c8c2413bd1b5fe6f5f",
    },
    Package {
        name: "galera-4",
        version: "26.4.23-0+deb12u1",
        digest: "b5049888c439d867d1054e64913f41c1488ee514c500da99242b27cc90ab6279",
    },
    Package {
        name: "rsync",
        version: "3.5.0+ds1-0+deb12u1",
        digest: "26ea59ef1c3d05595e9637002ace6f4e00181638b438ecad0f1cf1659ebb67ed",
    },
    // The scripts look by it whether rsync listens.
    Package {
        name: "lsof",
        version: "4.95.0-1",
        digest: "e4b15cf8d0b9051cf7957e7ab29a67ca7d21f42ea1b2b7dad1b52e65d02d1408",
    },
    Package {
        name: "libaio1",
        version: "0.3.113-4",
        digest: "d1476e4beab3d85f8a7d31de94c27472711ed3ef399ce70708e24b259426125b",
    },
    Package {
        name: "liburing2",
        version: "2.3-3",
        digest: "c23077e3640e6cb4b819c134b3f41d5cf21b3edac099654b1b4142c3069a39a3",
    },
    Package {
        name: "libnuma1",
        version: "2.0.16-1",
        digest: "639e1ab6bd66ead40db8a22c332d7199679fa22db261cac34444eb8eb4c17dda",
    },
    Package {
        name: "libpopt0",
        version: "1.19+dfsg-1",
        digest: "6f94b488255acd996254f775c77ff3956557c61f860a3c9caeaf65457554194f",
    },
    Package {
        name: "libssl3",
        version: "3.0.22-1~deb12u2",
        digest: "cb4784740daa9b3b0eaea2b444bbefa686794afbbf3d678d238c1fd9875f2efd",
    },
    // From here on for lsof.
    Package {
        name: "libtirpc3",
        version: "1.3.3+ds-1",
        digest: "2a46d5a5e9486da11ffeff5740931740d6deae4f92cd6098df060dc5dff1e1c7",
    },
    Package {
        name: "libgssapi-krb5-2",
        version: "1.20.1-2+deb12u5",
        digest: "d8b87aea91b956b416c01a28c44ff6228315ae3b73de40acddac3dc5043607d2",
    },
    Package {
        name: "libkrb5-3",
        version: "1.20.1-2+deb12u5",
        digest: "c90801be09701af221b54dd502a59cb378b7284ff31e480738baca317d2f7653",
    },
    Package {
        name: "libk5crypto3",
        version: "1.20.1-2+deb12u5",
        digest: "7b6e47d15c5c9cdcd456137533d8308aeba608a54cec73b28bd59bfc4b54cf06",
    },
    Package {
        name: "libkrb5support0",
        version: "1.20.1-2+deb12u5",
        digest: "8b9c05f2d8d461a10d657b118f572af5bf8fd6c8f93dcef81e852c5ab0f428ab",
    },
    Package {
        name: "libkeyutils1",
        version: "1.6.3-2",
        digest: "cfac89e6a7a54ff3c6a4f843310e25efeddaa771baeae470bd98bd588c373563",
    },
    Package {
        name: "libcom-err2",
        version: "1.47.0-2+b2",
        digest: "a2bac7015e78fbc0c504df3e441f3a22292f1d2d77f9ccda760057f3690e22f2",
    },
];

/// The program that makes packets disappear, and its libraries.
const NFTABLES: &[Package] = &[
    Package {
        name: "nftables",
        version: "1.0.6-2+deb12u2",
        digest: "966ff20ce58c17163a771c02ddbca264291408f94c512bd85dd18da0ebdbe88c",
    },
    Package {
        name: "libnftables1",
        version: "1.0.6-2+deb12u2",
        digest: "3a8223f9bfba99d97bf25296ac83de307ab036e1df63e5965f88809266851947",
    },
    Package {
        name: "libnftnl11",
        version: "1.2.4-2",
        digest: "9e619e1470a1915264e906020f3bfc046fd8458043b1342686d997b5078213af",
    },
    Package {
        name: "libmnl0",
        version: "1.0.4-3",
        digest: "4581f42e3373cb72f9ea4e88163b17873afca614a6c6f54637e95aa75983ea7c",
    },
    Package {
        name: "libxtables12",
        version: "1.8.9-2",
        digest: "cb841d66950a43af4a398625313d2f3da9065299c9738538de6c2c3495857040",
    },
    Package {
        name: "libjansson4",
        version: "2.14-2",
        digest: "3fc9742f9f1a37bcb9931df6074b4d1483419ef832ad5349f47323e75fc27864",
    },
    Package {
        name: "libgmp10",
        version: "2:6.2.1+dfsg1-1.1",
        digest: "187aedef2ed763f425c1e523753b9719677633c7eede660401739e9c893482bd",
    },
    Package {
        name: "libedit2",
        version: "3.1-20221030-2",
        digest: "1cf14abf2716d3279db12d0657a5737cf70074a1e71d3bdf73206625e3c89ce6",
    },
    Package {
        name: "libbsd0",
        version: "0.11.7-2",
        digest: "bb31cc8b40f962a85b2cec970f7f79cc704a1ae4bad24257a822055404b2c60b",
    },
    Package {
        name: "libmd0",
        version: "1.0.4-2",
        digest: "03539fd30c509e27101d13a56e52eda9062bdf1aefe337c07ab56def25a13eab",
    },
];

/// The wheels of it are built small and without its counters.
const NGINX: &[Package] = &[
    Package {
        name: "nginx",
        version: "1.22.1-9+deb12u11",
        digest: "4e2778e675c07d0f2d8d3b6f5ff84f6483ade1d82c21c910eb9a2787e1cf1b1a",
    },
    Package {
        name: "libnginx-mod-stream",
        version: "1.22.1-9+deb12u11",
        digest: "952570771815046276e19fc1e062ae82b4498cede0e87a7f53915a6b52705d9e",
    },
    Package {
        name: "libpcre2-8-0",
        version: "10.42-1+deb12u2",
        digest: "d2f7edfcc7689b9e0761c2742cc824ac86a20768bc5e8057818dc6875291fe76",
    },
    Package {
        name: "libssl3",
        version: "3.0.22-1~deb12u2",
        digest: "cb4784740daa9b3b0eaea2b444bbefa686794afbbf3d678d238c1fd9875f2efd",
    },
];

/// Away from the server's own programs, which its scripts find before all
/// others: whoever runs the server says how rsync is run.
const RSYNC: &str = "usr/libexec/rsync";

/// What nobody runs.
const DISPENSABLE: [&str; 4] = ["usr/share/doc", "usr/share/man", "usr/share/lintian", "etc"];

/// Where Debian's libraries are below the folder.
const LIBRARIES: [&str; 2] = ["usr/lib/x86_64-linux-gnu", "lib/x86_64-linux-gnu"];

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
fn program(tree: &Path, name: &str) -> anyhow::Result<()> {
    let script = format!(
        "#!/bin/sh\n\
         tree=$(dirname \"$0\")/..\n\
         LD_LIBRARY_PATH=$tree/usr/lib/x86_64-linux-gnu exec \"$tree/usr/sbin/{name}\" \"$@\"\n"
    );
    let path = tree.join("bin").join(name);
    fs::create_dir_all(tree.join("bin"))?;
    fs::write(&path, script)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).context("make it a program")
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
