//! Certificates of one run: both sides show the same one.

use std::{net::Ipv4Addr, path::Path, sync::Arc, time::Duration};

use anyhow::Context;
use identity::{Authority, ClientAuth, Credentials, Files, Leaf, ServerCheck};
use rustls::{ClientConfig, ServerConfig};

/// Longer than any run.
const LIFETIME: Duration = Duration::from_secs(24 * 3600);

const ALPN: [&[u8]; 1] = [b"h2"];

/// What servers are started with, and what they are believed by.
pub(crate) struct Secure {
    pub files: Files,
    pub client: Arc<ClientConfig>,
}

// === impl Secure ===

impl Secure {
    pub fn make(folder: &Path) -> anyhow::Result<Secure> {
        let files = Files::in_dir(folder, "server");
        let leaf = Leaf {
            common_name: "polis-bench".to_owned(),
            addresses: vec![Ipv4Addr::LOCALHOST.into()],
            lifetime: LIFETIME,
            ..Leaf::default()
        };
        let issued = Authority::root("polis-bench").and_then(|root| root.issue(&leaf));
        issued.and_then(|issued| issued.save(&files)).context("make certificates")?;
        let credentials = Credentials::load(&files)?;
        let client = identity::client_config(&credentials, ServerCheck::HostName, &ALPN)?;
        Ok(Secure { files, client })
    }
}

/// For a server of ours that nobody shows a certificate to.
pub(crate) fn server(files: &Files) -> anyhow::Result<Arc<ServerConfig>> {
    let credentials = Credentials::load(files)?;
    Ok(identity::server_config(&credentials, ClientAuth::Optional, &ALPN)?)
}
