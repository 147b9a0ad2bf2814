//! Real clients of the field, from the peers that `cargo xtask peers` fetched.

use std::{
    path::PathBuf,
    process::{Command, Output},
};

fn peer(name: &str) -> PathBuf {
    let dir = std::env::var_os("POLIS_PEERS").map(PathBuf::from).or_else(|| {
        let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
        let home = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache"));
        cache.or_else(home).map(|cache| cache.join("polis/peers"))
    });
    let path = dir.expect("HOME or POLIS_PEERS is set").join("bin").join(name);
    assert!(path.exists(), "{} is missing: run `cargo xtask peers`", path.display());
    path
}

/// Runs the real kubectl.
#[must_use]
pub fn kubectl(args: &[&str]) -> Output {
    Command::new(peer("kubectl")).args(args).output().expect("run kubectl")
}

/// Runs the real etcdctl (API version 3).
#[must_use]
pub fn etcdctl(args: &[&str]) -> Output {
    Command::new(peer("etcdctl")).env("ETCDCTL_API", "3").args(args).output().expect("run etcdctl")
}
