//! The folder with our own certificates and keys, made where none are given:
//!
//! ```text
//! CERT_DIR/ca.{crt,key}            our authority, which also signs clients
//! CERT_DIR/apiserver.{crt,key}     what we serve with, new at every start
//! CERT_DIR/admin.{crt,key}         the administrator of the kubeconfig
//! CERT_DIR/sa.{crt,key}            signs tokens of service accounts
//! ```

use std::{
    fs,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::Context as _;
use identity::{Authority, ClientAuth, Credentials, Files, Leaf};
use rustls::server::danger::ClientCertVerifier;

use super::flags::ApiOptions;
use crate::{kubeconfig, pki};

/// kube-apiserver's default `--cert-dir`.
const CERT_DIR: &str = "/var/run/kubernetes";

/// Of what is issued again at every start, and half this time later.
pub const LIFETIME: Duration = Duration::from_secs(365 * 24 * 3600);

/// The names by which Pods know the API server.
const NAMES: [&str; 5] = [
    "localhost",
    "kubernetes",
    "kubernetes.default",
    "kubernetes.default.svc",
    "kubernetes.default.svc.cluster.local",
];

/// The group that may do everything.
const MASTERS: &str = "system:masters";

/// How connections are made, and whom they are believed to be with.
pub struct Tls {
    pub server: Arc<rustls::ServerConfig>,
    pub clients: Arc<dyn ClientCertVerifier>,
}

pub struct Certificates {
    certs: PathBuf,
    kubeconfig: PathBuf,
}

// === impl Certificates ===

impl Certificates {
    /// Makes the folder, readable by us only.
    pub fn prepare(options: &ApiOptions, data: Option<&Path>) -> anyhow::Result<Certificates> {
        let absolute = |path: PathBuf| std::path::absolute(&path).unwrap_or(path);
        let data = data.map(|data| absolute(data.to_owned()));
        let certs = match (&options.cert_dir, &data) {
            (Some(dir), _) => absolute(dir.clone()),
            (None, Some(data)) => data.join("pki"),
            (None, None) => CERT_DIR.into(),
        };
        let mut folder = fs::DirBuilder::new();
        folder.recursive(true).mode(0o700);
        for dir in data.iter().chain([&certs]) {
            folder.create(dir).with_context(|| format!("create {}", dir.display()))?;
        }
        let kubeconfig = data.as_ref().unwrap_or(&certs).join("kubeconfig");
        Ok(Certificates { certs, kubeconfig })
    }

    /// What we serve TLS with, and whose clients we believe.
    pub fn tls(&self, options: &ApiOptions, listen: SocketAddr) -> anyhow::Result<Tls> {
        self.issue(options, listen.ip())?;
        self.load(options)
    }

    /// Makes what we serve with and was not given.
    pub fn issue(&self, options: &ApiOptions, listen: IpAddr) -> anyhow::Result<()> {
        if !serves_with_given(options) {
            self.issue_serving(options, listen)?;
        }
        if options.client_ca_file.is_none() {
            self.authority()?;
        }
        Ok(())
    }

    /// What we serve with, and who vouches for clients.
    pub fn serving(&self, options: &ApiOptions) -> Files {
        let own = self.files("apiserver");
        let (cert, key) = match (&options.tls_cert_file, &options.tls_private_key_file) {
            (Some(cert), Some(key)) => (cert.clone(), key.clone()),
            _ => (own.cert, own.key),
        };
        let ca = options.client_ca_file.clone().unwrap_or_else(|| self.files("ca").cert);
        Files { cert, key, ca }
    }

    /// As the files are now.
    pub fn load(&self, options: &ApiOptions) -> anyhow::Result<Tls> {
        let files = self.serving(options);
        let credentials = Credentials::load(&files).context("load the serving certificate")?;
        let alpn: [&[u8]; 2] = [b"h2", b"http/1.1"];
        Ok(Tls {
            server: identity::server_config(&credentials, ClientAuth::Any, &alpn)?,
            clients: identity::client_authority(&credentials.roots)?,
        })
    }

    /// The key that signs tokens of service accounts. Kept: tokens outlive us.
    pub fn own_signing_key(&self) -> anyhow::Result<PathBuf> {
        let files = self.files("sa");
        if !files.key.exists() {
            let leaf = Leaf {
                common_name: "service-accounts".into(),
                lifetime: LIFETIME,
                ..Leaf::default()
            };
            let issued = self.authority()?.issue(&leaf).context("make the signing key")?;
            issued.save(&files)?;
        }
        Ok(files.key)
    }

    /// Writes a kubeconfig for the administrator, where the authority of
    /// clients is ours.
    pub fn write_kubeconfig(
        &self,
        options: &ApiOptions,
        listening: SocketAddr,
    ) -> anyhow::Result<Option<&Path>> {
        if options.client_ca_file.is_some() {
            return Ok(None);
        }
        let admin = Leaf {
            common_name: "polis-admin".into(),
            organizations: vec![MASTERS.into()],
            lifetime: LIFETIME,
            ..Leaf::default()
        };
        let files = self.files("admin");
        self.authority()?.issue(&admin).context("issue the administrator")?.save(&files)?;
        let host = match options.advertise_address {
            Some(address) => address,
            None if listening.ip().is_unspecified() => Ipv4Addr::LOCALHOST.into(),
            None => listening.ip(),
        };
        let server = format!("https://{}", SocketAddr::new(host, listening.port()));
        let authority = match &options.tls_cert_file {
            Some(cert) => std::path::absolute(cert).unwrap_or_else(|_| cert.clone()),
            None => files.ca.clone(),
        };
        kubeconfig::write_one(&self.kubeconfig, &server, &authority, &files)?;
        Ok(Some(&self.kubeconfig))
    }

    fn issue_serving(&self, options: &ApiOptions, listen: IpAddr) -> anyhow::Result<()> {
        let mut addresses = vec![IpAddr::V4(Ipv4Addr::LOCALHOST)];
        addresses.extend(options.advertise_address);
        addresses.extend(Some(listen).filter(|address| !address.is_unspecified()));
        addresses.dedup();
        let leaf = Leaf {
            common_name: "kube-apiserver".into(),
            dns_names: NAMES.map(str::to_owned).to_vec(),
            addresses,
            lifetime: LIFETIME,
            ..Leaf::default()
        };
        let files = self.files("apiserver");
        self.authority()?.issue(&leaf).context("issue the serving certificate")?.save(&files)?;
        Ok(())
    }

    fn authority(&self) -> anyhow::Result<Authority> {
        let mut files = self.files("ca");
        files.ca.clone_from(&files.cert);
        pki::authority(&files, || Authority::root("polis")).context("prepare our authority")
    }

    fn files(&self, name: &str) -> Files {
        Files::in_dir(&self.certs, name)
    }
}

fn serves_with_given(options: &ApiOptions) -> bool {
    options.tls_cert_file.is_some() && options.tls_private_key_file.is_some()
}
