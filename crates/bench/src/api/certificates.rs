//! Certificates of one run: both sides show the same one, and know the same
//! administrator.

use std::{net::Ipv4Addr, path::Path, sync::Arc, time::Duration};

use anyhow::Context as _;
use identity::{Authority, Credentials, Files, Leaf};
use rustls::ClientConfig;

/// Longer than any run.
const LIFETIME: Duration = Duration::from_secs(24 * 3600);

pub(crate) struct Certificates {
    pub server: Files,
    /// Also signs and verifies tokens of service accounts.
    pub client: Arc<ClientConfig>,
}

// === impl Certificates ===

impl Certificates {
    pub fn make(folder: &Path) -> anyhow::Result<Certificates> {
        let root = Authority::root("polis-bench").context("make an authority")?;
        let issue = |name: &str, groups: &[&str]| {
            let leaf = Leaf {
                common_name: name.to_owned(),
                organizations: groups.iter().map(|group| (*group).to_owned()).collect(),
                dns_names: vec!["localhost".into()],
                addresses: vec![Ipv4Addr::LOCALHOST.into()],
                lifetime: LIFETIME,
                ..Leaf::default()
            };
            let files = Files::in_dir(folder, name);
            root.issue(&leaf)?.save(&files)?;
            anyhow::Ok(files)
        };
        let server = issue("server", &[])?;
        let admin = Credentials::load(&issue("admin", &["system:masters"])?)?;
        let alpn: [&[u8]; 1] = [b"http/1.1"];
        let client = identity::foreign_client_config(&admin.roots, Some(&admin), &alpn)?;
        Ok(Certificates { server, client })
    }
}
