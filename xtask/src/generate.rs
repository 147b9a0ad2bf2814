//! `cargo xtask gen`: writes again what is generated and committed.
//!
//! `protos` runs the generator in `gen/`, a workspace of its own so that nobody
//! builds it who does not need it. `errors` writes the page of all codes.

use std::{fs, path::Path};

use anyhow::{Context as _, bail};

use crate::run::{cargo, run};

/// Checked by `tidy`.
pub const ERRORS_PAGE: &str = "docs/reference/errors.md";

/// `wanted` empty means all.
pub fn generate(root: &Path, wanted: &[&str]) -> anyhow::Result<()> {
    let wanted = if wanted.is_empty() { &["protos", "errors"] } else { wanted };
    for part in wanted {
        match *part {
            "protos" => {
                let manifest = root.join("gen/Cargo.toml");
                run(cargo().args(["run", "--quiet", "--manifest-path"]).arg(manifest))?;
            }
            "errors" => {
                let path = root.join(ERRORS_PAGE);
                fs::write(&path, errors_page())
                    .with_context(|| format!("write {}", path.display()))?;
            }
            other => bail!("nothing to generate is called {other:?}; there are protos, errors"),
        }
    }
    Ok(())
}

/// Every code with its cause and remedy, in order.
pub fn errors_page() -> String {
    let mut entries: Vec<_> = errors::all().collect();
    entries.sort_by_key(|entry| entry.code);
    let mut page = String::from(
        "# Errors\n\n\
         Written by `cargo xtask gen errors` from `crates/errors`; `polis explain CODE` prints the same.\n",
    );
    for errors::Entry { code, title, cause, remedy } in entries {
        page.push_str(&format!(
            "\n## {code}\n\n**{title}**\n\n{cause}\n\n*What to do:* {remedy}\n"
        ));
    }
    page
}
