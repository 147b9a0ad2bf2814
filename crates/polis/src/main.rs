//! `polis`: every role of the cloud, and the verbs to run it, in one binary.
//!
//! This crate alone knows all roles; it reads configuration, builds them,
//! wires them together and runs them. What each does is in its own crate.

mod bench;
mod cli;
mod connect;
mod data;
mod drill;
mod explain;
mod failover;
mod http;
mod kubeconfig;
mod layout;
mod load;
mod logging;
mod output;
mod pki;
mod role;
mod shard;
mod status;
mod stop;
mod subnet;
mod unit;
mod up;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    let args = match role::store::complete(std::env::args_os().collect(), std::env::vars_os()) {
        Ok(args) => args,
        Err(error) => {
            eprintln!("polis: {error:#}");
            return ExitCode::FAILURE;
        }
    };
    let command = cli::Cli::parse_from(args).command;
    match cli::run(command) {
        Ok(code) => code,
        Err(error) => {
            // A reader that went away (`polis explain --list | head`) is no error.
            if output::is_closed_pipe(&error) {
                return ExitCode::SUCCESS;
            }
            eprintln!("polis: {}", output::told(&error));
            ExitCode::FAILURE
        }
    }
}
