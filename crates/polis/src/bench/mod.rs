//! `polis bench`: what our servers do beside the field's own.

mod store;

use std::{net::SocketAddr, process::ExitCode};

use clap::Subcommand;

#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Measure the store beside etcd
    Store(store::Args),
    /// Serve calls that do nothing, as a ceiling
    #[command(hide = true)]
    Nothing {
        #[arg(long)]
        listen: SocketAddr,
    },
}

pub fn run(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        // The servers' lives are tied to this thread's.
        Command::Store(args) => crate::cli::on_this_thread(store::run(args))?,
        Command::Nothing { listen } => {
            crate::role::runtime(None)?.block_on(::bench::serve_nothing(listen))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}
