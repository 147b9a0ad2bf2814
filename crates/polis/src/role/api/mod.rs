//! `polis server --roles api` without a center: an API server by itself, one
//! plain cluster at `/`, in kube-apiserver's place and with its flags.

mod admission;
mod certificates;
mod compaction;
pub mod flags;
pub mod foreign;
mod kept;
mod prefix;
mod renewal;
mod settings;
mod values;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use ::api::encryption::{Encryption, Sealed};
use anyhow::Context as _;
use identity::{Credentials, Files};
use kv::Kv;
use rt::{TaskKind, drain::Drained};

use self::{certificates::Certificates, flags::ApiOptions, kept::Kept, renewal::Renewal};
use crate::{logging::LogLevel, stop::StopSignal};

/// What can be said of a file before anything is started: whether the plugins and
/// the policy that it names are some.
pub fn check(options: &ApiOptions) -> anyhow::Result<()> {
    settings::admission(options)?;
    settings::audit(options).map(|_| ())
}

/// What requests under way may take at the end: as long as any request.
fn finish_timeout(settings: &api::Settings) -> Duration {
    settings.bounds.request_timeout
}

pub async fn serve(options: ApiOptions, data: Option<PathBuf>) -> anyhow::Result<()> {
    let mut stop = StopSignal::new()?;
    let (trigger, drain) = rt::drain::channel();
    let data = data.as_deref();
    // A server that refuses to start makes no folder and no keys.
    check(&options)?;
    let certificates = Certificates::prepare(&options, data)?;
    let settings = settings::settings(&options, &certificates)?;
    let finish_timeout = finish_timeout(&settings);
    let delay = options.shutdown_delay_duration.map_or(Duration::ZERO, |span| span.0);
    let listen = settings::listen(&options);
    let tls = certificates.tls(&options, listen)?;
    let kept = Kept::open(&options, data, &drain).await?;
    let kv = sealed(kept.kv.clone(), &options)?;
    let config = api::Config {
        root: api::Door::Cluster,
        listen,
        tls: tls.server,
        clients: Some(tls.clients),
        // One cluster is one keyspace.
        keyspaces: Arc::new(move |_| kv.clone()),
        agent_tls: node_tls(&options)?,
        pages: rt::Pages::default(),
        settings,
    };
    let api = api::Api::build(config).await?;
    let address = api.local_addr();
    let (departure, audit_log) = (api.departure(), api.audit_log());
    let kubeconfig = certificates.write_kubeconfig(&options, address)?;
    let kubeconfig = kubeconfig.map(Path::display).map(tracing::field::display);
    tracing::info!(%address, kubeconfig, "API server serves");
    let renewal = Renewal { front: api.front(), listening: address, options, certificates };
    rt::spawn(TaskKind::Critical, "certificates", renewal.run(drain.clone()));
    let running = rt::spawn(TaskKind::Critical, "api", api.run(drain));

    stop.received().await;
    // Balancers look at /readyz and send others elsewhere, while who is here
    // already is still served.
    departure.announce();
    tracing::info!(?delay, "leaving");
    tokio::select! {
        () = tokio::time::sleep(delay) => {}
        // Told again: now.
        () = stop.received() => {}
    }
    let drained = tokio::select! {
        drained = trigger.drain(finish_timeout) => drained,
        () = stop.received() => Drained::TimedOut,
    };
    running.await.context("run the API server")?;
    kept.end().await;
    if tokio::time::timeout(finish_timeout, audit_log.flush()).await.is_err() {
        tracing::error!("the last events of the audit log are lost");
    }
    tracing::info!(?drained, "stopped");
    Ok(())
}

fn sealed(kv: Arc<dyn Kv>, options: &ApiOptions) -> anyhow::Result<Arc<dyn Kv>> {
    let Some(path) = &options.encryption_provider_config else { return Ok(kv) };
    let encryption = Encryption::read(path).context("--encryption-provider-config")?;
    Ok(Sealed::over(kv, encryption))
}

/// With which logs and shells are asked of nodes.
fn node_tls(options: &ApiOptions) -> anyhow::Result<Option<Arc<rustls::ClientConfig>>> {
    let (Some(cert), Some(key)) =
        (&options.kubelet_client_certificate, &options.kubelet_client_key)
    else {
        return Ok(None);
    };
    let ca = options.kubelet_certificate_authority.as_ref().with_context(|| {
        format!(
            "{}: --kubelet-client-certificate needs --kubelet-certificate-authority: a node that \
             nobody vouches for is shown nothing",
            errors::CONFIG_INVALID
        )
    })?;
    let files = Files { cert: cert.clone(), key: key.clone(), ca: ca.clone() };
    let own = Credentials::load(&files).context("load the certificate towards nodes")?;
    let alpn: [&[u8]; 1] = [b"http/1.1"];
    Ok(Some(identity::foreign_client_config(&own.roots, Some(&own), &alpn)?))
}

// === impl ApiOptions ===

impl ApiOptions {
    /// As kube-apiserver's `-v` is used: 2 is for every day.
    pub fn log_level(&self) -> Option<LogLevel> {
        match self.v? {
            0..=2 => Some(LogLevel::Info),
            3.. => Some(LogLevel::Debug),
        }
    }

    /// A key that was given, if any was.
    pub fn given(&self) -> anyhow::Result<Option<String>> {
        let table = toml::Table::try_from(self).context("read the flags")?;
        Ok(table.into_iter().map(|(key, _)| key).find(|key| key != "v"))
    }
}
