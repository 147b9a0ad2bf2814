//! What a keyspace knows of its users.

use std::{collections::BTreeMap, fmt, sync::Arc};

use super::{Edit, Role, RoleName, User, UserName};

/// Counts changes of users and roles; 1 when there were none, as in etcd.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AuthRevision(pub u64);

/// Signs tokens. A new one at each enabling voids those of before.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(pub [u8; 32]);

/// Cheap enough to clone at each change: users and roles are shared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Auth {
    /// Since when: tokens of before are void.
    enabled: Option<AuthRevision>,
    revision: AuthRevision,
    secret: Option<Secret>,
    users: BTreeMap<UserName, Arc<User>>,
    roles: BTreeMap<RoleName, Arc<Role>>,
    /// Of all of them.
    weight: usize,
}

// === impl Auth ===

impl Auth {
    #[must_use]
    pub fn is_enabled(&self) -> bool {
        self.enabled.is_some()
    }

    pub(crate) fn enabled_since(&self) -> Option<AuthRevision> {
        self.enabled
    }

    #[must_use]
    pub fn revision(&self) -> AuthRevision {
        self.revision
    }

    /// There is one once auth has ever been enabled.
    #[must_use]
    pub fn secret(&self) -> Option<&Secret> {
        self.secret.as_ref()
    }

    #[must_use]
    pub fn user(&self, name: &UserName) -> Option<&User> {
        self.users.get(name).map(|user| &**user)
    }

    #[must_use]
    pub fn role(&self, name: &RoleName) -> Option<&Role> {
        self.roles.get(name).map(|role| &**role)
    }

    /// By name.
    pub fn users(&self) -> impl ExactSizeIterator<Item = (&UserName, &User)> {
        self.users.iter().map(|(name, user)| (name, &**user))
    }

    /// By name.
    pub fn roles(&self) -> impl ExactSizeIterator<Item = (&RoleName, &Role)> {
        self.roles.iter().map(|(name, role)| (name, &**role))
    }

    pub(crate) fn take_in(&mut self, edit: Edit) {
        match edit {
            Edit::State { enabled, revision } => {
                self.enabled = enabled;
                self.revision = revision;
            }
            Edit::Secret(secret) => self.secret = Some(secret),
            Edit::User(name, user) => {
                self.weight += user.as_ref().map_or(0, User::weight);
                let before = match user {
                    Some(user) => self.users.insert(name, Arc::new(user)),
                    None => self.users.remove(&name),
                };
                self.weight -= before.map_or(0, |user| user.weight());
            }
            Edit::Role(name, role) => {
                self.weight += role.as_ref().map_or(0, Role::weight);
                let before = match role {
                    Some(role) => self.roles.insert(name, Arc::new(role)),
                    None => self.roles.remove(&name),
                };
                self.weight -= before.map_or(0, |role| role.weight());
            }
        }
    }

    /// Bytes that users and roles take, more or less.
    pub(crate) fn weight(&self) -> usize {
        self.weight
    }
}

impl Default for Auth {
    fn default() -> Auth {
        Auth {
            enabled: None,
            revision: AuthRevision(1),
            secret: None,
            users: BTreeMap::new(),
            roles: BTreeMap::new(),
            weight: 0,
        }
    }
}

// === impl AuthRevision ===

impl AuthRevision {
    #[must_use]
    pub fn next(self) -> AuthRevision {
        AuthRevision(self.0 + 1)
    }
}

// === impl Secret ===

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}
