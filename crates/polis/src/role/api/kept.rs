//! Where objects are kept: a store in this process, or an etcd (ours too)
//! somewhere else.

use std::{net::SocketAddr, path::Path, sync::Arc, time::Duration};

use anyhow::{Context as _, bail};
use identity::{Credentials, Files};
use kv::{KeyspaceName, Kv};
use rt::{Drain, TaskKind, Trigger, drain::Drained};

use super::{compaction, flags::ApiOptions, prefix::Prefixed};

/// Given to the store to make durable what it has, once nobody asks any more.
const SETTLE_TIMEOUT: Duration = Duration::from_secs(8);

/// kube-apiserver's default `--etcd-compaction-interval`.
const COMPACTION_INTERVAL: Duration = Duration::from_secs(300);

/// A plain cluster's keyspace, and what is to be ended after it.
pub struct Kept {
    pub kv: Arc<dyn Kv>,
    store: Option<Trigger>,
}

// === impl Kept ===

impl Kept {
    /// Must be called inside a tokio runtime.
    pub async fn open(
        options: &ApiOptions,
        data: Option<&Path>,
        drain: &Drain,
    ) -> anyhow::Result<Kept> {
        match (options.etcd_servers.as_deref(), data) {
            (Some(servers), _) => Kept::elsewhere(servers, options, drain.clone()),
            (None, Some(data)) => Kept::in_process(data).await,
            (None, None) => bail!(
                "{}: nowhere to keep objects: give --data-dir for a store in this process, or \
                 --etcd-servers",
                errors::CONFIG_INVALID
            ),
        }
    }

    /// Ends after everyone who uses it.
    pub async fn end(self) {
        let Some(store) = self.store else { return };
        drop(self.kv);
        if store.drain(SETTLE_TIMEOUT).await == Drained::TimedOut {
            tracing::warn!("the store did not end in time");
        }
    }

    async fn in_process(data: &Path) -> anyhow::Result<Kept> {
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 0));
        let config =
            store::Config { in_process: true, ..store::Config::new(data.join("store"), nowhere) };
        let store = store::Store::build(config).await.context("open the store")?;
        let kv = store.handle(KeyspaceName::DEFAULT)?;
        // Of its own: it is asked until the last request has been answered.
        let (trigger, drain) = rt::drain::channel();
        rt::spawn(TaskKind::Critical, "store", store.run(drain));
        Ok(Kept { kv, store: Some(trigger) })
    }

    fn elsewhere(servers: &[String], options: &ApiOptions, drain: Drain) -> anyhow::Result<Kept> {
        let Some((first, others)) = servers.split_first() else {
            bail!("{}: --etcd-servers names none", errors::CONFIG_INVALID);
        };
        let tls = match &options.etcd_cafile {
            Some(ca) => Some(tls(ca, options).context("prepare TLS towards etcd")?),
            None if first.starts_with("https://") => bail!(
                "{}: --etcd-servers {first:?} needs --etcd-cafile to know it by",
                errors::CONFIG_INVALID
            ),
            None => None,
        };
        let mut config = kv_etcd::Config::new(first, tls);
        config.others = others.to_vec();
        let client = kv_etcd::Client::connect(config).context("--etcd-servers")?;
        let kv: Arc<dyn Kv> = Arc::new(client.keyspace(KeyspaceName::DEFAULT)?);
        let interval = options.etcd_compaction_interval.map_or(COMPACTION_INTERVAL, |span| span.0);
        if !interval.is_zero() {
            let compacted = compaction::run(kv.clone(), interval, drain);
            rt::spawn(TaskKind::Critical, "compaction of etcd", compacted);
        }
        let kv = match &options.etcd_prefix {
            Some(prefix) => Prefixed::over(kv, prefix),
            None => kv,
        };
        Ok(Kept { kv, store: None })
    }
}

fn tls(ca: &Path, options: &ApiOptions) -> anyhow::Result<Arc<rustls::ClientConfig>> {
    let roots = identity::certificates(ca)?;
    let own = match (&options.etcd_certfile, &options.etcd_keyfile) {
        (Some(cert), Some(key)) => {
            let files = Files { cert: cert.clone(), key: key.clone(), ca: ca.to_owned() };
            Some(Credentials::load(&files)?)
        }
        _ => None,
    };
    Ok(identity::foreign_client_config(&roots, own.as_ref(), &[b"h2"])?)
}
