//! Which database, for every verb that uses one.

use std::{fs, path::PathBuf};

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
    pub fn config(&self) -> anyhow::Result<Option<store::SqlConfig>> {
        let Some(url) = &self.database else { return Ok(None) };
        let password = match &self.database_password_file {
            Some(path) => {
                let text = fs::read_to_string(path)
                    .with_context(|| format!("read --database-password-file {}", path.display()))?;
                Some(text.trim_end_matches(['\r', '\n']).to_owned())
            }
            None => std::env::var(PASSWORD_VARIABLE).ok(),
        };
        Ok(Some(store::SqlConfig::parse(url)?.with_password(password)))
    }
}
