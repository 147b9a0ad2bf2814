//! `polis ledger`: the payments service of one unit.

use std::{net::SocketAddr, path::PathBuf, sync::Arc};

use anyhow::Context;
use identity::{ClientAuth, Credentials, Expected, Files, ServerCheck};
use kv::Kv;
use ledger::{Database, Ledger, OnKv, OnSql, Tls, Trust};
use topology::UnitName;

use super::store::database;
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
    #[arg(long, required_unless_present = "database", conflicts_with = "database")]
    store: Option<String>,
    /// Keep the books in a database instead: mysql://USER@HOST:PORT[,HOST:PORT]/DATABASE
    #[arg(long)]
    database: Option<String>,
    /// File with the database user's password; POLIS_DATABASE_PASSWORD works too
    #[arg(long, requires = "database")]
    database_password_file: Option<PathBuf>,
    /// The server that a unit writes through first, once for each: UNIT=HOST:PORT
    #[arg(long = "database-node", requires = "database")]
    database_nodes: Vec<String>,
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
    let books = books(&args, &credentials).await?;
    let alpn: [&[u8]; 2] = [b"h2", b"http/1.1"];
    let tls = identity::server_config(&credentials, ClientAuth::Optional, &alpn)?;
    let config = ledger::Config {
        unit: args.unit.clone(),
        listen: args.listen,
        tls: Tls::Mutual(tls),
        trust: Trust::default(),
    };
    let (drain, shutdown) = super::lifecycle()?;
    let ledger = Ledger::build(config, books).await.context("build the ledger")?;
    tracing::info!(unit = %args.unit, address = %args.listen, "ledger serves");
    let running = rt::spawn(rt::TaskKind::Critical, "ledger", ledger.run(drain));
    shutdown.wait().await;
    running.await.context("run the ledger")
}

/// Where the accounts are.
async fn books(args: &Args, credentials: &Credentials) -> anyhow::Result<Arc<dyn Database>> {
    let database = database::Database {
        database: args.database.clone(),
        database_password_file: args.database_password_file.clone(),
    };
    if let Some(mut config) = database.config()? {
        // One writer per shard: where nodes replicate to each other, two of them
        // would meet each other's conflicts.
        let own = format!("{}=", args.unit);
        let own = args.database_nodes.iter().find_map(|node| node.strip_prefix(&own));
        config.endpoints.sort_by_key(|endpoint| own != Some(endpoint.to_string().as_str()));
        return Ok(Arc::new(OnSql::connect(config).await.context("open the database")?));
    }
    let store = super::options::required(args.store.as_ref(), "store")?;
    let expected = Expected::service(TRUST_DOMAIN, SYSTEM_NAMESPACE, "store");
    let tls = identity::client_config(credentials, ServerCheck::Spiffe(expected), &[b"h2"])?;
    let store = kv_etcd::Client::connect(kv_etcd::Config::new(store, Some(tls)))?;
    let open = |name: &str| -> Arc<dyn Kv> {
        Arc::new(store.keyspace(name).expect("the ledger's keyspace names are valid"))
    };
    Ok(Arc::new(OnKv::new(open)))
}
