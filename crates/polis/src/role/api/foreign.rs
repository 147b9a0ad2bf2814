//! Flags of kube-apiserver that mean nothing here. Those that only tune what we
//! do otherwise are taken with a warning, so that its command lines serve as
//! they are; those that promise something are refused, since a promise that is
//! ignored is worse than none.

use anyhow::bail;
use clap::{Arg, ArgMatches, Command, parser::ValueSource};

const IGNORED: &[&str] = &[
    "aggregator-reject-forwarding-redirect",
    "allow-metric-labels",
    "allow-metric-labels-manifest",
    "apiserver-count",
    "audit-log-batch-buffer-size",
    "audit-log-batch-max-size",
    "audit-log-batch-max-wait",
    "audit-log-batch-throttle-burst",
    "audit-log-batch-throttle-enable",
    "audit-log-batch-throttle-qps",
    "audit-log-truncate-max-batch-size",
    "contention-profiling",
    "coordinated-leadership-lease-duration",
    "coordinated-leadership-renew-deadline",
    "coordinated-leadership-retry-period",
    "default-not-ready-toleration-seconds",
    "default-unreachable-toleration-seconds",
    "default-watch-cache-size",
    "delete-collection-workers",
    "disable-http2-serving",
    "disabled-metrics",
    "emulated-version",
    "emulation-forward-compatible",
    "enable-aggregator-routing",
    "enable-garbage-collector",
    "enable-logs-handler",
    "encryption-provider-config-automatic-reload",
    "endpoint-reconciler-type",
    "etcd-count-metric-poll-period",
    "etcd-db-metric-poll-interval",
    "etcd-healthcheck-timeout",
    "etcd-readycheck-timeout",
    "event-ttl",
    "external-hostname",
    "feature-gates",
    "goaway-chance",
    "http2-max-streams-per-connection",
    "identity-lease-duration-seconds",
    "identity-lease-renew-interval-seconds",
    "kubelet-port",
    "kubelet-preferred-address-types",
    "kubelet-read-only-port",
    "kubelet-timeout",
    "kubernetes-service-node-port",
    "lease-reuse-duration-seconds",
    "livez-grace-period",
    "log-flush-frequency",
    "log-json-info-buffer-size",
    "log-json-split-stream",
    "log-text-info-buffer-size",
    "log-text-split-stream",
    "logging-format",
    "logtostderr",
    "max-connection-bytes-per-sec",
    "permit-address-sharing",
    "permit-port-sharing",
    "profiling",
    "proxy-client-cert-file",
    "proxy-client-key-file",
    "runtime-config",
    "runtime-config-emulation-forward-compatible",
    "service-account-extend-token-expiration",
    "service-account-lookup",
    "service-account-max-token-expiration",
    "service-node-port-range",
    "show-hidden-metrics-for-version",
    "shutdown-send-retry-after",
    "shutdown-watch-termination-grace-period",
    "storage-initialization-timeout",
    "storage-media-type",
    "strict-transport-security-directives",
    "target-ram-mb",
    "tls-cipher-suites",
    "tls-curve-preferences",
    "vmodule",
    "watch-cache",
    "watch-cache-sizes",
];

/// And what it would promise, with what to do instead.
const REFUSED: &[(&str, &str)] = &[
    ("admission-control", "use --enable-admission-plugins"),
    ("admission-control-config-file", "admission plugins have no settings here"),
    ("audit-log-compress", "old files of the audit log are kept as they are"),
    ("audit-webhook-config-file", "auditing by webhook is not served: use --audit-log-path"),
    ("authentication-config", "use the --oidc flags"),
    ("authentication-token-webhook-config-file", "tokens are not asked of a webhook"),
    ("authorization-config", "use --authorization-mode"),
    ("authorization-policy-file", "the authorization mode ABAC is not served"),
    ("authorization-webhook-config-file", "the authorization mode Webhook is not served"),
    ("cors-allowed-origins", "no web page may use the API"),
    ("debug-socket-path", "there is no such socket"),
    ("egress-selector-config-file", "connections go where they say"),
    ("etcd-servers-overrides", "all objects are kept in one etcd"),
    ("insecure-bind-address", "only TLS is served"),
    ("service-account-jwks-uri", "the key set is served under the issuer's own address"),
    ("service-account-signing-endpoint", "tokens are signed by --service-account-signing-key-file"),
    ("tls-sni-cert-key", "one certificate is served; put all names into it"),
    ("tracing-config-file", "traces are not sent"),
];

const AUDIT_FORMAT: &str = "audit-log-format";
const AUDIT_VERSION: &str = "audit-log-version";
const INSECURE_PORT: &str = "insecure-port";
const STORAGE_BACKEND: &str = "storage-backend";
const TLS_MIN_VERSION: &str = "tls-min-version";

/// Those that were given, with their values.
#[derive(Clone, Debug, Default)]
pub struct Foreign(Vec<(String, String)>);

// === impl Foreign ===

impl Foreign {
    /// The first that was given.
    pub fn first(&self) -> Option<&str> {
        self.0.first().map(|(name, _)| name.as_str())
    }

    /// Warns of what is ignored; fails at what may not be.
    pub fn check(&self) -> anyhow::Result<()> {
        for (name, value) in &self.0 {
            let code = errors::CONFIG_INVALID;
            if let Some((_, instead)) = REFUSED.iter().find(|(refused, _)| refused == name) {
                bail!("{code}: --{name} is kube-apiserver's and not ours: {instead}");
            }
            match (name.as_str(), value.as_str()) {
                (AUDIT_FORMAT, "json") | (AUDIT_VERSION, "audit.k8s.io/v1") => {}
                (INSECURE_PORT, "0") | (STORAGE_BACKEND, "etcd3" | "") => {}
                (TLS_MIN_VERSION, "VersionTLS12" | "") => {}
                (AUDIT_FORMAT, other) => {
                    bail!("{code}: --{AUDIT_FORMAT} {other:?}: events are written as json")
                }
                (AUDIT_VERSION, other) => {
                    bail!("{code}: --{AUDIT_VERSION} {other:?}: events are of audit.k8s.io/v1")
                }
                (INSECURE_PORT, _) => bail!("{code}: --{INSECURE_PORT}: only TLS is served"),
                (STORAGE_BACKEND, other) => {
                    bail!("{code}: --{STORAGE_BACKEND} {other:?}: only etcd3 is served")
                }
                (TLS_MIN_VERSION, other) => {
                    bail!("{code}: --{TLS_MIN_VERSION} {other:?}: TLS 1.2 and 1.3 are served")
                }
                _ => {
                    tracing::warn!(flag = %name, "--{name} is kube-apiserver's and means nothing here")
                }
            }
        }
        Ok(())
    }

    fn names() -> impl Iterator<Item = &'static str> {
        let refused = REFUSED.iter().map(|(name, _)| *name);
        let judged = [AUDIT_FORMAT, AUDIT_VERSION, INSECURE_PORT, STORAGE_BACKEND, TLS_MIN_VERSION];
        IGNORED.iter().copied().chain(refused).chain(judged)
    }
}

impl clap::Args for Foreign {
    fn augment_args(command: Command) -> Command {
        Foreign::names().fold(command, |command, name| {
            command.arg(
                Arg::new(name)
                    .long(name)
                    .hide(true)
                    .num_args(0..=1)
                    .action(clap::ArgAction::Append),
            )
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
        let command = Foreign::augment_args(Command::new("server").no_binary_name(true));
        let matches = command.try_get_matches_from(args).map_err(|error| error.to_string())?;
        let foreign = <Foreign as clap::FromArgMatches>::from_arg_matches(&matches);
        let foreign = foreign.expect("they parse");
        foreign.check().map(|()| foreign.0.len()).map_err(|error| error.to_string())
    }

    #[test]
    fn what_tunes_passes_and_what_promises_something_does_not() {
        let args = ["--apiserver-count=3", "--profiling=false", "--storage-backend", "etcd3"];
        assert_eq!(check(&args), Ok(3));
        for refused in [
            "--audit-webhook-config-file=/x",
            "--audit-log-format=legacy",
            "--insecure-port=8080",
            "--tls-min-version=x",
        ] {
            assert!(check(&[refused]).is_err(), "{refused}");
        }
    }
}
