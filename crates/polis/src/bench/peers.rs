//! Where the programs are that we are measured beside: fetched by `cargo xtask
//! peers`, or installed.

use std::path::{Path, PathBuf};

/// `fetched` is its place below the peers' folder.
pub fn find(fetched: &str) -> Option<PathBuf> {
    let name = Path::new(fetched).file_name()?;
    let peers = std::env::var_os("POLIS_PEERS").map(PathBuf::from).or_else(|| {
        let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
        let home = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache"));
        cache.or_else(home).map(|cache| cache.join("polis/peers"))
    });
    let path = std::env::var_os("PATH").unwrap_or_default();
    let installed = std::env::split_paths(&path).map(|folder| folder.join(name));
    let fetched = peers.map(|peers| peers.join(fetched));
    fetched.into_iter().chain(installed).find(|binary| binary.is_file())
}
