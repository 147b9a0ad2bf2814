//! What an operator may set, in the words of kube-apiserver's flags.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use crate::limits;

/// The default is what a center of an estate serves with: certificates of the
/// estate's own authority, and the rights of its own groups.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    pub authentication: Authentication,
    /// In the order in which they are asked; the first that allows decides.
    /// None: the estate's own groups only.
    pub authorization: Vec<AuthorizationMode>,
    pub admission: Admission,
    pub bounds: Bounds,
    /// Where Services get their addresses: networks, at most one of each family.
    pub service_cluster_ip_ranges: Vec<String>,
    /// Pods may ask for privileged containers.
    pub allow_privileged: bool,
    /// None: of writes one line each in the process's own log.
    pub audit: Option<Audit>,
}

/// How callers prove who they are, besides client certificates, which the TLS
/// configuration verifies.
#[derive(Clone, Debug)]
pub struct Authentication {
    /// Whoever shows nothing is `system:anonymous`; otherwise refused.
    pub anonymous: bool,
    /// CSV: token, user, uid, "group,group".
    pub token_file: Option<PathBuf>,
    /// Secrets `bootstrap-token-ID` in kube-system.
    pub bootstrap_tokens: bool,
    pub service_accounts: Option<ServiceAccounts>,
    pub oidc: Option<Oidc>,
    pub front_proxy: Option<FrontProxy>,
}

/// Tokens of service accounts.
#[derive(Clone, Debug)]
pub struct ServiceAccounts {
    /// The first is written into new tokens, all are accepted.
    pub issuers: Vec<String>,
    /// PEM files: public keys, certificates or private keys, by which tokens
    /// are verified.
    pub key_files: Vec<PathBuf>,
    /// PEM file: the private key that signs new tokens.
    pub signing_key_file: PathBuf,
    /// The first issuer unless told.
    pub audiences: Vec<String>,
}

/// Tokens of an OpenID Connect provider.
#[derive(Clone, Debug)]
pub struct Oidc {
    pub issuer_url: String,
    pub client_id: String,
    /// The system's roots unless told.
    pub ca_file: Option<PathBuf>,
    pub username_claim: String,
    /// None: the issuer's URL and `#`, save for the claim `email`; `-` is none.
    pub username_prefix: Option<String>,
    pub groups_claim: Option<String>,
    pub groups_prefix: String,
    /// Claims that must be there, with these values.
    pub required_claims: Vec<(String, String)>,
    pub signing_algorithms: Vec<String>,
}

/// A proxy that has authenticated the caller and says so in headers.
#[derive(Clone, Debug)]
pub struct FrontProxy {
    /// PEM file: who vouches for the proxy's client certificate.
    pub client_ca_file: PathBuf,
    /// Common names the proxy may have; none means any.
    pub allowed_names: Vec<String>,
    pub username_headers: Vec<String>,
    pub uid_headers: Vec<String>,
    pub group_headers: Vec<String>,
    pub extra_header_prefixes: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthorizationMode {
    Node,
    Rbac,
    AlwaysAllow,
    AlwaysDeny,
}

/// Admission plugins by kube-apiserver's names, as told; what stands in neither
/// list is on or off as it is by default.
#[derive(Clone, Debug, Default)]
pub struct Admission {
    pub enabled: Vec<String>,
    pub disabled: Vec<String>,
}

/// How much is served at once, and for how long.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Requests that read.
    pub in_flight_max: usize,
    /// Requests that write.
    pub mutating_in_flight_max: usize,
    /// The two are one number of seats, given out by priority levels; otherwise
    /// each is a bound for whoever comes.
    pub fair: bool,
    pub request_timeout: Duration,
    /// A watch that asks for no time of its own lasts this long, or up to twice
    /// as long.
    pub watch_timeout_min: Duration,
}

/// What is written down of requests.
#[derive(Clone, Debug)]
pub struct Audit {
    /// YAML: `Policy` of `audit.k8s.io/v1`.
    pub policy_file: PathBuf,
    pub log: AuditLog,
}

/// Where it is written, one JSON object a line. Of numbers, 0 is no bound.
#[derive(Clone, Debug)]
pub struct AuditLog {
    /// `-` is the process's own output.
    pub path: PathBuf,
    pub mode: AuditMode,
    /// Then another file is begun.
    pub file_bytes_max: u64,
    /// Of files that were ended.
    pub backups_max: u32,
    pub age_days_max: u32,
    /// Longer lines go without bodies.
    pub event_bytes_max: Option<usize>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuditMode {
    /// Requests wait until their events are written, and those that are not are
    /// lost.
    Blocking,
    /// What cannot be written down before is not done.
    BlockingStrict,
    /// Nobody waits.
    Batch,
}

// === impl AuditLog ===

impl AuditLog {
    /// With kube-apiserver's defaults.
    pub fn new(path: impl AsRef<Path>) -> AuditLog {
        AuditLog {
            path: path.as_ref().to_owned(),
            mode: AuditMode::Blocking,
            file_bytes_max: 100 * 1024 * 1024,
            backups_max: 100,
            age_days_max: 366,
            event_bytes_max: None,
        }
    }
}

// === impl Authentication ===

impl Default for Authentication {
    fn default() -> Authentication {
        Authentication {
            anonymous: true,
            token_file: None,
            bootstrap_tokens: false,
            service_accounts: None,
            oidc: None,
            front_proxy: None,
        }
    }
}

// === impl Bounds ===

impl Default for Bounds {
    /// kube-apiserver's.
    fn default() -> Bounds {
        Bounds {
            in_flight_max: 400,
            mutating_in_flight_max: 200,
            fair: true,
            request_timeout: limits::REQUEST_TIMEOUT,
            watch_timeout_min: Duration::from_secs(1800),
        }
    }
}
