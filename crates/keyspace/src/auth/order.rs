//! What may be ordered, and what it comes to.
//!
//! The checks, their order and what counts as a change are etcd's
//! (`server/auth/store.go`). Bounds on how much there may be are ours: users
//! and roles are kept in memory, and only root may add them, once there is one.

use kv::{AuthError, Error, KeyRange};

use super::{
    Auth, Edit, NAME_BYTES_MAX, PERMISSIONS_MAX, Password, Permission, Role, RoleName, Secret,
    User, UserName,
};
use crate::KEY_BYTES_MAX;

/// People and programs of a large company, each known by name.
pub const USERS_MAX: usize = 10_000;

/// One for each user.
pub const ROLES_MAX: usize = 10_000;

/// A check looks at each of them.
pub const ROLES_OF_USER_MAX: usize = 100;

/// Names and keys together: 10,000 users and roles with a dozen permissions
/// each take a tenth, and it is little beside the data.
pub const AUTH_BYTES_MAX: usize = 64 * 1024 * 1024;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Order {
    Enable {
        /// For tokens, from a cryptographic source.
        secret: Secret,
    },
    Disable,
    UserAdd {
        name: UserName,
        password: Password,
    },
    UserDelete(UserName),
    /// One that never has a password stays so.
    UserChangePassword {
        name: UserName,
        password: Password,
    },
    UserGrantRole {
        user: UserName,
        role: RoleName,
    },
    UserRevokeRole {
        user: UserName,
        role: RoleName,
    },
    RoleAdd(RoleName),
    RoleDelete(RoleName),
    RoleGrantPermission {
        role: RoleName,
        permission: Permission,
    },
    RoleRevokePermission {
        role: RoleName,
        range: KeyRange,
    },
}

// === impl Auth ===

impl Auth {
    /// The edits that carry out `order`; none, if it changes nothing. Whether
    /// the caller may order anything is another question.
    pub(crate) fn plan(&self, order: &Order) -> Result<Vec<Edit>, Error> {
        let edits = match order {
            Order::Enable { secret } => return self.plan_enable(secret),
            Order::Disable if !self.is_enabled() => return Ok(Vec::new()),
            Order::Disable => {
                let revision = self.revision().next();
                return Ok(vec![Edit::State { enabled: None, revision }]);
            }
            Order::UserAdd { name, password } => self.plan_user_add(name, password)?,
            Order::UserDelete(name) => {
                if self.is_enabled() && name.is_root() {
                    return Err(AuthError::InvalidAuthMgmt.into());
                }
                self.existing_user(name)?;
                vec![Edit::User(name.clone(), None)]
            }
            Order::UserChangePassword { name, password } => {
                let user = self.existing_user(name)?;
                let password = match user.password {
                    Password::Never => Password::Never,
                    Password::Cleared | Password::Hash(_) => password.clone(),
                };
                let changed = self.revision().next();
                let roles = user.roles.clone();
                vec![Edit::User(name.clone(), Some(User { password, changed, roles }))]
            }
            Order::UserGrantRole { user, role } => self.plan_user_grant(user, role)?,
            Order::UserRevokeRole { user, role } => {
                if self.is_enabled() && user.is_root() && role.is_root() {
                    return Err(AuthError::InvalidAuthMgmt.into());
                }
                let mut found = self.existing_user(user)?.clone();
                if !found.roles.remove(role) {
                    return Err(AuthError::RoleNotGranted.into());
                }
                vec![Edit::User(user.clone(), Some(found))]
            }
            Order::RoleAdd(name) => self.plan_role_add(name)?,
            Order::RoleDelete(name) => self.plan_role_delete(name)?,
            Order::RoleGrantPermission { role, permission } => {
                self.plan_permission_grant(role, permission)?
            }
            Order::RoleRevokePermission { role, range } => {
                let left = self.existing_role(role)?.without(range);
                let left = left.ok_or(AuthError::PermissionNotGranted)?;
                vec![Edit::Role(role.clone(), Some(left))]
            }
        };
        if edits.is_empty() {
            return Ok(edits);
        }
        let revision = self.revision().next();
        let state = Edit::State { enabled: self.enabled_since(), revision };
        Ok([edits, vec![state]].concat())
    }

    /// As etcd: it spends no revision of its own.
    fn plan_enable(&self, secret: &Secret) -> Result<Vec<Edit>, Error> {
        if self.is_enabled() {
            return Ok(Vec::new());
        }
        let root = self.user(&UserName::root()).ok_or(AuthError::RootUserNotExist)?;
        if !root.is_root() {
            return Err(AuthError::RootRoleNotExist.into());
        }
        let revision = self.revision();
        let state = Edit::State { enabled: Some(revision), revision };
        Ok(vec![Edit::Secret(secret.clone()), state])
    }

    fn plan_user_add(&self, name: &UserName, password: &Password) -> Result<Vec<Edit>, Error> {
        check_name(name.as_str(), AuthError::UserEmpty)?;
        if self.user(name).is_some() {
            return Err(AuthError::UserAlreadyExist.into());
        }
        if self.users().len() >= USERS_MAX {
            return Err(Error::NoSpace);
        }
        let changed = self.revision().next();
        let user = User { password: password.clone(), changed, roles: Default::default() };
        self.check_weight(user.weight())?;
        Ok(vec![Edit::User(name.clone(), Some(user))])
    }

    fn plan_user_grant(&self, name: &UserName, role: &RoleName) -> Result<Vec<Edit>, Error> {
        let mut user = self.existing_user(name)?.clone();
        if !role.is_root() {
            self.existing_role(role)?;
        }
        if !user.roles.insert(role.clone()) {
            return Ok(Vec::new());
        }
        if user.roles.len() > ROLES_OF_USER_MAX {
            return Err(Error::RequestTooLarge);
        }
        self.check_weight(role.as_str().len())?;
        Ok(vec![Edit::User(name.clone(), Some(user))])
    }

    fn plan_role_add(&self, name: &RoleName) -> Result<Vec<Edit>, Error> {
        check_name(name.as_str(), AuthError::RoleEmpty)?;
        if self.role(name).is_some() {
            return Err(AuthError::RoleAlreadyExist.into());
        }
        if self.roles().len() >= ROLES_MAX {
            return Err(Error::NoSpace);
        }
        self.check_weight(Role::default().weight())?;
        Ok(vec![Edit::Role(name.clone(), Some(Role::default()))])
    }

    /// Also taken from whoever has it, so that a new role of that name is not
    /// theirs.
    fn plan_role_delete(&self, name: &RoleName) -> Result<Vec<Edit>, Error> {
        if self.is_enabled() && name.is_root() {
            return Err(AuthError::InvalidAuthMgmt.into());
        }
        self.existing_role(name)?;
        let holders = self.users().filter(|(_, user)| user.roles.contains(name));
        let without = holders.map(|(holder, user)| {
            let mut user = user.clone();
            user.roles.remove(name);
            Edit::User(holder.clone(), Some(user))
        });
        Ok([Edit::Role(name.clone(), None)].into_iter().chain(without).collect())
    }

    fn plan_permission_grant(
        &self,
        name: &RoleName,
        permission: &Permission,
    ) -> Result<Vec<Edit>, Error> {
        check_permission(&permission.range)?;
        let before = self.existing_role(name)?;
        let role = before.with(permission);
        if role.permissions().len() > PERMISSIONS_MAX {
            return Err(Error::RequestTooLarge);
        }
        self.check_weight(role.weight().saturating_sub(before.weight()))?;
        Ok(vec![Edit::Role(name.clone(), Some(role))])
    }

    fn existing_user(&self, name: &UserName) -> Result<&User, AuthError> {
        self.user(name).ok_or(AuthError::UserNotFound)
    }

    fn existing_role(&self, name: &RoleName) -> Result<&Role, AuthError> {
        self.role(name).ok_or(AuthError::RoleNotFound)
    }

    fn check_weight(&self, more: usize) -> Result<(), Error> {
        match self.weight() + more > AUTH_BYTES_MAX {
            true => Err(Error::NoSpace),
            false => Ok(()),
        }
    }
}

fn check_name(name: &str, empty: AuthError) -> Result<(), Error> {
    match name.len() {
        0 => Err(empty.into()),
        1..=NAME_BYTES_MAX => Ok(()),
        _ => Err(Error::RequestTooLarge),
    }
}

/// As etcd: no permission on the key that cannot be, or on no key.
fn check_permission(range: &KeyRange) -> Result<(), Error> {
    let end: &[u8] = match range {
        KeyRange::Span { from, to } if to <= from => {
            return Err(AuthError::InvalidAuthMgmt.into());
        }
        KeyRange::Span { to, .. } => to,
        KeyRange::Key(_) | KeyRange::From(_) => &[],
    };
    if range.start().is_empty() {
        return Err(AuthError::InvalidAuthMgmt.into());
    }
    match range.start().len().max(end.len()) > KEY_BYTES_MAX {
        true => Err(Error::RequestTooLarge),
        false => Ok(()),
    }
}
