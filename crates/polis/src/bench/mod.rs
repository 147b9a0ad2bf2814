//! `polis bench`: what our servers do beside the field's own.

mod ledger;
mod sheet;
mod store;

use std::{net::SocketAddr, path::PathBuf, process::ExitCode};

use clap::Subcommand;
use identity::Files;

#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Measure the store beside etcd
    Store(store::Args),
    /// Measure payments over a database beside the same SQL written naively
    Ledger(ledger::Args),
    /// Serve calls that do nothing, as a ceiling
    #[command(hide = true)]
    Nothing {
        #[arg(long)]
        listen: SocketAddr,
        #[arg(long, requires = "key_file")]
        cert_file: Option<PathBuf>,
        #[arg(long, requires = "cert_file")]
        key_file: Option<PathBuf>,
        /// On hyper and tonic instead of our own HTTP/2
        #[arg(long)]
        hyper: bool,
    },
}

pub fn run(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        // The servers' lives are tied to this thread's.
        Command::Store(args) => crate::cli::on_this_thread(store::run(args)),
        Command::Ledger(args) => crate::role::runtime(None)?.block_on(ledger::run(args)),
        Command::Nothing { listen, cert_file, key_file, hyper } => {
            // Nobody is asked for a certificate that the authority could judge.
            let files = cert_file.zip(key_file);
            let files = files.map(|(cert, key)| Files { ca: cert.clone(), cert, key });
            let stack = if hyper { ::bench::Stack::Hyper } else { ::bench::Stack::Own };
            crate::role::runtime(None)?.block_on(::bench::serve_nothing(listen, files, stack))?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// 1 to `MAX` of something.
fn count<const MAX: usize>(text: &str) -> Result<usize, String> {
    let count = text.parse().ok().filter(|count| (1..=MAX).contains(count));
    count.ok_or_else(|| format!("{text:?} is not 1 to {MAX}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_bounded() {
        assert_eq!(count::<8>("8"), Ok(8));
        for bad in ["0", "9", "-1", "", "x", "99999999999999999999"] {
            assert!(count::<8>(bad).is_err(), "{bad}");
        }
    }
}
