//! TLS as the driver wants it told.

use std::path::PathBuf;

use mysql_async::{ClientIdentity, Error as DriverError, IoError, SslOpts, TlsError};
use rustls::CertificateError::NotValidForNameContext;

use crate::sql::tls::{ServerCheck, Tls};

pub(super) fn ssl_opts(tls: &Tls) -> Option<SslOpts> {
    let Tls::Enabled(checks) = tls else { return None };
    let client = checks.client.clone();
    let client = client.map(|client| ClientIdentity::new(client.cert.into(), client.key.into()));
    let opts = match &checks.server {
        ServerCheck::Nothing => SslOpts::default()
            .with_danger_accept_invalid_certs(true)
            .with_danger_skip_domain_validation(true),
        ServerCheck::Authority(ca) | ServerCheck::Name(ca) => with_ca(ca.as_ref()),
    };
    Some(opts.with_client_identity(client))
}

/// For a server whose certificate was refused for its name only, where names
/// do not matter: asks for the name that it has shown. The driver has an option
/// for names that do not matter, which looks for words in an error that it does
/// not contain any more.
pub(super) fn for_shown_name(tls: &Tls, error: &DriverError) -> Option<SslOpts> {
    let Tls::Enabled(checks) = tls else { return None };
    let ServerCheck::Authority(_) = checks.server else { return None };
    let name = shown_name(error)?;
    ssl_opts(tls).map(|opts| opts.with_danger_tls_hostname_override(Some(name)))
}

fn with_ca(ca: Option<&PathBuf>) -> SslOpts {
    match ca {
        Some(path) => SslOpts::default()
            .with_root_certs(vec![path.clone().into()])
            .with_disable_built_in_roots(true),
        None => SslOpts::default(),
    }
}

fn shown_name(error: &DriverError) -> Option<String> {
    let error = match error {
        DriverError::Io(IoError::Tls(TlsError::Tls(error))) => error,
        DriverError::Io(IoError::Io(error)) => error.get_ref()?.downcast_ref()?,
        _ => return None,
    };
    let rustls::Error::InvalidCertificate(NotValidForNameContext { presented, .. }) = error else {
        return None;
    };
    presented.iter().find_map(|shown| name_in(shown))
}

/// Out of `DnsName("a.example")` or `IpAddress(10.0.0.1)`.
fn name_in(shown: &str) -> Option<String> {
    let (kind, rest) = shown.split_once('(')?;
    let name = rest.strip_suffix(')')?.trim_matches('"');
    // Any name stands for all that a wildcard does.
    matches!(kind, "DnsName" | "IpAddress").then(|| name.replacen('*', "any", 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_found_in_what_a_certificate_shows() {
        let found = |shown| name_in(shown);
        assert_eq!(found("DnsName(\"db.example\")").as_deref(), Some("db.example"));
        assert_eq!(found("DnsName(\"*.db.example\")").as_deref(), Some("any.db.example"));
        assert_eq!(found("IpAddress(10.0.0.1)").as_deref(), Some("10.0.0.1"));
        assert_eq!(found("UniformResourceIdentifier(\"spiffe://a/b\")"), None);
    }
}
