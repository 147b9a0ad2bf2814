//! Where `cargo xtask peers` has put the servers.

use std::path::{Path, PathBuf};

pub fn folder() -> PathBuf {
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    set("POLIS_PEERS")
        .or_else(|| set("XDG_CACHE_HOME").map(|cache| cache.join("polis/peers")))
        .or_else(|| set("HOME").map(|home| home.join(".cache/polis/peers")))
        .expect("HOME or POLIS_PEERS is set")
}

/// A path in the folder that must be there.
pub fn find(path: &str) -> PathBuf {
    let found = folder().join(path);
    assert!(found.exists(), "{} is missing: run `cargo xtask peers`", found.display());
    found
}

/// Copies files and folders; what is neither is left out.
pub fn copy_tree(from: &Path, to: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        let kind = entry.file_type()?;
        if kind.is_dir() {
            copy_tree(&entry.path(), &target)?;
        } else if kind.is_file() {
            std::fs::copy(entry.path(), &target)?;
        }
    }
    Ok(())
}
