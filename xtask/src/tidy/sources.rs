//! What every source file and manifest must look like.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::Context as _;

use super::{Findings, layers::Crate};
use crate::generate::{ERRORS_PAGE, errors_page};

/// Look for the second noun long before.
const LINES_MAX: usize = 500;

pub fn check(root: &Path, crates: &[Crate], findings: &mut Findings) -> anyhow::Result<()> {
    for krate in crates {
        check_manifest(krate, findings)?;
    }
    for folder in crates.iter().map(|krate| krate.folder.clone()).chain([root.join("gen")]) {
        for file in rust_files(&folder)? {
            let text =
                fs::read_to_string(&file).with_context(|| format!("read {}", file.display()))?;
            let path = file.strip_prefix(root).unwrap_or(&file);
            check_source(path, &text, findings);
        }
    }
    let page = fs::read_to_string(root.join(ERRORS_PAGE)).unwrap_or_default();
    if page != errors_page() {
        findings.error(format!("{ERRORS_PAGE}: is old; run `cargo xtask gen errors`"));
    }
    Ok(())
}

fn check_manifest(krate: &Crate, findings: &mut Findings) -> anyhow::Result<()> {
    let path = krate.folder.join("Cargo.toml");
    let text = fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
    if !text.contains("[lints]\nworkspace = true") {
        findings.error(format!("`{}` does not inherit the workspace's lints", krate.name));
    }
    Ok(())
}

fn check_source(path: &Path, text: &str, findings: &mut Findings) {
    let first = text.lines().next().unwrap_or_default();
    if first.contains("@generated") {
        return;
    }
    let shown = path.display();
    if !first.starts_with("//!") {
        findings.error(format!("{shown}: starts without a `//!` header that says what it is"));
    }
    let lines = text.lines().count();
    if lines > LINES_MAX {
        findings.warn(format!("{shown}: {lines} lines; is there a second noun in it?"));
    }
    if !is_shipped(path) {
        return;
    }
    let shipped = text.lines().take_while(|line| line.trim() != "#[cfg(test)]");
    for (number, line) in shipped.enumerate() {
        let code = line.split("//").next().unwrap_or_default();
        if code.contains(".unwrap()") {
            let number = number + 1;
            findings.error(format!("{shown}:{number}: `expect` says why it cannot happen"));
        }
    }
}

/// Whether it is part of the product: not a test, an example or a tool.
fn is_shipped(path: &Path) -> bool {
    let name = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
    let mut folders = path.components().map(|part| part.as_os_str());
    folders.next().is_some_and(|first| first == "crates")
        && folders.nth(1).is_some_and(|third| third == "src")
        && folders.all(|part| part != "tests")
        && name != "tests"
        && !name.ends_with("_tests")
}

fn rust_files(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).with_context(|| format!("read {}", folder.display()))? {
            let entry = entry?;
            let path = entry.path();
            if entry.file_type()?.is_dir() {
                if entry.file_name() != "target" {
                    folders.push(path);
                }
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.push(path);
            }
        }
    }
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn errors(path: &str, text: &str) -> usize {
        let mut findings = Findings::default();
        check_source(Path::new(path), text, &mut findings);
        findings.errors.len()
    }

    #[test]
    fn a_source_has_a_header_and_no_unwrap_in_what_is_shipped() {
        let unwrap = "//! A.\nfn a() { b().unwrap() }\n";
        assert_eq!(errors("crates/a/src/a.rs", unwrap), 1);
        assert_eq!(errors("crates/a/tests/a.rs", unwrap), 0);
        assert_eq!(errors("crates/a/src/a_tests.rs", unwrap), 0);
        assert_eq!(errors("crates/a/src/a.rs", "//! A.\n// b().unwrap()\n"), 0);
        let tested = "//! A.\n#[cfg(test)]\nmod tests { fn a() { b().unwrap() } }\n";
        assert_eq!(errors("crates/a/src/a.rs", tested), 0);
        assert_eq!(errors("crates/a/src/a.rs", "fn a() {}\n"), 1);
    }
}
