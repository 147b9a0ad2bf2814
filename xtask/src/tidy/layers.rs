//! Dependencies point downward. Roles meet through a protocol, never by name.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use serde_json::Value;

use super::{Findings, map::Map};
use crate::run::{cargo, output};

/// Crates of the workspace and what they need to run; tests may need more.
pub struct Crate {
    /// Its folder's name: `kv-etcd`.
    pub name: String,
    pub folder: PathBuf,
    /// Folder names of ours.
    ours: Vec<String>,
    /// Package names of others.
    others: Vec<String>,
}

/// Words build on words, adapters prove who they are, and what is measured
/// without a process of its own is called.
const SAME_LAYER: [(&str, &str); 6] = [
    ("resources", "topology"),
    ("merge", "schema"),
    ("cel", "schema"),
    ("client", "identity"),
    ("kv-etcd", "identity"),
    ("bench", "ledger"),
];

const RULES: u32 = 2;

/// What reaches outside a process, or waits: never in rules.
const IMPURE: [&str; 8] = ["tokio", "hyper", "tonic", "rustix", "rustls", "kube", "fjall", "mio"];

pub fn crates(root: &Path) -> anyhow::Result<Vec<Crate>> {
    let text = output(cargo().current_dir(root).args([
        "metadata",
        "--format-version",
        "1",
        "--no-deps",
        "--offline",
    ]))
    .context("read the workspace")?;
    let metadata: Value = serde_json::from_str(&text).context("read cargo's metadata")?;
    let ignored = fs::read_to_string(root.join(".gitignore")).unwrap_or_default();
    let packages = metadata["packages"].as_array().context("metadata without packages")?;
    let mut crates: Vec<_> = packages.iter().filter_map(read_crate).collect();
    // Scaffolding of one machine is no part of the house.
    crates.retain(|krate| {
        let folder = krate.folder.strip_prefix(root).unwrap_or(&krate.folder);
        ignored.lines().all(|line| Path::new(line.trim_start_matches('/')) != folder)
    });
    Ok(crates)
}

fn read_crate(package: &Value) -> Option<Crate> {
    let folder = Path::new(package["manifest_path"].as_str()?).parent()?.to_owned();
    let name = folder.file_name()?.to_str()?.to_owned();
    let (mut ours, mut others) = (Vec::new(), Vec::new());
    for dependency in package["dependencies"].as_array()? {
        // "dev" is free to use anything.
        if dependency["kind"] == "dev" {
            continue;
        }
        match dependency["path"].as_str() {
            Some(path) => ours.push(Path::new(path).file_name()?.to_str()?.to_owned()),
            None => others.push(dependency["name"].as_str()?.to_owned()),
        }
    }
    Some(Crate { name, folder, ours, others })
}

pub fn check(crates: &[Crate], map: &Map, findings: &mut Findings) {
    for Crate { name, ours, others, .. } in crates {
        let Some(layer) = map.layer(name) else { continue };
        for dependency in ours {
            match map.layer(dependency) {
                Some(below) if below < layer => {}
                Some(same) if same == layer && SAME_LAYER.contains(&(name, dependency)) => {}
                Some(other) => findings.error(format!(
                    "`{name}` (layer {layer}) must not depend on `{dependency}` (layer {other})"
                )),
                None => findings.error(format!(
                    "`{name}` must not depend on `{dependency}`, which is in no layer"
                )),
            }
        }
        for other in others.iter().filter(|other| IMPURE.contains(&other.as_str())) {
            if layer == RULES {
                findings.error(format!("`{name}` has rules and must not depend on `{other}`"));
            }
        }
    }
}
