//! How far the database must prove who it is, and what we show it.

use std::path::PathBuf;

/// From `ssl-mode` and its like, named as MySQL names them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tls {
    Disabled,
    Enabled(Checks),
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Checks {
    pub server: ServerCheck,
    /// What we prove who we are with, to servers that ask.
    pub client: Option<ClientCertificate>,
}

/// What the server's certificate must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServerCheck {
    /// Encrypted, and whoever answers is believed (`required`).
    Nothing,
    /// Of the authority in this file, or of a public one (`verify-ca`).
    Authority(Option<PathBuf>),
    /// Which must also be for the server's name (`verify-identity`).
    Name(Option<PathBuf>),
}

/// Files in PEM: the certificate with its chain, and its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientCertificate {
    pub cert: PathBuf,
    pub key: PathBuf,
}

/// The options of a URL, as they were typed.
#[derive(Debug, Default)]
pub(super) struct Typed {
    pub mode: Option<String>,
    pub ca: Option<PathBuf>,
    pub cert: Option<PathBuf>,
    pub key: Option<PathBuf>,
}

// === impl ServerCheck ===

impl Default for ServerCheck {
    fn default() -> ServerCheck {
        ServerCheck::Name(None)
    }
}

// === impl Typed ===

impl Typed {
    /// What was meant; `None` if nothing was said of TLS.
    pub fn resolve(self) -> Result<Option<Tls>, String> {
        let Typed { mode, ca, cert, key } = self;
        let mode = mode.map(|mode| mode.to_ascii_lowercase().replace('_', "-"));
        let client = match (cert, key) {
            (None, None) => None,
            (Some(cert), Some(key)) => Some(ClientCertificate { cert, key }),
            (Some(_), None) => return Err("ssl-cert needs ssl-key".to_owned()),
            (None, Some(_)) => return Err("ssl-key needs ssl-cert".to_owned()),
        };
        let server = match (mode.as_deref(), ca) {
            (None, None) if client.is_none() => return Ok(None),
            (None | Some("verify-identity"), ca) => ServerCheck::Name(ca),
            (Some("verify-ca"), ca) => ServerCheck::Authority(ca),
            (Some("required"), None) => ServerCheck::Nothing,
            (Some("disabled"), None) if client.is_none() => return Ok(Some(Tls::Disabled)),
            (Some("disabled"), None) => {
                return Err("ssl-mode=disabled has no use for ssl-cert".to_owned());
            }
            (Some(mode @ ("required" | "disabled")), Some(_)) => {
                return Err(format!("ssl-mode={mode} has no use for ssl-ca"));
            }
            (Some(other), _) => {
                return Err(format!(
                    "ssl-mode {other:?} is none of disabled, required, verify-ca, verify-identity"
                ));
            }
        };
        Ok(Some(Tls::Enabled(Checks { server, client })))
    }
}
