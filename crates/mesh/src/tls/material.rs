//! What the files of one side hold, and what is asked of the other: as long as
//! none of it changes, sessions and connections are as good as new ones.

use std::path::Path;

use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};

use super::Error;
use crate::config::model::{ClientTls, Protocol, ServerTls};

#[derive(PartialEq)]
pub(super) struct Material {
    /// Ours, the leaf first; empty if we show none.
    pub(super) chain: Vec<CertificateDer<'static>>,
    key: Option<PrivateKeyDer<'static>>,
    /// Whom we believe.
    pub(super) roots: Vec<CertificateDer<'static>>,
    /// What else the configuration says, to be compared.
    said: String,
}

// === impl Material ===

impl Material {
    pub(super) fn of_server(model: &ServerTls, protocol: Protocol) -> Result<Material, Error> {
        let patterns: Vec<&String> = model.clients.iter().map(|id| id.get_ref()).collect();
        Ok(Material {
            chain: certificates(&model.cert)?,
            key: Some(key(&model.key)?),
            roots: model.client_ca.as_deref().map_or(Ok(Vec::new()), certificates)?,
            said: format!("{protocol:?} {:?} {patterns:?}", model.forward),
        })
    }

    pub(super) fn of_client(model: &ClientTls) -> Result<Material, Error> {
        let patterns: Vec<&String> = model.servers.iter().map(|id| id.get_ref()).collect();
        let name = model.server_name.as_ref().map(|name| name.get_ref());
        Ok(Material {
            chain: model.cert.as_deref().map_or(Ok(Vec::new()), certificates)?,
            key: model.key.as_deref().map(key).transpose()?,
            roots: certificates(&model.ca)?,
            said: format!("{name:?} {patterns:?}"),
        })
    }

    pub(super) fn key(&self) -> Result<PrivateKeyDer<'static>, Error> {
        let missing = || rustls::Error::General("the certificate has no key".into());
        Ok(self.key.as_ref().ok_or_else(missing)?.clone_key())
    }
}

fn read(path: &Path) -> Result<Vec<u8>, Error> {
    std::fs::read(path).map_err(|source| Error::Read { path: path.display().to_string(), source })
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, Error> {
    let unusable = || Error::Pem { path: path.display().to_string(), what: "certificate" };
    let found: Vec<_> = CertificateDer::pem_slice_iter(&read(path)?)
        .collect::<Result<_, _>>()
        .map_err(|_| unusable())?;
    if found.is_empty() { Err(unusable()) } else { Ok(found) }
}

fn key(path: &Path) -> Result<PrivateKeyDer<'static>, Error> {
    PrivateKeyDer::from_pem_slice(&read(path)?)
        .map_err(|_| Error::Pem { path: path.display().to_string(), what: "private key" })
}
