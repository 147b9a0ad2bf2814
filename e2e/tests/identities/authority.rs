//! An authority of a test's own, and what it issues, as PEM files.

use std::{
    fs,
    path::{Path, PathBuf},
};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, SanType,
};

pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

// === impl Authority ===

impl Authority {
    pub fn new(name: &str) -> Authority {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(Vec::new()).expect("parameters");
        params.distinguished_name = named(name, None);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let pem = params.self_signed(&key).expect("a certificate").pem();
        Authority { issuer: Issuer::new(params, key), pem }
    }

    /// One whose files there are.
    pub fn load(certificate: &Path, key: &Path) -> Authority {
        let read = |path: &Path| fs::read_to_string(path).expect("read PEM");
        let (pem, key) = (read(certificate), read(key));
        let key = KeyPair::from_pem(&key).expect("a key");
        let issuer = Issuer::from_ca_cert_pem(&pem, key).expect("an authority");
        Authority { issuer, pem }
    }

    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// Issues to `NAME.crt` and `NAME.key` in `folder`: for a server on
    /// loopback, and for a client of this name and group.
    pub fn issue(&self, folder: &Path, name: &str, group: Option<&str>) -> [PathBuf; 2] {
        let (certificate, key) = self.issued(name, group);
        let plain: String = name.chars().filter(char::is_ascii_alphanumeric).collect();
        let paths = ["crt", "key"].map(|end| folder.join(format!("{plain}.{end}")));
        fs::write(&paths[0], certificate).expect("write PEM");
        fs::write(&paths[1], key).expect("write PEM");
        paths
    }

    /// Certificate and key as PEM.
    pub fn issued(&self, name: &str, group: Option<&str>) -> (String, String) {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(vec!["localhost".into()]).expect("parameters");
        params.distinguished_name = named(name, group);
        params.subject_alt_names.push(SanType::IpAddress([127, 0, 0, 1].into()));
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        (certificate.pem(), key.serialize_pem())
    }
}

fn named(name: &str, group: Option<&str>) -> DistinguishedName {
    let mut names = DistinguishedName::new();
    names.push(DnType::CommonName, name);
    if let Some(group) = group {
        names.push(DnType::OrganizationName, group);
    }
    names
}
