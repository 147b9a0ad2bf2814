//! Flags of etcd that mean nothing here. Those that only tune what we do not
//! have are taken with a warning, so that etcd's command line serves as it is;
//! those that promise something are refused, since a promise that is ignored
//! is worse than none.

use anyhow::bail;
use clap::{Arg, ArgMatches, Command, parser::ValueSource};

/// Raft, its files, its peers, and bbolt: none of them is here.
const IGNORED: &[&str] = &[
    "backend-batch-interval",
    "backend-batch-limit",
    "backend-bbolt-freelist-type",
    "compaction-batch-limit",
    "compaction-sleep-interval",
    "downgrade-check-time",
    "election-timeout",
    "enable-grpc-gateway",
    "enable-pprof",
    "enable-v2",
    "experimental-compaction-batch-limit",
    "experimental-compaction-sleep-interval",
    "experimental-compact-hash-check-enabled",
    "experimental-compact-hash-check-time",
    "experimental-enable-lease-checkpoint",
    "experimental-enable-lease-checkpoint-persist",
    "experimental-snapshot-catchup-entries",
    "experimental-warning-apply-duration",
    "grpc-keepalive-min-time",
    "heartbeat-interval",
    "initial-advertise-peer-urls",
    "initial-cluster-token",
    "initial-election-tick-advance",
    "listen-peer-urls",
    "log-format",
    "log-outputs",
    "logger",
    "max-learners",
    "max-snapshots",
    "max-wals",
    "metrics",
    "peer-cert-file",
    "peer-client-cert-auth",
    "peer-key-file",
    "peer-trusted-ca-file",
    "pre-vote",
    "snapshot-catchup-entries",
    "snapshot-count",
    "socket-reuse-address",
    "socket-reuse-port",
    "strict-reconfig-check",
    "unsafe-no-fsync",
    "warning-apply-duration",
    "warning-unary-request-duration",
];

/// And what it would promise, with what to do instead.
const REFUSED: &[(&str, &str)] = &[
    ("auth-token", "tokens are signed with a key kept in the store; see --auth-token-ttl"),
    ("auto-tls", "make certificates with your own authority"),
    ("cipher-suites", "the suites are rustls' own, TLS 1.2 and 1.3"),
    ("client-cert-allowed-hostname", "name users in certificates instead"),
    ("client-crl-file", "let certificates live for hours instead"),
    ("cors", "no web page may use the store"),
    ("discovery", "there are no peers to discover"),
    ("discovery-srv", "there are no peers to discover"),
    ("force-new-cluster", "restore a snapshot instead"),
    ("host-whitelist", "ask for client certificates instead"),
    ("listen-client-http-urls", "HTTP is served at --listen-client-urls"),
    ("peer-auto-tls", "there are no peers"),
    ("tls-max-version", "TLS 1.2 and 1.3 are served"),
    ("tls-min-version", "TLS 1.2 and 1.3 are served"),
    ("wal-dir", "the log is in --data-dir"),
];

const INITIAL_CLUSTER: &str = "initial-cluster";
const INITIAL_CLUSTER_STATE: &str = "initial-cluster-state";

/// Those that were given, with their values.
#[derive(Clone, Debug, Default)]
pub struct Foreign(Vec<(String, String)>);

// === impl Foreign ===

impl Foreign {
    /// Warns of what is ignored; fails at what may not be.
    pub fn check(&self) -> anyhow::Result<()> {
        for (name, value) in &self.0 {
            if let Some((_, instead)) = REFUSED.iter().find(|(refused, _)| refused == name) {
                bail!("--{name} is etcd's and not ours: {instead}");
            }
            match (name.as_str(), value.as_str()) {
                (INITIAL_CLUSTER, members) if members.contains(',') => {
                    bail!("--initial-cluster: a store is no group of peers; one member at most")
                }
                (INITIAL_CLUSTER_STATE, "existing") => {
                    bail!("--initial-cluster-state=existing: there is no cluster to join")
                }
                ("enable-grpc-gateway", "false") => {
                    bail!("--enable-grpc-gateway=false: the gateway is always served")
                }
                _ => tracing::warn!(flag = %name, "--{name} is etcd's and means nothing here"),
            }
        }
        Ok(())
    }

    fn names() -> impl Iterator<Item = &'static str> {
        let refused = REFUSED.iter().map(|(name, _)| *name);
        IGNORED.iter().copied().chain(refused).chain([INITIAL_CLUSTER, INITIAL_CLUSTER_STATE])
    }
}

impl clap::Args for Foreign {
    fn augment_args(command: Command) -> Command {
        Foreign::names().fold(command, |command, name| {
            command.arg(Arg::new(name).long(name).hide(true).num_args(0..=1))
        })
    }

    fn augment_args_for_update(command: Command) -> Command {
        Foreign::augment_args(command)
    }
}

impl clap::FromArgMatches for Foreign {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Foreign, clap::Error> {
        let given = |name: &&str| matches.value_source(name) == Some(ValueSource::CommandLine);
        let value = |name: &str| matches.get_one::<String>(name).cloned().unwrap_or_default();
        let given = Foreign::names().filter(given);
        Ok(Foreign(given.map(|name| (name.to_owned(), value(name))).collect()))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Foreign::from_arg_matches(matches)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use clap::Args as _;

    use super::*;

    fn check(args: &[&str]) -> Result<usize, String> {
        let command = Foreign::augment_args(Command::new("store").no_binary_name(true));
        let matches = command.try_get_matches_from(args).map_err(|error| error.to_string())?;
        let foreign = <Foreign as clap::FromArgMatches>::from_arg_matches(&matches);
        let foreign = foreign.expect("they parse");
        foreign.check().map(|()| foreign.0.len()).map_err(|error| error.to_string())
    }

    #[test]
    fn what_tunes_raft_passes_and_what_promises_something_does_not() {
        let args = ["--snapshot-count", "5", "--pre-vote", "--initial-cluster=a=http://a:2380"];
        assert_eq!(check(&args), Ok(3));
        assert_eq!(check(&[]), Ok(0));
        for refused in
            ["--wal-dir=/x", "--initial-cluster=a=x,b=y", "--initial-cluster-state=existing"]
        {
            assert!(check(&[refused]).is_err(), "{refused}");
        }
    }
}
