//! Who may do what, as far as users and roles alone can tell.
//!
//! While auth is off everyone may do everything. Then whoever has the root role
//! may, and the others what their roles permit.

use kv::{AuthError, Error, KeyRange};

use super::{Auth, Caller, Role, RoleName, User, UserName, cover::is_covered};

/// What a caller turns out to be.
enum Standing<'a> {
    /// Nothing is withheld.
    Free,
    Limited(&'a User),
    /// A certificate's name that is no user's.
    Stranger,
}

// === impl Auth ===

impl Auth {
    /// Asks for no right but to be someone: etcd lets a certificate pass here
    /// whatever its name.
    pub fn check_known(&self, caller: &Caller) -> Result<(), Error> {
        self.standing(caller).map(drop)
    }

    /// Asks for the root role.
    pub fn check_admin(&self, caller: &Caller) -> Result<(), Error> {
        match self.standing(caller)? {
            Standing::Free => Ok(()),
            Standing::Limited(_) => Err(Error::PermissionDenied),
            Standing::Stranger => Err(AuthError::UserNotFound.into()),
        }
    }

    pub fn check_read(&self, caller: &Caller, range: &KeyRange) -> Result<(), Error> {
        self.check_range(caller, range, |role| role.readable())
    }

    pub fn check_write(&self, caller: &Caller, range: &KeyRange) -> Result<(), Error> {
        self.check_range(caller, range, |role| role.writable())
    }

    /// Users may look at themselves.
    pub fn check_user_get(&self, caller: &Caller, name: &UserName) -> Result<(), Error> {
        match self.check_admin(caller) {
            Err(_) if self.is_user(caller, name) => Ok(()),
            checked => checked,
        }
    }

    /// And at the roles that they have.
    pub fn check_role_get(&self, caller: &Caller, name: &RoleName) -> Result<(), Error> {
        match (self.check_admin(caller), self.standing(caller)) {
            (Err(_), Ok(Standing::Limited(user))) if user.roles.contains(name) => Ok(()),
            (checked, _) => checked,
        }
    }

    fn is_user(&self, caller: &Caller, name: &UserName) -> bool {
        match caller {
            Caller::Certificate(user) | Caller::Token { user, .. } => {
                user == name && self.standing(caller).is_ok()
            }
            Caller::Trusted | Caller::Nobody => false,
        }
    }

    fn check_range(
        &self,
        caller: &Caller,
        range: &KeyRange,
        cover: impl Fn(&Role) -> &super::cover::Cover + Clone,
    ) -> Result<(), Error> {
        match self.standing(caller)? {
            Standing::Free => Ok(()),
            Standing::Stranger => Err(Error::PermissionDenied),
            Standing::Limited(user) => {
                let roles = user.roles.iter().filter_map(|role| self.role(role));
                match is_covered(roles.map(cover), range) {
                    true => Ok(()),
                    false => Err(Error::PermissionDenied),
                }
            }
        }
    }

    fn standing(&self, caller: &Caller) -> Result<Standing<'_>, Error> {
        let Some(since) = self.enabled_since() else { return Ok(Standing::Free) };
        let user = match caller {
            Caller::Trusted => return Ok(Standing::Free),
            Caller::Nobody => return Err(AuthError::UserEmpty.into()),
            Caller::Certificate(name) => match self.user(name) {
                Some(user) => user,
                None => return Ok(Standing::Stranger),
            },
            Caller::Token { user: name, issued } => self
                .user(name)
                .filter(|user| *issued >= user.changed && *issued >= since)
                .ok_or(AuthError::InvalidAuthToken)?,
        };
        Ok(if user.is_root() { Standing::Free } else { Standing::Limited(user) })
    }
}
