//! Which database, for every verb that uses one.

use std::{
    fs,
    io::Write as _,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use anyhow::Context;

/// Where the password is, when it is in no file.
const PASSWORD_VARIABLE: &str = "POLIS_DATABASE_PASSWORD";

#[derive(Clone, Debug, clap::Args)]
pub struct Database {
    /// Keep the log in a database: mysql://USER@HOST:PORT[,HOST:PORT]/DATABASE
    #[arg(long)]
    pub database: Option<String>,
    /// File with the database user's password; POLIS_DATABASE_PASSWORD works too
    #[arg(long, requires = "database")]
    pub database_password_file: Option<PathBuf>,
}

impl Database {
    /// The file with the password. One that is only in the environment is
    /// written into `folder`, for processes that do not inherit it.
    pub fn saved_password(&self, folder: &Path) -> anyhow::Result<Option<PathBuf>> {
        if let Some(file) = &self.database_password_file {
            let path =
                fs::canonicalize(file).with_context(|| format!("find {}", file.display()))?;
            return Ok(Some(path));
        }
        if self.database.is_none() {
            return Ok(None);
        }
        let Ok(password) = std::env::var(PASSWORD_VARIABLE) else { return Ok(None) };
        let path = folder.join("database-password");
        let mut file = fs::OpenOptions::new()
            .create(true)
            .write(true)
            .truncate(true)
            .mode(0o600)
            .open(&path)
            .with_context(|| format!("create {}", path.display()))?;
        file.write_all(password.as_bytes()).context("write the database's password")?;
        Ok(Some(path))
    }

    pub fn config(&self) -> anyhow::Result<Option<store::SqlConfig>> {
        let Some(url) = &self.database else { return Ok(None) };
        let config = store::SqlConfig::parse(url)?;
        let config = match &self.database_password_file {
            Some(path) => config
                .with_password_file(path.clone())
                .with_context(|| format!("read --database-password-file {}", path.display()))?,
            None => config.with_password(std::env::var(PASSWORD_VARIABLE).ok()),
        };
        Ok(Some(config))
    }
}
