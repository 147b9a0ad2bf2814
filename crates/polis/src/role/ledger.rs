//! `polis ledger`: the payments service of one unit.

use std::{net::SocketAddr, path::PathBuf, sync::Arc};

use anyhow::Context;
use identity::{ClientAuth, Credentials, Expected, Files, ServerCheck};
use kv::Kv;
use ledger::{Ledger, Tls, Trust};
use topology::UnitName;

use crate::pki::{SYSTEM_NAMESPACE, TRUST_DOMAIN};

#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// The unit that this ledger writes for
    #[arg(long)]
    unit: UnitName,
    /// HOST:PORT to listen on
    #[arg(long)]
    listen: SocketAddr,
    /// The store: https://HOST:PORT
    #[arg(long)]
    store: String,
    /// Folder with ledger.crt, ledger.key and ca.crt
    #[arg(long)]
    identity_dir: PathBuf,
}

pub fn run(args: Args) -> anyhow::Result<()> {
    super::runtime(Some(1))?.block_on(serve(args))
}

async fn serve(args: Args) -> anyhow::Result<()> {
    let files = Files::in_dir(&args.identity_dir, "ledger");
    let credentials = Credentials::load(&files).context("load our identity")?;
    let expected = Expected::service(TRUST_DOMAIN, SYSTEM_NAMESPACE, "store");
    let tls = identity::client_config(&credentials, ServerCheck::Spiffe(expected), &[b"h2"])?;
    let store = kv_etcd::Client::connect(kv_etcd::Config::new(&args.store, Some(tls)))?;
    let open = |name: &str| -> Arc<dyn Kv> {
        Arc::new(store.keyspace(name).expect("the ledger's keyspace names are valid"))
    };
    let alpn: [&[u8]; 2] = [b"h2", b"http/1.1"];
    let tls = identity::server_config(&credentials, ClientAuth::Optional, &alpn)?;
    let config = ledger::Config {
        unit: args.unit.clone(),
        listen: args.listen,
        tls: Tls::Mutual(tls),
        trust: Trust::default(),
    };
    let (drain, shutdown) = super::lifecycle()?;
    let ledger = Ledger::build(config, open).await.context("build the ledger")?;
    tracing::info!(unit = %args.unit, address = %args.listen, "ledger serves");
    let running = rt::spawn(rt::TaskKind::Critical, "ledger", ledger.run(drain));
    shutdown.wait().await;
    running.await.context("run the ledger")
}
