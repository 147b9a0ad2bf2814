//! `polis store`: serves. Flags carry etcd's names where etcd has one.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use anyhow::{Context, bail};
use identity::{ClientAuth, Credentials, Expected, Files, ServerCheck};

use super::database::Database;
use crate::pki::{SYSTEM_NAMESPACE, TRUST_DOMAIN};

#[derive(Clone, Debug, clap::Args)]
// Named, since clap names the group after the type, and the outer one is named so too.
#[group(id = "serve")]
pub struct Args {
    /// Folder for the log; with a database, for what this replica remembers of it
    #[arg(long)]
    data_dir: PathBuf,
    // Not flattened, or clap would not see that this group is there at all.
    /// Keep the log in a database: mysql://USER@HOST:PORT[,HOST:PORT]/DATABASE
    #[arg(long)]
    database: Option<String>,
    /// File with the database user's password; POLIS_DATABASE_PASSWORD works too
    #[arg(long, requires = "database")]
    database_password_file: Option<PathBuf>,
    /// What this store is called; stores that share a database need names of
    /// their own
    #[arg(long, default_value = "store")]
    name: String,
    /// Where clients and the other replicas reach this store, separated by
    /// commas; the address it listens on unless told
    #[arg(long, value_delimiter = ',')]
    advertise_client_urls: Vec<String>,
    /// Where to listen: https://HOST:PORT, or http://HOST:PORT with --insecure
    #[arg(long, default_value = "https://127.0.0.1:2379")]
    listen_client_urls: String,
    /// Our certificate and its chain, PEM
    #[arg(long, required_unless_present = "insecure")]
    cert_file: Option<PathBuf>,
    /// Its private key, PEM
    #[arg(long, required_unless_present = "insecure")]
    key_file: Option<PathBuf>,
    /// Roots of the clients that may connect, PEM
    #[arg(long, required_unless_present = "insecure")]
    trusted_ca_file: Option<PathBuf>,
    /// Refuse writes when the store holds more bytes than this
    #[arg(long, default_value_t = store::Config::QUOTA_BYTES)]
    quota_backend_bytes: u64,
    /// Bytes of values kept in memory; others are read from the log when asked
    /// for
    #[arg(long, default_value_t = store::Config::VALUES_BYTES_MAX)]
    memory_budget: usize,
    /// A login ends when it is not used for this many seconds
    #[arg(long, default_value_t = store::Config::AUTH_TOKEN_TTL.as_secs(),
        value_parser = clap::value_parser!(u64).range(1..))]
    auth_token_ttl: u64,
    /// How much work it is to try a password: twice as much with each step
    #[arg(long, default_value_t = store::Config::BCRYPT_COST,
        value_parser = clap::value_parser!(u32).range(4..=31))]
    bcrypt_cost: u32,
    /// Let each service use its own keyspaces only, by its SPIFFE identity
    #[arg(long, conflicts_with = "insecure")]
    mesh_access: bool,
    /// Serve without TLS, to anyone who can connect
    #[arg(long)]
    insecure: bool,
}

pub fn run(args: Args) -> anyhow::Result<()> {
    crate::role::runtime(None)?.block_on(serve(args))
}

async fn serve(args: Args) -> anyhow::Result<()> {
    let (scheme, address) = split_url(&args.listen_client_urls)?;
    let mut config = store::Config::new(args.data_dir, address);
    config.quota_bytes = args.quota_backend_bytes;
    config.values_bytes_max = args.memory_budget;
    config.insecure = args.insecure;
    let (database, password) = (args.database, args.database_password_file);
    config.database = Database { database, database_password_file: password }.config()?;
    config.name = args.name;
    config.advertise = args.advertise_client_urls;
    config.auth_token_ttl = Duration::from_secs(args.auth_token_ttl);
    config.bcrypt_cost = args.bcrypt_cost;
    if args.mesh_access {
        config.access = store::Access::mesh(TRUST_DOMAIN);
    }
    config.tls = match (scheme, args.cert_file, args.key_file, args.trusted_ca_file) {
        (Scheme::Https, Some(cert), Some(key), Some(ca)) => {
            let credentials = Credentials::load(&Files { cert, key, ca })?;
            let alpn: [&[u8]; 2] = [b"h2", b"http/1.1"];
            let check = match args.mesh_access {
                true => {
                    ServerCheck::Spiffe(Expected::service(TRUST_DOMAIN, SYSTEM_NAMESPACE, "store"))
                }
                false => ServerCheck::HostName,
            };
            let replica_tls = identity::client_config(&credentials, check, &[b"h2"])?;
            config.replica_tls = Some(replica_tls);
            Some(identity::server_config(&credentials, ClientAuth::Required, &alpn)?)
        }
        (Scheme::Https, ..) => {
            bail!("https needs --cert-file, --key-file and --trusted-ca-file")
        }
        (Scheme::Http, ..) if args.insecure => None,
        (Scheme::Http, ..) => bail!("an http:// address needs --insecure"),
    };
    let (drain, shutdown) = crate::role::lifecycle()?;
    let store = store::Store::build(config).await.context("build the store")?;
    tracing::info!(address = %store.local_addr(), "store serves");
    let running = rt::spawn(rt::TaskKind::Critical, "store", store.run(drain));
    shutdown.wait().await;
    running.await.context("run the store")?;
    Ok(())
}

enum Scheme {
    Https,
    Http,
}

fn split_url(url: &str) -> anyhow::Result<(Scheme, SocketAddr)> {
    let (scheme, address) = match url.split_once("://") {
        Some(("https", address)) => (Scheme::Https, address),
        Some(("http", address)) => (Scheme::Http, address),
        _ => bail!("--listen-client-urls {url:?}: write https://HOST:PORT"),
    };
    let address = address.trim_end_matches('/').replace("localhost", "127.0.0.1");
    let address = address.parse().with_context(|| format!("--listen-client-urls {url:?}"))?;
    Ok((scheme, address))
}
