//! Options of a role: one TOML file, every key also a flag; flags win.

use std::{fs, path::Path};

use anyhow::{Context, bail};
use serde::{Serialize, de::DeserializeOwned};

/// Lays the flags that were given over the file, if there is one.
///
/// # Errors
/// Names the file, the line, the key and the problem.
pub fn resolve<O: Serialize + DeserializeOwned>(
    file: Option<&Path>,
    flags: &O,
) -> anyhow::Result<O> {
    let mut table = match file {
        Some(path) => read::<O>(path)?,
        None => toml::Table::new(),
    };
    table.extend(toml::Table::try_from(flags).context("read the flags")?);
    Ok(table.try_into()?)
}

/// Reads and checks one file.
pub fn read<O: DeserializeOwned>(path: &Path) -> anyhow::Result<toml::Table> {
    let code = errors::CONFIG_INVALID;
    let shown = path.display();
    let text = fs::read_to_string(path).with_context(|| format!("{code}: read {shown}"))?;
    // Parsed as options first: those errors know line and column.
    if let Err(error) = toml::from_str::<O>(&text) {
        bail!("{code}: {shown}: {error}{}", code.remedy());
    }
    toml::from_str(&text).with_context(|| format!("{code}: {shown}"))
}

/// A key that this role cannot run without.
pub fn required<T>(value: Option<T>, key: &str) -> anyhow::Result<T> {
    let code = errors::CONFIG_INVALID;
    value.with_context(|| {
        format!("{code}: `{key}` is missing: set it in the file, or as --{key}. {}", code.remedy())
    })
}
