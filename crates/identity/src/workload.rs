//! Whoever runs: any SPIFFE id, taken from a certificate that says exactly one,
//! and the patterns that people write.
//!
//! [`crate::SpiffeId`] is the form that we issue; the mesh meets others' too.

use rustls_pki_types::{CertificateDer, UnixTime};
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

/// As the SPIFFE standard has it.
const ID_BYTES_MAX: usize = 2_048;
const TRUST_DOMAIN_BYTES_MAX: usize = 255;
const SCHEME: &str = "spiffe://";

/// A SPIFFE id: `spiffe://bank/ns/pay/sa/api`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Workload(String);

/// One id, or all below a path: `spiffe://bank/ns/pay/*`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    /// With `/` at its end if it is of all below.
    text: String,
    below: bool,
}

/// Why a certificate whose chain holds does not say who shows it, or not the
/// one who was meant.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unproven {
    #[error("the certificate cannot be read: {0}")]
    Unreadable(String),
    #[error("the certificate names no URI; exactly one is needed")]
    NoUri,
    #[error("the certificate names {0} URIs; exactly one is needed")]
    ManyUris(usize),
    #[error("{0:?} is no SPIFFE id")]
    NotSpiffe(String),
    #[error("the certificate's key may not sign a handshake")]
    KeyUsage,
    #[error("the certificate is of an authority")]
    Authority,
    #[error("the certificate has expired since its session began")]
    Expired,
    #[error("{id} is none of {wanted}")]
    Unwanted { id: Workload, wanted: String },
}

// === impl Workload ===

impl Workload {
    /// As the standard has it: lower case and no port in the trust domain, no
    /// empty or relative segments, no query, nothing encoded.
    #[must_use]
    pub fn parse(text: &str) -> Option<Workload> {
        let (domain, path) = parts(text)?;
        (is_domain(domain) && path.is_none_or(is_path)).then(|| Workload(text.to_owned()))
    }

    /// Of a leaf whose chain has been verified.
    pub fn of_certificate(leaf: &CertificateDer<'_>) -> Result<Workload, Unproven> {
        let (_, leaf) = X509Certificate::from_der(leaf)
            .map_err(|error| Unproven::Unreadable(error.to_string()))?;
        of(&leaf)
    }

    /// As [`Workload::of_certificate`], at `now`: a session that is taken up
    /// again was verified when it began, which may be long ago.
    pub fn of_resumed(leaf: &CertificateDer<'_>, now: UnixTime) -> Result<Workload, Unproven> {
        let (_, leaf) = X509Certificate::from_der(leaf)
            .map_err(|error| Unproven::Unreadable(error.to_string()))?;
        let until = leaf.validity().not_after.timestamp();
        if u64::try_from(until).is_ok_and(|until| now.as_secs() <= until) {
            return of(&leaf);
        }
        Err(Unproven::Expired)
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Display for Workload {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

fn of(leaf: &X509Certificate<'_>) -> Result<Workload, Unproven> {
    let unreadable = |error: x509_parser::error::X509Error| Unproven::Unreadable(error.to_string());
    let mut uris = Vec::new();
    // A second extension of the same kind would be two answers to one question.
    if let Some(names) = leaf.subject_alternative_name().map_err(unreadable)? {
        uris.extend(names.value.general_names.iter().filter_map(|name| match name {
            GeneralName::URI(uri) => Some(*uri),
            _ => None,
        }));
    }
    let id = match uris.as_slice() {
        [] => return Err(Unproven::NoUri),
        [uri] => Workload::parse(uri)
            .ok_or_else(|| Unproven::NotSpiffe(uri.chars().take(128).collect()))?,
        many => return Err(Unproven::ManyUris(many.len())),
    };
    if leaf.is_ca() {
        return Err(Unproven::Authority);
    }
    if let Some(usage) = leaf.key_usage().map_err(unreadable)? {
        if usage.value.key_cert_sign() || usage.value.crl_sign() {
            return Err(Unproven::Authority);
        }
        if !usage.value.digital_signature() {
            return Err(Unproven::KeyUsage);
        }
    }
    Ok(id)
}

// === impl Pattern ===

impl Pattern {
    #[must_use]
    pub fn parse(text: &str) -> Option<Pattern> {
        let Some(above) = text.strip_suffix("/*") else {
            return Workload::parse(text).map(|id| Pattern { text: id.0, below: false });
        };
        Workload::parse(above).map(|id| Pattern { text: format!("{id}/"), below: true })
    }

    #[must_use]
    pub fn matches(&self, id: &Workload) -> bool {
        if self.below { id.0.starts_with(&self.text) } else { id.0 == self.text }
    }

    /// Whether `id` is one of `patterns`.
    pub(crate) fn check(patterns: &[Pattern], id: Workload) -> Result<Workload, Unproven> {
        if patterns.iter().any(|pattern| pattern.matches(&id)) {
            return Ok(id);
        }
        let wanted: Vec<String> = patterns.iter().map(Pattern::to_string).collect();
        Err(Unproven::Unwanted { id, wanted: wanted.join(", ") })
    }
}

impl std::fmt::Display for Pattern {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}{}", self.text, if self.below { "*" } else { "" })
    }
}

/// The trust domain, and the path if there is one.
fn parts(text: &str) -> Option<(&str, Option<&str>)> {
    let rest = text.strip_prefix(SCHEME).filter(|_| text.len() <= ID_BYTES_MAX)?;
    Some(rest.split_once('/').map_or((rest, None), |(domain, path)| (domain, Some(path))))
}

fn is_domain(text: &str) -> bool {
    let allowed =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b".-_".contains(&byte);
    (1..=TRUST_DOMAIN_BYTES_MAX).contains(&text.len()) && text.bytes().all(allowed)
}

fn is_path(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
    text.split('/').all(|segment| {
        !segment.is_empty() && segment != "." && segment != ".." && segment.bytes().all(allowed)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_as_the_standard_has_it() {
        for good in ["spiffe://bank", "spiffe://bank.example/ns/pay/sa/api", "spiffe://b_1/A.b-c_9"]
        {
            assert_eq!(Workload::parse(good).expect(good).as_str(), good);
        }
        let long = format!("spiffe://bank/{}", "a".repeat(ID_BYTES_MAX));
        for bad in [
            "",
            "spiffe://",
            "https://bank/ns/pay",
            "SPIFFE://bank/ns/pay",
            "spiffe://Bank/ns/pay",
            "spiffe://bank:443/ns/pay",
            "spiffe://user@bank/ns/pay",
            "spiffe://bank/",
            "spiffe://bank//pay",
            "spiffe://bank/ns/../admin",
            "spiffe://bank/ns/pay/",
            "spiffe://bank/ns/pay?x=y",
            "spiffe://bank/ns/p%61y",
            "spiffe://bank/ns/*",
            &long,
        ] {
            assert!(Workload::parse(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn a_pattern_is_one_id_or_all_below_a_path() {
        let matches = |pattern: &str, id: &str| {
            let id = Workload::parse(id).expect(id);
            Pattern::parse(pattern).expect(pattern).matches(&id)
        };
        let api = "spiffe://bank/ns/pay/sa/api";
        assert!(matches(api, api));
        assert!(matches("spiffe://bank/ns/pay/*", api));
        assert!(matches("spiffe://bank/*", api));
        assert!(!matches("spiffe://bank/ns/pay/sa/ap", api));
        assert!(!matches("spiffe://bank/ns/pay/sa/*", "spiffe://bank/ns/pay/sa"));
        assert!(!matches("spiffe://bank/ns/pay/*", "spiffe://bank/ns/payroll/sa/api"));
        assert!(!matches("spiffe://bank/*", "spiffe://bank.evil/ns/pay/sa/api"));
        assert!(!matches("spiffe://ban/*", api));
        for bad in
            ["*", "spiffe://*", "spiffe://bank/ns*", "spiffe://bank/*/sa/api", "spiffe://*/a"]
        {
            assert!(Pattern::parse(bad).is_none(), "{bad}");
        }
    }
}
