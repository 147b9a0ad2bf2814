//! Programs that a measurement starts beside what it measures.

use std::{net::SocketAddr, path::PathBuf, process::ExitCode};

use bench::{Origin, Protocol, Relay, RelayKind};
use identity::Files;

#[derive(Clone, Debug, clap::Args)]
pub struct NothingArgs {
    #[arg(long)]
    listen: SocketAddr,
    #[arg(long, requires = "key_file")]
    cert_file: Option<PathBuf>,
    #[arg(long, requires = "cert_file")]
    key_file: Option<PathBuf>,
    /// On hyper and tonic instead of our own HTTP/2
    #[arg(long)]
    hyper: bool,
}

#[derive(Clone, Debug, clap::Args)]
pub struct OriginArgs {
    #[arg(long)]
    unit_a: SocketAddr,
    #[arg(long)]
    unit_b: SocketAddr,
    #[arg(long)]
    echo: SocketAddr,
    #[arg(long)]
    bytes: usize,
}

#[derive(Clone, Debug, clap::Args)]
pub struct RelayArgs {
    #[arg(long, value_enum)]
    kind: Kind,
    #[arg(long)]
    protocol: Protocol,
    #[arg(long)]
    listen: SocketAddr,
    #[arg(long)]
    to: SocketAddr,
    #[arg(long)]
    workers: usize,
    #[arg(long, requires = "key_file", requires = "ca_file")]
    cert_file: Option<PathBuf>,
    #[arg(long)]
    key_file: Option<PathBuf>,
    #[arg(long)]
    ca_file: Option<PathBuf>,
    #[arg(long, requires = "cert_file")]
    client_cert_auth: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Kind {
    Bytes,
    Hyper,
}

pub fn nothing(args: NothingArgs) -> anyhow::Result<ExitCode> {
    // Nobody is asked for a certificate that the authority could judge.
    let files = args.cert_file.zip(args.key_file);
    let files = files.map(|(cert, key)| Files { ca: cert.clone(), cert, key });
    let stack = if args.hyper { bench::Stack::Hyper } else { bench::Stack::Own };
    crate::role::runtime(None)?.block_on(bench::serve_nothing(args.listen, files, stack))?;
    Ok(ExitCode::SUCCESS)
}

/// On one thread: it shares the cores with what is measured.
pub fn origin(args: &OriginArgs) -> anyhow::Result<ExitCode> {
    let OriginArgs { unit_a: a, unit_b: b, echo, bytes } = *args;
    let origin = Origin { a, b, echo, bytes };
    crate::role::runtime(Some(1))?.block_on(bench::serve_origin(origin))?;
    Ok(ExitCode::SUCCESS)
}

pub fn relay(args: RelayArgs) -> anyhow::Result<ExitCode> {
    let files = args.cert_file.zip(args.key_file).zip(args.ca_file);
    let relay = Relay {
        kind: match args.kind {
            Kind::Bytes => RelayKind::Bytes,
            Kind::Hyper => RelayKind::Hyper,
        },
        protocol: args.protocol,
        listen: args.listen,
        to: args.to,
        workers: args.workers,
        tls: files.map(|((cert, key), ca)| (Files { cert, key, ca }, args.client_cert_auth)),
    };
    bench::run_relay(&relay)?;
    Ok(ExitCode::SUCCESS)
}
