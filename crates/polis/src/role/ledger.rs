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
    check_unit(&credentials, &args.unit)?;
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

/// Who we say that we are is the unit that we write for.
fn check_unit(credentials: &Credentials, unit: &UnitName) -> anyhow::Result<()> {
    let peer = identity::Peer::from_certificates(&credentials.chain);
    let of = peer.context("read our certificate")?.spiffe.map(|id| id.unit);
    if of.as_deref() != Some(unit.as_str()) {
        let code = errors::LEDGER_IDENTITY;
        let of = of.unwrap_or_else(|| "no unit".to_owned());
        anyhow::bail!("{code}: it is of {of}, and --unit is {unit}. {}", code.remedy());
    }
    Ok(())
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

#[cfg(test)]
mod tests {
    use identity::{Authority, Leaf, SpiffeId};
    use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};

    use super::*;

    #[test]
    fn a_ledger_does_not_start_with_the_certificate_of_another_unit() {
        let id = SpiffeId {
            trust_domain: TRUST_DOMAIN.into(),
            unit: "rz01".into(),
            namespace: "payments".into(),
            service_account: "ledger".into(),
        };
        let lifetime = std::time::Duration::from_secs(60);
        let leaf = Leaf { spiffe: Some(id), lifetime, ..Leaf::default() };
        let issued = Authority::root("test").and_then(|root| root.issue(&leaf)).expect("issued");
        let chain = CertificateDer::pem_slice_iter(issued.chain_pem.as_bytes());
        let credentials = Credentials {
            chain: chain.collect::<Result<_, _>>().expect("certificates"),
            key: PrivateKeyDer::from_pem_slice(issued.key_pem.as_bytes()).expect("a key"),
            roots: Vec::new(),
        };
        let unit = |name: &str| name.parse().expect("a name");
        assert!(check_unit(&credentials, &unit("rz01")).is_ok());
        let refused = check_unit(&credentials, &unit("rz02")).expect_err("another's").to_string();
        assert!(refused.contains("PLS0528: it is of rz01, and --unit is rz02"), "{refused}");
    }
}
