//! Real clients of the field, from the peers that `cargo xtask peers` fetched.

use std::{
    io::{Read as _, Write as _},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::{Arc, Mutex},
    time::Duration,
};

use crate::wait_for;

/// Where a peer that `cargo xtask peers` fetched is.
#[must_use]
pub fn peer(name: &str) -> PathBuf {
    peer_at(&format!("bin/{name}"))
}

/// As [`peer`], of one that has a folder of its own.
#[must_use]
pub fn peer_at(place: &str) -> PathBuf {
    let dir = std::env::var_os("POLIS_PEERS").map(PathBuf::from).or_else(|| {
        let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
        let home = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache"));
        cache.or_else(home).map(|cache| cache.join("polis/peers"))
    });
    let path = dir.expect("HOME or POLIS_PEERS is set").join(place);
    assert!(path.exists(), "{} is missing: run `cargo xtask peers`", path.display());
    path
}

/// What `polis up` sets clocks wrong with.
#[must_use]
pub fn clock_library() -> PathBuf {
    peer_at("faketime/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1")
}

/// The real kubectl. Which kinds a server has it keeps for hours by the address in
/// `cache`, and by whether they are there words what it is refused: an answer to a
/// test before must not be one to this, so each server has a cache of its own.
#[must_use]
pub fn kubectl(cache: &Path) -> Command {
    let mut kubectl = Command::new(peer("kubectl"));
    kubectl.env("KUBECACHEDIR", cache);
    kubectl
}

/// Its own few seconds are a matter of what else the machine does. Whoever wants
/// other ones says so later, which wins.
const ETCDCTL_PATIENCE: [&str; 3] =
    ["--dial-timeout=60s", "--command-timeout=60s", "--keepalive-timeout=60s"];

fn etcdctl_command(args: &[&str]) -> Command {
    let mut command = Command::new(peer("etcdctl"));
    command.env("ETCDCTL_API", "3").args(ETCDCTL_PATIENCE).args(args);
    command
}

/// Runs the real etcdctl (API version 3).
#[must_use]
pub fn etcdctl(args: &[&str]) -> Output {
    etcdctl_command(args).output().expect("run etcdctl")
}

/// As [`etcdctl`], with `input` to read.
#[must_use]
pub fn etcdctl_with_input(args: &[&str], input: &str) -> Output {
    let mut child = etcdctl_command(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("run etcdctl");
    let mut stdin = child.stdin.take().expect("its input is a pipe");
    stdin.write_all(input.as_bytes()).expect("write to etcdctl");
    drop(stdin);
    child.wait_with_output().expect("wait for etcdctl")
}

/// Runs an etcdctl that does not end by itself until it has printed something
/// that ends with `last`, stops it, and returns what it printed.
#[must_use]
pub fn etcdctl_until(args: &[&str], last: &str, limit: Duration) -> String {
    let mut child = etcdctl_command(args)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .expect("run etcdctl");
    let mut stdout = child.stdout.take().expect("its output is a pipe");
    let printed = Arc::new(Mutex::new(Vec::new()));
    {
        let printed = printed.clone();
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(count @ 1..) = stdout.read(&mut bytes) {
                printed.lock().expect("no reader panics").extend_from_slice(&bytes[..count]);
            }
        });
    }
    let _stopped = Stopped(child);
    let text = || String::from_utf8_lossy(&printed.lock().expect("no reader panics")).into_owned();
    wait_for(&format!("etcdctl to print {last:?}"), limit, || text().ends_with(last).then_some(()));
    text()
}

/// A process that does not outlive its test, however that ends.
struct Stopped(Child);

impl Drop for Stopped {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
