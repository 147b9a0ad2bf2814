//! Networks of centers that are made before `polis up`, for what stands in them.

use std::{path::PathBuf, process::Command};

use crate::{Scratch, path_with_nft, process};

/// Removed with this value.
pub struct Networks {
    scratch: Scratch,
    /// Center, address, and the namespace as `ip netns` knows it.
    places: Vec<[String; 3]>,
}

// === impl Networks ===

impl Networks {
    /// Of the reference layout. Needs root.
    #[must_use]
    pub fn prepare(name: &str) -> Networks {
        // Before anything is made, so that whatever fails is removed.
        let mut networks = Networks { scratch: Scratch::new(name), places: Vec::new() };
        let shown = networks.up("--prepare-networks");
        let place = |line: &str| {
            let words: Vec<_> = line.split_whitespace().collect();
            let namespace = words[2].rsplit('/').next().expect("a path");
            [words[0], words[1], namespace].map(ToOwned::to_owned)
        };
        networks.places = shown.lines().skip(1).map(place).collect();
        networks
    }

    /// Of the estate that lives in them.
    #[must_use]
    pub fn data(&self) -> PathBuf {
        self.scratch.join("data")
    }

    #[must_use]
    pub fn places(&self) -> &[[String; 3]] {
        &self.places
    }

    fn up(&self, option: &str) -> String {
        let mut command = Command::new(process::polis());
        command.args(["up", option, "--data"]).arg(self.data()).env("PATH", path_with_nft());
        let output = command.output().expect("run polis");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{option}: {said}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }
}

impl Drop for Networks {
    fn drop(&mut self) {
        if std::thread::panicking() && !self.data().exists() {
            return;
        }
        self.up("--cleanup");
    }
}
