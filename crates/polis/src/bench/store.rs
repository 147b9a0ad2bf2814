//! `polis bench store`: puts, reads, watches beside a real etcd.

use std::{
    net::{SocketAddr, ToSocketAddrs as _},
    path::PathBuf,
    process::ExitCode,
    time::Duration,
};

use anyhow::Context;
use bench::{Database, Figures, Op, Peer, Plan, Run};

use super::{count, peers, sheet::Sheet};
use crate::{output::Format, role::store::database, stop::StopSignal};

/// Of which each is a connection or a stream here and at the server.
const CLIENTS_MAX: usize = 10_000;

/// etcd takes requests of up to 1.5 MiB.
const VALUE_BYTES_MAX: usize = 1 << 20;

/// More than either side has the memory for on one machine.
const MEMORY_KEYS_MAX: usize = 100_000_000;

#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// What to measure beside
    #[arg(long, value_enum)]
    peer: Option<PeerKind>,
    /// A peer that runs already, http://HOST:PORT, instead of one started here
    #[arg(long, requires = "peer")]
    endpoints: Option<String>,
    /// The peer's program; the one that `cargo xtask peers` fetched, or one on the PATH, unless given
    #[arg(long, requires = "peer", conflicts_with = "endpoints")]
    peer_binary: Option<PathBuf>,
    /// Operations: put, txn-create, range, range-1000, delete, watch-fanout, keepalive, memory
    #[arg(long, value_delimiter = ',', default_values_t = Op::ALL.map(|op| op.name().to_owned()))]
    op: Vec<String>,
    /// How many clients ask at once
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "1,16,128,1000",
        value_parser = count::<CLIENTS_MAX>
    )]
    clients: Vec<usize>,
    /// How long each side is measured for each figure
    #[arg(long, default_value = "5s", value_parser = crate::load::duration)]
    duration: Duration,
    /// How often both sides take turns within it
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    #[arg(long, default_value_t = 256, value_parser = count::<VALUE_BYTES_MAX>)]
    value_bytes: usize,
    /// Watchers of the fan-out
    #[arg(long, default_value_t = 1000, value_parser = count::<CLIENTS_MAX>)]
    watchers: usize,
    /// Keys that memory is looked at with
    #[arg(long, default_value_t = 1_000_000, value_parser = count::<MEMORY_KEYS_MAX>)]
    memory_keys: usize,
    #[command(flatten)]
    database: database::Database,
    /// Speak TLS to both sides, with certificates made for the run
    #[arg(long, conflicts_with = "endpoints")]
    tls: bool,
    /// Where both sides keep their data meanwhile, on one disk
    #[arg(long, default_value = "polis-bench")]
    data: PathBuf,
    /// The store to measure instead of this program's own
    #[arg(long, hide = true)]
    store_binary: Option<PathBuf>,
    /// More arguments for the store, each as one word
    #[arg(long, allow_hyphen_values = true)]
    store_arg: Vec<String>,
    /// How to print the result
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum PeerKind {
    Etcd,
}

const HEADER: [&str; 10] =
    ["OPERATION", "CLIENTS", "POLIS/S", "P50", "P99", "CPU", "PEER/S", "P99", "RATIO", "CEILING/S"];

pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let plan = plan(&args)?;
    let sheet = Sheet { format: args.output, header: &HEADER, row };
    let mut stop = StopSignal::new()?;
    let report = bench::run(&plan, stop.received(), |run| sheet.ended(run)).await?;
    sheet.print(report.as_ref().map(|report| (report, &report.runs[..])))
}

fn plan(args: &Args) -> anyhow::Result<Plan> {
    let op = |name: &String| name.parse::<Op>().map_err(anyhow::Error::msg);
    let own = || std::env::current_exe().context("find our own binary");
    Ok(Plan {
        ops: args.op.iter().map(op).collect::<Result<_, _>>().context("--op")?,
        clients: args.clients.clone(),
        duration: args.duration,
        rounds: args.rounds,
        value_bytes: args.value_bytes,
        watchers: args.watchers,
        memory_keys: args.memory_keys,
        folder: args.data.join(std::process::id().to_string()),
        polis: args.store_binary.clone().map_or_else(own, Ok)?,
        store_args: args.store_arg.clone(),
        database: database(&args.database)?,
        tls: args.tls,
        peer: args.peer.map(|PeerKind::Etcd| peer(args)).transpose()?,
    })
}

fn database(args: &database::Database) -> anyhow::Result<Option<Database>> {
    let config = args.config().context("--database")?;
    Ok(args.database.clone().zip(config).map(|(url, config)| Database {
        url,
        password_file: args.database_password_file.clone(),
        config,
    }))
}

fn peer(args: &Args) -> anyhow::Result<Peer> {
    if let Some(url) = &args.endpoints {
        return Ok(Peer::Running(address(url)?));
    }
    let binary = args.peer_binary.clone().or_else(|| peers::find("bin/etcd"));
    binary.map(Peer::Binary).context(
        "no etcd found: run `cargo xtask peers`, put one on the PATH, or name it with --peer-binary",
    )
}

fn address(url: &str) -> anyhow::Result<SocketAddr> {
    let host = url.strip_prefix("http://").context("--endpoints: write http://HOST:PORT")?;
    let mut found = host.to_socket_addrs().with_context(|| format!("--endpoints {url}"))?;
    found.next().with_context(|| format!("--endpoints {url}: no such host"))
}

fn row(run: &Run) -> Vec<String> {
    let none = Figures::default();
    let peer = run.peer.as_ref().unwrap_or(&none);
    let ratio = run.ratio.map_or_else(String::new, |ratio| format!("{ratio:.2}"));
    let mut cells = vec![run.op.name().to_owned(), run.clients.to_string()];
    if run.op == Op::Memory {
        let bytes = |figures: &Figures| figures.resident_bytes.map_or_else(String::new, mib);
        let load = run.polis.load_s.map_or_else(String::new, |s| format!("{s:.0} s"));
        cells.extend([bytes(&run.polis), load, String::new(), String::new()]);
        let load = peer.load_s.map_or_else(String::new, |s| format!("{s:.0} s"));
        cells.extend([bytes(peer), load, ratio, String::new()]);
        return cells;
    }
    let cpu = run.polis.cpu_us.map_or_else(String::new, time);
    let ceiling = run.ceiling.as_ref().map_or_else(String::new, |c| format!("{:.0}", c.per_s));
    let rate = |figures: &Figures| format!("{:.0}", figures.per_s);
    cells.extend([rate(&run.polis), time(run.polis.p50_us), time(run.polis.p99_us), cpu]);
    cells.extend([rate(peer), time(peer.p99_us), ratio, ceiling]);
    cells
}

fn time(us: f64) -> String {
    match us {
        ..1000.0 => format!("{us:.0} us"),
        ..100_000.0 => format!("{:.1} ms", us / 1000.0),
        _ => format!("{:.0} ms", us / 1000.0),
    }
}

fn mib(bytes: u64) -> String {
    format!("{} MiB", bytes >> 20)
}
