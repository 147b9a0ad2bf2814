//! `cargo xtask gen`: runs the generators in `gen/`, a workspace of their own,
//! so that nobody builds them who does not need them.

use std::path::Path;

use crate::run::{cargo, run};

pub fn run_all(root: &Path) -> anyhow::Result<()> {
    let manifest = root.join("gen/Cargo.toml");
    run(cargo().args(["run", "--quiet", "--manifest-path"]).arg(manifest))
}
