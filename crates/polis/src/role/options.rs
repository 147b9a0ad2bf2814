//! Options of a role: one TOML file, every key also a flag; flags win.
//! The keys of a file may belong to two sets of options.

use std::{fs, path::Path};

use anyhow::{Context, bail};
use serde::{Serialize, de::DeserializeOwned};

/// Lays the flags that were given over the file, if there is one, whose keys are
/// those of `flags` and of `more`.
///
/// # Errors
/// Names the file, the line, the key and the problem.
pub fn resolve<O, M>(file: Option<&Path>, flags: &O, more: &M) -> anyhow::Result<(O, M)>
where
    O: Serialize + DeserializeOwned,
    M: Serialize + DeserializeOwned + clap::Args,
{
    let (mut table, mut more_table) = match file {
        Some(path) => read::<O, M>(path)?,
        None => Default::default(),
    };
    table.extend(toml::Table::try_from(flags).context("read the flags")?);
    more_table.extend(toml::Table::try_from(more).context("read the flags")?);
    Ok((table.try_into()?, more_table.try_into()?))
}

/// Reads and checks one file: what are flags of `M` are its keys, all others
/// are `O`'s.
pub fn read<O, M>(path: &Path) -> anyhow::Result<(toml::Table, toml::Table)>
where
    O: DeserializeOwned,
    M: DeserializeOwned + clap::Args,
{
    let text = text(path)?;
    let command = M::augment_args(clap::Command::new("flags"));
    let names: Vec<&str> = command.get_arguments().filter_map(clap::Arg::get_long).collect();
    let (of_options, of_more) = split(&text, &names);
    Ok((parse::<O>(path, &of_options)?, parse::<M>(path, &of_more)?))
}

/// The text without the keys in `names`, and with nothing else. What is taken
/// out leaves blanks, so that errors still know their line and column.
fn split(text: &str, names: &[&str]) -> (String, String) {
    // What cannot be read at all is refused as `O`'s.
    let Ok(table) = toml::de::DeTable::parse(text) else { return (text.into(), String::new()) };
    let blank = |text: &mut Vec<u8>, from: usize, to: usize| {
        text[from..to].iter_mut().filter(|byte| **byte != b'\n').for_each(|byte| *byte = b' ');
    };
    let (mut others, mut named) = (text.as_bytes().to_vec(), text.as_bytes().to_vec());
    blank(&mut named, 0, text.len());
    for (key, value) in table.get_ref() {
        if names.contains(&key.get_ref().as_ref()) {
            let (from, to) = (key.span().start, value.span().end);
            blank(&mut others, from, to);
            named[from..to].copy_from_slice(&text.as_bytes()[from..to]);
        }
    }
    let text = |bytes| String::from_utf8(bytes).expect("whole keys and values are UTF-8");
    (text(others), text(named))
}

fn text(path: &Path) -> anyhow::Result<String> {
    let code = errors::CONFIG_INVALID;
    fs::read_to_string(path).with_context(|| format!("{code}: read {}", path.display()))
}

fn parse<O: DeserializeOwned>(path: &Path, text: &str) -> anyhow::Result<toml::Table> {
    let code = errors::CONFIG_INVALID;
    let shown = path.display();
    // Parsed as options first: those errors know line and column.
    if let Err(error) = toml::from_str::<O>(text) {
        bail!("{code}: {shown}: {error}{}", code.remedy());
    }
    toml::from_str(text).with_context(|| format!("{code}: {shown}"))
}

/// A key that this role cannot run without.
pub fn required<T>(value: Option<T>, key: &str) -> anyhow::Result<T> {
    let code = errors::CONFIG_INVALID;
    value.with_context(|| {
        format!("{code}: `{key}` is missing: set it in the file, or as --{key}. {}", code.remedy())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_told_apart_where_they_stand() {
        let text = "roles = [\"api\"]\nsecure-port = 1 # x\ndata-dir = \"ä\"\n";
        let (others, named) = split(text, &["secure-port"]);
        assert_eq!(others, "roles = [\"api\"]\n                # x\ndata-dir = \"ä\"\n");
        assert_eq!(named.trim(), "secure-port = 1");
        assert_eq!(named.find("secure"), text.find("secure"));
    }
}
