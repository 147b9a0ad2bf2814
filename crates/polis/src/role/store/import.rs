//! `polis store import`: one live store's keys into another.

use std::{
    io::Write as _,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use identity::{Credentials, Files, ServerCheck};
use kv::{KeyRange, KeyspaceName, Kv, RangeRequest};
use store::import::{Follow, ImportConfig, Progress, import};

use crate::stop::StopSignal;

#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// The store to copy, an etcd or Polis: addresses of its members, the first that answers is used
    #[arg(long, required = true, value_delimiter = ',', value_name = "URL")]
    from: Vec<String>,
    /// Keyspace to copy, if it is a Polis
    #[arg(long, default_value = KeyspaceName::DEFAULT)]
    from_keyspace: String,
    /// Its roots, our certificate and our key, PEM; for https
    #[arg(long, requires = "from_cert", requires = "from_key")]
    from_cacert: Option<PathBuf>,
    #[arg(long, requires = "from_cacert")]
    from_cert: Option<PathBuf>,
    #[arg(long, requires = "from_cacert")]
    from_key: Option<PathBuf>,
    /// The store to copy into
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "https://127.0.0.1:2379",
        value_name = "URL"
    )]
    to: Vec<String>,
    /// Keyspace to copy into
    #[arg(long, default_value = KeyspaceName::DEFAULT)]
    keyspace: String,
    /// Its roots, our certificate and our key, PEM; for https
    #[arg(long, requires = "to_cert", requires = "to_key")]
    to_cacert: Option<PathBuf>,
    #[arg(long, requires = "to_cacert")]
    to_cert: Option<PathBuf>,
    #[arg(long, requires = "to_cacert")]
    to_key: Option<PathBuf>,
    /// Copy only keys that start with this
    #[arg(long, default_value = "")]
    prefix: String,
    /// Then take over changes until Ctrl-C, which is when to cut over
    #[arg(long)]
    follow: bool,
    /// Then take over changes until none is left
    #[arg(long, conflicts_with = "follow")]
    until_caught_up: bool,
    /// Go on with an import that was cut off; deletes what the source does not have
    #[arg(long)]
    resume: bool,
}

struct Side<'a> {
    urls: &'a [String],
    keyspace: &'a str,
    files: Option<Files>,
}

/// Between two lines of progress.
const TELL_EVERY: Duration = Duration::from_secs(1);

pub fn run(args: &Args) -> anyhow::Result<()> {
    crate::role::runtime(Some(2))?.block_on(copy(args))
}

async fn copy(args: &Args) -> anyhow::Result<()> {
    let files = |ca: &Option<PathBuf>, cert: &Option<PathBuf>, key: &Option<PathBuf>| {
        let (ca, cert, key) = (ca.clone()?, cert.clone()?, key.clone()?);
        Some(Files { cert, key, ca })
    };
    let from_files = files(&args.from_cacert, &args.from_cert, &args.from_key);
    let from = Side { urls: &args.from, keyspace: &args.from_keyspace, files: from_files };
    let from = from.connect().await.context("connect to the source")?;
    let to_files = files(&args.to_cacert, &args.to_cert, &args.to_key);
    let to = Side { urls: &args.to, keyspace: &args.keyspace, files: to_files };
    let to = to.connect().await.context("connect to the target")?;
    let config = ImportConfig {
        range: KeyRange::prefix(args.prefix.clone()),
        resume: args.resume,
        follow: match (args.follow, args.until_caught_up) {
            (true, _) => Follow::UntilStopped,
            (_, true) => Follow::UntilCaughtUp,
            _ => Follow::No,
        },
    };
    let mut signal = StopSignal::new()?;
    let stop = async move {
        match args.follow {
            true => signal.received().await,
            // Without a watch there is nothing to end early but the process.
            false => std::future::pending().await,
        }
    };
    let mut teller = Teller::new();
    let compared = import(&*from, &*to, &config, stop, |progress| teller.tell(progress)).await?;
    let mut out = std::io::stdout().lock();
    writeln!(
        out,
        "both sides have the same {} keys of {} bytes (hash {:08x}), at revision {} of the source",
        compared.keys, compared.bytes, compared.hash, compared.revision
    )?;
    writeln!(out, "revisions and versions are the target's own; a snapshot would have kept them")?;
    Ok(())
}

// === impl Side ===

impl Side<'_> {
    async fn connect(&self) -> anyhow::Result<Arc<dyn Kv>> {
        let tls = match &self.files {
            Some(files) => {
                let credentials = Credentials::load(files)?;
                Some(identity::client_config(&credentials, ServerCheck::HostName, &[b"h2"])?)
            }
            None => None,
        };
        let mut refused = Vec::new();
        for url in self.urls {
            let client = kv_etcd::Client::connect(kv_etcd::Config::new(url, tls.clone()))?;
            let kv = client.keyspace(self.keyspace)?;
            let count = RangeRequest { count_only: true, ..RangeRequest::new(KeyRange::key("a")) };
            match kv.range(count).await {
                Ok(_) => return Ok(Arc::new(kv)),
                Err(error) => refused.push(format!("{url}: {error}")),
            }
        }
        bail!("{}", refused.join("; "))
    }
}

/// Tells how far it is, on stderr, now and then.
struct Teller {
    began: Instant,
    told: Instant,
}

// === impl Teller ===

#[allow(clippy::disallowed_methods, reason = "for a person to read; decides nothing")]
impl Teller {
    fn new() -> Teller {
        Teller { began: Instant::now(), told: Instant::now() }
    }

    fn tell(&mut self, progress: &Progress) {
        if self.told.elapsed() < TELL_EVERY {
            return;
        }
        self.told = Instant::now();
        let Progress { keys, keys_total, written, followed, revision, following, .. } = *progress;
        if following {
            eprintln!("following: {followed} changes taken over, up to revision {revision}");
            return;
        }
        let seconds = self.began.elapsed().as_secs_f64().max(0.001);
        let rate = keys as f64 / seconds;
        let left = keys_total.saturating_sub(keys) as f64 / rate.max(1.0);
        eprintln!(
            "copying: {keys} of {keys_total} keys, {rate:.0}/s, {written} written, {left:.0} s left"
        );
    }
}
