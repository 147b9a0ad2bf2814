//! Names of users and roles: any text, but short, since notes are named by it.

use std::{fmt, sync::Arc};

/// etcd has no bound; a certificate's common name ends at 64.
pub const NAME_BYTES_MAX: usize = 256;

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UserName(Arc<str>);

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RoleName(Arc<str>);

/// The user whom enabling needs, and the role that may do everything.
const ROOT: &str = "root";

// === impl UserName ===

impl UserName {
    #[must_use]
    pub fn new(name: &str) -> UserName {
        UserName(name.into())
    }

    #[must_use]
    pub fn root() -> UserName {
        UserName::new(ROOT)
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    #[must_use]
    pub fn is_root(&self) -> bool {
        &*self.0 == ROOT
    }
}

impl fmt::Display for UserName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for UserName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

// === impl RoleName ===

impl RoleName {
    #[must_use]
    pub fn new(name: &str) -> RoleName {
        RoleName(name.into())
    }

    #[must_use]
    pub fn root() -> RoleName {
        RoleName::new(ROOT)
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    #[must_use]
    pub fn is_root(&self) -> bool {
        &*self.0 == ROOT
    }
}

impl fmt::Display for RoleName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for RoleName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
