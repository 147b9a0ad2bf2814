//! The data folder of `polis up`: where everything is, and who holds it.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};

use crate::{
    layout::{Layout, LayoutName},
    subnet::Subnet,
    up::Prepared,
};

/// `--data` when it is not given.
pub const DEFAULT_DATA: &str = "./polis-data";

/// Paths below one folder.
#[derive(Clone, Debug)]
pub struct DataDir(PathBuf);

/// What `up` was started with, kept for the client verbs and the next start.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Estate {
    pub layout: LayoutName,
    pub base_port: u16,
    /// Where the store keeps its log, if not in this folder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub database: Option<String>,
    /// Where each center has a network of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subnet: Option<Subnet>,
}

/// Held for as long as the folder is in use; the system drops it with us.
#[derive(Debug)]
pub struct Lock(#[expect(dead_code, reason = "closing the file releases the lock")] File);

// === impl DataDir ===

impl DataDir {
    #[must_use]
    pub fn new(path: &Path) -> DataDir {
        // Absolute, since children run in folders of their own.
        DataDir(std::path::absolute(path).unwrap_or_else(|_| path.to_owned()))
    }

    /// Creates the folder (mode 0700) where missing, and takes it.
    pub fn lock(&self) -> anyhow::Result<Lock> {
        let path = self.0.display();
        let unwritable = || {
            format!(
                "{}: cannot write to data folder {path}. {}",
                errors::DATA_UNWRITABLE,
                errors::DATA_UNWRITABLE.remedy()
            )
        };
        let mut builder = fs::DirBuilder::new();
        builder.recursive(true).mode(0o700).create(&self.0).with_context(unwritable)?;
        let file = File::create(self.0.join("lock")).with_context(unwritable)?;
        match rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Lock(file)),
            Err(error) if io::Error::from(error).kind() == io::ErrorKind::WouldBlock => bail!(
                "{}: data folder {path} is in use by another process. {}",
                errors::DATA_IN_USE,
                errors::DATA_IN_USE.remedy()
            ),
            Err(error) => Err(error).with_context(unwritable),
        }
    }

    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }

    #[must_use]
    pub fn kubeconfig(&self) -> PathBuf {
        self.0.join("kubeconfig")
    }

    #[must_use]
    pub fn store(&self) -> PathBuf {
        self.0.join("store")
    }

    #[must_use]
    pub fn pki(&self) -> PathBuf {
        self.0.join("pki")
    }

    #[must_use]
    pub fn logs(&self) -> PathBuf {
        self.0.join("logs")
    }

    #[must_use]
    pub fn center(&self, center: &str) -> PathBuf {
        self.0.join("centers").join(center)
    }

    #[must_use]
    pub fn reports(&self) -> PathBuf {
        self.0.join("reports")
    }

    #[must_use]
    pub fn control_socket(&self) -> PathBuf {
        self.0.join("up.sock")
    }

    /// Where centers order places for rented units.
    #[must_use]
    pub fn provider_socket(&self) -> PathBuf {
        self.0.join("provider.sock")
    }

    /// Places that are rented.
    #[must_use]
    pub fn places(&self) -> PathBuf {
        self.0.join("places")
    }

    fn estate_file(&self) -> PathBuf {
        self.0.join("estate.toml")
    }

    /// What is running here, or ran here last.
    pub fn estate(&self) -> anyhow::Result<Option<Estate>> {
        let file = self.estate_file();
        match fs::read_to_string(&file) {
            Ok(text) => Ok(Some(
                toml::from_str(&text).with_context(|| format!("parse {}", file.display()))?,
            )),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(|| format!("read {}", file.display())),
        }
    }

    pub fn save_estate(&self, estate: &Estate) -> anyhow::Result<()> {
        let file = self.estate_file();
        fs::write(&file, toml::to_string(estate)?)
            .with_context(|| format!("write {}", file.display()))
    }

    /// Networks that were made for the nodes of a database.
    pub fn prepared(&self) -> anyhow::Result<Option<Prepared>> {
        let file = self.prepared_file();
        match fs::read_to_string(&file) {
            Ok(text) => Ok(Some(
                toml::from_str(&text).with_context(|| format!("parse {}", file.display()))?,
            )),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(|| format!("read {}", file.display())),
        }
    }

    pub fn save_prepared(&self, prepared: &Prepared) -> anyhow::Result<()> {
        let file = self.prepared_file();
        fs::write(&file, toml::to_string(prepared)?)
            .with_context(|| format!("write {}", file.display()))
    }

    /// After the prepared networks were removed, if there were any.
    pub fn forget_prepared(&self) -> anyhow::Result<()> {
        let file = self.prepared_file();
        match fs::remove_file(&file) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(error).with_context(|| format!("remove {}", file.display()))
            }
            _ => Ok(()),
        }
    }

    fn prepared_file(&self) -> PathBuf {
        self.0.join("networks.toml")
    }

    /// For the client verbs: the layout that `up` runs from this folder.
    pub fn layout(&self) -> anyhow::Result<Layout> {
        let Some(estate) = self.estate()? else {
            bail!(
                "{}: nothing was started from data folder {}. {}",
                errors::NOT_RUNNING,
                self.0.display(),
                errors::NOT_RUNNING.remedy()
            );
        };
        Ok(Layout::new(estate.layout, estate.base_port, estate.subnet))
    }
}
