//! Certificate authorities: the root, one below it for each unit, and leaves.

use std::{net::IpAddr, time::Duration};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, SanType,
};
use time::OffsetDateTime;

use crate::{Error, Files, SpiffeId, credentials};

/// Validity starts this much earlier, for clocks that run behind.
const BACKDATE: Duration = Duration::from_secs(60);

/// A root is replaced by people, rarely.
const CA_LIFETIME: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// Signs leaves, and authorities below itself.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    /// This authority's own certificate and those above it, without the root.
    chain_pem: String,
    cert_pem: String,
    key_pem: String,
    root_pem: String,
}

/// What a leaf certificate says.
#[derive(Clone, Debug, Default)]
pub struct Leaf {
    pub spiffe: Option<SpiffeId>,
    /// Kubernetes' user name.
    pub common_name: String,
    /// Kubernetes' groups.
    pub organizations: Vec<String>,
    /// For clients that check host names (kubectl, etcdctl, browsers).
    pub dns_names: Vec<String>,
    pub addresses: Vec<IpAddr>,
    pub lifetime: Duration,
}

/// A leaf with its key, and the chain up to but without the root.
pub struct Issued {
    pub chain_pem: String,
    pub key_pem: String,
    pub root_pem: String,
}

// === impl Authority ===

impl Authority {
    /// A new root.
    pub fn root(common_name: &str) -> Result<Authority, Error> {
        let key = KeyPair::generate()?;
        let params = ca_params(common_name)?;
        let cert_pem = params.self_signed(&key)?.pem();
        let key_pem = key.serialize_pem();
        Ok(Authority {
            issuer: Issuer::new(params, key),
            chain_pem: String::new(),
            root_pem: cert_pem.clone(),
            cert_pem,
            key_pem,
        })
    }

    /// A new authority below this one.
    pub fn subordinate(&self, common_name: &str) -> Result<Authority, Error> {
        let key = KeyPair::generate()?;
        let params = ca_params(common_name)?;
        let cert_pem = params.signed_by(&key, &self.issuer)?.pem();
        let key_pem = key.serialize_pem();
        Ok(Authority {
            issuer: Issuer::new(params, key),
            chain_pem: format!("{cert_pem}{}", self.chain_pem),
            cert_pem,
            key_pem,
            root_pem: self.root_pem.clone(),
        })
    }

    pub fn issue(&self, leaf: &Leaf) -> Result<Issued, Error> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new(leaf.dns_names.clone())?;
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, leaf.common_name.as_str());
        for organization in &leaf.organizations {
            params.distinguished_name.push(DnType::OrganizationName, organization.as_str());
        }
        if let Some(spiffe) = &leaf.spiffe {
            params.subject_alt_names.push(SanType::URI(spiffe.to_string().try_into()?));
        }
        params.subject_alt_names.extend(leaf.addresses.iter().copied().map(SanType::IpAddress));
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        params.use_authority_key_identifier_extension = true;
        set_validity(&mut params, leaf.lifetime);
        let cert = params.signed_by(&key, &self.issuer)?;
        Ok(Issued {
            chain_pem: format!("{}{}", cert.pem(), self.chain_pem),
            key_pem: key.serialize_pem(),
            root_pem: self.root_pem.clone(),
        })
    }

    /// Writes certificate and chain, key (mode 0600) and root to `files`.
    pub fn save(&self, files: &Files) -> Result<(), Error> {
        let chain = if self.chain_pem.is_empty() { &self.cert_pem } else { &self.chain_pem };
        credentials::write(files, chain, &self.key_pem, &self.root_pem)
    }

    /// Reads what [`Authority::save`] wrote.
    pub fn load(files: &Files) -> Result<Authority, Error> {
        let chain_pem = credentials::read_text(&files.cert)?;
        let key_pem = credentials::read_text(&files.key)?;
        let root_pem = credentials::read_text(&files.ca)?;
        let key = KeyPair::from_pem(&key_pem)?;
        let is_root = chain_pem == root_pem;
        let issuer = Issuer::from_ca_cert_pem(&chain_pem, key)?;
        let cert_pem = chain_pem.clone();
        let chain_pem = if is_root { String::new() } else { chain_pem };
        Ok(Authority { issuer, chain_pem, cert_pem, key_pem, root_pem })
    }
}

// === impl Issued ===

impl Issued {
    /// Writes chain, key (mode 0600) and root to `files`.
    pub fn save(&self, files: &Files) -> Result<(), Error> {
        credentials::write(files, &self.chain_pem, &self.key_pem, &self.root_pem)
    }
}

fn ca_params(common_name: &str) -> Result<CertificateParams, Error> {
    let mut params = CertificateParams::new(Vec::new())?;
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, common_name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    set_validity(&mut params, CA_LIFETIME);
    Ok(params)
}

fn set_validity(params: &mut CertificateParams, lifetime: Duration) {
    let now = OffsetDateTime::now_utc();
    params.not_before = now - BACKDATE;
    params.not_after = now + lifetime;
}
