//! The kubeconfigs we write. That of `polis up` has one context for the door
//! that balances over the live API replicas, one per center, one per unit; that
//! of an API server that runs alone has one.

use std::{fs, io::Write, os::unix::fs::OpenOptionsExt, path::Path};

use anyhow::Context;
use identity::Files;
use serde_json::{Value, json};

use crate::{layout::Layout, pki::Pki};

/// Writes `path` with mode 0600. JSON, which is YAML that every client reads.
pub fn write(path: &Path, layout: &Layout, pki: &Pki) -> anyhow::Result<()> {
    let files = pki.admin();
    let door = format!("https://127.0.0.1:{}", layout.base_port);
    let mut servers = vec![("polis".to_owned(), door.clone())];
    for plan in &layout.centers {
        servers.push((plan.center.to_string(), format!("https://{}", plan.api())));
        servers.push((plan.unit.to_string(), format!("{door}/units/{}", plan.unit)));
    }
    let cluster = |(name, server): &(String, String)| {
        json!({ "name": name,
                "cluster": { "server": server, "certificate-authority": files.ca } })
    };
    let context = |(name, _): &(String, String)| json!({ "name": name, "context": { "cluster": name, "user": "polis-admin" } });
    let config = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "polis",
        "clusters": servers.iter().map(cluster).collect::<Vec<_>>(),
        "contexts": servers.iter().map(context).collect::<Vec<_>>(),
        "users": [{
            "name": "polis-admin",
            "user": { "client-certificate": files.cert, "client-key": files.key },
        }],
    });
    save(path, &config)
}

/// Writes `path` with mode 0600: one server, which `authority` vouches for, and
/// its administrator.
pub fn write_one(path: &Path, server: &str, authority: &Path, admin: &Files) -> anyhow::Result<()> {
    let config = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "polis",
        "clusters": [{ "name": "polis",
                       "cluster": { "server": server, "certificate-authority": authority } }],
        "contexts": [{ "name": "polis", "context": { "cluster": "polis", "user": "polis-admin" } }],
        "users": [{
            "name": "polis-admin",
            "user": { "client-certificate": admin.cert, "client-key": admin.key },
        }],
    });
    save(path, &config)
}

fn save(path: &Path, config: &Value) -> anyhow::Result<()> {
    let beside = path.with_extension("tmp");
    // Left over from a start that was killed.
    let _ = fs::remove_file(&beside);
    fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&beside)
        .and_then(|mut file| file.write_all(format!("{config:#}\n").as_bytes()))
        .and_then(|()| fs::rename(&beside, path))
        .with_context(|| format!("write {}", path.display()))
}
