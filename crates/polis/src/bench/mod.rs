//! `polis bench`: what our servers do beside the field's own.

mod api;
mod children;
mod ledger;
mod peers;
mod proxy;
mod sheet;
mod store;

use std::process::ExitCode;

use clap::Subcommand;

#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Measure the store beside etcd
    Store(store::Args),
    /// Measure the API server beside kube-apiserver
    Api(api::Args),
    /// Measure a proxy's cost beside HAProxy, Envoy and nginx
    Proxy(proxy::Args),
    /// Measure payments over a database beside the same SQL written naively
    Ledger(ledger::Args),
    /// Serve calls that do nothing, as a ceiling
    #[command(hide = true)]
    Nothing(children::NothingArgs),
    /// Serve what proxies stand before
    #[command(hide = true)]
    Origin(children::OriginArgs),
    /// Pass on what comes, as a ceiling
    #[command(hide = true)]
    Relay(children::RelayArgs),
}

pub fn run(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        // The servers' lives are tied to this thread's.
        Command::Store(args) => crate::cli::on_this_thread(store::run(args)),
        Command::Api(args) => crate::cli::on_this_thread(api::run(args)),
        Command::Proxy(args) => crate::cli::on_this_thread(proxy::run(args)),
        Command::Ledger(args) => crate::role::runtime(None)?.block_on(ledger::run(args)),
        Command::Nothing(args) => children::nothing(args),
        Command::Origin(args) => children::origin(&args),
        Command::Relay(args) => children::relay(args),
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
