//! The command line: every command, and nothing about how it is done.

use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

use crate::{bench, drill, explain, failover, load, role, shard, status, unit, up};

/// A financial-grade hybrid cloud in one binary
#[derive(Debug, Parser)]
#[command(name = "polis", version, propagate_version = true)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the reference layout on this machine
    Up(up::Args),
    /// Show the estate at a glance
    Status(status::Args),
    /// Show shards, and move them while they serve
    #[command(subcommand)]
    Shard(shard::Command),
    /// Show units, rent one for a while, or empty one
    #[command(subcommand)]
    Unit(unit::Command),
    /// Show failovers, and approve what waits for a person
    #[command(subcommand)]
    Failover(failover::Command),
    /// Send steady payments and record every answer
    Load(load::Args),
    /// Inject a fault, measure the recovery, prove that nothing is lost
    Drill(drill::Args),
    /// Measure beside the field's own servers
    #[command(subcommand)]
    Bench(bench::Command),
    /// Explain an error code
    Explain(explain::Args),
    /// Check a configuration file, or print a valid one
    #[command(subcommand)]
    Config(role::server::ConfigCommand),
    /// Run the etcd-compatible store
    Store(Box<role::store::Args>),
    /// Run a center: API server, controllers, edge and agent
    Server(Box<role::server::Args>),
    /// Run the payments service of a unit
    Ledger(role::ledger::Args),
    /// Watch a group of databases, and have another member lead when its leader is lost
    Guardian(Box<role::guardian::Args>),
    /// Carry traffic between services as a file says
    #[command(subcommand)]
    Proxy(role::proxy::Command),
    /// Print completions for a shell
    Completion {
        /// Which shell
        shell: clap_complete::Shell,
    },
}

pub fn run(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        // On this thread: its children die with the thread that started them.
        Command::Up(args) => done(on_this_thread(up::run(args))),
        Command::Status(args) => done(on_this_thread(status::run(args))),
        Command::Shard(command) => on_this_thread(shard::run(command)),
        Command::Unit(command) => on_this_thread(unit::run(command)),
        Command::Failover(command) => on_this_thread(failover::run(command)),
        Command::Load(args) => on_this_thread(load::run(args)),
        Command::Drill(args) => on_this_thread(drill::run(args)),
        Command::Bench(command) => bench::run(command),
        Command::Explain(args) => done(explain::run(&args)),
        Command::Config(command) => done(role::server::config(&command)),
        Command::Store(args) => {
            crate::logging::init_at(args.log_level());
            done(role::store::run(*args))
        }
        Command::Server(args) => {
            crate::logging::init_at(args.log_level());
            done(role::server::run(*args))
        }
        Command::Ledger(args) => role(|| role::ledger::run(args)),
        Command::Guardian(args) => {
            crate::logging::init();
            role::guardian::run(*args)
        }
        Command::Proxy(command) => role::proxy::run(command),
        Command::Completion { shell } => {
            clap_complete::generate(shell, &mut Cli::command(), "polis", &mut std::io::stdout());
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn role(run: impl FnOnce() -> anyhow::Result<()>) -> anyhow::Result<ExitCode> {
    crate::logging::init();
    done(run())
}

fn done(outcome: anyhow::Result<()>) -> anyhow::Result<ExitCode> {
    outcome.map(|()| ExitCode::SUCCESS)
}

pub fn on_this_thread<T>(future: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(future)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_and_flag_is_there_once() {
        Cli::command().debug_assert();
    }
}
