//! `polis bench api`: creates, gets, lists, watches beside a kube-apiserver.

use std::{path::PathBuf, process::ExitCode, time::Duration};

use anyhow::Context as _;
use bench::{ApiOp, ApiPeer, ApiPlan, ApiRun, Figures};

use super::{count, peers, sheet::Sheet};
use crate::{output::Format, stop::StopSignal};

/// Of which each is a connection here and at the server.
const CLIENTS_MAX: usize = 1000;

/// An etcd takes requests of up to 1.5 MiB.
const OBJECT_BYTES_MAX: usize = 1 << 20;

/// More than either side has the memory for on one machine.
const MEMORY_OBJECTS_MAX: usize = 10_000_000;

#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// A kube-apiserver to measure beside; one among the peers or on the PATH unless given
    #[arg(long)]
    kube_apiserver: Option<PathBuf>,
    /// The etcd under it; the one that `cargo xtask peers` fetched, or one on the PATH, unless given
    #[arg(long)]
    etcd: Option<PathBuf>,
    /// Measure alone
    #[arg(long, conflicts_with_all = ["kube_apiserver", "etcd"])]
    no_peer: bool,
    /// Operations: ready, create, get, list-100, list-10000, watch-fanout, memory, churn
    #[arg(long, value_delimiter = ',', default_values_t = ApiOp::ALL.map(|op| op.name().to_owned()))]
    op: Vec<String>,
    /// Connections, each with one request under way: 64 unless given, 16 for list-100 and 1 for
    /// list-10000
    #[arg(long, value_parser = count::<CLIENTS_MAX>)]
    clients: Option<usize>,
    /// How long each side is measured for each figure
    #[arg(long, default_value = "5s", value_parser = crate::load::duration)]
    duration: Duration,
    /// How often both sides take turns within it
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Of a ConfigMap as it is sent
    #[arg(long, default_value_t = 600, value_parser = count::<OBJECT_BYTES_MAX>)]
    object_bytes: usize,
    /// Watchers of the fan-out
    #[arg(long, default_value_t = 100, value_parser = count::<CLIENTS_MAX>)]
    watchers: usize,
    /// Objects that memory is looked at with
    #[arg(long, default_value_t = 100_000, value_parser = count::<MEMORY_OBJECTS_MAX>)]
    memory_objects: usize,
    /// How often each of them is updated before memory is looked at again
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..=100))]
    memory_updates: u64,
    /// Where both sides keep their data meanwhile, on one disk
    #[arg(long, default_value = "polis-bench")]
    data: PathBuf,
    /// The program to measure instead of this one
    #[arg(long, hide = true)]
    polis_binary: Option<PathBuf>,
    /// More arguments for `polis server --roles api`, each as one word
    #[arg(long, allow_hyphen_values = true)]
    server_arg: Vec<String>,
    /// How to print the result
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
}

const HEADER: [&str; 9] =
    ["OPERATION", "CLIENTS", "POLIS", "P50", "P99", "CPU", "PEER", "P99", "RATIO"];

pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let plan = plan(&args)?;
    let sheet = Sheet { format: args.output, header: &HEADER, row };
    if plan.peer.is_none() && args.output == Format::Table {
        eprintln!("no kube-apiserver: figures in parentheses are of one on another machine");
    }
    let mut stop = StopSignal::new()?;
    let report = bench::run_api(&plan, stop.received(), |run| sheet.ended(run)).await?;
    sheet.print(report.as_ref().map(|report| (report, &report.runs[..])))
}

fn plan(args: &Args) -> anyhow::Result<ApiPlan> {
    let op = |name: &String| name.parse::<ApiOp>().map_err(anyhow::Error::msg);
    let own = || std::env::current_exe().context("find our own binary");
    Ok(ApiPlan {
        ops: args.op.iter().map(op).collect::<Result<_, _>>().context("--op")?,
        clients: args.clients,
        duration: args.duration,
        rounds: args.rounds,
        object_bytes: args.object_bytes,
        watchers: args.watchers,
        memory_objects: args.memory_objects,
        memory_updates: args.memory_updates,
        folder: args.data.join(std::process::id().to_string()),
        polis: args.polis_binary.clone().map_or_else(own, Ok)?,
        server_args: args.server_arg.clone(),
        peer: peer(args)?,
    })
}

fn peer(args: &Args) -> anyhow::Result<Option<ApiPeer>> {
    let found = args.kube_apiserver.clone().or_else(|| peers::find("bin/kube-apiserver"));
    let Some(kube_apiserver) = found.filter(|_| !args.no_peer) else { return Ok(None) };
    let etcd = args.etcd.clone().or_else(|| peers::find("bin/etcd"));
    let etcd = etcd.context(
        "no etcd found for the kube-apiserver: run `cargo xtask peers`, put one on the PATH, or \
         name it with --etcd",
    )?;
    Ok(Some(ApiPeer { kube_apiserver, etcd }))
}

fn row(run: &ApiRun) -> Vec<String> {
    let figure = |figures: &Figures| match run.op {
        ApiOp::Ready => figures.ready_s.map_or_else(String::new, |s| format!("{s:.2} s")),
        ApiOp::Memory | ApiOp::Churn => {
            figures.resident_bytes.map_or_else(String::new, |b| format!("{} MiB", b >> 20))
        }
        _ => match figures.watches_ended.filter(|ended| *ended > 0) {
            Some(ended) => format!("{:.0}/s, {ended} ended", figures.per_s),
            None => format!("{:.0}/s", figures.per_s),
        },
    };
    let time = |us: f64| match us {
        0.0 => String::new(),
        _ => format!("{:.1} ms", us / 1000.0),
    };
    let cpu = run.polis.cpu_us.map_or_else(String::new, |us| format!("{us:.0} us"));
    let mut cells = vec![run.op.name().to_owned(), run.clients.to_string(), figure(&run.polis)];
    cells.extend([time(run.polis.p50_us), time(run.polis.p99_us), cpu]);
    match (&run.peer, &run.reference) {
        (Some(peer), _) => cells.extend([figure(peer), time(peer.p99_us)]),
        (None, Some(reference)) => {
            cells.extend([format!("({})", figure(reference)), time(reference.p99_us)]);
        }
        (None, None) => cells.extend([String::new(), String::new()]),
    }
    cells.push(run.ratio.map_or_else(String::new, |ratio| format!("{ratio:.2}")));
    cells
}
