//! The flags of `polis server --roles api`: kube-apiserver's names, which are
//! the keys of the TOML file too.

use std::{net::IpAddr, path::PathBuf};

use serde::{Deserialize, Serialize};

use super::values::{AuditLogMode, Mode, Span};

/// What was typed. Each flag that is given says something; those that are not
/// have their defaults in `settings.rs` and `certificates.rs`.
#[derive(Clone, Debug, Default, clap::Args, Serialize, Deserialize)]
#[command(next_help_heading = "An API server by itself (--roles api without --center)")]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct ApiOptions {
    // Where things are kept.
    /// Keep objects in this etcd, or `polis store`: https://HOST:PORT, several with commas; in
    /// --data-dir unless given
    #[arg(long, value_delimiter = ',')]
    pub etcd_servers: Option<Vec<String>>,
    /// Who vouches for the etcd's certificate, PEM
    #[arg(long)]
    pub etcd_cafile: Option<PathBuf>,
    /// Our certificate towards etcd, PEM
    #[arg(long, requires = "etcd_keyfile")]
    pub etcd_certfile: Option<PathBuf>,
    /// Its private key, PEM
    #[arg(long, requires = "etcd_certfile")]
    pub etcd_keyfile: Option<PathBuf>,
    /// What every key in etcd starts with: /registry unless given
    #[arg(long)]
    pub etcd_prefix: Option<String>,
    /// How often old revisions of an etcd are dropped; 0 never, 5m unless given
    #[arg(long)]
    pub etcd_compaction_interval: Option<Span>,
    /// Seal these kinds of objects where they are kept: an EncryptionConfiguration, YAML
    #[arg(long)]
    pub encryption_provider_config: Option<PathBuf>,

    // Where we are.
    /// Address to listen on: every one of this machine unless given
    #[arg(long)]
    pub bind_address: Option<IpAddr>,
    /// Port to listen on: 6443 unless given, any free one with 0
    #[arg(long)]
    pub secure_port: Option<u16>,
    /// Address at which others reach us: the one we listen on unless given
    #[arg(long)]
    pub advertise_address: Option<IpAddr>,
    /// Our certificate and its chain, PEM; made unless given
    #[arg(long, requires = "tls_private_key_file")]
    pub tls_cert_file: Option<PathBuf>,
    /// Its private key, PEM
    #[arg(long, requires = "tls_cert_file")]
    pub tls_private_key_file: Option<PathBuf>,
    /// Folder for the certificates and keys that we make: pki in --data-dir unless given, or
    /// /var/run/kubernetes without one
    #[arg(long)]
    pub cert_dir: Option<PathBuf>,

    // Who asks.
    /// Who vouches for client certificates, PEM; an authority of our own unless given
    #[arg(long)]
    pub client_ca_file: Option<PathBuf>,
    /// File with lines of token,user,uid,"group1,group2"
    #[arg(long)]
    pub token_auth_file: Option<PathBuf>,
    /// Let those who prove nothing in as system:anonymous: true unless given
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub anonymous_auth: Option<bool>,
    /// Let nodes in by tokens kept in Secrets of kube-system
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub enable_bootstrap_token_auth: Option<bool>,
    /// A key by which service accounts' tokens are verified, PEM; repeatable
    #[arg(long)]
    pub service_account_key_file: Option<Vec<PathBuf>>,
    /// The key that signs them, PEM; made unless given
    #[arg(long)]
    pub service_account_signing_key_file: Option<PathBuf>,
    /// Who issues them: the first writes, all are accepted; repeatable
    #[arg(long)]
    pub service_account_issuer: Option<Vec<String>>,
    /// Whom they are for: the issuer unless given
    #[arg(long, value_delimiter = ',')]
    pub api_audiences: Option<Vec<String>>,
    /// URL of an OpenID Connect provider, https only
    #[arg(long, requires = "oidc_client_id")]
    pub oidc_issuer_url: Option<String>,
    /// Our client id there
    #[arg(long, requires = "oidc_issuer_url")]
    pub oidc_client_id: Option<String>,
    /// Who vouches for it, PEM
    #[arg(long)]
    pub oidc_ca_file: Option<PathBuf>,
    /// Claim with the user's name: sub unless given
    #[arg(long)]
    pub oidc_username_claim: Option<String>,
    /// What is put before the names; - for nothing
    #[arg(long)]
    pub oidc_username_prefix: Option<String>,
    /// Claim with the groups
    #[arg(long)]
    pub oidc_groups_claim: Option<String>,
    /// What is put before the groups
    #[arg(long)]
    pub oidc_groups_prefix: Option<String>,
    /// KEY=VALUE that must be among the claims; repeatable
    #[arg(long, value_delimiter = ',')]
    pub oidc_required_claim: Option<Vec<String>>,
    /// How its tokens may be signed: RS256 unless given
    #[arg(long, value_delimiter = ',')]
    pub oidc_signing_algs: Option<Vec<String>>,
    /// Who vouches for proxies that say who asks, PEM
    #[arg(long)]
    pub requestheader_client_ca_file: Option<PathBuf>,
    /// Common names these may have; any unless given
    #[arg(long, value_delimiter = ',')]
    pub requestheader_allowed_names: Option<Vec<String>>,
    /// Headers with the user's name: X-Remote-User unless given
    #[arg(long, value_delimiter = ',')]
    pub requestheader_username_headers: Option<Vec<String>>,
    /// Headers with the user's uid
    #[arg(long, value_delimiter = ',')]
    pub requestheader_uid_headers: Option<Vec<String>>,
    /// Headers with the groups: X-Remote-Group unless given
    #[arg(long, value_delimiter = ',')]
    pub requestheader_group_headers: Option<Vec<String>>,
    /// What the headers with anything else start with: X-Remote-Extra- unless given
    #[arg(long, value_delimiter = ',')]
    pub requestheader_extra_headers_prefix: Option<Vec<String>>,

    // What they may.
    /// Who decides, in order: Node,RBAC unless given
    #[arg(long, value_delimiter = ',')]
    pub authorization_mode: Option<Vec<Mode>>,
    /// Admission plugins to use besides those that are always used
    #[arg(long, value_delimiter = ',')]
    pub enable_admission_plugins: Option<Vec<String>>,
    /// Admission plugins not to use
    #[arg(long, value_delimiter = ',')]
    pub disable_admission_plugins: Option<Vec<String>>,
    /// Let Pods ask for privileged containers: true unless given
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub allow_privileged: Option<bool>,
    /// Networks for Services: 10.0.0.0/24 unless given
    #[arg(long, value_delimiter = ',')]
    pub service_cluster_ip_range: Option<Vec<String>>,

    // What is written down.
    /// Which requests, and how much of them: a Policy of audit.k8s.io/v1, YAML
    #[arg(long)]
    pub audit_policy_file: Option<PathBuf>,
    /// File for the events, one JSON object a line; - for our own output
    #[arg(long)]
    pub audit_log_path: Option<PathBuf>,
    /// Whether requests wait for their events: blocking unless given, blocking-strict to do nothing
    /// that cannot be written down before, batch to wait for none
    #[arg(long)]
    pub audit_log_mode: Option<AuditLogMode>,
    /// Size of the file in MiB at which another one is begun: 100 unless given, 0 never
    #[arg(long)]
    pub audit_log_maxsize: Option<u32>,
    /// How many old files are kept: 100 unless given, 0 for all
    #[arg(long)]
    pub audit_log_maxbackup: Option<u32>,
    /// For how many days they are kept: 366 unless given, 0 for ever
    #[arg(long)]
    pub audit_log_maxage: Option<u32>,
    /// Leave bodies out of events that are too large
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub audit_log_truncate_enabled: Option<bool>,
    /// That is larger than so many bytes: 102400 unless given
    #[arg(long)]
    pub audit_log_truncate_max_event_size: Option<usize>,

    // Towards nodes.
    /// Our certificate towards nodes, PEM
    #[arg(long, requires = "kubelet_client_key")]
    pub kubelet_client_certificate: Option<PathBuf>,
    /// Its private key, PEM
    #[arg(long, requires = "kubelet_client_certificate")]
    pub kubelet_client_key: Option<PathBuf>,
    /// Who vouches for the nodes' certificates, PEM
    #[arg(long)]
    pub kubelet_certificate_authority: Option<PathBuf>,

    // How much.
    /// Requests that read, served at once: 400 unless given
    #[arg(long)]
    pub max_requests_inflight: Option<usize>,
    /// Requests that write, served at once: 200 unless given
    #[arg(long)]
    pub max_mutating_requests_inflight: Option<usize>,
    /// Give their sum out by priority levels: true unless given
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub enable_priority_and_fairness: Option<bool>,
    /// What a request may take: 1m unless given
    #[arg(long)]
    pub request_timeout: Option<Span>,
    /// Seconds that a watch lasts at least, unless it asks for fewer: 1800 unless given
    #[arg(long)]
    pub min_request_timeout: Option<u64>,
    /// At the end: how long /readyz fails before no more is accepted
    #[arg(long)]
    pub shutdown_delay_duration: Option<Span>,
    /// How much is logged: 0 to 2 what matters, 3 and 4 more, 5 and above everything
    #[arg(long = "v", short = 'v')]
    pub v: Option<u8>,
}
