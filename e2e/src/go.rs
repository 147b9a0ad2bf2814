//! The program of `e2e/go`, with Kubernetes' own client libraries.

use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

use crate::{Running, peer::peer_at};

/// The built program. Modules and what was compiled stay in the peers' cache:
/// the first build takes minutes, later ones a second.
fn program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        let go = peer_at("go/go");
        let cache = go.parent().expect("it has a folder").to_owned();
        let program = cache.join("clients");
        let mut build = Command::new(go.join("bin/go"));
        build.args(["build", "-mod=readonly", "-buildvcs=false", "-o"]).arg(&program).arg(".");
        build.current_dir(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("go"));
        build.env("GOPATH", cache.join("path")).env("GOCACHE", cache.join("build"));
        build.env("GOTOOLCHAIN", "local").env("CGO_ENABLED", "0");
        let output = build.output().expect("run Go");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        program
    })
}

/// Starts `role` (`informer`, `controller`) with a kubeconfig.
#[must_use]
pub fn go_client(role: &str, kubeconfig: &Path) -> Running {
    Running::attach(Command::new(program()).arg(role).arg(kubeconfig))
}
