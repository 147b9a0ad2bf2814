//! Certificates of one run: both sides show the same one.

use std::{net::Ipv4Addr, path::Path, sync::Arc, time::Duration};

use anyhow::Context;
use identity::{Authority, ClientAuth, Credentials, Files, Leaf};
use rustls::{ClientConfig, RootCertStore, ServerConfig, crypto::aws_lc_rs};

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
        let mut roots = RootCertStore::empty();
        for root in credentials.roots {
            roots.add(root)?;
        }
        // Clients show no certificate: etcd would not ask for one.
        let mut client =
            ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
                .with_safe_default_protocol_versions()?
                .with_root_certificates(roots)
                .with_no_client_auth();
        client.alpn_protocols = ALPN.map(<[u8]>::to_vec).into();
        Ok(Secure { files, client: Arc::new(client) })
    }
}

/// For a server of ours that nobody shows a certificate to.
pub(crate) fn server(files: &Files) -> anyhow::Result<Arc<ServerConfig>> {
    let credentials = Credentials::load(files)?;
    Ok(identity::server_config(&credentials, ClientAuth::Optional, &ALPN)?)
}

#[cfg(test)]
mod tests {
    use pb_etcd::etcdserverpb as pb;

    use super::*;
    use crate::{Stack, child::free_address, grpc, serve_nothing, target::Target};

    #[tokio::test]
    async fn a_server_of_the_run_is_called_over_tls() {
        let folder = std::env::temp_dir().join(format!("polis-bench-tls-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder");
        let Secure { files, client } = Secure::make(&folder).expect("certificates are made");
        let address = free_address().expect("a free port");
        let listening = serve_nothing(address, Some(files), Stack::Own);
        let target = Target { address, tls: Some(client) };
        let request = pb::PutRequest { key: "k".into(), ..Default::default() };
        let asking = async {
            loop {
                // Refused until it listens.
                let put = "/etcdserverpb.KV/Put";
                match grpc::ask::<pb::PutResponse>(&target, put, &request).await {
                    Ok(answer) => return answer,
                    Err(_) => tokio::task::yield_now().await,
                }
            }
        };
        tokio::select! {
            answer = asking => assert_eq!(answer, pb::PutResponse::default()),
            ended = listening => panic!("{ended:?}"),
        }
        std::fs::remove_dir_all(&folder).expect("removed");
    }
}
