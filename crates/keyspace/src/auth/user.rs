//! A user: how it proves itself, and its roles.

use std::{collections::BTreeSet, fmt, sync::Arc};

use super::{AuthRevision, RoleName};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    pub password: Password,
    /// When it was added, or last given a password: older tokens are void.
    pub changed: AuthRevision,
    pub roles: BTreeSet<RoleName>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Password {
    /// Proves itself by certificate alone, and can never be given a password.
    Never,
    /// Had one, and cannot log in until it is given another.
    Cleared,
    Hash(PasswordHash),
}

/// Of bcrypt, in its usual text form.
#[derive(Clone, PartialEq, Eq)]
pub struct PasswordHash(Arc<str>);

// === impl User ===

impl User {
    #[must_use]
    pub fn is_root(&self) -> bool {
        self.roles.contains(&RoleName::root())
    }

    /// Bytes that it takes, more or less.
    pub(crate) fn weight(&self) -> usize {
        let hash = match &self.password {
            Password::Never | Password::Cleared => 0,
            Password::Hash(hash) => hash.as_str().len(),
        };
        let roles = self.roles.iter().map(|role| role.as_str().len() + size_of::<RoleName>());
        size_of::<User>() + hash + roles.sum::<usize>()
    }
}

// === impl PasswordHash ===

impl PasswordHash {
    #[must_use]
    pub fn new(hash: &str) -> PasswordHash {
        PasswordHash(hash.into())
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasswordHash(..)")
    }
}
