//! Where the flags of `polis store` may come from besides its command line:
//! the environment (`POLIS_STORE_NAME` for `--name`, as etcd's `ETCD_NAME`) and
//! a TOML file (`--config-file`), whose keys are the flags' names. A flag given
//! twice counts where it is nearer: command line, environment, file.
//!
//! Both become arguments before anything is parsed, so that every flag can
//! come from everywhere and is checked in one place.

use std::{collections::BTreeMap, ffi::OsString, path::Path};

use anyhow::{Context as _, bail};

const PREFIX: &str = "POLIS_STORE_";
const CONFIG_FILE: &str = "config-file";

/// Flags that mean something when they are false.
const THREE_STATE: &[&str] = &["client-cert-auth", "enable-grpc-gateway"];

/// The command line with what the other sources add, if it is one that serves
/// a store; any other as it is.
pub fn complete(
    args: Vec<OsString>,
    environment: impl Iterator<Item = (OsString, OsString)>,
) -> anyhow::Result<Vec<OsString>> {
    let text: Vec<String> = args.iter().map(|arg| arg.to_string_lossy().into_owned()).collect();
    let serves = text.get(1).is_some_and(|verb| verb == "store")
        && text.get(2).is_none_or(|first| first.starts_with('-'))
        && !text.iter().any(|arg| matches!(arg.as_str(), "-h" | "--help" | "--version"));
    if !serves {
        return Ok(args);
    }
    let mut added: BTreeMap<String, Vec<String>> = environment
        .filter_map(|(name, value)| {
            let name = name.to_str()?.strip_prefix(PREFIX)?.to_lowercase().replace('_', "-");
            Some((name, vec![value.to_string_lossy().into_owned()]))
        })
        .collect();
    let file = given(&text, CONFIG_FILE)
        .or_else(|| added.get(CONFIG_FILE).and_then(|values| values.first()).cloned());
    added.remove(CONFIG_FILE);
    if let Some(file) = file {
        for (name, values) in read(Path::new(&file))? {
            added.entry(name).or_insert(values);
        }
    }
    let mut args = args;
    for (name, values) in added {
        if is_given(&text, &name) {
            continue;
        }
        for value in values {
            match value.as_str() {
                "true" => args.push(format!("--{name}").into()),
                "false" if !THREE_STATE.contains(&name.as_str()) => {}
                _ => args.push(format!("--{name}={value}").into()),
            }
        }
    }
    Ok(args)
}

/// Tables are no flags; a list is one flag with commas.
fn read(path: &Path) -> anyhow::Result<BTreeMap<String, Vec<String>>> {
    let shown = path.display();
    let text = std::fs::read_to_string(path).with_context(|| format!("read {shown}"))?;
    let table: toml::Table = text.parse().with_context(|| format!("read {shown} as TOML"))?;
    let mut flags = BTreeMap::new();
    for (key, value) in table {
        let value = match value {
            toml::Value::Array(items) => {
                let items = items.iter().map(scalar);
                items.collect::<Option<Vec<String>>>().map(|items| items.join(","))
            }
            value => scalar(&value),
        };
        let Some(value) = value else {
            bail!("{shown}: {key} must be a text, a number, true or false, or a list of them");
        };
        flags.insert(key.replace('_', "-"), vec![value]);
    }
    Ok(flags)
}

fn scalar(value: &toml::Value) -> Option<String> {
    match value {
        toml::Value::String(text) => Some(text.clone()),
        toml::Value::Integer(number) => Some(number.to_string()),
        toml::Value::Float(number) => Some(number.to_string()),
        toml::Value::Boolean(truth) => Some(truth.to_string()),
        toml::Value::Datetime(_) | toml::Value::Array(_) | toml::Value::Table(_) => None,
    }
}

fn is_given(args: &[String], name: &str) -> bool {
    args.iter().any(|arg| {
        let flag = arg.strip_prefix("--").map(|flag| flag.split('=').next().unwrap_or(flag));
        flag == Some(name)
    })
}

/// The value of a flag, as `--name value` or `--name=value`.
fn given(args: &[String], name: &str) -> Option<String> {
    let flag = format!("--{name}");
    args.iter().enumerate().find_map(|(at, arg)| match arg.strip_prefix(&flag)? {
        "" => args.get(at + 1).cloned(),
        rest => rest.strip_prefix('=').map(str::to_owned),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn completed(args: &[&str], environment: &[(&str, &str)]) -> Vec<String> {
        let args = args.iter().map(OsString::from).collect();
        let environment = environment.iter().map(|(name, value)| (name.into(), value.into()));
        let completed = complete(args, environment).expect("completed");
        completed.iter().map(|arg| arg.to_string_lossy().into_owned()).collect()
    }

    #[test]
    fn the_nearest_source_of_a_flag_counts() {
        let folder = std::env::temp_dir().join(format!("polis-sources-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder");
        let file = folder.join("store.toml");
        let text = "name = 'file'\nlisten-client-urls = ['http://a:1', 'http://b:2']\n\
            max_txn_ops = 7\ninsecure = true\nclient-cert-auth = false\n";
        std::fs::write(&file, text).expect("written");
        let path = file.display().to_string();
        let given = completed(
            &["polis", "store", "--max-txn-ops=9", "--config-file", &path],
            &[("POLIS_STORE_NAME", "environment"), ("HOME", "x")],
        );
        assert_eq!(
            given[5..],
            [
                "--client-cert-auth=false",
                "--insecure",
                "--listen-client-urls=http://a:1,http://b:2",
                "--name=environment",
            ]
        );
        std::fs::remove_dir_all(folder).expect("removed");
    }

    #[test]
    fn other_verbs_are_left_alone() {
        let environment = [("POLIS_STORE_NAME", "x")];
        for args in
            [&["polis", "up"][..], &["polis", "store", "restore"], &["polis", "store", "-h"]]
        {
            assert_eq!(completed(args, &environment), args);
        }
    }
}
