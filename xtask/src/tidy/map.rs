//! The code map in ARCHITECTURE.md: layers with their crates, and the paths it
//! names.

use std::{collections::BTreeMap, fs, path::Path};

use anyhow::Context as _;

use super::{Findings, layers::Crate};

const FILE: &str = "ARCHITECTURE.md";
/// One sentence a line; longer is no longer a map.
const LINES_MAX: usize = 300;

pub struct Map {
    text: String,
    /// `None` for what is beside the layers.
    layer_by_crate: BTreeMap<String, Option<u32>>,
}

pub fn read(root: &Path) -> anyhow::Result<Map> {
    let text = fs::read_to_string(root.join(FILE)).with_context(|| format!("read {FILE}"))?;
    let layer_by_crate = parse(&text);
    Ok(Map { text, layer_by_crate })
}

/// `### 3 adapters`, then one line `- NAME` (in backticks) for each crate.
fn parse(text: &str) -> BTreeMap<String, Option<u32>> {
    let mut layer_by_crate = BTreeMap::new();
    let mut layer = None;
    let in_section = text.lines().skip_while(|line| *line != "## The crates").skip(1);
    for line in in_section.take_while(|line| !line.starts_with("## ")) {
        if let Some(heading) = line.strip_prefix("### ") {
            layer = heading.split(' ').next().and_then(|number| number.parse().ok());
        } else if let Some((name, _)) =
            line.strip_prefix("- `").and_then(|rest| rest.split_once('`'))
        {
            layer_by_crate.insert(name.trim_end_matches('/').to_owned(), layer);
        }
    }
    layer_by_crate
}

// === impl Map ===

impl Map {
    pub fn layer(&self, name: &str) -> Option<u32> {
        self.layer_by_crate.get(name).copied().flatten()
    }

    /// Every crate is on the map, and the map names nothing else.
    pub fn check_crates(&self, crates: &[Crate], findings: &mut Findings) {
        for krate in crates {
            if !self.layer_by_crate.contains_key(&krate.name) {
                findings.error(format!("{FILE}: crate `{}` is not on the map", krate.name));
            }
        }
        for name in self.layer_by_crate.keys() {
            // `gen` is a workspace of its own.
            if name != "gen" && crates.iter().all(|krate| krate.name != *name) {
                findings.error(format!("{FILE}: there is no crate `{name}`"));
            }
        }
        let lines = self.text.lines().count();
        if lines > LINES_MAX {
            findings.error(format!("{FILE}: {lines} lines; at most {LINES_MAX}"));
        }
    }

    /// Every path between backticks leads somewhere.
    pub fn check_paths(&self, root: &Path, findings: &mut Findings) {
        for named in self.text.split('`').skip(1).step_by(2) {
            let is_path = named.contains("/src") || named.starts_with("docs/");
            let plain = |c: char| c.is_ascii_alphanumeric() || "/-_.".contains(c);
            if !is_path || !named.chars().all(plain) {
                continue;
            }
            if !root.join(named).exists() && !root.join("crates").join(named).exists() {
                findings.error(format!("{FILE}: `{named}` leads nowhere"));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_map_gives_each_crate_its_layer() {
        let text = "# A\n## The crates\n### 0 ground\n- `rt`: x\n### 4 roles\n- `api`: y\n\
                    ### Beside\n- `gen/`: z\n## Else\n- `not`: here\n";
        let map = parse(text);
        let expected =
            [("api".to_owned(), Some(4)), ("gen".to_owned(), None), ("rt".to_owned(), Some(0))];
        assert_eq!(map, BTreeMap::from(expected));
    }
}
