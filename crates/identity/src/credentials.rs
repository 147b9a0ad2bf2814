//! A process's own certificate, key and trust, in files and in memory.

use std::{
    fs,
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};

use crate::Error;

/// Where a certificate chain, its key and the root live, as PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Files {
    pub cert: PathBuf,
    pub key: PathBuf,
    pub ca: PathBuf,
}

/// Read and parsed.
#[derive(Debug)]
pub struct Credentials {
    pub chain: Vec<CertificateDer<'static>>,
    pub key: PrivateKeyDer<'static>,
    pub roots: Vec<CertificateDer<'static>>,
}

// === impl Files ===

impl Files {
    /// `DIR/NAME.crt`, `DIR/NAME.key` and `DIR/ca.crt`.
    #[must_use]
    pub fn in_dir(dir: &Path, name: &str) -> Files {
        Files {
            cert: dir.join(format!("{name}.crt")),
            key: dir.join(format!("{name}.key")),
            ca: dir.join("ca.crt"),
        }
    }
}

// === impl Credentials ===

impl Credentials {
    pub fn load(files: &Files) -> Result<Credentials, Error> {
        let key = PrivateKeyDer::from_pem_slice(read_text(&files.key)?.as_bytes())
            .map_err(|_| Error::Pem { path: display(&files.key), what: "private key" })?;
        Ok(Credentials { chain: certificates(&files.cert)?, key, roots: certificates(&files.ca)? })
    }
}

impl Clone for Credentials {
    fn clone(&self) -> Credentials {
        Credentials {
            chain: self.chain.clone(),
            key: self.key.clone_key(),
            roots: self.roots.clone(),
        }
    }
}

/// Every certificate of a PEM file; at least one.
pub fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, Error> {
    let unusable = || Error::Pem { path: display(path), what: "certificate" };
    let found: Vec<_> = CertificateDer::pem_slice_iter(read_text(path)?.as_bytes())
        .collect::<Result<_, _>>()
        .map_err(|_| unusable())?;
    if found.is_empty() { Err(unusable()) } else { Ok(found) }
}

pub(crate) fn read_text(path: &Path) -> Result<String, Error> {
    fs::read_to_string(path).map_err(|source| Error::Read { path: display(path), source })
}

pub(crate) fn write(files: &Files, chain: &str, key: &str, root: &str) -> Result<(), Error> {
    for (path, text, mode) in
        [(&files.key, key, 0o600), (&files.cert, chain, 0o644), (&files.ca, root, 0o644)]
    {
        replace(path, text, mode).map_err(|source| Error::Write { path: display(path), source })?;
    }
    Ok(())
}

/// Writes beside the file and renames, so that a reader sees old or new.
fn replace(path: &Path, text: &str, mode: u32) -> io::Result<()> {
    if let Some(dir) = path.parent() {
        fs::create_dir_all(dir)?;
    }
    let beside = path.with_extension("tmp");
    match fs::remove_file(&beside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(&beside)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&beside, path)
}

fn display(path: &Path) -> String {
    path.display().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_not_there_is_not_said_to_hold_no_key() {
        let files = Files::in_dir(Path::new("/nowhere/at/all"), "ledger");
        let error = Credentials::load(&files).expect_err("there is none");
        assert!(matches!(&error, Error::Read { path, .. } if path.ends_with("ledger.key")));
    }
}
