//! From what was typed to what the API server is told, with the defaults.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use anyhow::{Context as _, bail};
use api::settings::{
    Admission, Audit, AuditLog, Authentication, AuthorizationMode, Bounds, FrontProxy, Oidc,
    ServiceAccounts, Settings,
};

use super::{admission, certificates::Certificates, flags::ApiOptions};

/// What Kubernetes' own tools name the issuer when nobody chooses.
const ISSUER: &str = "https://kubernetes.default.svc.cluster.local";

/// kube-apiserver's default.
const SERVICE_NETWORK: &str = "10.0.0.0/24";

pub fn settings(options: &ApiOptions, own: &Certificates) -> anyhow::Result<Settings> {
    let bounds = Bounds::default();
    let modes = options.authorization_mode.as_ref().map(|modes| modes.iter().map(|mode| mode.0));
    let ranges = options.service_cluster_ip_range.clone();
    Ok(Settings {
        authentication: authentication(options, own)?,
        authorization: match modes {
            Some(modes) => modes.collect(),
            None => vec![AuthorizationMode::Node, AuthorizationMode::Rbac],
        },
        admission: admission(options)?,
        bounds: Bounds {
            in_flight_max: options.max_requests_inflight.unwrap_or(bounds.in_flight_max),
            mutating_in_flight_max: options
                .max_mutating_requests_inflight
                .unwrap_or(bounds.mutating_in_flight_max),
            fair: options.enable_priority_and_fairness.unwrap_or(bounds.fair),
            request_timeout: options.request_timeout.map_or(bounds.request_timeout, |span| span.0),
            watch_timeout_min: options
                .min_request_timeout
                .map_or(bounds.watch_timeout_min, Duration::from_secs),
        },
        service_cluster_ip_ranges: ranges.unwrap_or_else(|| vec![SERVICE_NETWORK.into()]),
        allow_privileged: options.allow_privileged.unwrap_or(true),
        audit: audit(options)?,
    })
}

/// Plugins by their names.
pub fn admission(options: &ApiOptions) -> anyhow::Result<Admission> {
    Ok(Admission {
        enabled: admission::known(options.enable_admission_plugins.as_deref())?,
        disabled: admission::known(options.disable_admission_plugins.as_deref())?,
    })
}

/// Where to listen; the port may be 0 for any.
pub fn listen(options: &ApiOptions) -> SocketAddr {
    let address = options.bind_address.unwrap_or(std::net::Ipv4Addr::UNSPECIFIED.into());
    SocketAddr::new(address, options.secure_port.unwrap_or(6443))
}

fn authentication(options: &ApiOptions, own: &Certificates) -> anyhow::Result<Authentication> {
    Ok(Authentication {
        anonymous: options.anonymous_auth.unwrap_or(true),
        token_file: options.token_auth_file.clone(),
        bootstrap_tokens: options.enable_bootstrap_token_auth.unwrap_or(false),
        service_accounts: Some(service_accounts(options, own)?),
        oidc: oidc(options)?,
        front_proxy: options.requestheader_client_ca_file.clone().map(|client_ca_file| {
            let or = |given: &Option<Vec<String>>, default: &str| {
                given.clone().unwrap_or_else(|| vec![default.to_owned()])
            };
            FrontProxy {
                client_ca_file,
                allowed_names: options.requestheader_allowed_names.clone().unwrap_or_default(),
                username_headers: or(&options.requestheader_username_headers, "X-Remote-User"),
                uid_headers: options.requestheader_uid_headers.clone().unwrap_or_default(),
                group_headers: or(&options.requestheader_group_headers, "X-Remote-Group"),
                extra_header_prefixes: or(
                    &options.requestheader_extra_headers_prefix,
                    "X-Remote-Extra-",
                ),
            }
        }),
    })
}

/// kube-apiserver's default of `--audit-log-truncate-max-event-size`.
const EVENT_BYTES_MAX: usize = 100 * 1024;

/// Either flag without the other would write down nothing.
pub fn audit(options: &ApiOptions) -> anyhow::Result<Option<Audit>> {
    let code = errors::CONFIG_INVALID;
    let (policy_file, path) = match (&options.audit_policy_file, &options.audit_log_path) {
        (Some(policy_file), Some(path)) => (policy_file.clone(), path),
        (None, Some(_)) => {
            bail!("{code}: --audit-log-path needs --audit-policy-file, which says what is written")
        }
        (Some(_), None) => {
            bail!("{code}: --audit-policy-file needs --audit-log-path, - for our own output")
        }
        (None, None) => return Ok(None),
    };
    api::check_policy(&policy_file)
        .map_err(|why| anyhow::anyhow!("{code}: --audit-policy-file: {why}"))?;
    let log = AuditLog::new(path);
    let truncates = options.audit_log_truncate_enabled.unwrap_or(false);
    let event_bytes_max = options.audit_log_truncate_max_event_size.unwrap_or(EVENT_BYTES_MAX);
    let file_bytes_max = options.audit_log_maxsize.map(|mib| u64::from(mib) * 1024 * 1024);
    Ok(Some(Audit {
        policy_file,
        log: AuditLog {
            mode: options.audit_log_mode.map_or(log.mode, |mode| mode.0),
            file_bytes_max: file_bytes_max.unwrap_or(log.file_bytes_max),
            backups_max: options.audit_log_maxbackup.unwrap_or(log.backups_max),
            age_days_max: options.audit_log_maxage.unwrap_or(log.age_days_max),
            event_bytes_max: truncates.then_some(event_bytes_max),
            ..log
        },
    }))
}

fn service_accounts(options: &ApiOptions, own: &Certificates) -> anyhow::Result<ServiceAccounts> {
    let signing_key_file = match &options.service_account_signing_key_file {
        Some(file) => file.clone(),
        None => own.own_signing_key()?,
    };
    let key_files: Vec<PathBuf> = match &options.service_account_key_file {
        Some(files) => files.clone(),
        None => vec![signing_key_file.clone()],
    };
    let issuers = options.service_account_issuer.clone().unwrap_or_else(|| vec![ISSUER.to_owned()]);
    let Some(first) = issuers.first().cloned() else { bail!("--service-account-issuer is empty") };
    for file in key_files.iter().chain([&signing_key_file]) {
        std::fs::metadata(file)
            .with_context(|| format!("find the service account key {}", file.display()))?;
    }
    let audiences = options.api_audiences.clone().unwrap_or_else(|| vec![first]);
    Ok(ServiceAccounts { issuers, key_files, signing_key_file, audiences })
}

fn oidc(options: &ApiOptions) -> anyhow::Result<Option<Oidc>> {
    let (Some(issuer_url), Some(client_id)) = (&options.oidc_issuer_url, &options.oidc_client_id)
    else {
        return Ok(None);
    };
    if !issuer_url.starts_with("https://") {
        bail!("--oidc-issuer-url {issuer_url:?}: only https:// is believed");
    }
    let claims = options.oidc_required_claim.iter().flatten().map(|claim| {
        let (key, value) = claim
            .split_once('=')
            .with_context(|| format!("--oidc-required-claim {claim:?}: write KEY=VALUE"))?;
        Ok((key.to_owned(), value.to_owned()))
    });
    Ok(Some(Oidc {
        issuer_url: issuer_url.clone(),
        client_id: client_id.clone(),
        ca_file: options.oidc_ca_file.clone(),
        username_claim: options.oidc_username_claim.clone().unwrap_or_else(|| "sub".into()),
        username_prefix: options.oidc_username_prefix.clone(),
        groups_claim: options.oidc_groups_claim.clone(),
        groups_prefix: options.oidc_groups_prefix.clone().unwrap_or_default(),
        required_claims: claims.collect::<anyhow::Result<_>>()?,
        signing_algorithms: options
            .oidc_signing_algs
            .clone()
            .unwrap_or_else(|| vec!["RS256".into()]),
    }))
}
