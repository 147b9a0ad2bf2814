//! What to run: the identity of a container and its resolved command.

use std::{fmt, path::PathBuf};

use serde::{Deserialize, Serialize};

/// Longest uid or container name taken as a folder's name.
const PATH_PART_MAX: usize = 63;

/// One container of one Pod. The uid keeps two Pods of one name apart.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ContainerId {
    pub namespace: String,
    pub pod: String,
    pub uid: String,
    pub container: String,
}

/// A command with everything resolved.
#[derive(Clone, Debug)]
pub struct Spec {
    pub id: ContainerId,
    /// Looked up in the `PATH` of `env` if it has no slash.
    pub program: String,
    pub args: Vec<String>,
    /// Added to a clean environment of `PATH` and `HOME`; a later one wins.
    pub env: Vec<(String, String)>,
    pub working_dir: Option<PathBuf>,
    /// Changes when the caller wants another process than the one that runs.
    pub digest: u64,
}

#[derive(Debug, thiserror::Error)]
pub enum SpecError {
    #[error("{what} {value:?} cannot be part of a path: use 1 to 63 of a-z, A-Z, 0-9, '-', '.'")]
    Name { what: &'static str, value: String },
    #[error("the command is empty")]
    NoCommand,
    #[error("{what} contains a NUL byte")]
    Nul { what: &'static str },
    #[error("environment variable {0:?} is not a name")]
    EnvName(String),
}

// === impl ContainerId ===

impl ContainerId {
    /// Both end up as names of folders and come from outside.
    pub(crate) fn check(&self) -> Result<(), SpecError> {
        for (what, value) in [("uid", &self.uid), ("container name", &self.container)] {
            let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '.';
            let fits = (1..=PATH_PART_MAX).contains(&value.len());
            if !fits || value.starts_with('.') || !value.chars().all(plain) {
                return Err(SpecError::Name { what, value: value.clone() });
            }
        }
        Ok(())
    }
}

impl fmt::Display for ContainerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.namespace, self.pod, self.container)
    }
}

// === impl Spec ===

impl Spec {
    pub(crate) fn check(&self) -> Result<(), SpecError> {
        self.id.check()?;
        if self.program.is_empty() {
            return Err(SpecError::NoCommand);
        }
        if self.program.contains('\0') || self.args.iter().any(|arg| arg.contains('\0')) {
            return Err(SpecError::Nul { what: "the command" });
        }
        for (name, value) in &self.env {
            if name.is_empty() || name.contains(['=', '\0']) {
                return Err(SpecError::EnvName(name.clone()));
            }
            if value.contains('\0') {
                return Err(SpecError::Nul { what: "the environment" });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_would_leave_their_folder_are_refused() {
        let id = |uid: &str, container: &str| ContainerId {
            namespace: "payments".into(),
            pod: "ledger-0".into(),
            uid: uid.into(),
            container: container.into(),
        };
        assert!(id("8d9c-1", "ledger").check().is_ok());
        for bad in ["", "..", "a/b", ".hidden", "a b", &"x".repeat(64)] {
            assert!(id(bad, "ledger").check().is_err(), "{bad:?} as uid");
            assert!(id("8d9c-1", bad).check().is_err(), "{bad:?} as name");
        }
    }
}
