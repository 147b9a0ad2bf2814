//! How each server of a run is started.

use std::path::{Path, PathBuf};

use crate::{
    Plan,
    child::{Server, free_address},
    secure::Secure,
    target::Target,
};

/// More than what any run writes: a full store refuses.
const QUOTA_BYTES: u64 = 8 * 1024 * 1024 * 1024;

/// What the servers have in common.
pub(crate) struct Start<'a> {
    pub plan: &'a Plan,
    pub folder: PathBuf,
    pub secure: Option<Secure>,
}

// === impl Start ===

impl Start<'_> {
    pub async fn polis(&self) -> anyhow::Result<Server> {
        let target = self.target()?;
        let mut args = strings(&["store", "--listen-client-urls", &url(&target)]);
        args.extend(["--data-dir".into(), self.at("polis")]);
        // As etcd by default: all history is kept.
        args.push("--auto-compaction-retention=0".into());
        args.extend(["--quota-backend-bytes".into(), QUOTA_BYTES.to_string()]);
        match &self.secure {
            None => args.push("--insecure".into()),
            Some(_) => args.push("--client-cert-auth=false".into()),
        }
        args.extend(self.certificate());
        if let Some(database) = &self.plan.database {
            args.extend(["--database".into(), database.url.clone()]);
            if let Some(path) = &database.password_file {
                args.extend(["--database-password-file".into(), text(path)]);
            }
        }
        args.extend(self.plan.store_args.iter().cloned());
        self.start("polis", &self.plan.polis, &args, target).await
    }

    /// What answers at once and does nothing.
    pub async fn nothing(&self) -> anyhow::Result<Server> {
        let target = self.target()?;
        let mut args = strings(&["bench", "nothing", "--listen", &target.address.to_string()]);
        args.extend(self.certificate());
        let own = std::env::current_exe().unwrap_or_else(|_| self.plan.polis.clone());
        self.start("nothing", &own, &args, target).await
    }

    /// As it comes, but for a quota that lasts, and a log that does not cost.
    pub async fn etcd(&self, binary: &Path) -> anyhow::Result<Server> {
        let target = self.target()?;
        let client_url = url(&target);
        let peer_url = format!("http://{}", free_address()?);
        let mut args = strings(&[
            "--data-dir",
            &self.at("etcd"),
            "--listen-client-urls",
            &client_url,
            "--advertise-client-urls",
            &client_url,
            "--listen-peer-urls",
            &peer_url,
            "--initial-advertise-peer-urls",
            &peer_url,
            "--initial-cluster",
            &format!("default={peer_url}"),
            "--quota-backend-bytes",
            &QUOTA_BYTES.to_string(),
            "--log-level",
            "error",
        ]);
        args.extend(self.certificate());
        self.start("etcd", binary, &args, target).await
    }

    async fn start(
        &self,
        name: &'static str,
        binary: &Path,
        args: &[String],
        target: Target,
    ) -> anyhow::Result<Server> {
        let log = self.folder.join(name).with_extension("log");
        Server::start(name, binary, args, target, &log).await
    }

    fn target(&self) -> anyhow::Result<Target> {
        let tls = self.secure.as_ref().map(|secure| secure.client.clone());
        Ok(Target { address: free_address()?, tls })
    }

    /// The flags have the same names everywhere.
    fn certificate(&self) -> Vec<String> {
        let Some(Secure { files, .. }) = &self.secure else { return Vec::new() };
        strings(&["--cert-file", &text(&files.cert), "--key-file", &text(&files.key)])
    }

    fn at(&self, name: &str) -> String {
        text(&self.folder.join(name))
    }
}

fn url(target: &Target) -> String {
    format!("{}://{}", target.scheme(), target.address)
}

fn strings(args: &[&str]) -> Vec<String> {
    args.iter().map(|arg| (*arg).to_owned()).collect()
}

fn text(path: &Path) -> String {
    path.display().to_string()
}
