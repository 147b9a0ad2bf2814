//! Certificates that are replaced while we serve: ours, and those by which
//! clients and front proxies are believed. Files are looked at, not told about:
//! whoever replaces them has many ways, renaming a symbolic link among them.

use std::{
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use api::Front;
use rt::Drain;
use tokio::time::Instant;

use super::certificates::{Certificates, LIFETIME};
use super::flags::ApiOptions;

/// Between two looks: four files' metadata, which costs nothing.
const EVERY: Duration = Duration::from_secs(5);

/// What tells two contents of a file apart; none while there is no file.
type Stamp = Option<(SystemTime, u64, u64)>;

pub struct Renewal {
    pub options: ApiOptions,
    pub certificates: Certificates,
    pub front: Front,
    pub listening: std::net::SocketAddr,
}

// === impl Renewal ===

impl Renewal {
    pub async fn run(self, drain: Drain) {
        let files = self.files();
        let look = || files.iter().map(|path| stamp(path)).collect::<Vec<_>>();
        let (mut seen, mut said) = (look(), None);
        let mut issue_at = Instant::now() + LIFETIME / 2;
        loop {
            tokio::select! {
                () = tokio::time::sleep(EVERY) => {}
                () = drain.started() => return,
            }
            if Instant::now() >= issue_at {
                issue_at = Instant::now() + LIFETIME / 2;
                self.issue_again();
            }
            let now = look();
            if now == seen {
                continue;
            }
            match self.renew() {
                Ok(()) => {
                    tracing::info!("certificates were replaced, and are served with from now on");
                    (seen, said) = (now, None);
                }
                // Perhaps half of them were replaced so far: the next look tries
                // again, and only another change is worth another word.
                Err(error) if said.as_ref() != Some(&now) => {
                    let error = format!("{error:#}");
                    tracing::warn!(error, "replaced certificates cannot be used; the old ones are");
                    said = Some(now);
                }
                Err(_) => {}
            }
        }
    }

    fn renew(&self) -> anyhow::Result<()> {
        let tls = self.certificates.load(&self.options)?;
        self.front.renew(tls.server, Some(tls.clients))?;
        Ok(())
    }

    /// What is our own to issue, long before it ends.
    fn issue_again(&self) {
        let issued = self.certificates.issue(&self.options, self.listening.ip());
        let written = issued.and_then(|()| {
            self.certificates.write_kubeconfig(&self.options, self.listening).map(drop)
        });
        if let Err(error) = written {
            let error = format!("{error:#}");
            tracing::error!(error, "cannot issue our certificates again");
        }
    }

    fn files(&self) -> Vec<PathBuf> {
        let own = self.certificates.serving(&self.options);
        let proxy = self.options.requestheader_client_ca_file.clone();
        [own.cert, own.key, own.ca].into_iter().chain(proxy).collect()
    }
}

fn stamp(path: &Path) -> Stamp {
    let meta = fs::metadata(path).ok()?;
    Some((meta.modified().ok()?, meta.len(), meta.ino()))
}
