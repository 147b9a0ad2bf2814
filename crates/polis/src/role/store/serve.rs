//! `polis store`: serves. Flags carry etcd's names where etcd has one.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use anyhow::{Context, bail};
use identity::{ClientAuth, Credentials, Expected, Files, ServerCheck};

use super::{compaction, database::Database, duration, gates};
use crate::{
    logging::LogLevel,
    pki::{SYSTEM_NAMESPACE, TRUST_DOMAIN},
};

/// etcd's least interval of progress notifications.
const PROGRESS_MIN: Duration = Duration::from_millis(100);

#[derive(Clone, Debug, clap::Args)]
// Named, since clap names the group after the type, and the outer one is named so too. With the
// one that must be given: clap leaves a group empty whose struct flattens others.
#[group(id = "serve", arg = "data_dir")]
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
    /// Where to listen: https://HOST:PORT, or http://HOST:PORT with --insecure; several with commas
    #[arg(long, value_delimiter = ',', default_value = "https://127.0.0.1:2379")]
    listen_client_urls: Vec<String>,
    /// Where to tell health and metrics, without TLS, and nothing else
    #[arg(long, value_delimiter = ',')]
    listen_metrics_urls: Vec<String>,
    /// Our certificate and its chain, PEM
    #[arg(long, required_unless_present = "insecure")]
    cert_file: Option<PathBuf>,
    /// Its private key, PEM
    #[arg(long, required_unless_present = "insecure")]
    key_file: Option<PathBuf>,
    /// Roots of the clients that may connect, PEM
    #[arg(long)]
    trusted_ca_file: Option<PathBuf>,
    /// Ask clients for a certificate; with "=false" one is checked only when shown
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true",
        default_value_t = true, action = clap::ArgAction::Set)]
    client_cert_auth: bool,
    /// Refuse writes when the store holds more bytes than this; 0 is the default, less is no quota
    #[arg(long, default_value_t = 0, allow_negative_numbers = true)]
    quota_backend_bytes: i64,
    /// Bytes of values kept in memory; others are read from the log when asked
    /// for
    #[arg(long, default_value_t = store::Config::VALUES_BYTES_MAX)]
    memory_budget: usize,
    /// Largest request, in bytes
    #[arg(long, default_value_t = store::Limits::default().request_bytes)]
    max_request_bytes: usize,
    /// Operations in one transaction
    #[arg(long, default_value_t = store::Limits::default().txn_ops)]
    max_txn_ops: usize,
    /// Streams of one connection
    #[arg(long, default_value_t = store::Limits::default().streams)]
    max_concurrent_streams: u32,
    /// How often a watch that asked for it hears how far it is
    #[arg(long, alias = "experimental-watch-progress-notify-interval",
        value_parser = duration::parse, default_value = "30s")]
    watch_progress_notify_interval: Duration,
    /// Silence after which a client is pinged
    #[arg(long, value_parser = duration::parse, default_value = "20s")]
    grpc_keepalive_interval: Duration,
    /// Silence after a ping that ends the connection
    #[arg(long, value_parser = duration::parse, default_value = "10s")]
    grpc_keepalive_timeout: Duration,
    /// What is logged: debug, info, warn, error; POLIS_LOG says more
    #[arg(long)]
    log_level: Option<LogLevel>,
    /// A TOML file with these flags as keys
    // Read before the command line is; see `sources`.
    #[arg(long)]
    config_file: Option<PathBuf>,
    /// What --auto-compaction-retention counts: time, unless given
    #[arg(long, value_enum)]
    auto_compaction_mode: Option<compaction::Mode>,
    /// How much history to keep: hours or a duration (1h30m), or revisions. 0 keeps all; if not
    /// given, five minutes, at most 5000 revisions and 64 MiB
    #[arg(long)]
    auto_compaction_retention: Option<String>,
    /// Compare what this store holds with its log and with the leader, this often; 0 never
    #[arg(long, alias = "experimental-corrupt-check-time",
        value_parser = duration::parse, default_value = "0s")]
    corrupt_check_time: Duration,
    /// And once at the start; as in etcd 3.6 --feature-gates=InitialCorruptCheck=true does
    #[arg(long, alias = "experimental-initial-corrupt-check", num_args = 0..=1,
        require_equals = true, default_missing_value = "true", default_value_t = false,
        action = clap::ArgAction::Set)]
    initial_corrupt_check: bool,
    /// etcd's, of which only InitialCorruptCheck means something here
    #[arg(long, value_delimiter = ',', value_parser = gates::parse, hide = true)]
    feature_gates: Vec<gates::Gate>,
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

// === impl Args ===

impl Args {
    pub fn log_level(&self) -> Option<LogLevel> {
        self.log_level
    }
}

pub fn run(args: Args) -> anyhow::Result<()> {
    crate::role::runtime(None)?.block_on(serve(args))
}

async fn serve(args: Args) -> anyhow::Result<()> {
    let mut addresses = Vec::new();
    let mut secured = Vec::new();
    for url in &args.listen_client_urls {
        let (scheme, address) = split_url("listen-client-urls", url)?;
        addresses.push(address);
        secured.push(scheme == Scheme::Https);
    }
    let Some((first, more)) = addresses.split_first() else {
        bail!("--listen-client-urls is empty");
    };
    if secured.iter().any(|https| *https != secured[0]) {
        bail!("--listen-client-urls: all of them https://, or all http://");
    }
    let mut config = store::Config::new(&args.data_dir, *first);
    config.listen_more = more.to_vec();
    for url in &args.listen_metrics_urls {
        let (scheme, address) = split_url("listen-metrics-urls", url)?;
        if scheme == Scheme::Https {
            bail!("--listen-metrics-urls {url:?}: only http:// is served there");
        }
        config.listen_metrics.push(address);
    }
    config.quota_bytes = match args.quota_backend_bytes {
        0 => store::Config::QUOTA_BYTES,
        bytes => u64::try_from(bytes).unwrap_or(u64::MAX),
    };
    config.limits = store::Limits {
        request_bytes: args.max_request_bytes,
        txn_ops: args.max_txn_ops,
        streams: args.max_concurrent_streams,
    };
    if args.watch_progress_notify_interval < PROGRESS_MIN {
        bail!("--watch-progress-notify-interval: not less than 100ms");
    }
    config.progress_every = args.watch_progress_notify_interval;
    config.ping_every = args.grpc_keepalive_interval;
    config.ping_answer_max = args.grpc_keepalive_timeout;
    config.values_bytes_max = args.memory_budget;
    config.insecure = args.insecure;
    let (database, password) = (args.database.clone(), args.database_password_file.clone());
    config.database = Database { database, database_password_file: password }.config()?;
    config.name.clone_from(&args.name);
    config.advertise.clone_from(&args.advertise_client_urls);
    let retention = args.auto_compaction_retention.as_deref();
    config.history = compaction::history(args.auto_compaction_mode, retention)?;
    let gated = gates::initial_corrupt_check(&args.feature_gates);
    config.audit = store::AuditConfig {
        at_start: args.initial_corrupt_check || gated,
        every: Some(args.corrupt_check_time).filter(|every| !every.is_zero()),
    };
    config.auth_token_ttl = Duration::from_secs(args.auth_token_ttl);
    config.bcrypt_cost = args.bcrypt_cost;
    if args.mesh_access {
        config.access = store::Access::mesh(TRUST_DOMAIN);
    }
    if secured[0] {
        let credentials = credentials(&args)?;
        let alpn: [&[u8]; 2] = [b"h2", b"http/1.1"];
        let auth = match args.client_cert_auth {
            true => ClientAuth::Required,
            false => ClientAuth::Optional,
        };
        config.tls = Some(identity::server_config(&credentials, auth, &alpn)?);
        let check = match args.mesh_access {
            true => ServerCheck::Spiffe(Expected::service(TRUST_DOMAIN, SYSTEM_NAMESPACE, "store")),
            false => ServerCheck::HostName,
        };
        config.replica_tls = Some(identity::client_config(&credentials, check, &[b"h2"])?);
    } else if !args.insecure {
        bail!("an http:// address needs --insecure")
    }
    let (drain, shutdown) = crate::role::lifecycle()?;
    let store = store::Store::build(config).await.context("build the store")?;
    // etcd's words, which harnesses wait for.
    tracing::info!(address = %store.local_addr(), "store serves: ready to serve client requests");
    let running = rt::spawn(rt::TaskKind::Critical, "store", store.run(drain));
    shutdown.wait().await;
    running.await.context("run the store")?;
    Ok(())
}

fn credentials(args: &Args) -> anyhow::Result<Credentials> {
    let (Some(cert), Some(key)) = (&args.cert_file, &args.key_file) else {
        bail!("https needs --cert-file and --key-file");
    };
    let ca = match (&args.trusted_ca_file, args.client_cert_auth) {
        (Some(ca), _) => ca,
        // No certificate is looked at by it but, if one is shown, our own.
        (None, false) => cert,
        (None, true) => bail!(
            "https needs --trusted-ca-file to know its clients by; \
             --client-cert-auth=false serves clients without a certificate too"
        ),
    };
    let files = Files { cert: cert.clone(), key: key.clone(), ca: ca.clone() };
    Ok(Credentials::load(&files)?)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Scheme {
    Https,
    Http,
}

fn split_url(flag: &str, url: &str) -> anyhow::Result<(Scheme, SocketAddr)> {
    let (scheme, address) = match url.split_once("://") {
        Some(("https", address)) => (Scheme::Https, address),
        Some(("http", address)) => (Scheme::Http, address),
        _ => bail!("--{flag} {url:?}: write https://HOST:PORT"),
    };
    let address = address.trim_end_matches('/').replace("localhost", "127.0.0.1");
    let address = address.parse().with_context(|| format!("--{flag} {url:?}"))?;
    Ok((scheme, address))
}
