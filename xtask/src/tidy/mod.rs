//! `cargo xtask tidy`: the rules of the house that a compiler does not check.
//!
//! ARCHITECTURE.md is the source: its code map says which crate is in which
//! layer, and this says where the code disagrees.

mod layers;
mod map;
mod sources;

use std::path::Path;

use anyhow::bail;

/// What was found. Warnings are shown and pass.
#[derive(Default)]
pub struct Findings {
    errors: Vec<String>,
    warnings: Vec<String>,
}

pub fn run(root: &Path) -> anyhow::Result<()> {
    let mut findings = Findings::default();
    let crates = layers::crates(root)?;
    let map = map::read(root)?;
    map.check_crates(&crates, &mut findings);
    map.check_paths(root, &mut findings);
    layers::check(&crates, &map, &mut findings);
    sources::check(root, &crates, &mut findings)?;
    for warning in &findings.warnings {
        println!("warning: {warning}");
    }
    for error in &findings.errors {
        println!("error: {error}");
    }
    match findings.errors.len() {
        0 => Ok(()),
        1 => bail!("1 rule is broken"),
        many => bail!("{many} rules are broken"),
    }
}

// === impl Findings ===

impl Findings {
    pub fn error(&mut self, text: impl Into<String>) {
        self.errors.push(text.into());
    }

    pub fn warn(&mut self, text: impl Into<String>) {
        self.warnings.push(text.into());
    }
}
