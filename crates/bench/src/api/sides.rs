//! How both sides are started: with the same flags, as far as both need them.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use tokio::time::{Duration, Instant, sleep};

use super::{
    ApiPeer, ApiPlan,
    certificates::Certificates,
    http1::{Connection, OK},
    requests,
};
use crate::{
    child::{Server, free_address},
    target::Target,
};

/// How exactly it is known when a server is ready.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// kube-apiserver takes seconds, on a busy machine tens of them.
const READY_TIMEOUT: Duration = Duration::from_secs(120);

/// More than what any run writes: a full etcd refuses.
const QUOTA_BYTES: u64 = 8 * 1024 * 1024 * 1024;

/// What the sides have in common.
pub(crate) struct Start<'a> {
    pub plan: &'a ApiPlan,
    pub folder: PathBuf,
    pub certificates: &'a Certificates,
}

/// A server and how long it took to be ready.
pub(crate) struct Side {
    pub server: Server,
    pub ready: Duration,
}

// === impl Start ===

impl Start<'_> {
    pub async fn polis(&self) -> anyhow::Result<Side> {
        let target = self.target()?;
        let mut args = strings(&["server", "--roles", "api", "--data-dir", &self.at("polis")]);
        args.extend(self.flags(&target));
        args.extend(self.plan.server_args.iter().cloned());
        self.start("polis", &self.plan.polis, &args, target).await
    }

    /// With an etcd of its own, which is one of its processes as far as CPU and
    /// memory go, and runs before the clock does.
    pub async fn kube_apiserver(&self, peer: &ApiPeer) -> anyhow::Result<Side> {
        let etcd = self.etcd(&peer.etcd).await?;
        let target = self.target()?;
        let files = &self.certificates.server;
        let mut args = strings(&["--etcd-servers", &format!("http://{}", etcd.target.address)]);
        args.extend(self.flags(&target));
        args.extend(strings(&[
            "--authorization-mode=RBAC",
            "--service-account-issuer=https://localhost",
            "--service-account-signing-key-file",
            &text(&files.key),
            // Of a PKCS #8 key it does not read the public half; of a certificate
            // it does.
            "--service-account-key-file",
            &text(&files.cert),
            "--service-cluster-ip-range=10.0.0.0/24",
            "--cert-dir",
            &self.at("kube-apiserver"),
        ]));
        let mut side = self.start("kube-apiserver", &peer.kube_apiserver, &args, target).await?;
        side.server.join(etcd);
        Ok(side)
    }

    /// Those that have the same names on both sides.
    fn flags(&self, target: &Target) -> Vec<String> {
        let files = &self.certificates.server;
        strings(&[
            "--bind-address",
            &target.address.ip().to_string(),
            "--secure-port",
            &target.address.port().to_string(),
            "--client-ca-file",
            &text(&files.ca),
            "--tls-cert-file",
            &text(&files.cert),
            "--tls-private-key-file",
            &text(&files.key),
        ])
    }

    async fn etcd(&self, binary: &Path) -> anyhow::Result<Server> {
        let target = Target { address: free_address()?, tls: None };
        let (url, peers) =
            (format!("http://{}", target.address), format!("http://{}", free_address()?));
        let args = strings(&[
            "--data-dir",
            &self.at("etcd"),
            "--listen-client-urls",
            &url,
            "--advertise-client-urls",
            &url,
            "--listen-peer-urls",
            &peers,
            "--initial-advertise-peer-urls",
            &peers,
            "--initial-cluster",
            &format!("default={peers}"),
            "--quota-backend-bytes",
            &QUOTA_BYTES.to_string(),
            "--log-level",
            "error",
        ]);
        Server::start("etcd", binary, &args, target, &self.folder.join("etcd.log")).await
    }

    async fn start(
        &self,
        name: &'static str,
        binary: &Path,
        args: &[String],
        target: Target,
    ) -> anyhow::Result<Side> {
        let started = Instant::now();
        let log = self.folder.join(name).with_extension("log");
        let server = Server::start(name, binary, args, target, &log).await?;
        let ready = tokio::time::timeout(READY_TIMEOUT, ready(&server.target)).await;
        ready.with_context(|| format!("wait for {name} to be ready; see {}", log.display()))?;
        Ok(Side { server, ready: started.elapsed() })
    }

    fn target(&self) -> anyhow::Result<Target> {
        Ok(Target { address: free_address()?, tls: Some(self.certificates.client.clone()) })
    }

    fn at(&self, name: &str) -> String {
        text(&self.folder.join(name))
    }
}

async fn ready(target: &Target) {
    let request = requests::get("/readyz");
    loop {
        if let Ok(mut connection) = Connection::open(target).await
            && connection.ask(&request).await.is_ok_and(|answer| answer.status == OK)
        {
            return;
        }
        sleep(LOOK_EVERY).await;
    }
}

fn strings(args: &[&str]) -> Vec<String> {
    args.iter().map(|arg| (*arg).to_owned()).collect()
}

fn text(path: &Path) -> String {
    path.display().to_string()
}
