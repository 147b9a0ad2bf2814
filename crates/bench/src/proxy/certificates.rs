//! Certificates of one run: a proxy's, a client's, and the authority of both.

use std::{
    net::Ipv4Addr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::Context;
use identity::{Authority, Credentials, Files, Leaf, SpiffeId};
use rustls::{
    ClientConfig, RootCertStore,
    crypto::{CryptoProvider, aws_lc_rs},
};

use super::{Protocol, Security};

/// Longer than any run.
const LIFETIME: Duration = Duration::from_secs(24 * 3600);

pub(crate) struct Certificates {
    pub server: Files,
    /// Chain and key in one file, as HAProxy reads them.
    pub server_pem: PathBuf,
    client: Files,
}

// === impl Certificates ===

impl Certificates {
    pub fn make(folder: &Path) -> anyhow::Result<Certificates> {
        let root = Authority::root("polis-bench")?;
        let issue = |name: &str| {
            let files = Files::in_dir(folder, name);
            let spiffe = SpiffeId {
                trust_domain: "polis.local".into(),
                unit: "a".into(),
                namespace: "bench".into(),
                service_account: name.into(),
            };
            let leaf = Leaf {
                spiffe: Some(spiffe),
                common_name: name.into(),
                addresses: vec![Ipv4Addr::LOCALHOST.into()],
                lifetime: LIFETIME,
                ..Leaf::default()
            };
            let issued = root.issue(&leaf)?;
            issued.save(&files).map(|()| (files, issued.chain_pem + &issued.key_pem))
        };
        let (server, pem) = issue("proxy").context("make the proxies' certificate")?;
        let (client, _) = issue("client").context("make the clients' certificate")?;
        let server_pem = folder.join("proxy.pem");
        std::fs::write(&server_pem, pem).context("write the proxies' certificate")?;
        Ok(Certificates { server, server_pem, client })
    }

    /// None where nothing is secured.
    pub fn client(
        &self,
        security: Security,
        protocol: Protocol,
    ) -> anyhow::Result<Option<Arc<ClientConfig>>> {
        let Credentials { chain, key, roots } = Credentials::load(&self.client)?;
        let mut store = RootCertStore::empty();
        for root in roots {
            store.add(root)?;
        }
        let builder = ClientConfig::builder_with_provider(Arc::new(one_cipher()))
            .with_safe_default_protocol_versions()?
            .with_root_certificates(store);
        let mut config = match security {
            Security::None => return Ok(None),
            Security::Tls => builder.with_no_client_auth(),
            Security::Mtls => builder.with_client_auth_cert(chain, key)?,
        };
        config.alpn_protocols = protocol.alpn().map(|name| name.into()).into_iter().collect();
        Ok(Some(Arc::new(config)))
    }
}

/// The same for every proxy, whatever it likes best.
fn one_cipher() -> CryptoProvider {
    let cipher_suites = vec![aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256];
    CryptoProvider { cipher_suites, ..aws_lc_rs::default_provider() }
}
